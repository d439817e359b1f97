/* The built-in tracker: its data are tables of the scheduler, reached by messages. */
#ifndef ORCH_TRACKER_LOCAL_H
#define ORCH_TRACKER_LOCAL_H

#include "lib/tracker/tracker.h"

extern const struct tracker_driver tracker_local;

#endif
