#include "services/ingress/inbox_read.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sqlite3.h>
#include "lib/buffer.h"

enum {
    BUSY_MS = 100,
    BATCH_BYTES_MAX = 4 * 1024 * 1024,
    SCHEMA_MAJOR = 1000, /* user_version / SCHEMA_MAJOR is the major number */
};

struct inbox_read {
    char *path;
    sqlite3 *db;
    sqlite3_stmt *next;
    struct inbox_row *rows; /* of the last call, each with its block of bytes */
    char **blocks;
    int count, room;
};

static void close_file(struct inbox_read *inbox)
{
    sqlite3_finalize(inbox->next);
    sqlite3_close_v2(inbox->db);
    inbox->next = NULL;
    inbox->db = NULL;
}

static int fail(struct inbox_read *inbox, char *fault, size_t size)
{
    snprintf(fault, size, "inbox.db: %s", inbox->db ? sqlite3_errmsg(inbox->db) : "out of memory");
    close_file(inbox);
    return -1;
}

static void forget_rows(struct inbox_read *inbox)
{
    while (inbox->count > 0)
        free(inbox->blocks[--inbox->count]);
}

struct inbox_read *inbox_read_new(const char *path)
{
    struct inbox_read *inbox = xcalloc(1, sizeof *inbox);
    inbox->path = xstrdup(path);
    return inbox;
}

void inbox_read_free(struct inbox_read *inbox)
{
    if (!inbox)
        return;
    close_file(inbox);
    forget_rows(inbox);
    free(inbox->blocks);
    free(inbox->rows);
    free(inbox->path);
    free(inbox);
}

/* -1 where it cannot be read. */
static int64_t schema_version(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int64_t version = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return version;
}

/* 1: open; 0: not there yet, or without a schema yet; -1: fault. */
static int open_file(struct inbox_read *inbox, char *fault, size_t size)
{
    static const char sql[] = "SELECT seq, received_at, source, delivery, headers, body"
                              " FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    struct stat there;
    if (stat(inbox->path, &there) < 0 && errno == ENOENT)
        return 0;
    if (sqlite3_open_v2(inbox->path, &inbox->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return fail(inbox, fault, size);
    sqlite3_busy_timeout(inbox->db, BUSY_MS);
    int64_t schema = schema_version(inbox->db);
    if (schema == 0) {
        close_file(inbox);
        return 0;
    }
    if (schema < 0)
        return fail(inbox, fault, size);
    if (schema >= SCHEMA_MAJOR) {
        snprintf(fault, size, "inbox.db has schema %lld of another major version",
                 (long long)schema);
        close_file(inbox);
        return -1;
    }
    if (sqlite3_prepare_v3(inbox->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &inbox->next, NULL) !=
        SQLITE_OK)
        return fail(inbox, fault, size);
    return 1;
}

static void close_replaced_file(struct inbox_read *inbox)
{
    int moved = 0;
    if (inbox->db &&
        sqlite3_file_control(inbox->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
        moved)
        close_file(inbox);
}

static void make_room(struct inbox_read *inbox, int max)
{
    if (inbox->room >= max)
        return;
    inbox->rows = xrealloc(inbox->rows, (size_t)max * sizeof *inbox->rows);
    inbox->blocks = xrealloc(inbox->blocks, (size_t)max * sizeof *inbox->blocks);
    inbox->room = max;
}

struct piece {
    const void *data;
    size_t size;
};

static struct piece piece_of(sqlite3_stmt *statement, int column)
{
    const void *data = sqlite3_column_blob(statement, column); /* before its size is asked */
    return (struct piece){data, data ? (size_t)sqlite3_column_bytes(statement, column) : 0};
}

static const char *put(char **at, struct piece piece)
{
    const char *start = *at;
    if (piece.size)
        memcpy(*at, piece.data, piece.size);
    (*at)[piece.size] = '\0';
    *at += piece.size + 1;
    return start;
}

/* Copies the row at which the statement stands into one block. Returns the size of that. */
static size_t take_row(struct inbox_read *inbox)
{
    struct piece source = piece_of(inbox->next, 2), delivery = piece_of(inbox->next, 3);
    struct piece headers = piece_of(inbox->next, 4), body = piece_of(inbox->next, 5);
    size_t size = source.size + delivery.size + headers.size + body.size + 4;
    char *at = xrealloc(NULL, size);
    struct inbox_row *row = &inbox->rows[inbox->count];
    inbox->blocks[inbox->count++] = at;
    row->seq = sqlite3_column_int64(inbox->next, 0);
    row->received_at = sqlite3_column_int64(inbox->next, 1);
    row->source = put(&at, source);
    row->delivery = put(&at, delivery);
    row->headers = put(&at, headers);
    row->body = put(&at, body);
    row->size = body.size;
    return size;
}

int inbox_read_next(struct inbox_read *inbox, int64_t after, int max, const struct inbox_row **rows,
                    char *fault, size_t size)
{
    size_t bytes = 0;
    int code = SQLITE_DONE;
    *rows = NULL;
    forget_rows(inbox);
    close_replaced_file(inbox);
    if (!inbox->db) {
        int opened = open_file(inbox, fault, size);
        if (opened <= 0)
            return opened;
    }
    make_room(inbox, max);
    sqlite3_bind_int64(inbox->next, 1, after);
    sqlite3_bind_int(inbox->next, 2, max);
    while (inbox->count < max && bytes < BATCH_BYTES_MAX &&
           (code = sqlite3_step(inbox->next)) == SQLITE_ROW)
        bytes += take_row(inbox);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return fail(inbox, fault, size); /* what was read before comes again */
    sqlite3_reset(inbox->next);
    *rows = inbox->rows;
    return inbox->count;
}
