/* Tasks that wait for CI of their head (standing.h). */
#ifndef ORCH_CI_WAIT_H
#define ORCH_CI_WAIT_H

#include "services/scheduler/rows.h"

/* In the open turn, before work is handed out: who waits has a query. */
void ci_ask(struct scheduler *scheduler);

/* The message query_result, of such a query. Returns the answer to it (caller's). */
json_t *ci_take(struct scheduler *scheduler, const json_t *message);

/* Since when the task's branch is known to have had this head at the forge; 0: unknown. */
int64_t ci_head_since(struct scheduler *scheduler, int64_t task, const char *head);

#endif
