/* PURE: no I/O */
#include "services/scheduler/stage_machine.h"

const char machine_speaker[] = "stream";

void machine_order_job(struct machine *m, enum job_kind kind, const char *role, bool with_findings)
{
    struct stage_decision *d = m->decision;
    d->cancel_jobs = d->cancel_jobs || m->facts->job_live; /* a stage has one job */
    d->jobs[d->job_count++] = (struct job_order){kind, role, with_findings};
}

void machine_order_follow_up(struct machine *m)
{
    struct stage_decision *d = m->decision;
    d->jobs[d->job_count++] =
        (struct job_order){JOB_AGENT, stage_table[m->facts->stage].role, false};
}

static void order_effect(struct machine *m, struct effect_order effect)
{
    m->decision->effects[m->decision->effect_count++] = effect;
}

void machine_order_status(struct machine *m, enum status status)
{
    order_effect(m, (struct effect_order){.kind = EFFECT_STATUS,
                                          .status = status,
                                          .author = machine_speaker,
                                          .droppable = status != STATUS_DONE &&
                                                       status != STATUS_CANCELLED &&
                                                       status != STATUS_APPROVED});
}

void machine_order_comment(struct machine *m, enum message_template template, const char *author)
{
    order_effect(
        m, (struct effect_order){.kind = EFFECT_COMMENT, .template = template, .author = author});
}

void machine_order_alert(struct machine *m, enum message_template template)
{
    order_effect(m, (struct effect_order){
                        .kind = EFFECT_ALERT, .template = template, .author = machine_speaker});
}

void machine_apply(struct machine *m, enum reason reason)
{
    m->decision->outcome = DECISION_APPLIED;
    m->decision->reason = reason;
}

void machine_ignore(struct machine *m, enum reason reason)
{
    m->decision->outcome = DECISION_IGNORED;
    m->decision->reason = reason;
}

bool machine_seen_in_tracker(const struct machine *m)
{
    return m->event->source == SOURCE_TRACKER || m->event->source == SOURCE_RECONCILER;
}

void machine_refuse(struct machine *m, enum reason reason, bool say)
{
    m->decision->outcome = DECISION_REFUSED;
    m->decision->reason = reason;
    if (!machine_seen_in_tracker(m))
        return;
    machine_order_status(m, stage_display(m->facts));
    if (say && !m->facts->refusal_said) {
        machine_order_comment(m, TEMPLATE_REFUSED, machine_speaker);
        m->decision->remember_refusal = true;
    }
}

void machine_refuse_too_early(struct machine *m)
{
    if (m->event->source == SOURCE_RECONCILER)
        machine_ignore(m, REASON_TOO_EARLY);
    else
        machine_refuse(m, REASON_TOO_EARLY, true);
}

bool machine_displayed(const struct machine *m)
{
    return m->facts->display_confirmed || !machine_seen_in_tracker(m);
}

void machine_move(struct machine *m, enum stage to)
{
    struct stage_decision *d = m->decision;
    d->move = true;
    d->to = to;
    d->cancel_jobs = d->cancel_jobs || m->facts->job_live || m->facts->follow_up_queued;
    d->unpark = m->facts->exists && m->facts->parked != PARKED_NONE;
}

void machine_park(struct machine *m, enum parked what)
{
    m->decision->park = what;
    m->decision->unpark = false;
}

/* ---- work of a stage ---- */

void machine_move_to_edge_gates(struct machine *m)
{
    machine_move(m, STAGE_DEPLOY_STAGING);
    machine_order_job(m, JOB_MERGE_GATE, "", false);
    machine_order_status(m, STATUS_DEPLOY_STAGING);
}

static void await_confirm(struct machine *m)
{
    machine_park(m, PARKED_CONFIRM);
    machine_order_status(m, STATUS_AWAITING_DEPLOY);
    machine_order_comment(m, TEMPLATE_CONFIRM_REQUEST, "deployer");
}

void machine_start_work(struct machine *m, enum stage stage, bool again)
{
    const struct stage_facts *f = m->facts;
    bool show = m->decision->move;
    if (stage == STAGE_DEPLOY && f->confirm_deploy && !(again && f->merged)) {
        await_confirm(m);
        return;
    }
    if (show)
        machine_order_status(m, status_by_key(stage_table[stage].status));
    if (stage == STAGE_DEPLOY)
        machine_order_job(m, again && f->merged ? machine_job_after_merge(f) : JOB_MERGE, "",
                          false);
    else if (stage == STAGE_DEPLOY_STAGING && !f->staging_on)
        machine_order_job(m, JOB_MERGE_GATE, "", false);
    else if (stage == STAGE_DEPLOY_STAGING && f->deploy_hook)
        machine_order_job(m, JOB_STAGE, "", false);
    else if (stage_table[stage].role[0] != '\0')
        machine_order_job(m, JOB_AGENT, stage_table[stage].role,
                          again && stage == STAGE_DEVELOPMENT);
}

