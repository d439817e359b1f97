/* PURE: no I/O */
#include "services/scheduler/provider_rules.h"

#include <string.h>

/* An allowance resets weekly at most; what is further away is a clock that jumped. */
static const int64_t reset_max_ms = 8LL * 24 * 3600 * 1000;

static const enum reason hold_reasons[HOLD_COUNT] = {
    [HOLD_NONE] = REASON_OK,
    [HOLD_BREAKER] = REASON_BREAKER_OPEN,
    [HOLD_USAGE_LIMIT] = REASON_USAGE_LIMIT,
    [HOLD_OPERATOR] = REASON_OPERATOR,
};

enum reason provider_hold_reason(enum provider_hold hold)
{
    return hold_reasons[hold];
}

enum provider_hold provider_hold_by_name(const char *name)
{
    for (int hold = HOLD_NONE + 1; name && hold < HOLD_COUNT; hold++) {
        if (strcmp(name, reason_code(hold_reasons[hold])) == 0)
            return (enum provider_hold)hold;
    }
    return HOLD_NONE;
}

enum provider_word provider_word_of(enum run_outcome outcome, enum failure_class class,
                                    bool agent_succeeded)
{
    if (outcome == RUN_SUCCEEDED || agent_succeeded)
        return WORD_ANSWERS;
    if (outcome != RUN_FAILED)
        return WORD_NOTHING;
    switch (class) {
    case FAILURE_CLASS_TRANSIENT:
        return WORD_TRANSIENT;
    case FAILURE_CLASS_USAGE_LIMIT:
        return WORD_LIMIT;
    case FAILURE_CLASS_OPERATOR:
        return WORD_OPERATOR;
    case FAILURE_CLASS_TASK:
    case FAILURE_CLASS_BUDGET:
    case FAILURE_CLASS_PERMANENT:
        return WORD_ANSWERS;
    default:
        return WORD_NOTHING;
    }
}

static struct provider_state hold(enum provider_hold why, int failures, int64_t until_ms)
{
    return (struct provider_state){.hold = why, .failures = failures, .until_ms = until_ms};
}

/* A transient failure of what is held for a graver reason says nothing of that reason: the probe is
 * made again. */
static struct provider_state after_transient(const struct provider_state *before,
                                             const struct provider_limits *limits, int64_t now_ms)
{
    int failures = before->failures + 1;
    if (before->hold == HOLD_USAGE_LIMIT || before->hold == HOLD_OPERATOR)
        return hold(before->hold, failures,
                    before->until_ms > now_ms ? before->until_ms : now_ms + limits->probe_ms);
    if (before->hold == HOLD_BREAKER || failures >= limits->threshold)
        return hold(HOLD_BREAKER, failures, now_ms + limits->open_ms);
    return hold(HOLD_NONE, failures, 0);
}

struct provider_state provider_after(const struct provider_state *before, enum provider_word word,
                                     int64_t resets_ms, const struct provider_limits *limits,
                                     int64_t now_ms)
{
    bool stated = resets_ms > now_ms && resets_ms - now_ms <= reset_max_ms;
    switch (word) {
    case WORD_ANSWERS:
        return hold(HOLD_NONE, 0, 0);
    case WORD_TRANSIENT:
        return after_transient(before, limits, now_ms);
    case WORD_LIMIT:
        return hold(HOLD_USAGE_LIMIT, 0, stated ? resets_ms : now_ms + limits->probe_ms);
    case WORD_OPERATOR:
        return hold(HOLD_OPERATOR, 0, now_ms + limits->probe_ms);
    default:
        return *before;
    }
}

static int64_t longest(const struct provider_state *state, const struct provider_limits *limits)
{
    if (state->hold == HOLD_BREAKER)
        return limits->open_ms;
    return state->hold == HOLD_USAGE_LIMIT && limits->probe_ms < reset_max_ms ? reset_max_ms
                                                                              : limits->probe_ms;
}

enum reason provider_judge(const struct provider_state *state, bool probing,
                           const struct provider_limits *limits, int64_t now_ms)
{
    if (state->hold == HOLD_NONE)
        return REASON_OK;
    int64_t left = state->until_ms - now_ms;
    /* further away than it was ever set: the clock jumped back */
    bool due = left <= 0 || left > longest(state, limits);
    return due && !probing ? REASON_OK : hold_reasons[state->hold];
}
