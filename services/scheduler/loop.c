#include "services/scheduler/loop.h"

#include <poll.h>
#include <stdio.h>
#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/log.h"
#include "services/scheduler/events.h"
#include "services/scheduler/housekeeping.h"
#include "services/scheduler/requests.h"
#include "services/scheduler/results.h"
#include "services/scheduler/retention.h"

enum {
    REQUESTS_PER_TURN = 64,
    INBOX_LOOK_MS = 1000, /* a lost doorbell costs this */
    DISK_LOOK_MS = 5000,
    PROGRESS_MS = 2000,
    PRUNE_FIRST_MS = 5000, /* a start has better to do */
    PRUNE_MS = 600 * 1000, /* between looks at what is old */
    PRUNE_AGAIN_MS = 1000, /* while there is more of it */
};

/* A request and its answer, between its handling and the commit. */
struct pending {
    void *ticket;
    json_t *answer;
    enum message_kind kind;
};

struct loop {
    struct scheduler *scheduler;
    struct service *service;
    struct pending pending[REQUESTS_PER_TURN];
    size_t count;
    int64_t inbox_at, disk_at, progress_at, prune_at; /* monotonic: to be looked at then */
    bool more_events;                                 /* the last turn did not empty the inbox */
    bool disk_changed;
    bool fresh; /* nothing was done yet */
};

/* ---- requests ---- */

static json_t *database_error(const struct scheduler *scheduler)
{
    char text[64 + STORE_FAULT_SIZE];
    snprintf(text, sizeof text, "main.db cannot be written: %s", scheduler->store->fault);
    return message_refusal("database", "", text);
}

static void take_requests(struct loop *loop)
{
    struct scheduler *scheduler = loop->scheduler;
    struct bus_item item;
    while (loop->count < REQUESTS_PER_TURN && bus_next(scheduler->bus, &item)) {
        if (item.type == BUS_REQUEST) {
            json_t *answer = requests_take(scheduler, &item);
            if (answer)
                loop->pending[loop->count++] = (struct pending){item.ticket, answer, item.kind};
        }
        bus_item_done(&item);
    }
}

static void answer_requests(struct loop *loop, bool committed)
{
    for (size_t i = 0; i < loop->count; i++) {
        struct pending *pending = &loop->pending[i];
        if (committed && pending->kind == MESSAGE_run_result)
            crash_point(CRASH_RESULT_AFTER_COMMIT);
        if (committed && pending->kind == MESSAGE_effect_result)
            crash_point(CRASH_EFFECT_AFTER_COMMIT);
        if (!committed) {
            json_decref(pending->answer);
            pending->answer = database_error(loop->scheduler);
        }
        bus_reply(loop->scheduler->bus, pending->ticket, pending->answer);
    }
    loop->count = 0;
}

/* While the database is away nothing is kept waiting that could be told so. */
static void refuse_requests(struct loop *loop)
{
    struct bus_item item;
    while (bus_next(loop->scheduler->bus, &item)) {
        if (item.type == BUS_REQUEST)
            bus_reply(loop->scheduler->bus, item.ticket, database_error(loop->scheduler));
        bus_item_done(&item);
    }
}

/* ---- a turn ---- */

static bool inbox_is_due(const struct loop *loop, int64_t now)
{
    return loop->more_events || now >= loop->inbox_at ||
           loop->scheduler->inbox_known > loop->scheduler->inbox_position;
}

static int take_events(struct loop *loop)
{
    int64_t now = clock_mono_ms();
    loop->scheduler->inbox_taken = loop->scheduler->inbox_position;
    if (!inbox_is_due(loop, now))
        return 0;
    int count = events_take(loop->scheduler);
    loop->inbox_at = now + INBOX_LOOK_MS;
    loop->more_events = count == EVENTS_PER_TURN;
    if (count <= 0) /* what was announced is not there to be read: the next look finds it */
        loop->scheduler->inbox_known = loop->scheduler->inbox_position;
    return count;
}

static void do_chores(struct loop *loop)
{
    int64_t now = clock_mono_ms();
    if (now >= loop->progress_at && json_object_size(loop->scheduler->progress)) {
        results_write_progress(loop->scheduler);
        loop->progress_at = now + PROGRESS_MS;
    }
    if (loop->disk_changed)
        housekeeping_say_disk(loop->scheduler);
    if (now >= loop->prune_at)
        loop->prune_at =
            now + (retention_prune(loop->scheduler) ? PRUNE_AGAIN_MS : (int64_t)PRUNE_MS);
}

static void take_turn(struct loop *loop)
{
    struct scheduler *scheduler = loop->scheduler;
    if (turn_begin(scheduler) < 0)
        return;
    take_requests(loop);
    int events = take_events(loop);
    do_chores(loop);
    bool committed = turn_commit(scheduler) == 0;
    if (committed) {
        scheduler->inbox_position = scheduler->inbox_taken;
        loop->disk_changed = false;
    } else {
        loop->more_events = true;
    }
    if (committed && events > 0)
        crash_point(CRASH_EVENT_AFTER_COMMIT);
    answer_requests(loop, committed);
    if (committed)
        work_answer(scheduler);
}

/* ---- waiting ---- */

static int64_t sooner(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

static int64_t left(int64_t at)
{
    int64_t ms = at - clock_mono_ms();
    return ms > 0 ? ms : 0;
}

static int wait_ms(const struct loop *loop)
{
    const struct scheduler *scheduler = loop->scheduler;
    if (scheduler->retry_store_at)
        return (int)left(scheduler->retry_store_at);
    if (loop->fresh || loop->more_events || loop->disk_changed)
        return 0;
    int64_t wait = sooner(left(loop->inbox_at), left(loop->disk_at));
    if (json_object_size(scheduler->progress))
        wait = sooner(wait, left(loop->progress_at));
    return (int)sooner(wait, work_wait_ms(scheduler));
}

/* True where something is to be done: a request, an event, a time that has come. */
static bool wait_for_work(struct loop *loop)
{
    struct pollfd fds[] = {{loop->service->signal_fd, POLLIN, 0},
                           {bus_fd(loop->scheduler->bus), POLLIN, 0}};
    int wait = wait_ms(loop);
    int ready = poll(fds, 2, 0);
    if (ready == 0 && wait > 0) {
        housekeeping_checkpoint(loop->scheduler, true);
        ready = poll(fds, 2, (int)wait_ms(loop));
    }
    return ready > 0 || wait_ms(loop) == 0;
}

void loop_run(struct scheduler *scheduler, struct service *service)
{
    struct loop loop = {.scheduler = scheduler,
                        .service = service,
                        .fresh = true,
                        .prune_at = clock_mono_ms() + PRUNE_FIRST_MS};
    while (!service_stopping(service)) {
        if (!wait_for_work(&loop))
            continue;
        if (clock_mono_ms() >= loop.disk_at) {
            loop.disk_changed |= housekeeping_look_at_disk(scheduler);
            loop.disk_at = clock_mono_ms() + DISK_LOOK_MS;
        }
        if (!turn_recover(scheduler)) {
            refuse_requests(&loop);
            housekeeping_publish(scheduler);
            continue;
        }
        loop.fresh = false;
        take_turn(&loop);
        housekeeping_checkpoint(scheduler, false);
        housekeeping_publish(scheduler);
    }
}
