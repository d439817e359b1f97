/* Looking out for what a run of the local executor does; executor.h says what each is to do. */
#ifndef ORCH_LOCAL_WATCH_H
#define ORCH_LOCAL_WATCH_H

#include "services/runner/executor.h"

struct run_watch *local_watch(const char *dir);
void local_unwatch(struct run_watch *watch);
enum run_wake local_wait(struct run_watch *watch, int called_fd, bool output, int wait_ms);

/* executor_local.c */
enum run_state local_observe(const char *dir);

#endif
