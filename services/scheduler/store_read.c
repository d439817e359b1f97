#include "services/scheduler/store_read_rows.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include "lib/buffer.h"
#include "lib/clock.h"

enum {
    BUSY_MS = 1000,
    SCHEMA_MAJOR = 1000, /* user_version / SCHEMA_MAJOR is the major number */
};

/* ---- connection ---- */

static void close_file(struct store_read *store)
{
    sqlite3_finalize(store->version);
    sqlite3_close_v2(store->db);
    store->version = NULL;
    store->db = NULL;
}

static int64_t pragma_number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int64_t number = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

static int open_file(struct store_read *store, char *fault, size_t size)
{
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(store->path, &store->db, flags, NULL) != SQLITE_OK) {
        snprintf(fault, size, "main.db: %s", sqlite3_errmsg(store->db));
        close_file(store);
        return -1;
    }
    sqlite3_busy_timeout(store->db, BUSY_MS);
    int64_t schema = pragma_number(store->db, "PRAGMA user_version");
    if (schema >= 1 && schema < SCHEMA_MAJOR &&
        sqlite3_prepare_v2(store->db, "PRAGMA data_version", -1, &store->version, NULL) ==
            SQLITE_OK)
        return 0;
    if (schema == 0)
        snprintf(fault, size, "main.db has no schema yet");
    else if (schema < 0)
        snprintf(fault, size, "main.db: %s", sqlite3_errmsg(store->db));
    else
        snprintf(fault, size, "main.db has schema %lld of another major version",
                 (long long)schema);
    close_file(store);
    return -1;
}

struct store_read *store_read_new(const char *path)
{
    struct store_read *store = xcalloc(1, sizeof *store);
    store->path = xstrdup(path);
    return store;
}

int store_read_begin(struct store_read *store, char *fault, size_t size)
{
    int moved = 0;
    if (store->db &&
        sqlite3_file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
        moved)
        close_file(store);
    store->fault[0] = '\0';
    if (!store->db && open_file(store, fault, size) < 0)
        return -1;
    /* The first read takes the snapshot, not BEGIN. */
    if (sqlite3_exec(store->db, "BEGIN; SELECT 1 FROM meta LIMIT 1", NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    snprintf(fault, size, "main.db: %s", sqlite3_errmsg(store->db));
    close_file(store);
    return -1;
}

static void note_fault(struct store_read *store)
{
    if (!store->fault[0])
        snprintf(store->fault, sizeof store->fault, "main.db: %s", sqlite3_errmsg(store->db));
}

int store_read_end(struct store_read *store, char *fault, size_t size)
{
    if (store->db && !sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
    if (!store->fault[0])
        return 0;
    snprintf(fault, size, "%s", store->fault);
    close_file(store);
    return -1;
}

int64_t store_read_version(struct store_read *store)
{
    if (!store->db)
        return -1;
    int64_t version = -1;
    if (sqlite3_step(store->version) == SQLITE_ROW)
        version = sqlite3_column_int64(store->version, 0);
    sqlite3_reset(store->version);
    return version;
}

/* ---- rows as JSON ---- */

static json_t *column_value(sqlite3_stmt *row, int column, const char *type)
{
    char text[CLOCK_TEXT_SIZE];
    if (sqlite3_column_type(row, column) == SQLITE_NULL)
        return json_null();
    if (strcmp(type, "time") == 0) {
        clock_text(sqlite3_column_int64(row, column), text);
        return json_string(text);
    }
    if (strcmp(type, "bool") == 0)
        return json_boolean(sqlite3_column_int(row, column));
    if (strcmp(type, "json") == 0) {
        json_t *value =
            json_loads((const char *)sqlite3_column_text(row, column), JSON_DECODE_ANY, NULL);
        return value ? value : json_null();
    }
    switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER:
        return json_integer(sqlite3_column_int64(row, column));
    case SQLITE_FLOAT:
        return json_real(sqlite3_column_double(row, column));
    default: {
        json_t *value = json_string((const char *)sqlite3_column_text(row, column));
        return value ? value : json_null();
    }
    }
}

static void put_column(json_t *object, sqlite3_stmt *row, int column)
{
    char name[64];
    snprintf(name, sizeof name, "%s", sqlite3_column_name(row, column));
    char *type = strchr(name, ':');
    if (type)
        *type++ = '\0';
    json_t *value = column_value(row, column, type ? type : "");
    char *part = strchr(name, '.');
    if (!part) {
        json_object_set_new(object, name, value);
        return;
    }
    *part++ = '\0';
    json_t *inner = json_object_get(object, name);
    if (!inner)
        json_object_set_new(object, name, inner = json_object());
    json_object_set_new(inner, part, value);
}

static bool all_null(json_t *object)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (!json_is_null(value))
            return false;
    }
    return true;
}

