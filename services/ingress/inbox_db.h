/* The inbox's file: one connection that writes, one that only checkpoints. */
#ifndef ORCH_INBOX_DB_H
#define ORCH_INBOX_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>

struct inbox_event;

/* Connection of the one writer; used by one thread. */
struct inbox_db {
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *rollback, *insert, *find;
    int64_t first_seq; /* of the next row, where that is more than one above the last; else 0 */
    int wal_pages;     /* pages in the write-ahead log after the last commit */
};

/* Opens, creates or migrates the file. 0, or -1 with a text in fault and nothing left open. */
int inbox_db_open(struct inbox_db *inbox, const char *path, char *fault, size_t size);
void inbox_db_close(struct inbox_db *inbox);

/* How far the scheduler says it has come, from main.db; 0 where there is no such file or record
 * yet, -1 with a text in fault where it cannot be read. */
int64_t inbox_db_position(const char *store_path, char *fault, size_t size);
/* Numbers of new rows will be above this: a file that was made anew, or put back from a backup,
 * must not number what is new as something that was acted on long ago. 0, or -1 with a text in
 * fault. */
int inbox_db_number_above(struct inbox_db *inbox, int64_t position, char *fault, size_t size);
/* Number of the newest row, 0 where there is none, -1 where it cannot be read. */
int64_t inbox_db_newest(struct inbox_db *inbox);

/* False where the file was renamed or removed under us: what is committed then is lost. */
bool inbox_db_in_place(struct inbox_db *inbox);

/* Each 0, or -1 with a text in fault; after a failure the caller rolls back and reopens. */
int inbox_db_begin(struct inbox_db *inbox, char *fault, size_t size);
/* Sets the event's seq, and duplicate where it had been there. */
int inbox_db_insert(struct inbox_db *inbox, struct inbox_event *event, char *fault, size_t size);
int inbox_db_commit(struct inbox_db *inbox, char *fault, size_t size);
void inbox_db_rollback(struct inbox_db *inbox);

/* Writes the header page as it is and commits: proves that the file can be written. */
int inbox_db_probe(struct inbox_db *inbox, char *fault, size_t size);

/* Deletes up to max of the oldest rows while they are at or below seq and received before the time,
 * but never the newest of all: numbering goes on from it. Returns how many, or -1 with a text in
 * fault. */
int inbox_db_prune(struct inbox_db *inbox, int64_t seq, int64_t before_ms, int max, char *fault,
                   size_t size);

/* Connection that checkpoints only. NULL where it cannot be opened. */
sqlite3 *inbox_db_open_checkpointer(const char *path);
/* One pass beside the writer. Returns the pages that are still to be moved, -1 on error. */
int inbox_db_checkpoint(sqlite3 *db);

#endif
