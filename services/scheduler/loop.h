/* The one loop: takes what came, in turns of one transaction each, and answers after the commit. */
#ifndef ORCH_SCHEDULER_LOOP_H
#define ORCH_SCHEDULER_LOOP_H

#include "protocol/service.h"
#include "services/scheduler/scheduler.h"

/* Until TERM. The store is open. */
void loop_run(struct scheduler *scheduler, struct service *service);

#endif
