/* Merge leases: the right to merge into a repository's default branch, one holder per repository. A
 * record only; it belongs to a task, used_by_run names the run that works under it. */
#ifndef ORCH_LEASES_H
#define ORCH_LEASES_H

#include "services/scheduler/rows.h"

/* For the task, unless another has it. True where the task holds it. */
bool lease_take(struct scheduler *scheduler, const struct task *task);
/* A job of the holder was claimed as this run; merge: what the gate judged becomes the intent. */
void lease_use(struct scheduler *scheduler, const struct task *task, const char *run, bool merge);
/* The run ended: nobody works under the lease. */
void lease_rest(struct scheduler *scheduler, const char *run);
/* What the merge gate judged: {old_head, new_head, base} of its result. */
void lease_judged(struct scheduler *scheduler, const struct task *task, const json_t *detail);
/* False where the task does not hold it. */
bool lease_release(struct scheduler *scheduler, const struct task *task, const char *why);

#endif
