#include "services/scheduler/housekeeping.h"

#include <stdio.h>
#include <sys/statvfs.h>
#include "lib/log.h"
#include "services/scheduler/effects.h"
#include "services/scheduler/rows.h"

enum {
    WAL_IDLE_PAGES = 256,  /* worth moving when nothing else is to do */
    WAL_MOST_PAGES = 8192, /* moved whatever else waits: 32 MiB, as journal_size_limit */
};

bool housekeeping_look_at_disk(struct scheduler *scheduler)
{
    struct statvfs disk;
    if (statvfs(scheduler->config->home, &disk) < 0)
        return false; /* what cannot be told stops nothing: a full disk shows at the next write */
    int64_t free_mb = (int64_t)((uint64_t)disk.f_bavail * disk.f_frsize >> 20);
    bool low = free_mb < scheduler->config->disk_low_water_mb;
    bool was_low = scheduler->low_disk_mb >= 0;
    scheduler->low_disk_mb = low ? free_mb : -1;
    return low != was_low;
}

void housekeeping_say_disk(struct scheduler *scheduler)
{
    char text[160];
    if (scheduler->low_disk_mb < 0) {
        log_info("disk", "above disk.low_water_mb again: claims go on");
        alert_clear(scheduler, "disk-low");
        return;
    }
    snprintf(text, sizeof text,
             "disk-low: %lld MiB are free in home, disk.low_water_mb is %lld: no job is claimed",
             (long long)scheduler->low_disk_mb, (long long)scheduler->config->disk_low_water_mb);
    alert_raise(scheduler, "disk-low", text);
}

void housekeeping_checkpoint(struct scheduler *scheduler, bool idle)
{
    int pages = scheduler->store->wal_pages;
    if (pages >= (idle ? WAL_IDLE_PAGES : WAL_MOST_PAGES))
        store_checkpoint(scheduler->store);
}

static const char *doing(const struct scheduler *scheduler)
{
    if (scheduler->retry_store_at)
        return "waiting until main.db can be written";
    if (!scheduler->work.pass_ended)
        return "waiting for the first look at tracker and forge";
    if (scheduler->low_disk_mb >= 0)
        return "claiming nothing: the disk is nearly full";
    return "idle";
}

void housekeeping_publish(struct scheduler *scheduler)
{
    const struct scheduler_counters *c = &scheduler->counters;
    json_t *counters = json_pack(
        "{sI sI sI sI sI sI sI sI sI sI sI}", "events", (json_int_t)c->events, "unreadable",
        (json_int_t)c->unreadable, "ignored", (json_int_t)c->ignored, "refused",
        (json_int_t)c->refused, "claims", (json_int_t)c->claims, "results", (json_int_t)c->results,
        "duplicates", (json_int_t)c->duplicates, "reaped", (json_int_t)c->reaped, "effects",
        (json_int_t)c->effects, "inbox_position", (json_int_t)scheduler->inbox_position,
        "wal_pages", (json_int_t)scheduler->store->wal_pages);
    bus_set_status(scheduler->bus, scheduler->retry_store_at ? "degraded" : "ready",
                   doing(scheduler), counters);
}
