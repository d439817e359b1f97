/* PURE: no I/O */
/* Waiting for CI: after the developer's run, and before the merge. */
#include "services/scheduler/stage_machine.h"

bool stage_waits_for_ci(enum job_kind job, enum stage stage)
{
    return (job == JOB_AGENT && stage == STAGE_DEVELOPMENT) ||
           (job == JOB_MERGE && stage == STAGE_DEPLOY);
}

/* In deploy the merge asks once more, at the head that it is about to merge. */
static void go_on(struct machine *m)
{
    machine_apply(m, REASON_GATE_PASSED);
    if (m->facts->stage == STAGE_DEVELOPMENT) {
        machine_enter(m, stage_table[STAGE_DEVELOPMENT].next);
        machine_order_comment(m, TEMPLATE_TRANSITION, machine_speaker);
    } else if (machine_lease_is_missing(m)) {
        machine_apply(m, REASON_LEASE_LOST);
        machine_move_to_edge_gates(m);
        machine_order_comment(m, TEMPLATE_TRANSITION, machine_speaker);
    } else {
        m->decision->unpark = true;
        machine_order_job(m, m->facts->merged ? machine_job_after_merge(m->facts) : JOB_MERGE, "",
                          false);
    }
}

void machine_on_ci(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    if (stage_is_terminal(f->stage))
        machine_ignore(m, REASON_ALREADY_STOPPED);
    else if (f->blocked)
        machine_ignore(m, REASON_BLOCKED);
    else if (f->parked != PARKED_CI)
        machine_ignore(m, REASON_NOT_PARKED);
    else if (f->stage != STAGE_DEVELOPMENT && f->stage != STAGE_DEPLOY)
        machine_ignore(m, REASON_WRONG_STAGE);
    else if (f->critical_running) /* decided by its end */
        machine_ignore(m, REASON_REPEATED);
    else if (f->stop_requested)
        machine_cancel(m);
    else if (m->event->verdict == GATE_PASS)
        go_on(m);
    else if (m->event->verdict == GATE_FAIL)
        machine_roll_back(m);
    else if (m->event->timed_out)
        machine_block(m, REASON_CI_TIMEOUT, "");
    else
        machine_ignore(m, REASON_WAITING_CI);
}