void machine_enter(struct machine *m, enum stage to)
{
    machine_move(m, to);
    machine_start_work(m, to, false);
}

bool machine_lease_is_missing(const struct machine *m)
{
    const struct stage_facts *f = m->facts;
    return f->stage == STAGE_DEPLOY && !f->merged && !f->lease_held;
}

bool machine_is_delivered(const struct stage_facts *facts)
{
    return facts->stage == STAGE_DEPLOY && facts->merged && facts->deployed;
}

enum job_kind machine_job_after_merge(const struct stage_facts *facts)
{
    bool calls = facts->deploy_hook && !facts->self_hosting;
    return calls && !machine_is_delivered(facts) ? JOB_DEPLOY : JOB_FINALIZER;
}

void machine_block(struct machine *m, enum reason reason, const char *counter)
{
    machine_apply(m, reason);
    m->decision->block = true;
    m->decision->counter = counter;
    machine_order_status(m, STATUS_BLOCKED);
    machine_order_alert(m, TEMPLATE_BLOCKED);
}

void machine_roll_back(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    m->decision->keep_findings = true;
    m->decision->release_lease = f->stage == STAGE_DEPLOY_STAGING || f->stage == STAGE_DEPLOY;
    if (f->rollbacks >= f->max_rollbacks) {
        machine_block(m, REASON_ROLLBACKS_EXHAUSTED, "rollbacks");
        return;
    }
    machine_apply(m, REASON_GATE_FAILED);
    m->decision->count_rollback = true;
    m->decision->forget_merge = f->merged;
    machine_move(m, STAGE_DEVELOPMENT);
    machine_start_work(m, STAGE_DEVELOPMENT, true);
    machine_order_comment(m, TEMPLATE_ROLLBACK, machine_speaker);
}

void machine_return_to_review(struct machine *m)
{
    const struct stage_facts *f = m->facts;
    m->decision->keep_findings = true;
    m->decision->release_lease = f->stage == STAGE_DEPLOY_STAGING || f->stage == STAGE_DEPLOY;
    if (f->returns >= STAGE_RETURNS_MAX) {
        machine_block(m, REASON_MOVED, "returns");
        return;
    }
    machine_apply(m, REASON_MOVED);
    m->decision->count_return = true;
    machine_move(m, STAGE_REVIEW);
    machine_order_status(m, STATUS_CODE_REVIEW);
    machine_order_job(m, JOB_AGENT, stage_table[STAGE_REVIEW].role, true);
    machine_order_comment(m, TEMPLATE_RETURN, machine_speaker);
}

void machine_cancel(struct machine *m)
{
    struct stage_decision *d = m->decision;
    if (machine_is_delivered(m->facts)) { /* nobody is told that nothing was deployed */
        machine_finish(m);
        return;
    }
    machine_apply(m, REASON_STOPPED);
    d->cancel_jobs = true;
    d->unblock = m->facts->blocked;
    d->release_lease = true;
    d->tombstone = true;
    machine_move(m, STAGE_CANCELLED);
    machine_order_job(m, JOB_CLEANUP, "", false);
    machine_order_status(m, STATUS_CANCELLED);
    /* a hook that left production as nobody knows needs a person, task or no task */
    if (m->event->kind == STAGE_EVENT_JOB_EXHAUSTED && m->event->job == JOB_DEPLOY)
        machine_order_alert(m, TEMPLATE_STOPPED);
    else
        machine_order_comment(m, TEMPLATE_STOPPED, machine_speaker);
}

void machine_finish(struct machine *m)
{
    machine_apply(m, REASON_DEPLOYED);
    m->decision->unblock = m->facts->blocked;
    m->decision->release_lease = true;
    machine_move(m, STAGE_DONE);
    machine_order_status(m, STATUS_DONE);
    if (m->facts->stop_requested || m->event->kind == STAGE_EVENT_STOP)
        machine_order_comment(m, TEMPLATE_STOP_TOO_LATE, machine_speaker);
    machine_order_comment(m, TEMPLATE_SUMMARY, "deployer");
}

void machine_approve(struct machine *m, enum reason reason)
{
    machine_apply(m, reason);
    if (reason == REASON_AUTO_APPROVED) {
        machine_order_status(m, STATUS_APPROVED);
        machine_order_alert(m, TEMPLATE_APPROVED);
    } else {
        machine_order_comment(m, TEMPLATE_APPROVED, machine_speaker);
    }
    machine_enter(m, STAGE_ARCHITECTURE);
}
