/* What has to be done now and then, beside what comes in. */
#ifndef ORCH_HOUSEKEEPING_H
#define ORCH_HOUSEKEEPING_H

#include "services/scheduler/scheduler.h"

/* Free space against disk.low_water_mb. True where it changed sides: a turn is to say so
 * (housekeeping_say_disk). */
bool housekeeping_look_at_disk(struct scheduler *scheduler);
void housekeeping_say_disk(struct scheduler *scheduler);

/* Outside of a turn, with nothing waiting: moves the write-ahead log into the file. */
void housekeeping_checkpoint(struct scheduler *scheduler, bool idle);

/* State, doing and counters for ping and status. */
void housekeeping_publish(struct scheduler *scheduler);

#endif
