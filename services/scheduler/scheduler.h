/* What the parts of this service share. One thread owns all of it. */
#ifndef ORCH_SCHEDULER_H
#define ORCH_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/config.h"
#include "protocol/bus.h"
#include "services/ingress/inbox_read.h"
#include "services/scheduler/journal.h"
#include "services/scheduler/retry.h"
#include "services/scheduler/store.h"
#include "services/scheduler/work.h"

struct scheduler_counters {
    int64_t events, unreadable, ignored, refused, claims, results, duplicates, reaped, effects;
};

/* Of the last walk over the queue that found nothing to claim (claim.c). */
struct claim_memory {
    bool known, starting, disk_low;
    int64_t changes; /* rows that this connection had ever changed */
    int64_t now_ms;  /* wall clock */
    int64_t due_ms;  /* monotonic: something becomes due then; INT64_MAX: nothing does */
    int64_t wait_ms; /* until then */
};

struct scheduler {
    const struct config *config;
    struct retry_limits limits;
    struct store *store; /* its connection may be down, the object is there */
    struct inbox_read *inbox;
    struct bus *bus; /* NULL in tests */
    struct journal journal;
    struct work work;
    struct claim_memory claim_memory;
    struct scheduler_counters counters, committed; /* committed: when the open turn began */
    json_t *progress;        /* run id: last run_progress that is not written yet */
    int64_t now_ms;          /* wall clock of this turn */
    int64_t clock_offset_ms; /* wall clock less monotonic when this process began */
    int64_t inbox_position;  /* as last committed */
    int64_t inbox_taken;     /* in the open turn */
    int64_t inbox_known;     /* newest row that we heard of */
    bool inbox_unreadable;   /* at the last look */
    int64_t low_disk_mb;     /* free space where it is under disk.low_water_mb, else -1 */
    int claimed;             /* in the open turn */
    int64_t retry_store_at;  /* monotonic; 0: the database is well */
    int store_faults;        /* in a row */
};

void scheduler_init(struct scheduler *scheduler, const struct config *config, struct store *store,
                    struct bus *bus);
/* Frees what scheduler_init made; store and bus are the caller's. */
void scheduler_free(struct scheduler *scheduler);

/* ---- turn.c: one transaction, from what came in to what is said about it ---- */

/* 0, or -1: the database cannot be written now. */
int turn_begin(struct scheduler *scheduler);
/* Claims what became free, commits, publishes. 0, or -1: nothing of it happened. Whoever waits for
 * work is answered by the loop, after the caller has answered what it was asked. */
int turn_commit(struct scheduler *scheduler);

/* Tries to get the database back when its pause is over. True where it is well. */
bool turn_recover(struct scheduler *scheduler);

#endif
