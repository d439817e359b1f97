/* The reaper's messages (and of the reconciler, who watches the reaper): what runs, and proposals
 * about what runs no more. Only the winner of a guarded update acts. Each returns the answer. */
#ifndef ORCH_REAPING_H
#define ORCH_REAPING_H

#include "services/scheduler/rows.h"

json_t *reaping_running(struct scheduler *scheduler, const json_t *message);
json_t *reaping_reap(struct scheduler *scheduler, const json_t *message);
json_t *reaping_lease(struct scheduler *scheduler, const json_t *message);
json_t *reaping_service(struct scheduler *scheduler, const json_t *message);

#endif
