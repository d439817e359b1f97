/* The published record of every state change: rows written in the transaction of the change, sent
 * to events.ipc in the order of their numbers once it is committed. */
#ifndef ORCH_JOURNAL_H
#define ORCH_JOURNAL_H

#include <stddef.h>
#include <jansson.h>
#include "protocol/bus.h"
#include "services/scheduler/store.h"

struct journal {
    json_t *pending; /* events of the open transaction, as published */
    size_t part;     /* how many there were when the open part began */
};

/* What an event is about; a NULL text or a zero job is null in the event. */
struct journal_about {
    const char *event; /* task transition job run effect alert lease freeze service ... */
    const char *task;  /* key */
    const char *stage; /* the task's stage after it */
    int64_t job;
    const char *run;
    const char *service;
};

void journal_init(struct journal *journal);
/* Takes detail (NULL: empty). now_ms: wall clock. */
void journal_add(struct journal *journal, struct store *store, int64_t now_ms,
                 const struct journal_about *about, json_t *detail);

/* With store_part_begin and store_part_drop. */
void journal_part_begin(struct journal *journal);
void journal_part_drop(struct journal *journal);

/* After the commit. bus NULL: nobody listens (tests). */
void journal_publish(struct journal *journal, struct bus *bus);
/* After a rollback: none of it happened. */
void journal_forget(struct journal *journal);

#endif
