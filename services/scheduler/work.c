#include "services/scheduler/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/clock.h"
#include "services/scheduler/ci.h"
#include "services/scheduler/claim.h"
#include "services/scheduler/commands.h"
#include "services/scheduler/effects.h"
#include "services/scheduler/labels.h"
#include "services/scheduler/rows.h"
#include "services/scheduler/scheduler.h"
#include "services/scheduler/standing.h"

enum {
    HAND_AGAIN_MS = 3000, /* not acknowledged for so long: its answer may have been lost */
    WAIT_MAX_MS = 60 * 1000,
    ITEMS_MAX = 64,
    ANSWER_BYTES = 512 * 1024, /* no further item into an answer of this size: with the largest one
                                  (commands.c) it still is a message */
};

static const char *const peer_names[WORK_PEER_COUNT] = {
    [WORK_RUNNER] = "runner",
    [WORK_NOTIFIER] = "notifier",
    [WORK_RECONCILER] = "reconciler",
    [WORK_MONITOR] = "monitor",
};

void work_init(struct work *work)
{
    memset(work, 0, sizeof *work);
    for (int i = 0; i < WORK_PEER_COUNT; i++) {
        work->peers[i].handed = json_object();
        work->peers[i].items = json_array();
    }
    work->due_ms = INT64_MAX;
}

void work_free(struct work *work)
{
    for (int i = 0; i < WORK_PEER_COUNT; i++) {
        json_decref(work->peers[i].handed);
        json_decref(work->peers[i].items);
    }
}

static void answer(struct scheduler *scheduler, struct work_peer *peer)
{
    json_t *reply = message_new(MESSAGE_work_reply, NULL, "{so}", "items", peer->items);
    peer->items = json_array();
    peer->bytes = 0;
    if (scheduler->bus)
        bus_reply(scheduler->bus, peer->ticket, reply);
    else
        json_decref(reply);
    peer->ticket = NULL;
}

bool work_ask(struct scheduler *scheduler, const json_t *request, void *ticket)
{
    const char *service = message_text(request, "service", ""),
               *boot = message_text(request, "boot", "");
    int id = 0;
    while (id < WORK_PEER_COUNT && strcmp(peer_names[id], service) != 0)
        id++;
    if (id == WORK_PEER_COUNT)
        return false;
    struct work_peer *peer = &scheduler->work.peers[id];
    if (peer->ticket)
        answer(scheduler, peer);
    if (strncmp(boot, peer->boot, sizeof peer->boot - 1) != 0) {
        snprintf(peer->boot, sizeof peer->boot, "%s", boot);
        json_object_clear(peer->handed);
    }
    int64_t wait = message_integer(request, "wait_ms", 0);
    int64_t max = message_integer(request, "max", 0);
    peer->ticket = ticket;
    peer->asked_ms = clock_mono_ms();
    peer->until_ms = peer->asked_ms + (wait < 0 ? 0 : wait > WAIT_MAX_MS ? WAIT_MAX_MS : wait);
    peer->max = max < 1 ? 1 : max > ITEMS_MAX ? ITEMS_MAX : (int)max;
    return true;
}

size_t work_room(const struct scheduler *scheduler, enum work_peer_id id)
{
    const struct work_peer *peer = &scheduler->work.peers[id];
    size_t count = json_array_size(peer->items);
    if (!peer->ticket || peer->bytes >= ANSWER_BYTES || count >= (size_t)peer->max)
        return 0;
    return (size_t)peer->max - count;
}

bool work_is_alive(const struct scheduler *scheduler, enum work_peer_id id, int64_t within_ms)
{
    const struct work_peer *peer = &scheduler->work.peers[id];
    return peer->asked_ms && (peer->ticket || clock_mono_ms() - peer->asked_ms < within_ms);
}

bool work_wants(struct scheduler *scheduler, enum work_peer_id id, const char *key)
{
    const json_t *before = json_object_get(scheduler->work.peers[id].handed, key);
    if (!before)
        return true;
    int64_t again = json_integer_value(before) + HAND_AGAIN_MS;
    if (clock_mono_ms() >= again)
        return true;
    if (again < scheduler->work.due_ms)
        scheduler->work.due_ms = again;
    return false;
}

void work_give(struct scheduler *scheduler, enum work_peer_id id, const char *key, json_t *item,
               size_t size)
{
    struct work_peer *peer = &scheduler->work.peers[id];
    json_object_set_new(peer->handed, key, json_integer(clock_mono_ms()));
    peer->bytes += size;
    json_array_append_new(peer->items, item);
}

void work_forget(struct scheduler *scheduler, enum work_peer_id id, const char *key)
{
    json_object_del(scheduler->work.peers[id].handed, key);
}

void work_again_in(struct scheduler *scheduler, enum work_peer_id id, const char *key, int64_t ms)
{
    json_object_set_new(scheduler->work.peers[id].handed, key,
                        json_integer(clock_mono_ms() + ms - HAND_AGAIN_MS));
}

