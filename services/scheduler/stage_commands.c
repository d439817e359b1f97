/* PURE: no I/O */
#include "services/scheduler/stage_machine.h"

/* What was parked is parked again; but the head that CI was asked about, or that was to be
 * deployed, is forgotten with the rest that people undid by hand, so the stage's work makes
 * another. */
static bool is_parked_again(const struct stage_facts *f)
{
    bool undone = f->blocked_outside && (f->parked == PARKED_CI || f->stage == STAGE_DEPLOY);
    return f->parked != PARKED_NONE && !undone;
}

static void resume(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    struct stage_decision *d = m->decision;
    machine_apply(m, REASON_RESUMED);
    d->unblock = true;
    d->reset_counters = true;
    d->remember_command = true;
    d->forget_outside = f->blocked_outside;
    if (f->stage == STAGE_CREATED) {
        machine_enter(m, STAGE_ANALYSIS);
    } else if (is_parked_again(f)) {
        struct stage_facts shown = *f;
        shown.blocked = false;
        machine_move(m, f->stage);
        machine_park(m, f->parked);
        machine_order_status(m, stage_display(&shown));
    } else if (machine_lease_is_missing(m) ||
               (f->stage == STAGE_DEPLOY && f->blocked_outside && !f->merged)) {
        machine_move_to_edge_gates(m);
    } else {
        machine_move(m, f->stage);
        machine_start_work(m, f->stage, true);
    }
    machine_order_comment(m, TEMPLATE_RESUMED, machine_speaker);
}

/* To Analyse in analysis: the analyst once more, with the comments written since. */
static void relaunch(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    /* not displayed: it is still the command that brought the task here */
    if (!machine_displayed(m) || f->command_seen || f->follow_up_queued) {
        machine_ignore(m, REASON_REPEATED);
        return;
    }
    machine_apply(m, REASON_FOLLOW_UP);
    m->decision->remember_command = true;
    if (f->parked != PARKED_NONE || (!f->agent_running && !f->job_live)) {
        machine_enter(m, STAGE_ANALYSIS);
    } else {
        if (f->agent_running)
            machine_order_follow_up(m);
        if (machine_seen_in_tracker(m))
            machine_order_status(m, STATUS_ANALYSIS);
    }
    machine_order_comment(m, TEMPLATE_RESUMED, machine_speaker);
}

void machine_on_to_analyse(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    if (!f->exists || (f->stage == STAGE_CREATED && !f->blocked)) {
        machine_apply(m, REASON_STARTED);
        m->decision->create = !f->exists;
        m->decision->remember_command = f->exists;
        machine_enter(m, STAGE_ANALYSIS);
        machine_order_comment(m, TEMPLATE_TRANSITION, machine_speaker);
    } else if (stage_is_terminal(f->stage) || (!f->blocked && f->stage != STAGE_ANALYSIS)) {
        machine_refuse(m, REASON_NOT_BLOCKED, true);
    } else if (!f->blocked) {
        relaunch(m);
    } else if (!machine_displayed(m)) {
        machine_refuse_too_early(m);
    } else {
        resume(m);
    }
}

void machine_on_retry(struct machine *m)
{
    if (!m->facts->blocked || stage_is_terminal(m->facts->stage))
        machine_refuse(m, REASON_NOT_BLOCKED, false);
    else
        resume(m);
}

/* What Approved and Confirm Deploy have in common; false: answered already. */
static bool awaited(struct machine *m, enum stage stage, enum parked parked)
{
    const struct stage_facts *f = m->facts;
    if (f->stage != stage)
        machine_refuse(m, REASON_WRONG_STAGE, false);
    else if (m->event->not_approver)
        machine_refuse(m, REASON_NOT_APPROVER, true);
    else if (f->blocked)
        machine_refuse(m, REASON_BLOCKED, true);
    else if (f->command_seen)
        machine_ignore(m, REASON_REPEATED);
    else if (f->parked != parked && (!machine_seen_in_tracker(m) || stage == STAGE_DEPLOY))
        machine_refuse(m, REASON_NOT_PARKED, false);
    else if (f->parked != parked || !machine_displayed(m))
        machine_refuse_too_early(m);
    else
        return true;
    return false;
}

void machine_on_approved(struct machine *m)
{
    if (!awaited(m, STAGE_ANALYSIS, PARKED_APPROVAL))
        return;
    m->decision->remember_command = true;
    machine_approve(m, REASON_APPROVED);
}

static void confirm(struct machine *m, enum reason reason)
{
    if (machine_lease_is_missing(m)) {
        machine_apply(m, REASON_LEASE_LOST);
        machine_move_to_edge_gates(m);
        machine_order_comment(m, TEMPLATE_TRANSITION, machine_speaker);
        return;
    }
    machine_apply(m, reason);
    m->decision->unpark = true;
    machine_order_job(m, m->facts->merged ? machine_job_after_merge(m->facts) : JOB_MERGE, "",
                      false);
    machine_order_status(m, STATUS_DEPLOYING);
    if (reason == REASON_AUTO_CONFIRMED)
        machine_order_alert(m, TEMPLATE_CONFIRMED);
}

void machine_on_confirm_deploy(struct machine *m)
{
    if (!awaited(m, STAGE_DEPLOY, PARKED_CONFIRM))
        return;
    m->decision->remember_command = true;
    confirm(m, REASON_CONFIRMED);
}

/* The person's way, but for the person. */
void machine_on_label(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    if (stage_is_terminal(f->stage))
        machine_ignore(m, REASON_ALREADY_STOPPED);
    else if (f->blocked)
        machine_ignore(m, REASON_BLOCKED);
    else if (f->parked == PARKED_NONE || f->parked != m->event->waives)
        machine_ignore(m, REASON_NOT_PARKED);
    else if (f->stage == STAGE_ANALYSIS && f->parked == PARKED_APPROVAL)
        machine_approve(m, REASON_AUTO_APPROVED);
    else if (f->stage == STAGE_DEPLOY && f->parked == PARKED_CONFIRM)
        confirm(m, REASON_AUTO_CONFIRMED);
    else
        machine_ignore(m, REASON_WRONG_STAGE);
}

/* A deploy that has succeeded is recorded first, where there is a job left that does it. */
static bool may_stop_now(const struct stage_facts *f)
{
    bool comes_to_its_end = f->job_live && !f->blocked && f->parked == PARKED_NONE;
    return !f->critical_running && !(machine_is_delivered(f) && comes_to_its_end);
}

void machine_on_stop(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    if (stage_is_terminal(f->stage)) {
        machine_refuse(m, REASON_ALREADY_STOPPED, false);
    } else if (!f->stop_enabled && !f->stop_requested) {
        if (m->event->source == SOURCE_OPERATOR)
            machine_refuse(m, REASON_DISABLED, false);
        else
            machine_ignore(m, REASON_DISABLED);
    } else if (m->event->not_approver) {
        machine_refuse(m, REASON_NOT_APPROVER, true);
    } else if (may_stop_now(f)) {
        m->decision->remember_command = true;
        machine_cancel(m);
    } else if (f->stop_requested) {
        machine_ignore(m, REASON_REPEATED);
    } else {
        machine_apply(m, REASON_STOP_DEFERRED);
        m->decision->request_stop = true;
        m->decision->remember_command = true;
        machine_order_comment(m, TEMPLATE_STOP_DEFERRED, machine_speaker);
    }
}
