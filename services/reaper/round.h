/* One round of the reaper: what the scheduler calls running is compared with the traces, and what
 * is gone is proposed. Who flips the row is the scheduler. */
#ifndef ORCH_REAPER_ROUND_H
#define ORCH_REAPER_ROUND_H

#include <stdint.h>
#include "protocol/pinger.h"
#include "protocol/worker.h"

struct reaper;

/* Borrows both for life. pinger NULL: none. */
struct reaper *reaper_new(struct worker *worker, struct pinger *pinger);

/* Asks, looks, proposes. Nothing where reaper.enabled is off. */
void reaper_round(struct reaper *reaper);

/* Status and counters to the bus. */
void reaper_publish(struct reaper *reaper, const char *doing);

#endif