void work_wake_at(struct scheduler *scheduler, int64_t wall_ms)
{
    int64_t left = wall_ms - scheduler->now_ms;
    work_wake_at_mono(scheduler, clock_mono_ms() + (left > 0 ? left : 0));
}

void work_wake_at_mono(struct scheduler *scheduler, int64_t mono_ms)
{
    if (mono_ms < scheduler->work.due_ms)
        scheduler->work.due_ms = mono_ms;
}

/* ---- what is there ---- */

static void give_windows(struct scheduler *scheduler)
{
    sqlite3_stmt *row =
        store_ask(scheduler->store,
                  "SELECT w.id, w.task, t.key, t.project, w.armed, w.ends FROM windows w"
                  " JOIN tasks t ON t.id = w.task WHERE w.verdict IS NULL ORDER BY w.id",
                  "");
    while (work_room(scheduler, WORK_MONITOR) && store_row(scheduler->store, row)) {
        char key[24];
        snprintf(key, sizeof key, "%lld", (long long)column_int(row, 0));
        if (!work_wants(scheduler, WORK_MONITOR, key))
            continue;
        work_give(scheduler, WORK_MONITOR, key,
                  message_new(MESSAGE_window, NULL, "{sI sI ss ss sI sI}", "window",
                              (json_int_t)column_int(row, 0), "task",
                              (json_int_t)column_int(row, 1), "key", column_text(row, 2), "project",
                              column_text(row, 3), "armed_ms", (json_int_t)column_int(row, 4),
                              "ends_ms", (json_int_t)column_int(row, 5)),
                  0);
    }
    store_done(row);
}

/* Each start asks for one whole look at the outside before it claims anything: what came while
 * nobody listened is lost otherwise. */
static void give_pass(struct scheduler *scheduler)
{
    struct work *work = &scheduler->work;
    if (!work->pass) {
        work->pass = meta_number(scheduler, "reconcile_pass", 0) + 1;
        work->pass_new = true;
        meta_set(scheduler, "reconcile_pass", work->pass);
    }
    if (!work->pass_ended && work_room(scheduler, WORK_RECONCILER) &&
        work_wants(scheduler, WORK_RECONCILER, "pass"))
        work_give(scheduler, WORK_RECONCILER, "pass",
                  message_new(MESSAGE_reconcile_now, NULL, "{sI}", "pass", (json_int_t)work->pass),
                  0);
}

/* A restored database lies behind the world: nobody is told anything until a person has looked. */
static bool is_withheld(struct scheduler *scheduler)
{
    return meta_number(scheduler, "restored", 0) != 0;
}

void work_fill(struct scheduler *scheduler)
{
    scheduler->work.due_ms = INT64_MAX;
    if (is_withheld(scheduler)) {
        claim_jobs(scheduler); /* paused: each job says why it waits */
        return;
    }
    give_pass(scheduler);
    standing_end_needless(scheduler);
    labels_ask(scheduler);
    ci_ask(scheduler);
    if (work_room(scheduler, WORK_RECONCILER))
        commands_give_queries(scheduler);
    if (work_room(scheduler, WORK_RUNNER))
        commands_give_runs(scheduler);
    claim_jobs(scheduler);
    if (work_room(scheduler, WORK_NOTIFIER))
        effects_give(scheduler);
    if (work_room(scheduler, WORK_MONITOR))
        give_windows(scheduler);
}

/* ---- after the turn ---- */

void work_answer(struct scheduler *scheduler)
{
    int64_t now = clock_mono_ms();
    for (int i = 0; i < WORK_PEER_COUNT; i++) {
        struct work_peer *peer = &scheduler->work.peers[i];
        if (peer->ticket && (json_array_size(peer->items) || now >= peer->until_ms))
            answer(scheduler, peer);
    }
}

void work_keep(struct scheduler *scheduler)
{
    scheduler->work.pass_new = false;
}

void work_drop(struct scheduler *scheduler)
{
    for (int i = 0; i < WORK_PEER_COUNT; i++) {
        struct work_peer *peer = &scheduler->work.peers[i];
        if (!json_array_size(peer->items))
            continue;
        json_array_clear(peer->items);
        peer->bytes = 0;
        json_object_clear(peer->handed); /* handing out again is harmless, losing is not */
    }
    if (scheduler->work.pass_new)
        scheduler->work.pass = 0;
    scheduler->work.pass_new = false;
}

void work_begin_anew(struct scheduler *scheduler)
{
    for (int i = 0; i < WORK_PEER_COUNT; i++)
        json_object_clear(scheduler->work.peers[i].handed);
    scheduler->work.pass = 0;
    scheduler->work.pass_ended = false;
}

int64_t work_wait_ms(const struct scheduler *scheduler)
{
    int64_t soonest = scheduler->work.due_ms;
    for (int i = 0; i < WORK_PEER_COUNT; i++) {
        const struct work_peer *peer = &scheduler->work.peers[i];
        if (peer->ticket && peer->until_ms < soonest)
            soonest = peer->until_ms;
    }
    if (soonest == INT64_MAX)
        return -1;
    int64_t left = soonest - clock_mono_ms();
    return left > 0 ? left : 0;
}
