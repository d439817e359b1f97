#include "services/scheduler/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "lib/buffer.h"
#include "lib/log.h"
#include "services/scheduler/migrations.h"

enum {
    BUSY_MS = 200, /* nobody else writes; a tool that reads the file may hold it for a moment */
};

/* Checkpoints come in idle moments (housekeeping.c), hence wal_autocheckpoint 0. */
static const char pragmas[] = "PRAGMA journal_mode = WAL;"
                              "PRAGMA synchronous = FULL;"
                              "PRAGMA foreign_keys = ON;"
                              "PRAGMA temp_store = MEMORY;"
                              "PRAGMA wal_autocheckpoint = 0;"
                              "PRAGMA journal_size_limit = 33554432;"
                              "PRAGMA cache_size = -16384;";

/* text NULL: SQLite's own. */
static void note_fault(struct store *store, int code, const char *text)
{
    if (store->failed)
        return;
    if (!text)
        text = store->db ? sqlite3_errmsg(store->db) : "it is not open";
    store->failed = code ? code : SQLITE_ERROR;
    snprintf(store->fault, sizeof store->fault, "%s", text);
    log_error("store", "main.db: %s (%d)", store->fault, code);
}

static int on_wal(void *context, sqlite3 *db, const char *name, int pages)
{
    struct store *store = context;
    (void)db;
    (void)name;
    store->wal_pages = pages;
    return SQLITE_OK;
}

static void drop_connection(struct store *store)
{
    for (size_t i = 0; i < STORE_STATEMENTS_MAX; i++)
        sqlite3_finalize(store->cache[i].statement);
    memset(store->cache, 0, sizeof store->cache);
    sqlite3_close_v2(store->db);
    store->db = NULL;
}

static void remember_file(struct store *store)
{
    struct stat file = {0};
    if (stat(store->path, &file) < 0)
        file.st_ino = 0;
    store->device = file.st_dev;
    store->inode = file.st_ino;
}

