#include <stdlib.h>
#include <string.h>
#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/log.h"
#include "services/scheduler/rows.h"

enum { PAUSE_MIN_MS = 100, PAUSE_MAX_MS = 5000 };

void scheduler_init(struct scheduler *scheduler, const struct config *config, struct store *store,
                    struct bus *bus)
{
    memset(scheduler, 0, sizeof *scheduler);
    scheduler->config = config;
    scheduler->limits = (struct retry_limits){
        .base_ms = config->retry_base_s * 1000,
        .max_ms = config->retry_max_s * 1000,
        .probe_ms = config->usage_limit_probe_s * 1000,
    };
    scheduler->store = store;
    scheduler->bus = bus;
    scheduler->low_disk_mb = -1;
    scheduler->now_ms = clock_wall_ms();
    scheduler->clock_offset_ms = scheduler->now_ms - clock_mono_ms();
    scheduler->progress = json_object();
    journal_init(&scheduler->journal);
    work_init(&scheduler->work);
}

void scheduler_free(struct scheduler *scheduler)
{
    json_decref(scheduler->journal.pending);
    json_decref(scheduler->progress);
    work_free(&scheduler->work);
}

/* Nothing is acknowledged that was not written: until the pause is over, all is refused. */
static void pause_store(struct scheduler *scheduler)
{
    int64_t pause = PAUSE_MIN_MS;
    for (int i = 0; i < scheduler->store_faults && pause < PAUSE_MAX_MS; i++)
        pause *= 2;
    pause = pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
    if (scheduler->store_faults++ == 0)
        log_error("store", "main.db cannot be used: %s; tried again until it can",
                  scheduler->store->fault);
    scheduler->retry_store_at = clock_mono_ms() + pause;
    if (scheduler->bus)
        bus_set_error(scheduler->bus, scheduler->store->fault);
}

/* Nothing of the turn happened, so memory goes back to where it was. Whatever the fault: what comes
 * next would find the same, so it is not tried again at once. */
static void fail_turn(struct scheduler *scheduler)
{
    store_rollback(scheduler->store);
    journal_forget(&scheduler->journal);
    work_drop(scheduler);
    scheduler->counters = scheduler->committed;
    scheduler->claim_memory.known = false;
    scheduler->claimed = 0;
    pause_store(scheduler);
}

int turn_begin(struct scheduler *scheduler)
{
    scheduler->now_ms = clock_wall_ms();
    scheduler->claimed = 0;
    scheduler->committed = scheduler->counters;
    if (scheduler->retry_store_at)
        return -1;
    if (store_begin(scheduler->store) == 0)
        return 0;
    fail_turn(scheduler);
    return -1;
}

int turn_commit(struct scheduler *scheduler)
{
    work_fill(scheduler);
    if (store_commit(scheduler->store) < 0) {
        fail_turn(scheduler);
        return -1;
    }
    if (scheduler->claimed > 0)
        crash_point(CRASH_CLAIM_AFTER_COMMIT);
    scheduler->counters.claims += scheduler->claimed;
    work_keep(scheduler);
    journal_publish(&scheduler->journal, scheduler->bus);
    return 0;
}

/* A write that leaves the file as it is proves more than an open; of a value that stands there
 * already SQLite would write nothing. As store_reopen. */
static int try_store(struct scheduler *scheduler)
{
    int opened = store_reopen(scheduler->store);
    if (opened < 0 || store_begin(scheduler->store) < 0)
        return -1;
    meta_set(scheduler, "store_recovered", meta_number(scheduler, "store_recovered", 0) + 1);
    return store_commit(scheduler->store) < 0 ? -1 : opened;
}

bool turn_recover(struct scheduler *scheduler)
{
    if (!scheduler->retry_store_at)
        return true;
    if (clock_mono_ms() < scheduler->retry_store_at)
        return false;
    int opened = try_store(scheduler);
    if (opened < 0) {
        store_rollback(scheduler->store);
        pause_store(scheduler);
        return false;
    }
    log_info("store", "main.db can be written again after %d tries", scheduler->store_faults);
    scheduler->store_faults = 0;
    scheduler->retry_store_at = 0;
    /* a commit that reported a fault may have reached the file all the same */
    scheduler->inbox_position = meta_number(scheduler, "inbox_position", 0);
    if (opened > 0)
        work_begin_anew(scheduler);
    if (scheduler->bus)
        bus_set_error(scheduler->bus, NULL);
    return true;
}
