/* Commands for runner and reconciler: rows until they are acknowledged. */
#ifndef ORCH_COMMANDS_H
#define ORCH_COMMANDS_H

#include "services/scheduler/rows.h"

/* Turns a queued job, as it was loaded, into a running one and makes its run, with the command for
 * the runner. In the open turn. The command (caller's) and the size of its text; NULL: the job is
 * queued no more. */
json_t *commands_start(struct scheduler *scheduler, const struct task *task, const struct job *job,
                       size_t *size);

/* Orders a run to end. False where it has ended or was told so before. reason: "code: text". */
bool commands_stop(struct scheduler *scheduler, const char *run, const char *reason);

/* The run has ended: nothing more is told of it. */
void commands_forget(struct scheduler *scheduler, const char *run);

/* What waits for a held request: runs that were commanded or are to end; queries. */
void commands_give_runs(struct scheduler *scheduler);
void commands_give_queries(struct scheduler *scheduler);

#endif