static int open_connection(struct store *store, int create, char *fault, size_t size)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | create;
    if (sqlite3_open_v2(store->path, &store->db, flags, NULL) != SQLITE_OK)
        goto failed;
    sqlite3_extended_result_codes(store->db, 0);
    sqlite3_busy_timeout(store->db, BUSY_MS);
    if (sqlite3_exec(store->db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        goto failed;
    sqlite3_wal_hook(store->db, on_wal, store);
    if (migrations_run(store->db, migrations, migration_count, fault, size) == 0) {
        remember_file(store);
        return 0;
    }
    drop_connection(store);
    return -1;
failed:
    snprintf(fault, size, "%s: %s", store->path,
             store->db ? sqlite3_errmsg(store->db) : "out of memory");
    drop_connection(store);
    return -1;
}

struct store *store_open(const char *path, char *fault, size_t size)
{
    struct store *store = xcalloc(1, sizeof *store);
    store->path = xstrdup(path);
    if (open_connection(store, SQLITE_OPEN_CREATE, fault, size) == 0)
        return store;
    store_close(store);
    return NULL;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    drop_connection(store);
    free(store->path);
    free(store);
}

/* Makes no file: one that vanished under us is to be put back, not begun anew. */
int store_reopen(struct store *store)
{
    dev_t device = store->device;
    ino_t inode = store->inode;
    drop_connection(store);
    store->failed = 0;
    if (open_connection(store, 0, store->fault, sizeof store->fault) < 0)
        return -1;
    return store->device != device || store->inode != inode;
}

/* ---- statements ---- */

static sqlite3_stmt *prepared(struct store *store, const char *sql)
{
    size_t slot = ((uintptr_t)sql >> 3) * 0x9e3779b97f4a7c15u % STORE_STATEMENTS_MAX;
    if (!store->db)
        return NULL;
    for (size_t tries = 0; tries < STORE_STATEMENTS_MAX; tries++) {
        if (store->cache[slot].sql == sql)
            return store->cache[slot].statement;
        if (!store->cache[slot].sql)
            break;
        slot = (slot + 1) % STORE_STATEMENTS_MAX;
    }
    if (store->cache[slot].sql)
        log_abort("store", "more than %d statements", STORE_STATEMENTS_MAX);
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (code == SQLITE_ERROR)
        log_abort("store", "%s: %s", sql, sqlite3_errmsg(store->db));
    if (code != SQLITE_OK) {
        note_fault(store, code, NULL);
        return NULL;
    }
    store->cache[slot].sql = sql;
    store->cache[slot].statement = statement;
    return statement;
}

static void bind(sqlite3_stmt *statement, const char *types, va_list arguments)
{
    for (int i = 1; *types; i++, types++) {
        if (*types == 's') {
            sqlite3_bind_text(statement, i, va_arg(arguments, const char *), -1, SQLITE_STATIC);
        } else if (*types == 'd') {
            sqlite3_bind_double(statement, i, va_arg(arguments, double));
        } else {
            int64_t value = va_arg(arguments, int64_t);
            if (*types == 'n' && value < 0)
                sqlite3_bind_null(statement, i);
            else
                sqlite3_bind_int64(statement, i, value);
        }
    }
}

static sqlite3_stmt *ask(struct store *store, const char *sql, const char *types, va_list arguments)
{
    sqlite3_stmt *statement = store->failed ? NULL : prepared(store, sql);
    if (!statement) {
        if (!store->failed)
            note_fault(store, SQLITE_CANTOPEN, NULL);
        return NULL;
    }
    if (sqlite3_stmt_busy(statement))
        log_abort("store", "asked again before it was read to its end: %s", sql);
    bind(statement, types, arguments);
    return statement;
}

sqlite3_stmt *store_ask(struct store *store, const char *sql, const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    sqlite3_stmt *statement = ask(store, sql, types, arguments);
    va_end(arguments);
    return statement;
}

bool store_row(struct store *store, sqlite3_stmt *statement)
{
    if (!statement)
        return false;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        return true;
    if (code != SQLITE_DONE)
        note_fault(store, code, NULL);
    sqlite3_reset(statement);
    return false;
}

void store_done(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
}

int store_run(struct store *store, const char *sql, const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    sqlite3_stmt *statement = ask(store, sql, types, arguments);
    va_end(arguments);
    while (store_row(store, statement))
        ;
    return statement && !store->failed ? sqlite3_changes(store->db) : -1;
}

int64_t store_number(struct store *store, int64_t none, const char *sql, const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    sqlite3_stmt *statement = ask(store, sql, types, arguments);
    va_end(arguments);
    if (!store_row(store, statement))
        return none;
    int64_t number = sqlite3_column_type(statement, 0) == SQLITE_NULL
                         ? none
                         : sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return number;
}

char *store_text(struct store *store, const char *sql, const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    sqlite3_stmt *statement = ask(store, sql, types, arguments);
    va_end(arguments);
    if (!store_row(store, statement))
        return NULL;
    char *text = column_copy(statement, 0);
    sqlite3_reset(statement);
    return text;
}

int64_t store_last_id(struct store *store)
{
    return store->db ? sqlite3_last_insert_rowid(store->db) : 0;
}

int64_t column_int(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_int64(statement, column);
}

const char *column_text(sqlite3_stmt *statement, int column)
{
    return (const char *)sqlite3_column_text(statement, column);
}

char *column_copy(sqlite3_stmt *statement, int column)
{
    const char *text = column_text(statement, column);
    return text ? xstrdup(text) : NULL;
}

/* ---- transactions ---- */

/* The file may have been replaced under us (a backup put back): what is committed into one that has
 * no name any more is lost, and every commit would succeed. */
static bool is_in_place(struct store *store)
{
    int moved = 0;
    return !store->db ||
           sqlite3_file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK ||
           !moved;
}

int store_begin(struct store *store)
{
    store->failed = 0;
    if (!is_in_place(store)) {
        note_fault(store, SQLITE_CANTOPEN, "the file was moved or removed");
        return -1;
    }
    return store_run(store, "BEGIN IMMEDIATE", "") < 0 ? -1 : 0;
}

bool store_in_transaction(const struct store *store)
{
    return store->db && !sqlite3_get_autocommit(store->db);
}

void store_rollback(struct store *store)
{
    if (store_in_transaction(store))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

int store_commit(struct store *store)
{
    if (store_run(store, "COMMIT", "") >= 0)
        return 0;
    store_rollback(store);
    return -1;
}

void store_part_begin(struct store *store)
{
    store_run(store, "SAVEPOINT part", "");
}

void store_part_keep(struct store *store)
{
    store_run(store, "RELEASE part", "");
}

void store_part_drop(struct store *store)
{
    if (store->failed && store_fault_is_world(store))
        return;
    store->failed = 0;
    store_run(store, "ROLLBACK TO part", "");
    store_run(store, "RELEASE part", "");
}

bool store_fault_is_world(const struct store *store)
{
    switch (store->failed & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_PROTOCOL:
        return true;
    default:
        return false;
    }
}

int store_checkpoint(struct store *store)
{
    int log = 0, moved = 0;
    if (!store->db)
        return 0;
    if (sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &log, &moved) ==
        SQLITE_OK)
        store->wal_pages = log > moved ? log - moved : 0;
    return store->wal_pages;
}
