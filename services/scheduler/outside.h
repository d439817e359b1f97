/* The reconciler's messages: what it compares, and the differences that it found. Each returns the
 * answer (caller's). */
#ifndef ORCH_OUTSIDE_H
#define ORCH_OUTSIDE_H

#include "services/scheduler/rows.h"

json_t *outside_tasks(struct scheduler *scheduler, const json_t *message);
json_t *outside_finding(struct scheduler *scheduler, const json_t *message);
json_t *outside_done(struct scheduler *scheduler, const json_t *message);

#endif
