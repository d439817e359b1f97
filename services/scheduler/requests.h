/* Messages of other services to the scheduler: one table from kind to handler. */
#ifndef ORCH_REQUESTS_H
#define ORCH_REQUESTS_H

#include "services/scheduler/scheduler.h"

/* In the open turn. The answer, to be sent once the turn is committed (caller's); NULL where the
 * ticket was kept (work_request). */
json_t *requests_take(struct scheduler *scheduler, const struct bus_item *item);

/* Whether a message of this kind changes nothing, so that it may be answered without a commit. */
bool requests_only_asks(enum message_kind kind);

#endif
