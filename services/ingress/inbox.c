#include "services/ingress/inbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/log.h"
#include "services/ingress/inbox_checkpoint.h"
#include "services/ingress/inbox_db.h"

enum {
    QUEUE_EVENTS_MAX = 8192,
    QUEUE_BYTES_MAX = 64 * 1024 * 1024,
    BATCH_EVENTS_MAX = 512,
    BATCH_BYTES_MAX = 4 * 1024 * 1024,
    REOPEN_MS = 250,
    PRUNE_MS = 60 * 1000,
    PRUNE_ROWS = 200,
    CHECKPOINT_PAGES = 2048, /* of 8 KiB */
};
static const int64_t keep_ms = INT64_C(30) * 24 * 3600 * 1000;

struct inbox {
    char *path, *store_path;
    int doorbell;
    pthread_t writer;
    struct checkpointer *checkpointer;

    pthread_mutex_t lock;
    pthread_cond_t work;   /* the writer waits */
    pthread_cond_t proved; /* who asked for a probe waits */
    struct inbox_event *first, **last;
    size_t bytes;
    bool waiting; /* the writer sleeps: a signal is needed */
    bool stopping;
    bool probe_wanted;
    uint64_t probes; /* probes that ended, well or not */
    bool ring;       /* the next commit writes to the doorbell */
    int64_t announced, acted_on;
    struct inbox_stats stats;

    struct inbox_db db; /* the writer's own from here on */
    bool is_open;
    int checkpoint_at; /* pages in the log at which the next checkpoint is wanted */
    int64_t next_prune;
};

static struct timespec deadline_after(int64_t ms)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += ms / 1000;
    time.tv_nsec += (long)(ms % 1000) * 1000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

/* ---- state that others see ---- */

static void note_failure(struct inbox *inbox, const char *fault)
{
    pthread_mutex_lock(&inbox->lock);
    bool news = inbox->stats.writable || strcmp(inbox->stats.error, fault) != 0;
    inbox->stats.writable = false;
    inbox->stats.open = inbox->is_open;
    snprintf(inbox->stats.error, sizeof inbox->stats.error, "%s", fault);
    pthread_mutex_unlock(&inbox->lock);
    if (news)
        log_error("inbox", "the inbox cannot be written: %s", fault);
}

static void note_success(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    bool news = !inbox->stats.writable;
    inbox->stats.writable = true;
    inbox->stats.open = true;
    inbox->stats.error[0] = '\0';
    inbox->stats.proved_ms = clock_mono_ms();
    pthread_mutex_unlock(&inbox->lock);
    if (news)
        log_info("inbox", "the inbox is open and can be written");
}

static void note_batch(struct inbox *inbox, const struct inbox_event *batch, int64_t took_us)
{
    struct inbox_stats *stats = &inbox->stats;
    bool ring = false;
    pthread_mutex_lock(&inbox->lock);
    for (; batch; batch = batch->next) {
        if (batch->duplicate)
            stats->duplicates++;
        else
            stats->kept++;
        if (batch->seq > stats->newest)
            stats->newest = batch->seq;
    }
    stats->batches++;
    stats->commit_us += (uint64_t)took_us;
    if (took_us > stats->worst_commit_us)
        stats->worst_commit_us = took_us;
    stats->wal_pages = inbox->db.wal_pages;
    stats->proved_ms = clock_mono_ms();
    stats->writable = true; /* a probe may have given up waiting for this very commit */
    stats->error[0] = '\0';
    if (inbox->ring && stats->newest > inbox->announced) {
        inbox->ring = false;
        ring = true;
    }
    pthread_mutex_unlock(&inbox->lock);
    if (ring && write(inbox->doorbell, &(uint64_t){1}, sizeof(uint64_t)) < 0 && errno != EAGAIN)
        log_warn("inbox", "doorbell: %s", strerror(errno));
}

/* ---- the writer ---- */

/* Where main.db cannot be read, a file that has numbered rows itself goes on from there. */
static int continue_numbering(struct inbox *inbox, char *fault, size_t size)
{
    int64_t position = inbox_db_position(inbox->store_path, fault, size);
    if (position < 0)
        return inbox_db_newest(&inbox->db) > 0 ? 0 : -1;
    return inbox_db_number_above(&inbox->db, position, fault, size);
}

static bool open_file(struct inbox *inbox)
{
    char fault[200];
    if (inbox_db_open(&inbox->db, inbox->path, fault, sizeof fault) < 0) {
        note_failure(inbox, fault);
        return false;
    }
    if (continue_numbering(inbox, fault, sizeof fault) < 0) {
        inbox_db_close(&inbox->db);
        note_failure(inbox, fault);
        return false;
    }
    inbox->is_open = true;
    note_success(inbox);
    return true;
}

/* After any fault of the file the connection is thrown away: what it believes may no longer be
 * what the disk has (a failed fsync). */
