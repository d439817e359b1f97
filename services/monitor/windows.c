#include "services/monitor/windows.h"

#include <stdio.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"

struct windows {
    struct worker *worker;
    json_t *open; /* window id as text: the message */
    int64_t opened, ended;
};

struct windows *windows_new(struct worker *worker)
{
    struct windows *windows = xcalloc(1, sizeof *windows);
    windows->worker = worker;
    windows->open = json_object();
    return windows;
}

static void forget_ended(struct windows *windows, int64_t wall_ms)
{
    const char *id;
    json_t *window;
    void *next;
    json_object_foreach_safe(windows->open, next, id, window)
    {
        if (message_integer(window, "ends_ms", 0) > wall_ms)
            continue;
        json_object_del(windows->open, id);
        windows->ended++;
    }
}

/* True where it was not known. */
static bool open_window(struct windows *windows, json_t *window)
{
    char id[32];
    if (message_integer(window, "ends_ms", 0) <= clock_wall_ms())
        return false; /* over; the scheduler has not closed it yet */
    snprintf(id, sizeof id, "%lld", (long long)message_integer(window, "window", 0));
    bool fresh = json_object_get(windows->open, id) == NULL;
    json_object_set(windows->open, id, window);
    if (fresh) {
        const struct log_about about = {.task = message_text(window, "key", "")};
        windows->opened++;
        log_line(LOG_LEVEL_INFO, "window", &about, "window %s is open", id);
    }
    return fresh;
}

static void publish(struct windows *windows)
{
    size_t open = json_object_size(windows->open);
    char doing[48] = "idle";
    if (open)
        snprintf(doing, sizeof doing, "%zu window%s open", open, open == 1 ? "" : "s");
    bus_set_status(windows->worker->service->bus, "ready", doing,
                   json_pack("{sI sI sI}", "windows_open", (json_int_t)open, "windows_opened",
                             (json_int_t)windows->opened, "windows_ended",
                             (json_int_t)windows->ended));
}

void windows_take(struct windows *windows, const json_t *items)
{
    const struct config *config = windows->worker->service->config;
    bool fresh = false;
    size_t index;
    json_t *item;
    json_array_foreach(items, index, item)
    {
        if (strcmp(message_text(item, "kind", ""), "window") == 0)
            fresh |= open_window(windows, item);
        else
            log_error("work", "the monitor takes no %s", message_text(item, "kind", ""));
    }
    /* Windows stay open, so the next answer would bring the same ones at once. */
    if (json_array_size(items) && !fresh)
        worker_rest(windows->worker, clock_mono_ms() + config->post_deploy_interval_s * 1000);
    forget_ended(windows, clock_wall_ms());
    publish(windows);
}

int64_t windows_due(const struct windows *windows)
{
    int64_t soonest = INT64_MAX;
    const char *id;
    json_t *window;
    json_object_foreach(windows->open, id, window)
    {
        int64_t ends = message_integer(window, "ends_ms", 0);
        if (ends < soonest)
            soonest = ends;
    }
    if (soonest == INT64_MAX)
        return INT64_MAX;
    int64_t left = soonest - clock_wall_ms();
    return clock_mono_ms() + (left > 0 ? left : 0) + 1;
}
