#include <stdlib.h>
#include <string.h>
#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/log.h"
#include "services/scheduler/scheduler.h"

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

static void fail_turn(struct scheduler *scheduler)
{
    store_rollback(scheduler->store);
    journal_forget(&scheduler->journal);
    work_drop(scheduler);
    scheduler->claimed = 0;
    if (store_fault_is_world(scheduler->store) || !scheduler->store->db)
        pause_store(scheduler);
}

int turn_begin(struct scheduler *scheduler)
{
    scheduler->now_ms = clock_wall_ms();
    scheduler->claimed = 0;
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
    journal_publish(&scheduler->journal, scheduler->bus);
    return 0;
}

void turn_drop(struct scheduler *scheduler)
{
    fail_turn(scheduler);
}

bool turn_recover(struct scheduler *scheduler)
{
    char fault[STORE_FAULT_SIZE];
    if (!scheduler->retry_store_at)
        return true;
    if (clock_mono_ms() < scheduler->retry_store_at)
        return false;
    /* a write that leaves the file as it is proves more than an open */
    if (store_reopen(scheduler->store, fault, sizeof fault) == 0 &&
        store_begin(scheduler->store) == 0 &&
        store_run(scheduler->store,
                  "INSERT INTO meta (key, value) VALUES ('store_recovered', CAST(?1 AS TEXT))"
                  " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                  "i", clock_wall_ms()) >= 0 &&
        store_commit(scheduler->store) == 0) {
        log_info("store", "main.db can be written again after %d tries", scheduler->store_faults);
        scheduler->store_faults = 0;
        scheduler->retry_store_at = 0;
        if (scheduler->bus)
            bus_set_error(scheduler->bus, "");
        return true;
    }
    store_rollback(scheduler->store);
    pause_store(scheduler);
    return false;
}