static void drop_file(struct inbox *inbox, const char *fault)
{
    if (inbox->is_open) {
        inbox_db_rollback(&inbox->db);
        inbox_db_close(&inbox->db);
    }
    inbox->is_open = false;
    note_failure(inbox, fault);
}

static int write_rows(struct inbox *inbox, struct inbox_event *batch, char *fault, size_t size)
{
    if (!inbox_db_in_place(&inbox->db)) {
        snprintf(fault, size, "%s was moved or removed", inbox->path);
        return -1;
    }
    if (inbox_db_begin(&inbox->db, fault, size) < 0)
        return -1;
    for (struct inbox_event *event = batch; event; event = event->next) {
        if (inbox_db_insert(&inbox->db, event, fault, size) < 0)
            return -1;
    }
    crash_point(CRASH_INBOX_BEFORE_COMMIT);
    return inbox_db_commit(&inbox->db, fault, size);
}

static void report(struct inbox_event *batch, bool kept)
{
    while (batch) {
        struct inbox_event *event = batch;
        batch = batch->next;
        event->kept = kept;
        event->done(event);
    }
}

static void fail_batch(struct inbox *inbox, struct inbox_event *batch)
{
    uint64_t count = 0;
    for (struct inbox_event *event = batch; event; event = event->next)
        count++;
    pthread_mutex_lock(&inbox->lock);
    inbox->stats.failed += count;
    pthread_mutex_unlock(&inbox->lock);
    report(batch, false);
}

static void write_batch(struct inbox *inbox, struct inbox_event *batch)
{
    char fault[200];
    if (!inbox->is_open && !open_file(inbox)) {
        fail_batch(inbox, batch);
        return;
    }
    int64_t start = clock_mono_us();
    if (write_rows(inbox, batch, fault, sizeof fault) < 0) {
        drop_file(inbox, fault);
        fail_batch(inbox, batch);
        return;
    }
    crash_point(CRASH_INBOX_AFTER_COMMIT);
    note_batch(inbox, batch, clock_mono_us() - start);
    report(batch, true);
    if (inbox->db.wal_pages < CHECKPOINT_PAGES) {
        inbox->checkpoint_at = CHECKPOINT_PAGES; /* the log was started over */
    } else if (inbox->db.wal_pages >= inbox->checkpoint_at) {
        inbox->checkpoint_at = inbox->db.wal_pages + CHECKPOINT_PAGES;
        checkpointer_want(inbox->checkpointer);
    }
}

static void answer_probe(struct inbox *inbox)
{
    char fault[200];
    if (inbox->is_open && !inbox_db_in_place(&inbox->db)) {
        snprintf(fault, sizeof fault, "%.150s was moved or removed", inbox->path);
        drop_file(inbox, fault);
    }
    if (!inbox->is_open)
        open_file(inbox); /* opening writes */
    else if (inbox_db_probe(&inbox->db, fault, sizeof fault) < 0)
        drop_file(inbox, fault);
    else
        note_success(inbox);
    pthread_mutex_lock(&inbox->lock);
    inbox->probe_wanted = false;
    inbox->probes++;
    pthread_cond_broadcast(&inbox->proved);
    pthread_mutex_unlock(&inbox->lock);
}

static void prune(struct inbox *inbox, int64_t acted_on)
{
    char fault[200];
    int64_t now = clock_mono_ms();
    if (!inbox->is_open || acted_on <= 0 || now < inbox->next_prune)
        return;
    int count = inbox_db_prune(&inbox->db, acted_on, clock_wall_ms() - keep_ms, PRUNE_ROWS, fault,
                               sizeof fault);
    if (count < 0)
        drop_file(inbox, fault);
    inbox->next_prune = now + (count == PRUNE_ROWS ? 100 : PRUNE_MS);
    if (count > 0) {
        pthread_mutex_lock(&inbox->lock);
        inbox->stats.pruned += (uint64_t)count;
        pthread_mutex_unlock(&inbox->lock);
    }
}

/* With the lock held: what the next transaction takes. */
static struct inbox_event *take_batch(struct inbox *inbox)
{
    struct inbox_event *batch = inbox->first;
    size_t count = 0, bytes = 0;
    struct inbox_event **end = &inbox->first;
    while (*end && count < BATCH_EVENTS_MAX && (count == 0 || bytes < BATCH_BYTES_MAX)) {
        count++;
        bytes += (*end)->size;
        end = &(*end)->next;
    }
    if (!count)
        return NULL;
    inbox->first = *end;
    *end = NULL;
    if (!inbox->first)
        inbox->last = &inbox->first;
    inbox->stats.queued -= count;
    inbox->bytes -= bytes;
    return batch;
}

/* With the lock held: until there is something to do, or a second has passed for the chores. */
static void wait_for_work(struct inbox *inbox)
{
    if (inbox->first || inbox->probe_wanted || inbox->stopping)
        return;
    struct timespec until = deadline_after(inbox->is_open ? 1000 : REOPEN_MS);
    inbox->waiting = true;
    pthread_cond_timedwait(&inbox->work, &inbox->lock, &until);
    inbox->waiting = false;
}

