/* Reads what a run left in its directory. Only looks: never takes the lock, writes nothing. */
#ifndef ORCH_REAPER_TRACES_H
#define ORCH_REAPER_TRACES_H

#include "lib/config.h"
#include "services/reaper/judge.h"

struct judge_traces traces_read(const struct config *config, const char *run);

#endif
