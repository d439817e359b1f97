/* Pings services from a thread of its own and has the hung ones killed by their supervisor: a `k`
 * in supervise/control, which a stopped process does not have to hear. The reaper watches all
 * others with it, the reconciler watches the reaper.
 *
 * A service's supervise/ is found beside our own working directory (../<service>/supervise: so it
 * is under our supervisor and under runsvdir), else in run_dir/sv. */
#ifndef ORCH_PINGER_H
#define ORCH_PINGER_H

#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include "lib/config.h"
#include "protocol/address.h"
#include "protocol/worker.h"

enum { PINGER_ANSWER_MS = 1000 };

struct pinger;

/* Borrows config for life. Starts the thread at once. */
struct pinger *pinger_start(const struct config *config, const enum service_id *services,
                            size_t count);

/* Readable while an alert waits. */
int pinger_fd(const struct pinger *pinger);

/* Tells the scheduler what waits. An alert that it does not take now waits on. */
void pinger_report(struct pinger *pinger, struct worker *worker);

/* Adds pings, ping_misses, services_killed, services_failed to a status' counters. */
void pinger_count(struct pinger *pinger, json_t *counters);

#endif
