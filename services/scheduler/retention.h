/* What is old goes, a little at a time: finished tasks with everything of theirs after
 * retention.days, the published record and what was decided after a month at least; workspace and
 * merged branch of a task that is done after retention.run_logs_days, by a cleanup job. */
#ifndef ORCH_RETENTION_H
#define ORCH_RETENTION_H

#include "services/scheduler/scheduler.h"

enum {
    RETENTION_TASKS = 20,    /* in one turn: each has some hundred rows */
    RETENTION_CLEANUPS = 20, /* ordered in one turn */
    RETENTION_ROWS = 500,    /* of each other table, in one turn */
    RETENTION_LEAST_DAYS = 30,
    RETENTION_JOURNAL_ROWS = 200000, /* kept at most, whatever their age */
};

/* In the open turn. True where more is left to go. */
bool retention_prune(struct scheduler *scheduler);

#endif
