/* main.db: the connection of its one writer, its statements and its transactions.
 *
 * A failure sticks: the first one of a transaction is kept, everything asked after it answers
 * nothing, and the commit refuses. So what is built inside of a transaction needs no check of every
 * step; whoever commits looks once. */
#ifndef ORCH_STORE_H
#define ORCH_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sqlite3.h>

enum { STORE_STATEMENTS_MAX = 256, STORE_FAULT_SIZE = 200 };

struct store {
    sqlite3 *db;
    char *path;
    int failed; /* SQLite's code of the first failure since store_begin; 0: none */
    char fault[STORE_FAULT_SIZE];
    int wal_pages; /* in the write-ahead log after the last commit */
    dev_t device;  /* of the file that is open */
    ino_t inode;
    struct {
        const char *sql; /* the literal's address is the key */
        sqlite3_stmt *statement;
    } cache[STORE_STATEMENTS_MAX];
};

/* Opens, creates or migrates. NULL with a text in fault: not to be opened now (disk), or never (a
 * schema of another major version). Caller closes. */
struct store *store_open(const char *path, char *fault, size_t size);
void store_close(struct store *store); /* NULL is fine */
/* Another connection to the same file, or to the one that took its place, after a fault of the
 * world. 0: the same, 1: another one; -1 and the fault is in the store. */
int store_reopen(struct store *store);

/* 0 or -1; the fault is in the store. store_begin refuses where the file was moved away;
 * store_commit rolls back where it fails. */
int store_begin(struct store *store);
int store_commit(struct store *store);
void store_rollback(struct store *store);
bool store_in_transaction(const struct store *store);

/* A part of the transaction that may fail alone. store_part_drop undoes it, and forgets its failure
 * where that was no fault of the world. */
void store_part_begin(struct store *store);
void store_part_keep(struct store *store);
void store_part_drop(struct store *store);

/* True where the failure is the disk's, a lock's or a damaged file's: it may pass, so wait and try
 * again. False: the rows refused what we wanted of them. */
bool store_fault_is_world(const struct store *store);

/* The statement for sql (a literal), bound and ready to be stepped by store_row; NULL after a
 * failure. types, one letter per argument: i int64_t, s const char * (borrowed until the statement
 * is reset; NULL binds null), d double, n int64_t of which a negative one binds null. */
sqlite3_stmt *store_ask(struct store *store, const char *sql, const char *types, ...);
/* The next row; false at the end and on failure, the statement is reset then. NULL is fine. */
bool store_row(struct store *store, sqlite3_stmt *statement);
/* Ends a statement that was not read to its end. NULL is fine. */
void store_done(sqlite3_stmt *statement);

/* Runs to the end: rows changed, or -1. */
int store_run(struct store *store, const char *sql, const char *types, ...);
/* First column of the first row; none where there is no row or it is null. */
int64_t store_number(struct store *store, int64_t none, const char *sql, const char *types, ...);
/* Likewise as text; caller frees; NULL where there is none. */
char *store_text(struct store *store, const char *sql, const char *types, ...);

int64_t store_last_id(struct store *store);

/* Columns of the current row. Text is borrowed until the next step; NULL for null. */
int64_t column_int(sqlite3_stmt *statement, int column);
const char *column_text(sqlite3_stmt *statement, int column);
char *column_copy(sqlite3_stmt *statement, int column); /* caller frees; NULL for null */

/* Moves the log into the file; pages left. Not inside a transaction. */
int store_checkpoint(struct store *store);

#endif
