/* Facts from outside that the scheduler asks the reconciler for: query jobs, at most one waiting
 * per task and subject. No answer is the answer unknown, and the work goes on with what was known
 * last. */
#ifndef ORCH_QUERIES_H
#define ORCH_QUERIES_H

#include "services/scheduler/rows.h"

enum {
    QUERY_FRESH_MS = 60 * 1000,         /* chapter 03: the prompt's issue is not older than this */
    QUERY_PATIENCE_MS = 10 * 1000,      /* then it is unknown */
    QUERY_PATIENCE_ALONE_MS = 2 * 1000, /* the same, where no reconciler asks for work */
};

/* Whether the task's issue is known well enough to start an agent with; asks where it is not. */
bool queries_are_fresh(struct scheduler *scheduler, int64_t task);

/* What is known of the task's issue is older than what a person has just said or done: it is asked
 * for again before its next agent starts. An answer that is under way was read too early. */
void queries_outdate(struct scheduler *scheduler, int64_t task);

/* Asks where no such question of the task waits already. what: as in the message query; why: the
 * row's "code: text". */
void queries_ask(struct scheduler *scheduler, int64_t task, const char *what, const char *why);

/* What a query job is called in the reconciler's work. */
void queries_key(int64_t job, char key[WORK_KEY_SIZE]);

/* What people wrote on the issue, as last known: {author, body, at_ms}, oldest first. *stale: the
 * tracker could not be asked. Caller decrefs. */
json_t *queries_comments(struct scheduler *scheduler, const struct task *task, bool *stale);

/* The message query_result. Returns the answer to it (caller's). */
json_t *queries_take(struct scheduler *scheduler, const json_t *message);

#endif
