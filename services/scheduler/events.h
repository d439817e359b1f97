/* Accepted events, from the inbox in their order: each is acted on once, in the transaction that
 * records how far the scheduler came. */
#ifndef ORCH_EVENTS_H
#define ORCH_EVENTS_H

#include "services/scheduler/rows.h"

enum { EVENTS_PER_TURN = 256 };

/* In the open turn. How many were taken; -1: the inbox cannot be read now. */
int events_take(struct scheduler *scheduler);

#endif
