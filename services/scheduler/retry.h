/* PURE: no I/O */
/* What becomes of a job when one of its runs has ended: passed on to the stage machine, put back
 * into the queue, or given up. The stage machine never sees a run that is repeated. */
#ifndef ORCH_RETRY_H
#define ORCH_RETRY_H

#include <stdbool.h>
#include <stdint.h>
#include "services/scheduler/stage.h"

enum failure_class {
#define FAILURE_CLASS(id, name, reason, budget, session) FAILURE_CLASS_##id,
#include "services/scheduler/failure_classes.def"
#undef FAILURE_CLASS
    FAILURE_CLASS_COUNT
};

/* An unknown name is PERMANENT: it counts, so it ends. */
enum failure_class failure_class_by_name(const char *name);
const char *failure_class_name(enum failure_class class);
/* Of a queued job, from its reason ("transient: 429 ..."); NONE where it tells no class. */
enum failure_class failure_class_of_reason(const char *reason);

enum run_outcome { RUN_SUCCEEDED, RUN_FAILED, RUN_LOST, RUN_CANCELLED };
/* From run_result; an unknown name is RUN_FAILED. */
enum run_outcome run_outcome_by_name(const char *name);
/* "pass" "fail" "moved" "waiting" "unknown"; NULL is GATE_NONE, anything else GATE_UNKNOWN: never a
 * pass. */
enum gate_verdict gate_verdict_by_name(const char *name);

/* The job's row before this result, and its settings. */
struct retry_job {
    enum job_kind kind;
    enum stage stage;
    int attempt; /* counted attempts, this one included: from 1 */
    int max_attempts;
    int transient;     /* transient failures so far */
    int max_transient; /* retry.transient_attempts */
    int losses;        /* lost runs in a row before this one */
    bool resumed;      /* this run resumed a session */
    bool stopped;      /* we ordered this run to stop (STOP) */
};

struct retry_result {
    enum run_outcome outcome;
    enum failure_class class;
    enum gate_verdict verdict;
    int64_t retry_after_ms; /* a wait that the outside asked for; 0: none */
};

struct retry_limits {
    int64_t base_ms;  /* retry.base_s */
    int64_t max_ms;   /* retry.max_s */
    int64_t probe_ms; /* usage_limit.probe_s */
};

enum retry_action {
    RETRY_ACCEPT,    /* the job is done: JOB_SUCCEEDED with its verdict goes to the stage machine */
    RETRY_REQUEUE,   /* the job is queued again with the values below */
    RETRY_EXHAUSTED, /* the job failed: JOB_EXHAUSTED */
    RETRY_CANCELLED, /* the job is cancelled: JOB_CANCELLED */
};

struct retry_decision {
    enum retry_action action;
    enum reason reason; /* why it waits or ended; its code names the class to retry_due */
    int attempt, transient, losses; /* the row's new values */
    int64_t not_before_ms;          /* RETRY_REQUEUE; 0: at once */
    bool keep_session;              /* RETRY_REQUEUE: resume it; false: forget it */
    bool keep_findings; /* RETRY_REQUEUE: the next attempt's brief quotes the gate's findings */
    bool announce;      /* RETRY_REQUEUE: it will go on for ever, say so once (cleanup) */
};

/* now_ms: wall clock. seed: any number, another for each job and run; it spreads the waits. */
void retry_decide(const struct retry_job *job, const struct retry_result *result,
                  const struct retry_limits *limits, int64_t now_ms, uint64_t seed,
                  struct retry_decision *decision);

/* The longest wait that retry_decide ever orders for this class. */
int64_t retry_wait_max_ms(enum failure_class class, const struct retry_limits *limits);

/* Whether a queued job's not_before has come. Further ahead than its class's longest wait: the
 * clock jumped back, it counts as due. */
bool retry_due(int64_t not_before_ms, enum failure_class class, const struct retry_limits *limits,
               int64_t now_ms);

#endif
