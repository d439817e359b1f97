/* PURE: no I/O */
#include "services/scheduler/stage_machine.h"

#include <string.h>

const struct job_kind_info job_kind_table[JOB_KIND_COUNT] = {
#define JOB_KIND(id, name, critical) [JOB_##id] = {name, critical},
#include "services/scheduler/job_kinds.def"
#undef JOB_KIND
};

const char *const stage_event_names[STAGE_EVENT_COUNT] = {
#define STAGE_EVENT(id, name) [STAGE_EVENT_##id] = name,
#include "services/scheduler/stage_events.def"
#undef STAGE_EVENT
};

/* Where a reserved job carries the stage. An agent carries every stage that names a role, and a
 * query none: what it answers comes back as an event of its own. */
static const struct {
    bool any_role;
    enum stage stage;
} job_place[JOB_KIND_COUNT] = {
    [JOB_AGENT] = {true, STAGE_COUNT},
    [JOB_STAGE] = {false, STAGE_DEPLOY_STAGING},
    [JOB_MERGE_GATE] = {false, STAGE_DEPLOY_STAGING},
    [JOB_MERGE] = {false, STAGE_DEPLOY},
    [JOB_DEPLOY] = {false, STAGE_DEPLOY},
    [JOB_FINALIZER] = {false, STAGE_DEPLOY},
    [JOB_CLEANUP] = {false, STAGE_CANCELLED},
    [JOB_QUERY] = {false, STAGE_COUNT},
};

enum job_kind job_kind_by_name(const char *name)
{
    int kind = 0;
    while (kind < JOB_KIND_COUNT && (name == NULL || strcmp(name, job_kind_table[kind].name) != 0))
        kind++;
    return (enum job_kind)kind;
}

enum status stage_display(const struct stage_facts *facts)
{
    if (facts->blocked)
        return STATUS_BLOCKED;
    if (facts->parked == PARKED_APPROVAL)
        return STATUS_AWAITING_APPROVAL;
    if (facts->parked == PARKED_CONFIRM)
        return STATUS_AWAITING_DEPLOY;
    return status_by_key(stage_table[facts->stage].status);
}

/* ---- ends of jobs ---- */

static bool job_carries(enum job_kind kind, enum stage stage)
{
    if (kind >= JOB_KIND_COUNT)
        return false;
    return job_place[kind].any_role ? stage_table[stage].role[0] != '\0'
                                    : job_place[kind].stage == stage;
}

static bool passed(const struct stage_event *event)
{
    /* the merge has no gate of its own: its end is the forge's word */
    return event->verdict == GATE_PASS || (event->job == JOB_MERGE && event->verdict == GATE_NONE);
}

static void on_passed(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    machine_apply(m, REASON_GATE_PASSED);
    if (f->stage == STAGE_ANALYSIS) {
        machine_park(m, PARKED_APPROVAL);
        machine_order_status(m, STATUS_AWAITING_APPROVAL);
        machine_order_comment(m, TEMPLATE_APPROVAL_REQUEST, stage_table[STAGE_ANALYSIS].role);
    } else if (m->event->job == JOB_FINALIZER) {
        machine_finish(m);
    } else if (m->event->job == JOB_MERGE) {
        machine_apply(m, REASON_MERGED);
        machine_order_job(m, machine_job_after_merge(f), "", false);
    } else if (m->event->job == JOB_DEPLOY) {
        machine_order_job(m, JOB_FINALIZER, "", false);
    } else if (m->event->job == JOB_STAGE) {
        machine_order_job(m, JOB_AGENT, stage_table[STAGE_DEPLOY_STAGING].role, false);
    } else if (f->stage == STAGE_DEPLOY_STAGING && m->event->job == JOB_AGENT) {
        machine_order_job(m, JOB_MERGE_GATE, "", false);
    } else {
        enum stage next = stage_table[f->stage].next;
        if (next == STAGE_DEPLOY_STAGING && !f->staging_on)
            machine_apply(m, REASON_STAGING_OFF);
        machine_enter(m, next);
        machine_order_comment(m, TEMPLATE_TRANSITION, machine_speaker);
    }
}

/* A deferred STOP: what the job did decides. Delivered is delivered: by the hook, or without one by
 * the merge; the finalizer still has to say so. */
static void end_stopping(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    bool good = m->event->kind == STAGE_EVENT_JOB_SUCCEEDED && passed(m->event);
    bool may_go_on = !f->blocked && f->parked == PARKED_NONE;
    bool delivers = m->event->job == JOB_DEPLOY || (m->event->job == JOB_MERGE && !f->deploy_hook);
    if (good && (m->event->job == JOB_FINALIZER || (delivers && may_go_on)))
        on_passed(m);
    else if (good && m->event->job == JOB_DEPLOY)
        machine_finish(m);
    else
        machine_cancel(m);
}

static void on_cleanup(struct machine *m)
{
    if (m->facts->stage != STAGE_CANCELLED) {
        machine_ignore(m, REASON_STALE);
    } else if (m->event->kind == STAGE_EVENT_JOB_EXHAUSTED) {
        machine_apply(m, REASON_CLEANUP_FAILED);
        machine_order_alert(m, TEMPLATE_BLOCKED);
    } else {
        machine_apply(m, REASON_CLEANED_UP);
    }
}