static void *run_writer(void *context)
{
    struct inbox *inbox = context;
    open_file(inbox);
    for (;;) {
        pthread_mutex_lock(&inbox->lock);
        wait_for_work(inbox);
        struct inbox_event *batch = take_batch(inbox);
        bool probe = inbox->probe_wanted;
        bool stop = inbox->stopping && !inbox->first;
        int64_t acted_on = inbox->acted_on;
        pthread_mutex_unlock(&inbox->lock);
        if (batch)
            write_batch(inbox, batch);
        else if (!inbox->is_open)
            open_file(inbox);
        if (probe)
            answer_probe(inbox);
        if (checkpointer_left_few(inbox->checkpointer) && inbox->is_open)
            inbox_db_checkpoint(inbox->db.db);
        if (stop)
            return NULL;
        if (!batch)
            prune(inbox, acted_on);
    }
}

/* ---- what others call ---- */

struct inbox *inbox_start(const char *path, const char *store_path, int doorbell)
{
    struct inbox *inbox = xcalloc(1, sizeof *inbox);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    inbox->path = xstrdup(path);
    inbox->store_path = xstrdup(store_path);
    inbox->doorbell = doorbell;
    inbox->last = &inbox->first;
    inbox->ring = true;
    pthread_mutex_init(&inbox->lock, NULL);
    pthread_cond_init(&inbox->work, &monotonic);
    pthread_cond_init(&inbox->proved, &monotonic);
    pthread_condattr_destroy(&monotonic);
    snprintf(inbox->stats.error, sizeof inbox->stats.error, "not open yet");
    inbox->checkpointer = checkpointer_start(path);
    if (pthread_create(&inbox->writer, NULL, run_writer, inbox) != 0)
        log_abort("inbox", "cannot start a thread");
    return inbox;
}

bool inbox_submit(struct inbox *inbox, struct inbox_event *event)
{
    event->next = NULL;
    event->kept = event->duplicate = false;
    event->seq = 0;
    pthread_mutex_lock(&inbox->lock);
    bool room = inbox->stats.queued < QUEUE_EVENTS_MAX && inbox->bytes < QUEUE_BYTES_MAX &&
                !inbox->stopping;
    if (room) {
        *inbox->last = event;
        inbox->last = &event->next;
        inbox->stats.queued++;
        inbox->bytes += event->size;
        if (inbox->waiting) {
            inbox->waiting = false;
            pthread_cond_signal(&inbox->work);
        }
    } else {
        inbox->stats.refused++;
    }
    pthread_mutex_unlock(&inbox->lock);
    return room;
}

int64_t inbox_take_news(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    int64_t seq = 0;
    if (inbox->stats.newest > inbox->announced)
        seq = inbox->announced = inbox->stats.newest;
    else
        inbox->ring = true;
    pthread_mutex_unlock(&inbox->lock);
    return seq;
}

void inbox_stats(struct inbox *inbox, struct inbox_stats *out)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->stats.checkpoints = checkpointer_passes(inbox->checkpointer);
    *out = inbox->stats;
    pthread_mutex_unlock(&inbox->lock);
}

void inbox_probe(struct inbox *inbox, int64_t age_ms, int64_t wait_ms, struct inbox_stats *out)
{
    struct timespec until = deadline_after(wait_ms);
    pthread_mutex_lock(&inbox->lock);
    if (!inbox->stats.writable || clock_mono_ms() - inbox->stats.proved_ms > age_ms) {
        uint64_t before = inbox->probes;
        inbox->probe_wanted = true;
        pthread_cond_signal(&inbox->work);
        while (inbox->probes == before &&
               pthread_cond_timedwait(&inbox->proved, &inbox->lock, &until) == 0)
            ;
        if (inbox->probes == before) {
            inbox->stats.writable = false;
            snprintf(inbox->stats.error, sizeof inbox->stats.error,
                     "a write has not ended within %lld ms", (long long)wait_ms);
        }
    }
    *out = inbox->stats;
    pthread_mutex_unlock(&inbox->lock);
}

void inbox_acted_on(struct inbox *inbox, int64_t seq)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->acted_on = seq;
    pthread_mutex_unlock(&inbox->lock);
}

void inbox_stop(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->stopping = true;
    pthread_cond_signal(&inbox->work);
    pthread_mutex_unlock(&inbox->lock);
    pthread_join(inbox->writer, NULL);
    checkpointer_stop(inbox->checkpointer);
}

void inbox_free(struct inbox *inbox)
{
    if (inbox->is_open)
        inbox_db_close(&inbox->db);
    checkpointer_free(inbox->checkpointer);
    free(inbox->path);
    free(inbox->store_path);
    free(inbox);
}
