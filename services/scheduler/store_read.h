/* Reading main.db beside its writer: questions only, each page from one read transaction.
 *
 * Rows come as JSON in the shape of the pages (docs/http-api.md): times are RFC 3339, what is
 * unknown is null. All results are bounded; whatever counts history is read through an index on
 * live rows. */
#ifndef ORCH_STORE_READ_H
#define ORCH_STORE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

struct store_read;

/* Opens nothing yet. Used by one thread. */
struct store_read *store_read_new(const char *path);

/* Opens where needed (also after the file was replaced) and begins a read transaction. 0, or -1
 * with a text in fault: not there yet, no schema yet, or unreadable. */
int store_read_begin(struct store_read *store, char *fault, size_t size);
/* 0, or -1 with a text in fault where anything asked since store_read_begin could not be read: the
 * answers then lack it and must not be shown. */
int store_read_end(struct store_read *store, char *fault, size_t size);

/* Everything that /queue, /metrics and /health say of main.db. */
struct store_state {
    int64_t queued, running, living, blocked, parked, stopping;
    int64_t effects_pending, effects_handed, windows_open, alerts_open;
    int64_t journal_seq, inbox_position;
    int64_t transitions, jobs;       /* how many there ever were */
    bool paused, draining, restored; /* restored: effects and commands are withheld */
    json_t *stages;                  /* {stage: living tasks} */
    json_t *running_jobs, *queued_jobs, *leases, *frozen, *alerts, *breakers; /* arrays */
    json_t *effects_oldest;  /* time of the oldest that waits, or null */
    json_t *paused_projects; /* array of keys */
};
void store_read_state(struct store_read *store, struct store_state *out);
void store_state_free(struct store_state *state);

/* The living tasks and the newest finished ones, newest first; project NULL: all. */
json_t *store_read_tasks(struct store_read *store, const char *project, int finished_max);
/* By its key, or the newest of this natural key. NULL where there is none. */
json_t *store_read_task(struct store_read *store, const char *key);
/* The same lookup, answering only whether. */
bool store_read_task_known(struct store_read *store, const char *key);

/* The effects that wait, oldest first, at most 1000. */
json_t *store_read_effects(struct store_read *store);

json_t *store_read_issues(struct store_read *store, const char *project);
json_t *store_read_issue(struct store_read *store, const char *key);

/* {"result","reason"} of an accepted event, NULL where it is undecided. */
json_t *store_read_decision(struct store_read *store, int64_t event);

/* Journal rows after seq, oldest first, in the shape of the message "event". */
json_t *store_read_journal(struct store_read *store, int64_t after, int max);
/* seq of the newest row, 0 where there is none. */
int64_t store_read_journal_last(struct store_read *store);

/* How far the scheduler has come in the inbox. */
int64_t store_read_inbox_position(struct store_read *store);

/* Changes whenever another connection has committed; outside of a transaction. -1 where closed. */
int64_t store_read_version(struct store_read *store);

#endif
