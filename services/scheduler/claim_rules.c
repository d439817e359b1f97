/* PURE: no I/O */
#include "services/scheduler/claim_rules.h"

bool claim_begins_task(enum job_kind kind, enum stage stage)
{
    return kind == JOB_AGENT && stage == STAGE_ANALYSIS;
}

/* Agents spend money and memory; reserved jobs are short, and what they hold up (a merge lease, a
 * cleanup) should not wait behind an agent's half hour. */
static enum reason judge_limits(const struct claim_facts *f)
{
    if (f->kind != JOB_AGENT)
        return REASON_OK;
    if (f->budget != REASON_OK)
        return f->budget;
    if (f->provider != REASON_OK)
        return f->provider;
    if (f->agents >= f->agents_max)
        return REASON_LIMIT_GLOBAL;
    if (f->project_agents >= f->project_agents_max)
        return REASON_LIMIT_PROJECT;
    if (f->role_agents_max > 0 && f->role_agents >= f->role_agents_max)
        return REASON_LIMIT_ROLE;
    return REASON_OK;
}

static enum reason judge_task(const struct claim_facts *f)
{
    if (f->task_runs)
        return REASON_TASK_BUSY;
    bool begins = claim_begins_task(f->kind, f->stage);
    if (begins && !f->predecessor_cleaned)
        return REASON_PREDECESSOR;
    if (begins && f->dependency != REASON_OK)
        return f->dependency;
    if (begins && f->is_frozen)
        return REASON_FROZEN;
    if (begins && f->is_gated)
        return REASON_SERIAL_GATE;
    if ((f->kind == JOB_MERGE_GATE || f->kind == JOB_DEPLOY) && f->lease_busy)
        return REASON_LEASE_BUSY;
    if (f->kind == JOB_MERGE && !f->lease_held)
        return REASON_LEASE_LOST;
    return REASON_OK;
}

/* Its time comes first: while it has not come, the words that the job has stay as they are. */
enum reason claim_judge(const struct claim_facts *f)
{
    if (!f->due)
        return REASON_COUNT;
    if (!f->project_known)
        return REASON_UNKNOWN_PROJECT;
    if (f->starting)
        return REASON_STARTING;
    if (f->paused || f->project_paused)
        return REASON_PAUSED;
    if (f->draining)
        return REASON_DRAINING;
    if (f->disk_low)
        return REASON_DISK_LOW;
    enum reason reason = judge_task(f);
    return reason != REASON_OK ? reason : judge_limits(f);
}