static json_t *row_object(sqlite3_stmt *row)
{
    json_t *object = json_object();
    const char *name;
    json_t *value;
    void *next;
    for (int i = 0; i < sqlite3_column_count(row); i++)
        put_column(object, row, i);
    json_object_foreach_safe(object, next, name, value)
    {
        if (json_is_object(value) && json_object_size(value) && all_null(value))
            json_object_set_new(object, name, json_null());
    }
    return object;
}

/* NULL where it failed. */
static sqlite3_stmt *prepare(struct store_read *store, const char *sql, const char *bindings,
                             va_list arguments)
{
    sqlite3_stmt *statement = NULL;
    if (!store->db)
        return NULL;
    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK) {
        note_fault(store);
        return NULL;
    }
    for (int i = 1; *bindings; i++, bindings++) {
        if (*bindings == 'i')
            sqlite3_bind_int64(statement, i, va_arg(arguments, int64_t));
        else
            sqlite3_bind_text(statement, i, va_arg(arguments, const char *), -1, SQLITE_TRANSIENT);
    }
    return statement;
}

json_t *read_rows(struct store_read *store, const char *sql, const char *bindings, ...)
{
    json_t *array = json_array();
    va_list arguments;
    va_start(arguments, bindings);
    sqlite3_stmt *statement = prepare(store, sql, bindings, arguments);
    va_end(arguments);
    while (statement && sqlite3_step(statement) == SQLITE_ROW)
        json_array_append_new(array, row_object(statement));
    if (sqlite3_finalize(statement) != SQLITE_OK)
        note_fault(store);
    return array;
}

json_t *read_row(struct store_read *store, const char *sql, const char *bindings, ...)
{
    json_t *object = NULL;
    va_list arguments;
    va_start(arguments, bindings);
    sqlite3_stmt *statement = prepare(store, sql, bindings, arguments);
    va_end(arguments);
    if (statement && sqlite3_step(statement) == SQLITE_ROW)
        object = row_object(statement);
    if (sqlite3_finalize(statement) != SQLITE_OK)
        note_fault(store);
    return object;
}

int64_t read_number(struct store_read *store, const char *sql)
{
    return store->db ? pragma_number(store->db, sql) : -1;
}

int64_t zero_if_none(int64_t value)
{
    return value < 0 ? 0 : value;
}

/* ---- events, decisions, positions ---- */

json_t *store_read_decision(struct store_read *store, int64_t event)
{
    return read_row(store, "SELECT result, reason FROM decisions WHERE event = ?1", "i", event);
}

json_t *store_read_journal(struct store_read *store, int64_t after, int max)
{
    return read_rows(
        store,
        "SELECT 1 AS v, 'event' AS kind, seq, at AS \"ts:time\", event, task, stage, job,"
        " run, service, detail AS \"detail:json\" FROM journal WHERE seq > ?1"
        " ORDER BY seq LIMIT ?2",
        "ii", after, (int64_t)(max < ROWS_MAX ? max : ROWS_MAX));
}

int64_t store_read_journal_last(struct store_read *store)
{
    return zero_if_none(read_number(store, "SELECT max(seq) FROM journal"));
}

int64_t store_read_inbox_position(struct store_read *store)
{
    return zero_if_none(
        read_number(store, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'inbox_position'"));
}
