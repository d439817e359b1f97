/* PURE: no I/O */
#include "services/scheduler/retry.h"

#include <stddef.h>
#include <string.h>

enum budget { BUDGET_ATTEMPTS, BUDGET_TRANSIENTS, BUDGET_NOBODY };
enum session { SESSION_NEW, SESSION_KEEP };

static const struct {
    const char *name;
    enum reason reason;
    enum budget budget;
    enum session session;
} class_table[FAILURE_CLASS_COUNT] = {
#define FAILURE_CLASS(id, name, reason, budget, session)                                           \
    [FAILURE_CLASS_##id] = {name, REASON_##reason, BUDGET_##budget, SESSION_##session},
#include "services/scheduler/failure_classes.def"
#undef FAILURE_CLASS
};

enum {
    LOSSES_MAX = 3, /* the third in a row is a failure of its own */
    HOUR_MS = 3600 * 1000,
    RETRY_AFTER_MAX_MS = HOUR_MS, /* what an overloaded server may ask of us */
};
static const int64_t usage_reset_max_ms = 8LL * 24 * HOUR_MS; /* allowances reset weekly at most */

enum failure_class failure_class_by_name(const char *name)
{
    for (int class = 0; name != NULL && class < FAILURE_CLASS_COUNT; class ++)
        if (strcmp(name, class_table[class].name) == 0)
            return (enum failure_class) class;
    return FAILURE_CLASS_PERMANENT;
}

const char *failure_class_name(enum failure_class class)
{
    return class < FAILURE_CLASS_COUNT ? class_table[class].name : "permanent";
}

enum failure_class failure_class_of_reason(const char *reason)
{
    enum reason code = reason_by_code(reason);
    for (int class = FAILURE_CLASS_NONE + 1; code != REASON_COUNT && class < FAILURE_CLASS_COUNT;
         class ++)
        if (class_table[class].reason == code)
            return (enum failure_class) class;
    return FAILURE_CLASS_NONE;
}

enum run_outcome run_outcome_by_name(const char *name)
{
    static const char *const names[] = {
        [RUN_SUCCEEDED] = "succeeded",
        [RUN_FAILED] = "failed",
        [RUN_LOST] = "lost",
        [RUN_CANCELLED] = "cancelled",
    };
    for (int outcome = RUN_SUCCEEDED; name != NULL && outcome <= RUN_CANCELLED; outcome++)
        if (strcmp(name, names[outcome]) == 0)
            return (enum run_outcome)outcome;
    return RUN_FAILED;
}

enum gate_verdict gate_verdict_by_name(const char *name)
{
    if (name == NULL)
        return GATE_NONE;
    if (strcmp(name, "pass") == 0)
        return GATE_PASS;
    if (strcmp(name, "moved") == 0)
        return GATE_MOVED;
    if (strcmp(name, "waiting") == 0)
        return GATE_WAITING;
    return strcmp(name, "fail") == 0 ? GATE_FAIL : GATE_UNKNOWN;
}

/* ---- waits ---- */

static int64_t at_least(int64_t value, int64_t floor)
{
    return value > floor ? value : floor;
}

static int64_t at_most(int64_t value, int64_t ceiling)
{
    return value < ceiling ? value : ceiling;
}

int64_t retry_wait_max_ms(enum failure_class class, const struct retry_limits *limits)
{
    switch (class) {
    case FAILURE_CLASS_TRANSIENT:
        return at_least(limits->max_ms, RETRY_AFTER_MAX_MS);
    case FAILURE_CLASS_USAGE_LIMIT:
        return at_least(limits->probe_ms, usage_reset_max_ms);
    case FAILURE_CLASS_OPERATOR:
    case FAILURE_CLASS_CONFIG:
        return at_least(limits->probe_ms, RETRY_AFTER_MAX_MS);
    default:
        return at_least(limits->max_ms, 0);
    }
}

bool retry_due(int64_t not_before_ms, enum failure_class class, const struct retry_limits *limits,
               int64_t now_ms)
{
    return not_before_ms <= now_ms || not_before_ms - now_ms > retry_wait_max_ms(class, limits);
}

/* splitmix64's finaliser: spreads neighbouring seeds evenly. */
static uint64_t scatter(uint64_t seed)
{
    seed += 0x9e3779b97f4a7c15u;
    seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9u;
    seed = (seed ^ (seed >> 27)) * 0x94d049bb133111ebu;
    return seed ^ (seed >> 31);
}

static int64_t random_below(uint64_t seed, int64_t bound)
{
    return bound > 0 ? (int64_t)(scatter(seed) % (uint64_t)bound) : 0;
}

/* min(2^n * base, max), of which the upper half is jitter. */
static int64_t backoff(int n, const struct retry_limits *limits, uint64_t seed)
{
    int64_t max = at_least(limits->max_ms, 0);
    int64_t delay = at_least(limits->base_ms, 0);
    for (int i = 0; i < n && delay < max && delay <= INT64_MAX / 2; i++)
        delay *= 2;
    delay = at_most(delay, max);
    return delay - random_below(seed, delay / 2 + 1);
}

/* Never earlier than asked for, a little later so that not everybody comes back at once. */
static int64_t asked_for(int64_t retry_after_ms, int64_t max, uint64_t seed)
{
    int64_t wait = at_most(retry_after_ms, max);
    return at_most(wait + random_below(seed, wait / 10 + 1), max);
}

static int64_t wait_for(enum failure_class class, int n, const struct retry_result *result,
                        const struct retry_limits *limits, uint64_t seed)
{
    int64_t max = retry_wait_max_ms(class, limits);
    if (result->retry_after_ms > 0)
        return asked_for(result->retry_after_ms, max, seed);
    if (class == FAILURE_CLASS_TRANSIENT)
        return backoff(n, limits, seed);
    int64_t probe = at_least(limits->probe_ms, 0);
    return at_most(probe, max);
}

/* ---- the decision ---- */

static void give(struct retry_decision *decision, enum retry_action action, enum reason reason)
{
    decision->action = action;
    decision->reason = reason;
}

/* A failure that counts. The cleanup of a cancelled task alone never ends: its successor waits for
 * it, so it is repeated ever slower and said once. */
static void fail(const struct retry_job *job, const struct retry_limits *limits, int64_t now_ms,
                 uint64_t seed, enum reason reason, struct retry_decision *decision)
{
    /* what a hook did is not undone by doing it again: a person looks first */
    bool last = job->attempt >= job->max_attempts || job->kind == JOB_DEPLOY;
    if (last && job->kind != JOB_CLEANUP) {
        give(decision, RETRY_EXHAUSTED, reason);
        return;
    }
    give(decision, RETRY_REQUEUE, reason);
    decision->attempt = job->attempt + 1;
    decision->keep_session = false;
    if (job->kind == JOB_CLEANUP) {
        decision->not_before_ms = now_ms + backoff(job->attempt - 1, limits, seed);
        decision->announce = job->attempt == job->max_attempts;
    }
}

static bool has_gate(enum job_kind kind)
{
    return kind == JOB_AGENT || kind == JOB_STAGE || kind == JOB_MERGE_GATE || kind == JOB_DEPLOY ||
           kind == JOB_FINALIZER;
}

/* The agent or tool ended well: its stage's gate says what that is worth. */
static bool accepted(const struct retry_job *job, enum gate_verdict verdict)
{
    if (verdict == GATE_MOVED) /* of a review, or of what comes after one */
        return job->stage >= STAGE_REVIEW && job->stage < STAGE_COUNT;
    if (verdict == GATE_WAITING)
        return stage_waits_for_ci(job->kind, job->stage);
    if (!has_gate(job->kind))
        return verdict == GATE_NONE || verdict == GATE_PASS ||
               (verdict == GATE_FAIL && job->kind == JOB_MERGE);
    if (verdict == GATE_FAIL)
        return job->stage < STAGE_COUNT &&
               stage_table[job->stage].on_failure == STAGE_FAILURE_ROLLBACK;
    return verdict == GATE_PASS;
}

static enum failure_class class_of(const struct retry_job *job, const struct retry_result *result)
{
    bool lost = result->outcome == RUN_LOST || result->class == FAILURE_CLASS_LOST;
    bool may_have_run = job->kind == JOB_DEPLOY && result->class != FAILURE_CLASS_OPERATOR &&
                        result->class != FAILURE_CLASS_TRANSIENT;
    if (lost)
        return job->losses + 1 >= LOSSES_MAX || may_have_run ? FAILURE_CLASS_PERMANENT
                                                             : FAILURE_CLASS_LOST;
    if (may_have_run)
        return FAILURE_CLASS_PERMANENT;
    if (result->outcome == RUN_CANCELLED)
        return FAILURE_CLASS_INTERRUPTED;
    return result->class < FAILURE_CLASS_COUNT ? result->class : FAILURE_CLASS_PERMANENT;
}

static void requeue_failed(const struct retry_job *job, const struct retry_result *result,
                           const struct retry_limits *limits, int64_t now_ms, uint64_t seed,
                           struct retry_decision *decision)
{
    enum failure_class class = class_of(job, result);
    enum reason reason = class_table[class].reason;
    enum budget budget = class_table[class].budget;
    bool lost = result->outcome == RUN_LOST || result->class == FAILURE_CLASS_LOST;
    if (lost && class == FAILURE_CLASS_PERMANENT)
        reason = REASON_LOST;
    decision->losses = class == FAILURE_CLASS_LOST ? job->losses + 1 : 0;
    /* a conversation that no longer fits is begun anew once, before it counts as a failure */
    if (class == FAILURE_CLASS_TASK && job->resumed)
        budget = BUDGET_NOBODY;
    if (budget == BUDGET_ATTEMPTS) {
        fail(job, limits, now_ms, seed, reason, decision);
        return;
    }
    if (budget == BUDGET_TRANSIENTS && job->kind != JOB_CLEANUP &&
        job->transient >= job->max_transient) {
        give(decision, RETRY_EXHAUSTED, REASON_TRANSIENT_EXHAUSTED);
        return;
    }
    give(decision, RETRY_REQUEUE, reason);
    decision->keep_session = class_table[class].session == SESSION_KEEP;
    if (budget == BUDGET_TRANSIENTS)
        decision->transient = job->transient + 1;
    if (class != FAILURE_CLASS_LOST && class != FAILURE_CLASS_INTERRUPTED &&
        class != FAILURE_CLASS_TASK && class != FAILURE_CLASS_BUDGET)
        decision->not_before_ms = now_ms + wait_for(class, job->transient, result, limits, seed);
}

void retry_decide(const struct retry_job *job, const struct retry_result *result,
                  const struct retry_limits *limits, int64_t now_ms, uint64_t seed,
                  struct retry_decision *decision)
{
    *decision = (struct retry_decision){.attempt = job->attempt, .transient = job->transient};
    if (result->outcome == RUN_SUCCEEDED && accepted(job, result->verdict)) {
        give(decision, RETRY_ACCEPT, result->verdict == GATE_FAIL ? REASON_GATE_FAILED : REASON_OK);
    } else if (job->stopped && job->kind != JOB_DEPLOY) {
        give(decision, RETRY_CANCELLED, REASON_STOPPED);
    } else if (result->outcome == RUN_SUCCEEDED) {
        bool failed = result->verdict == GATE_FAIL;
        decision->keep_findings = failed;
        fail(job, limits, now_ms, seed, failed ? REASON_GATE_FAILED : REASON_GATE_UNKNOWN,
             decision);
    } else {
        requeue_failed(job, result, limits, now_ms, seed, decision);
    }
}