static void on_job_end(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    const struct stage_event *e = m->event;
    if (!job_carries(e->job, f->stage))
        machine_ignore(m, REASON_STALE);
    else if (e->job == JOB_CLEANUP)
        on_cleanup(m);
    else if (f->stop_requested)
        end_stopping(m);
    else if (f->blocked)
        machine_ignore(m, REASON_BLOCKED);
    else if (e->kind == STAGE_EVENT_JOB_CANCELLED)
        machine_ignore(m, REASON_STOPPED);
    else if (f->parked != PARKED_NONE)
        machine_ignore(m, REASON_REPEATED);
    else if (f->stage == STAGE_ANALYSIS && (f->follow_up_queued || f->job_live)) {
        machine_apply(m, REASON_FOLLOW_UP); /* what it found is outdated by the comments since */
        machine_enter(m, STAGE_ANALYSIS);
    } else if (e->kind == STAGE_EVENT_JOB_EXHAUSTED)
        machine_block(m, e->job == JOB_DEPLOY ? REASON_NEEDS_PERSON : REASON_ATTEMPTS_EXHAUSTED,
                      "attempts");
    else if (passed(e))
        on_passed(m);
    else if (e->verdict == GATE_WAITING && stage_waits_for_ci(e->job, f->stage)) {
        machine_apply(m, REASON_WAITING_CI);
        machine_park(m, PARKED_CI); /* in the stage's own status, and nothing is said */
    } else if (e->verdict == GATE_MOVED && f->stage >= STAGE_REVIEW)
        machine_return_to_review(m);
    else if (e->verdict == GATE_FAIL && stage_table[f->stage].on_failure == STAGE_FAILURE_ROLLBACK)
        machine_roll_back(m);
    else /* retry.c repeats these; doubt is never a pass */
        machine_block(m, e->verdict == GATE_FAIL ? REASON_GATE_FAILED : REASON_GATE_UNKNOWN,
                      "attempts");
}

static void on_job_missing(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    if (stage_is_terminal(f->stage))
        machine_ignore(m, REASON_ALREADY_STOPPED);
    else if (f->stage == STAGE_CREATED)
        machine_ignore(m, REASON_WRONG_STAGE);
    else if (f->blocked)
        machine_ignore(m, REASON_BLOCKED);
    else if (f->parked != PARKED_NONE || f->job_live || f->agent_running || f->critical_running ||
             f->follow_up_queued)
        machine_ignore(m, REASON_REPEATED);
    else if (f->stop_requested && !machine_is_delivered(f))
        machine_cancel(m);
    else if (machine_lease_is_missing(m)) {
        machine_apply(m, REASON_LEASE_LOST);
        machine_move_to_edge_gates(m);
        machine_order_comment(m, TEMPLATE_TRANSITION, machine_speaker);
    } else {
        machine_apply(m, REASON_JOB_RESTORED);
        machine_start_work(m, f->stage, true);
    }
}

static void on_comment(struct machine *m)
{
    machine_ignore(m, REASON_NO_COMMAND);
}

/* ---- the machine ---- */

static const struct {
    void (*decide)(struct machine *m);
    bool bound; /* made for one entry: never for "the current one" */
} event_table[STAGE_EVENT_COUNT] = {
    [STAGE_EVENT_TO_ANALYSE] = {machine_on_to_analyse, false},
    [STAGE_EVENT_APPROVED] = {machine_on_approved, false},
    [STAGE_EVENT_CONFIRM_DEPLOY] = {machine_on_confirm_deploy, false},
    [STAGE_EVENT_STOP] = {machine_on_stop, false},
    [STAGE_EVENT_RETRY] = {machine_on_retry, false},
    [STAGE_EVENT_JOB_SUCCEEDED] = {on_job_end, true},
    [STAGE_EVENT_JOB_EXHAUSTED] = {on_job_end, true},
    [STAGE_EVENT_JOB_CANCELLED] = {on_job_end, true},
    [STAGE_EVENT_CLEANUP_DONE] = {on_cleanup, true},
    [STAGE_EVENT_JOB_MISSING] = {on_job_missing, true},
    [STAGE_EVENT_MERGED_OUTSIDE] = {machine_on_merged_outside, true},
    [STAGE_EVENT_BY_HAND] = {machine_on_by_hand, true},
    [STAGE_EVENT_NO_PROGRESS] = {machine_on_no_progress, true},
    [STAGE_EVENT_LABEL] = {machine_on_label, true},
    [STAGE_EVENT_CI] = {machine_on_ci, true},
    [STAGE_EVENT_COMMENT] = {on_comment, false},
};

static bool stale(const struct stage_facts *facts, const struct stage_event *event)
{
    bool bound = event_table[event->kind].bound || event->source == SOURCE_RECONCILER;
    int64_t current = facts->exists ? facts->entry : 0;
    return event->entry != current && (bound || event->entry != 0);
}

void stage_decide(const struct stage_facts *facts, const struct stage_event *event,
                  struct stage_decision *decision)
{
    struct machine m = {facts, event, decision};
    *decision = (struct stage_decision){.to = STAGE_COUNT, .counter = ""};
    if (event->kind >= STAGE_EVENT_COUNT || (facts->exists && facts->stage >= STAGE_COUNT)) {
        machine_ignore(&m, REASON_INTERNAL);
        return;
    }
    if (stale(facts, event))
        machine_ignore(&m, REASON_STALE);
    else if (facts->exists || event->kind == STAGE_EVENT_TO_ANALYSE)
        event_table[event->kind].decide(&m);
    else if (event->source == SOURCE_OPERATOR)
        machine_refuse(&m, REASON_UNKNOWN_TASK, false);
    else
        machine_ignore(&m, REASON_UNKNOWN_TASK);
}
