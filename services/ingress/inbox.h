/* The inbox: accepted events become rows before anybody is told of them.
 *
 * One writer thread takes everything that is queued and commits it as one transaction (group
 * commit), then reports each event. A second thread moves committed pages from the write-ahead log
 * to the file, so that no sender ever waits for a checkpoint. */
#ifndef ORCH_INBOX_H
#define ORCH_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "services/ingress/command.h"

struct inbox;

struct inbox_event {
    const char *source; /* plane | gitea | local | operator; static text */
    /* the key of deduplication; of a signed webhook the digest of its body */
    char delivery[DELIVERY_MAX + 1];
    const void *body; /* borrowed until done is called */
    size_t size;
    char headers[160]; /* JSON object, or "" */
    int64_t received_at;
    /* Called once on the writer's thread, after the commit or the failure. May free the event. */
    void (*done)(struct inbox_event *event);

    bool kept; /* true: durable; the fields below are set */
    bool duplicate;
    int64_t seq;
    struct inbox_event *next; /* of the inbox */
};

struct inbox_stats {
    bool open;     /* the file is open */
    bool writable; /* the last write succeeded */
    char error[200];
    int64_t proved_ms; /* monotonic time of the last write that succeeded */
    int64_t newest;    /* newest committed row of this process's life, 0 none */
    uint64_t kept, duplicates, failed, refused, batches, pruned, checkpoints;
    int64_t worst_commit_us;
    uint64_t commit_us; /* sum over all batches */
    size_t queued;
    int wal_pages;
};

/* Starts both threads; the file is opened by the writer and, where that fails, tried again until it
 * succeeds. store_path: main.db, asked once per opening how far the scheduler has come, so that no
 * new row gets a number it has passed. doorbell: an eventfd, see inbox_take_news. */
struct inbox *inbox_start(const char *path, const char *store_path, int doorbell);

/* Hands over an event; false where the queue is full (nothing was taken). Any thread. */
bool inbox_submit(struct inbox *inbox, struct inbox_event *event);

/* Newest row not yet announced. 0 where there is none: then, and only then, the next commit writes
 * to the doorbell, so that one announcement at a time is on its way. */
int64_t inbox_take_news(struct inbox *inbox);

void inbox_stats(struct inbox *inbox, struct inbox_stats *out);

/* Has the writer prove that the file can be written, where the last proof is older than age_ms;
 * waits at most wait_ms. Then as inbox_stats. */
void inbox_probe(struct inbox *inbox, int64_t age_ms, int64_t wait_ms, struct inbox_stats *out);

/* The scheduler has acted on all rows up to seq: they may go when they are 30 days old (the keys of
 * deduplication are kept that long). */
void inbox_acted_on(struct inbox *inbox, int64_t seq);

/* Commits what is queued, refuses what comes later, ends both threads. */
void inbox_stop(struct inbox *inbox);
/* After inbox_stop, once nobody calls any of the above any more. */
void inbox_free(struct inbox *inbox);

#endif
