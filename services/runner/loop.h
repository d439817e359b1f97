/* The runner's main loop: owns the bus, starts and adopts runs. */
#ifndef ORCH_RUNNER_LOOP_H
#define ORCH_RUNNER_LOOP_H

#include "services/runner/runner.h"

/* Config, git and lists of a runner whose service has begun. */
void runner_init(struct runner *runner);
/* Reads home/runs back: adopts, finishes, resends. Before the first work is asked for. */
void runner_adopt(struct runner *runner);
/* Until TERM or INT. */
void runner_loop(struct runner *runner);

#endif
