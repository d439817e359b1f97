/* PURE: no I/O */
/* Whether a provider's agents may be started: its allowance, its key and its health are one for all
 * tasks, so they are found out once. A provider that is held lets one probe through when its time
 * has come; what the probe's agent says first, or how it ends, decides for all. */
#ifndef ORCH_PROVIDER_RULES_H
#define ORCH_PROVIDER_RULES_H

#include <stdbool.h>
#include <stdint.h>
#include "services/scheduler/retry.h"

enum provider_hold {
    HOLD_NONE,
    HOLD_BREAKER,     /* breaker.threshold transient failures in a row */
    HOLD_USAGE_LIMIT, /* its allowance is spent */
    HOLD_OPERATOR,    /* somebody has to mend something: a revoked key, no credit */
    HOLD_COUNT
};

struct provider_state {
    enum provider_hold hold;
    int failures;     /* transient ones in a row */
    int64_t until_ms; /* wall clock; while it is held: when a probe may go */
};

struct provider_limits {
    int threshold;    /* breaker.threshold */
    int64_t open_ms;  /* breaker.open_s */
    int64_t probe_ms; /* usage_limit.probe_s */
};

/* What one run says of its provider. */
enum provider_word {
    WORD_NOTHING,   /* it was interrupted, lost, or never got so far */
    WORD_ANSWERS,   /* the provider did its work, whatever the task made of it */
    WORD_TRANSIENT, /* it could not be reached, or was overloaded */
    WORD_LIMIT,
    WORD_OPERATOR,
};

/* agent_succeeded: the agent itself ended well; what failed came after it. */
enum provider_word provider_word_of(enum run_outcome outcome, enum failure_class class,
                                    bool agent_succeeded);

/* resets_ms: the stated reset of the allowance by the wall clock, 0: not stated. */
struct provider_state provider_after(const struct provider_state *before, enum provider_word word,
                                     int64_t resets_ms, const struct provider_limits *limits,
                                     int64_t now_ms);

/* REASON_OK: an agent of it may be started. probing: the run of a probe is under way. */
enum reason provider_judge(const struct provider_state *state, bool probing,
                           const struct provider_limits *limits, int64_t now_ms);

enum reason provider_hold_reason(enum provider_hold hold);
/* From the reason's code; HOLD_NONE where it is none. */
enum provider_hold provider_hold_by_name(const char *name);

#endif
