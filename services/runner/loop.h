/* The runner's main loop: owns the bus, starts and adopts runs. */
#ifndef ORCH_RUNNER_LOOP_H
#define ORCH_RUNNER_LOOP_H

#include "services/runner/runner.h"

/* Config, git and lists of a runner whose service has begun. */
void runner_init(struct runner *runner);
/* Until TERM or INT. */
void runner_loop(struct runner *runner);

/* ---- runs.c ---- */

/* Takes a run_start: durable in its directory, acknowledged, started. A repetition answers the
 * same. */
void runs_start(struct runner *runner, json_t *item);
/* Again those whose directory could not be written. */
void runs_retry(struct runner *runner);
/* Takes a run_stop. */
void runs_stop(struct runner *runner, const json_t *item);
/* Reads home/runs back: adopts, finishes, resends. Before the first work is asked for. */
void runner_adopt(struct runner *runner);

#endif
