/* PURE: no I/O */
/* What people do by hand, past the tracker's commands: in the forge, and to the issue; and spend
 * that brings a task no further. */
#include "services/scheduler/stage_machine.h"

/* In deploy the merge job finds what is merged, and only the deploy's own gate ends the task; but
 * while it waits there for a person or for CI, nothing of that is under way. */
static bool is_ours_to_judge(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    bool waits = f->parked != PARKED_NONE && m->event->kind == STAGE_EVENT_BY_HAND;
    if (stage_is_terminal(f->stage))
        machine_ignore(m, REASON_ALREADY_STOPPED);
    else if (f->stage == STAGE_CREATED || (f->stage == STAGE_DEPLOY && !waits) ||
             f->critical_running)
        machine_ignore(m, REASON_WRONG_STAGE);
    else
        return true;
    return false;
}

/* Nothing more is spent; what it had been parked for is parked again by the resuming. What was
 * judged for a merge stands no more, so others may merge meanwhile. */
static void block_by_hand(struct machine *m, enum reason cause)
{
    if (m->facts->blocked) {
        machine_ignore(m, REASON_BLOCKED);
        return;
    }
    machine_block(m, cause, "outside");
    m->decision->release_lease = m->facts->stage == STAGE_DEPLOY;
    m->decision->cancel_jobs = m->facts->job_live || m->facts->follow_up_queued;
}

void machine_on_by_hand(struct machine *m)
{
    if (is_ours_to_judge(m))
        block_by_hand(m, m->event->cause);
}

/* What was spent brought it no further: as by hand, nothing more is. */
void machine_on_no_progress(struct machine *m)
{
    if (!is_ours_to_judge(m))
        return;
    block_by_hand(m, REASON_NO_PROGRESS);
    if (m->decision->block)
        m->decision->counter = "progress";
}

void machine_on_merged_outside(struct machine *m)
{
    if (!is_ours_to_judge(m))
        return;
    if (!m->event->current_code) {
        block_by_hand(m, REASON_MERGED_OTHER);
        return;
    }
    machine_apply(m, REASON_MERGED_OUTSIDE);
    m->decision->unblock = m->facts->blocked;
    m->decision->release_lease = true;
    machine_move(m, STAGE_DONE);
    machine_order_status(m, STATUS_DONE);
    machine_order_comment(m, TEMPLATE_MERGED_OUTSIDE, machine_speaker);
    machine_order_comment(m, TEMPLATE_SUMMARY, "deployer");
}
