#include "services/ingress/inbox_db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "services/ingress/inbox.h"

enum {
    SCHEMA_VERSION = 1,
    BUSY_MS = 2000,
    PRUNE_BATCH_MAX = 500,
};

/* The schema is the file inbox.sql itself, so that people and tests read what runs. */
__asm__(".pushsection .rodata\n"
        ".globl inbox_schema\n"
        ".hidden inbox_schema\n"
        "inbox_schema:\n"
        ".incbin \"services/ingress/inbox.sql\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char inbox_schema[];

static int fail(sqlite3 *db, const char *what, char *fault, size_t size)
{
    snprintf(fault, size, "%s: %s", what, db ? sqlite3_errmsg(db) : "out of memory");
    return -1;
}

static int step_once(struct inbox_db *inbox, sqlite3_stmt *statement, const char *what, char *fault,
                     size_t size)
{
    int code = sqlite3_step(statement);
    int reset = sqlite3_reset(statement);
    if ((code == SQLITE_DONE || code == SQLITE_ROW) && reset == SQLITE_OK)
        return 0;
    return fail(inbox->db, what, fault, size);
}

static int on_wal(void *context, sqlite3 *db, const char *name, int pages)
{
    struct inbox_db *inbox = context;
    (void)db;
    (void)name;
    inbox->wal_pages = pages;
    return SQLITE_OK;
}

static int read_version(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return version;
}

static int migrate(sqlite3 *db, char *fault, size_t size)
{
    int version = read_version(db);
    if (version < 0)
        return fail(db, "read the schema version", fault, size);
    if (version >= SCHEMA_VERSION)
        return 0;
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return fail(db, "begin the schema", fault, size);
    if (sqlite3_exec(db, inbox_schema, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA user_version = 1; COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
        fail(db, "create the schema", fault, size);
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    return 0;
}

static int prepare(struct inbox_db *inbox, char *fault, size_t size)
{
    struct {
        sqlite3_stmt **statement;
        const char *sql;
    } statements[] = {
        {&inbox->begin, "BEGIN IMMEDIATE"},
        {&inbox->commit, "COMMIT"},
        {&inbox->rollback, "ROLLBACK"},
        {&inbox->insert, "INSERT INTO events (seq, source, delivery, body, headers, received_at) "
                         "VALUES (?6, ?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING"},
        {&inbox->find, "SELECT seq FROM events WHERE source = ?1 AND delivery = ?2"},
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (sqlite3_prepare_v3(inbox->db, statements[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
                               statements[i].statement, NULL) != SQLITE_OK)
            return fail(inbox->db, "prepare", fault, size);
    }
    return 0;
}

/* Pages of 8 KiB: a body of some KiB has no overflow chain, and the pages of the deduplication's
 * index, which are written at random, are no larger than they need be. Checkpoints belong to
 * another connection (inbox_db_checkpoint), hence wal_autocheckpoint 0. */
static const char writer_pragmas[] = "PRAGMA page_size = 8192;"
                                     "PRAGMA journal_mode = WAL;"
                                     "PRAGMA synchronous = FULL;"
                                     "PRAGMA foreign_keys = ON;"
                                     "PRAGMA wal_autocheckpoint = 0;"
                                     "PRAGMA journal_size_limit = 33554432;"
                                     "PRAGMA cache_size = -8192;";

int inbox_db_open(struct inbox_db *inbox, const char *path, char *fault, size_t size)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    memset(inbox, 0, sizeof *inbox);
    if (sqlite3_open_v2(path, &inbox->db, flags, NULL) != SQLITE_OK)
        goto failed;
    sqlite3_busy_timeout(inbox->db, BUSY_MS);
    if (sqlite3_exec(inbox->db, writer_pragmas, NULL, NULL, NULL) != SQLITE_OK)
        goto failed;
    if (migrate(inbox->db, fault, size) < 0 || prepare(inbox, fault, size) < 0 ||
        inbox_db_probe(inbox, fault, size) < 0)
        goto closed;
    sqlite3_wal_hook(inbox->db, on_wal, inbox);
    return 0;
failed:
    fail(inbox->db, path, fault, size);
closed:
    inbox_db_close(inbox);
    return -1;
}

void inbox_db_close(struct inbox_db *inbox)
{
    sqlite3_finalize(inbox->begin);
    sqlite3_finalize(inbox->commit);
    sqlite3_finalize(inbox->rollback);
    sqlite3_finalize(inbox->insert);
    sqlite3_finalize(inbox->find);
    sqlite3_close_v2(inbox->db);
    memset(inbox, 0, sizeof *inbox);
}

/* ---- numbering ---- */

/* The first number of a query's answer; without where it has none, -1 where it cannot be asked. */
static int64_t number_of(sqlite3 *db, const char *sql, int64_t without)
{
    sqlite3_stmt *statement = NULL;
    int64_t number = without;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return -1;
    if (sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    return sqlite3_finalize(statement) == SQLITE_OK ? number : -1;
}

int64_t inbox_db_position(const char *store_path, char *fault, size_t size)
{
    sqlite3 *db = NULL;
    int64_t position = -1;
    struct stat there;
    if (stat(store_path, &there) < 0 && errno == ENOENT)
        return 0;
    if (sqlite3_open_v2(store_path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) ==
        SQLITE_OK) {
        sqlite3_busy_timeout(db, BUSY_MS);
        position = number_of(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", 0);
        if (position > 0)
            position = number_of(
                db, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'inbox_position'", 0);
    }
    if (position < 0)
        snprintf(fault, size, "main.db: %s", db ? sqlite3_errmsg(db) : "out of memory");
    sqlite3_close_v2(db);
    return position;
}

int64_t inbox_db_newest(struct inbox_db *inbox)
{
    return number_of(inbox->db, "SELECT max(seq) FROM events", 0);
}

int inbox_db_number_above(struct inbox_db *inbox, int64_t position, char *fault, size_t size)
{
    int64_t newest = inbox_db_newest(inbox);
    if (newest < 0)
        return fail(inbox->db, "read the numbering", fault, size);
    inbox->first_seq = newest < position ? position + 1 : 0;
    return 0;
}

/* ---- one batch ---- */

bool inbox_db_in_place(struct inbox_db *inbox)
{
    int moved = 0;
    return sqlite3_file_control(inbox->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK ||
           !moved;
}

int inbox_db_begin(struct inbox_db *inbox, char *fault, size_t size)
{
    return step_once(inbox, inbox->begin, "begin", fault, size);
}

static int find_seq(struct inbox_db *inbox, struct inbox_event *event, char *fault, size_t size)
{
    sqlite3_bind_text(inbox->find, 1, event->source, -1, SQLITE_STATIC);
    sqlite3_bind_text(inbox->find, 2, event->delivery, -1, SQLITE_STATIC);
    int code = sqlite3_step(inbox->find);
    if (code == SQLITE_ROW)
        event->seq = sqlite3_column_int64(inbox->find, 0);
    sqlite3_reset(inbox->find);
    return code == SQLITE_ROW ? 0 : fail(inbox->db, "find the duplicate", fault, size);
}

int inbox_db_insert(struct inbox_db *inbox, struct inbox_event *event, char *fault, size_t size)
{
    sqlite3_stmt *insert = inbox->insert;
    sqlite3_bind_text(insert, 1, event->source, -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 2, event->delivery, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(insert, 3, event->body, event->size, SQLITE_STATIC);
    sqlite3_bind_text(insert, 4, event->headers[0] ? event->headers : "{}", -1, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 5, event->received_at);
    if (inbox->first_seq)
        sqlite3_bind_int64(insert, 6, inbox->first_seq);
    else
        sqlite3_bind_null(insert, 6); /* one above the last */
    if (step_once(inbox, insert, "insert", fault, size) < 0)
        return -1;
    event->duplicate = sqlite3_changes(inbox->db) == 0;
    if (event->duplicate)
        return find_seq(inbox, event, fault, size);
    event->seq = sqlite3_last_insert_rowid(inbox->db);
    inbox->first_seq = 0;
    return 0;
}

int inbox_db_commit(struct inbox_db *inbox, char *fault, size_t size)
{
    return step_once(inbox, inbox->commit, "commit", fault, size);
}

void inbox_db_rollback(struct inbox_db *inbox)
{
    if (!sqlite3_get_autocommit(inbox->db)) {
        sqlite3_step(inbox->rollback);
        sqlite3_reset(inbox->rollback);
    }
}

int inbox_db_probe(struct inbox_db *inbox, char *fault, size_t size)
{
    int version = read_version(inbox->db);
    char sql[64];
    if (version < 0)
        return fail(inbox->db, "read the schema version", fault, size);
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d", version);
    if (inbox_db_begin(inbox, fault, size) < 0)
        return -1;
    if (sqlite3_exec(inbox->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail(inbox->db, "write", fault, size);
        inbox_db_rollback(inbox);
        return -1;
    }
    return inbox_db_commit(inbox, fault, size);
}

/* Walks from the oldest row and stops at the first that must stay: no scan of what is kept. */
static int64_t last_to_prune(struct inbox_db *inbox, int64_t seq, int64_t before_ms, int max,
                             int *count)
{
    static const char sql[] = "SELECT seq, received_at FROM events"
                              " WHERE seq < (SELECT max(seq) FROM events) ORDER BY seq LIMIT ?1";
    sqlite3_stmt *statement = NULL;
    int64_t last = 0;
    *count = 0;
    if (sqlite3_prepare_v2(inbox->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return -1;
    sqlite3_bind_int(statement, 1, max < PRUNE_BATCH_MAX ? max : PRUNE_BATCH_MAX);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        if (sqlite3_column_int64(statement, 0) > seq ||
            sqlite3_column_int64(statement, 1) >= before_ms)
            break;
        last = sqlite3_column_int64(statement, 0);
        (*count)++;
    }
    return sqlite3_finalize(statement) == SQLITE_OK ? last : -1;
}

int inbox_db_prune(struct inbox_db *inbox, int64_t seq, int64_t before_ms, int max, char *fault,
                   size_t size)
{
    int count;
    sqlite3_stmt *statement = NULL;
    int64_t last = last_to_prune(inbox, seq, before_ms, max, &count);
    if (last < 0)
        return fail(inbox->db, "look for old rows", fault, size);
    if (count == 0)
        return 0;
    if (sqlite3_prepare_v2(inbox->db, "DELETE FROM events WHERE seq <= ?1", -1, &statement, NULL) !=
        SQLITE_OK)
        return fail(inbox->db, "delete old rows", fault, size);
    sqlite3_bind_int64(statement, 1, last);
    sqlite3_step(statement);
    if (sqlite3_finalize(statement) != SQLITE_OK)
        return fail(inbox->db, "delete old rows", fault, size);
    return count;
}

sqlite3 *inbox_db_open_checkpointer(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
            SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;", NULL, NULL,
                     NULL) != SQLITE_OK) {
        sqlite3_close_v2(db);
        return NULL;
    }
    return db;
}

int inbox_db_checkpoint(sqlite3 *db)
{
    int log = 0, moved = 0;
    int code = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, &log, &moved);
    if (code == SQLITE_BUSY)
        return log > moved ? log - moved : 1;
    return code == SQLITE_OK ? (log > moved ? log - moved : 0) : -1;
}
