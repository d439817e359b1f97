/* What the runner tells of runs. Each handler may get its message any number of times; each returns
 * the answer (caller's). */
#ifndef ORCH_RESULTS_H
#define ORCH_RESULTS_H

#include "services/scheduler/rows.h"

json_t *results_accepted(struct scheduler *scheduler, const json_t *message);
json_t *results_started(struct scheduler *scheduler, const json_t *message);
json_t *results_progress(struct scheduler *scheduler, const json_t *message);
json_t *results_ended(struct scheduler *scheduler, const json_t *message);

/* The reaper's: this running job's process is gone. True where it flipped the row: lost, requeued
 * or given up as if the runner had said so. */
bool results_reaped(struct scheduler *scheduler, int64_t job, const char *run, const char *reason);

/* Progress that has not been written yet, into the open turn. */
void results_write_progress(struct scheduler *scheduler);

#endif
