#include "services/scheduler/store_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include "lib/buffer.h"
#include "lib/clock.h"

enum {
    BUSY_MS = 1000,
    ROWS_MAX = 1000,
    SCHEMA_MAJOR = 1000, /* user_version / SCHEMA_MAJOR is the major number */
};

struct store_read {
    char *path;
    sqlite3 *db;
    sqlite3_stmt *version;
    char fault[160]; /* of the first failure since store_read_begin */
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

/* ---- rows as JSON ----
 * A column's name says where and as what it goes: "field", "field:type" or "object.field:type" with
 * the types time (milliseconds to RFC 3339), json (text that is JSON) and bool. An object of which
 * every part is null is null itself. */

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

/* bindings: one letter per parameter, i (int64_t) or s (text, may be NULL). NULL where it failed.
 */
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

static json_t *rows(struct store_read *store, const char *sql, const char *bindings, ...)
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

/* The first row, or NULL. */
static json_t *one_row(struct store_read *store, const char *sql, const char *bindings, ...)
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

static int64_t number(struct store_read *store, const char *sql)
{
    return store->db ? pragma_number(store->db, sql) : -1;
}

static int64_t zero_if_none(int64_t value)
{
    return value < 0 ? 0 : value;
}

/* ---- the state of the whole ---- */

static void read_counts(struct store_read *store, struct store_state *out)
{
    json_t *counts =
        one_row(store,
                "SELECT count(*) AS living, total(blocked_reason IS NOT NULL) AS blocked,"
                " total(parked_for IS NOT NULL) AS parked, total(stop_requested <> 0) AS stopping"
                " FROM tasks WHERE terminal = 0",
                "");
    out->living = json_integer_value(json_object_get(counts, "living"));
    out->blocked = (int64_t)json_number_value(json_object_get(counts, "blocked"));
    out->parked = (int64_t)json_number_value(json_object_get(counts, "parked"));
    out->stopping = (int64_t)json_number_value(json_object_get(counts, "stopping"));
    json_decref(counts);
    out->queued = number(store, "SELECT count(*) FROM jobs WHERE state = 'queued'");
    out->running = number(store, "SELECT count(*) FROM jobs WHERE state = 'running'");
    out->effects_pending = number(store, "SELECT count(*) FROM effects WHERE state IN"
                                         " ('pending','handed') AND state = 'pending'");
    out->effects_handed = number(store, "SELECT count(*) FROM effects WHERE state IN"
                                        " ('pending','handed') AND state = 'handed'");
    out->windows_open = number(store, "SELECT count(*) FROM windows WHERE verdict IS NULL");
    out->alerts_open = number(store, "SELECT count(*) FROM alerts WHERE cleared_at IS NULL");
    out->journal_seq = store_read_journal_last(store);
    out->inbox_position = store_read_inbox_position(store);
    out->transitions = zero_if_none(number(store, "SELECT max(id) FROM transitions"));
    out->jobs = zero_if_none(number(store, "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'"));
}

static json_t *stage_counts(struct store_read *store)
{
    json_t *object = json_object();
    json_t *found = rows(store,
                         "SELECT stage, count(*) AS tasks FROM tasks INDEXED BY tasks_live"
                         " WHERE terminal = 0 GROUP BY stage",
                         "");
    size_t index;
    json_t *row;
    json_array_foreach(found, index, row)
    {
        json_object_set(object, json_string_value(json_object_get(row, "stage")),
                        json_object_get(row, "tasks"));
    }
    json_decref(found);
    return object;
}

static bool meta_flag(struct store_read *store, const char *key)
{
    json_t *row = one_row(store, "SELECT value FROM meta WHERE key = ?1", "s", key);
    const char *value = json_string_value(json_object_get(row, "value"));
    bool flag = value && *value && strcmp(value, "0") != 0;
    json_decref(row);
    return flag;
}

void store_read_state(struct store_read *store, struct store_state *out)
{
    memset(out, 0, sizeof *out);
    read_counts(store, out);
    out->stages = stage_counts(store);
    out->paused = meta_flag(store, "paused");
    out->draining = meta_flag(store, "draining");
    out->paused_projects = rows(store,
                                "SELECT substr(key, 8) AS project FROM meta"
                                " WHERE key LIKE 'paused:%' AND value NOT IN ('', '0')",
                                "");
    out->running_jobs =
        rows(store,
             "SELECT j.id AS job, j.task, t.key, j.project, j.repo, j.kind, j.role, j.stage,"
             " j.attempt, j.run, j.claimed_at AS \"since:time\", r.progress AS \"progress:json\""
             " FROM jobs j JOIN tasks t ON t.id = j.task LEFT JOIN agent_runs r ON r.id = j.run"
             " WHERE j.state = 'running' ORDER BY j.id LIMIT 1000",
             "");
    out->queued_jobs =
        rows(store,
             "SELECT j.id AS job, j.task, t.key, j.project, j.repo, j.kind, j.role, j.stage,"
             " j.attempt, j.reason, j.created_at AS \"since:time\","
             " nullif(j.not_before, 0) AS \"not_before:time\""
             " FROM jobs j JOIN tasks t ON t.id = j.task WHERE j.state = 'queued'"
             " ORDER BY j.stage_rank DESC, j.priority DESC, j.task, j.id LIMIT 1000",
             "");
    out->leases = rows(store,
                       "SELECT l.repo, l.task, t.key, l.since AS \"since:time\", l.used_by_run"
                       " FROM leases l JOIN tasks t ON t.id = l.task ORDER BY l.repo",
                       "");
    out->frozen = rows(store,
                       "SELECT repo, reason, actor, since AS \"since:time\" FROM repo_freeze"
                       " ORDER BY repo",
                       "");
    out->alerts = rows(store,
                       "SELECT a.key, a.task, t.key AS task_key, a.text, a.at AS \"at:time\""
                       " FROM alerts a LEFT JOIN tasks t ON t.id = a.task"
                       " WHERE a.cleared_at IS NULL ORDER BY a.at DESC LIMIT 200",
                       "");
    out->breakers = rows(store,
                         "SELECT provider, state, failures, until AS \"until:time\", reason"
                         " FROM breakers ORDER BY provider",
                         "");
    json_t *oldest = one_row(store,
                             "SELECT min(created_at) AS \"since:time\" FROM effects"
                             " WHERE state IN ('pending','handed')",
                             "");
    out->effects_oldest = json_incref(json_object_get(oldest, "since"));
    json_decref(oldest);
}

void store_state_free(struct store_state *state)
{
    json_decref(state->stages);
    json_decref(state->running_jobs);
    json_decref(state->queued_jobs);
    json_decref(state->leases);
    json_decref(state->frozen);
    json_decref(state->alerts);
    json_decref(state->breakers);
    json_decref(state->effects_oldest);
    json_decref(state->paused_projects);
    memset(state, 0, sizeof *state);
}

/* ---- tasks ---- */

/* Sums count agents' runs only: reserved jobs use no model. No run at all is a known zero; runs of
 * which none is known are unknown. */
#define RUN_SUM(column)                                                                            \
    "(SELECT CASE count(*) WHEN 0 THEN 0 ELSE sum(" column ") END FROM agent_runs r"               \
    " WHERE r.task = t.id AND r.role IS NOT NULL AND r.state = 'ended')"

#define TASK_COLUMNS                                                                               \
    "t.id, t.key, t.natural_key, t.title, t.project, t.repo, t.priority, t.stage, t.entry,"        \
    " t.labels AS \"labels:json\", t.terminal AS \"terminal:bool\","                               \
    " t.blocked_reason AS \"blocked.reason\", t.blocked_since AS \"blocked.since:time\","          \
    " t.parked_for AS \"parked.for\", t.parked_since AS \"parked.since:time\","                    \
    " t.branch, t.pr_number AS \"pull_request.number\", t.pr_url AS \"pull_request.url\","         \
    " t.pr_head AS \"pull_request.head\", t.head, t.merged_commit, t.rollbacks,"                   \
    " t.stop_requested AS \"stop_requested:bool\","                                                \
    " t.created_at AS \"created_at:time\", t.ended_at AS \"ended_at:time\","                       \
    " " RUN_SUM(                                                                                   \
        "cost_usd") " AS cost_usd,"                                                                \
                    " " RUN_SUM(                                                                   \
                        "input_tokens") " AS \"tokens.input\","                                    \
                                        " " RUN_SUM(                                               \
                                            "output_tokens") " AS \"tokens.output\","              \
                                                             " " RUN_SUM(                          \
                                                                 "cache_read_tokens") " AS "       \
                                                                                      "\"tokens."  \
                                                                                      "cache_"     \
                                                                                      "read\","    \
                                                                                      " " RUN_SUM( \
                                                                                          "cache_" \
                                                                                          "creati" \
                                                                                          "on_"    \
                                                                                          "token"  \
                                                                                          "s") " " \
                                                                                               "A" \
                                                                                               "S" \
                                                                                               " " \
                                                                                               "\"tokens.cache_creation\""

/* Sums of which none is known are null inside the object, not in its place. */
static json_t *with_tokens(json_t *task)
{
    if (task && json_is_null(json_object_get(task, "tokens")))
        json_object_set_new(
            task, "tokens",
            json_pack("{sn sn sn sn}", "input", "output", "cache_read", "cache_creation"));
    return task;
}

json_t *store_read_tasks(struct store_read *store, const char *project, int finished_max)
{
    json_t *tasks = rows(store,
                         "SELECT " TASK_COLUMNS " FROM tasks t WHERE t.id IN ("
                         "SELECT id FROM tasks WHERE terminal = 0 UNION ALL"
                         " SELECT * FROM (SELECT id FROM tasks WHERE terminal <> 0"
                         " ORDER BY id DESC LIMIT ?2))"
                         " AND (?1 IS NULL OR t.project = ?1) ORDER BY t.id DESC LIMIT 5000",
                         "si", project, (int64_t)finished_max);
    size_t index;
    json_t *task;
    json_array_foreach(tasks, index, task)
    {
        with_tokens(task);
    }
    return tasks;
}

#define TASK_BY_KEY                                                                                \
    "t.id = coalesce((SELECT id FROM tasks WHERE key = ?1),"                                       \
    " (SELECT max(id) FROM tasks WHERE natural_key = ?1))"

bool store_read_task_known(struct store_read *store, const char *key)
{
    json_t *row = one_row(store, "SELECT t.id FROM tasks t WHERE " TASK_BY_KEY, "s", key);
    json_decref(row);
    return row != NULL;
}

static void add_parts(struct store_read *store, json_t *task, int64_t id)
{
    json_object_set_new(task, "transitions",
                        rows(store,
                             "SELECT id AS entry, from_stage AS \"from\", to_stage AS \"to\", why,"
                             " actor, detail AS \"detail:json\", at AS \"at:time\""
                             " FROM transitions WHERE task = ?1 ORDER BY id",
                             "i", id));
    json_object_set_new(task, "jobs",
                        rows(store,
                             "SELECT id, kind, role, stage, entry, state, attempt, reason, run,"
                             " nullif(not_before, 0) AS \"not_before:time\","
                             " created_at AS \"created_at:time\","
                             " claimed_at AS \"claimed_at:time\", ended_at AS \"ended_at:time\""
                             " FROM jobs WHERE task = ?1 ORDER BY id",
                             "i", id));
    json_object_set_new(
        task, "runs",
        rows(store,
             "SELECT id, job, role, entry, attempt, state, outcome, class, reason, exit_code,"
             " cost_usd, session, input_tokens AS \"tokens.input\","
             " output_tokens AS \"tokens.output\", cache_read_tokens AS \"tokens.cache_read\","
             " cache_creation_tokens AS \"tokens.cache_creation\","
             " progress AS \"progress:json\", gate AS \"gate:json\","
             " started_at AS \"started_at:time\", ended_at AS \"ended_at:time\""
             " FROM agent_runs WHERE task = ?1 ORDER BY commanded_at, id",
             "i", id));
    json_object_set_new(task, "predecessors",
                        rows(store,
                             "SELECT p.id, p.key, p.stage, p.created_at AS \"created_at:time\","
                             " p.ended_at AS \"ended_at:time\" FROM tasks p"
                             " JOIN tasks t ON t.id = ?1"
                             " WHERE p.natural_key = t.natural_key AND p.id < t.id ORDER BY p.id",
                             "i", id));
}

json_t *store_read_task(struct store_read *store, const char *key)
{
    json_t *task = with_tokens(one_row(store,
                                       "SELECT " TASK_COLUMNS
                                       ", t.issue, t.description, t.findings AS \"findings:json\","
                                       " t.display FROM tasks t WHERE " TASK_BY_KEY,
                                       "s", key));
    if (task)
        add_parts(store, task, json_integer_value(json_object_get(task, "id")));
    return task;
}

/* ---- the built-in tracker ---- */

#define ISSUE_COLUMNS                                                                              \
    "id, project, key, title, body, status, labels AS \"labels:json\","                            \
    " created_at AS \"created_at:time\", updated_at AS \"updated_at:time\""

static json_t *with_comments(struct store_read *store, json_t *issue)
{
    int64_t id = json_integer_value(json_object_get(issue, "id"));
    json_object_set_new(issue, "comments",
                        rows(store,
                             "SELECT id, author, body, at AS \"at:time\" FROM local_comments"
                             " WHERE issue = ?1 ORDER BY id",
                             "i", id));
    return issue;
}

json_t *store_read_issues(struct store_read *store, const char *project)
{
    json_t *issues = rows(store,
                          "SELECT " ISSUE_COLUMNS " FROM local_issues"
                          " WHERE ?1 IS NULL OR project = ?1 ORDER BY id DESC LIMIT 5000",
                          "s", project);
    size_t index;
    json_t *issue;
    json_array_foreach(issues, index, issue)
    {
        with_comments(store, issue);
    }
    return issues;
}

json_t *store_read_issue(struct store_read *store, const char *key)
{
    json_t *issue =
        one_row(store, "SELECT " ISSUE_COLUMNS " FROM local_issues WHERE key = ?1", "s", key);
    if (!issue)
        return NULL;
    json_object_set_new(issue, "status_history",
                        rows(store,
                             "SELECT status, actor, at AS \"at:time\" FROM local_status_history"
                             " WHERE issue = ?1 ORDER BY id",
                             "i", (int64_t)json_integer_value(json_object_get(issue, "id"))));
    return with_comments(store, issue);
}

/* ---- events, decisions, positions ---- */

json_t *store_read_decision(struct store_read *store, int64_t event)
{
    return one_row(store, "SELECT result, reason FROM decisions WHERE event = ?1", "i", event);
}

json_t *store_read_journal(struct store_read *store, int64_t after, int max)
{
    return rows(store,
                "SELECT 1 AS v, 'event' AS kind, seq, at AS \"ts:time\", event, task, stage, job,"
                " run, service, detail AS \"detail:json\" FROM journal WHERE seq > ?1"
                " ORDER BY seq LIMIT ?2",
                "ii", after, (int64_t)(max < ROWS_MAX ? max : ROWS_MAX));
}

int64_t store_read_journal_last(struct store_read *store)
{
    return zero_if_none(number(store, "SELECT max(seq) FROM journal"));
}

int64_t store_read_inbox_position(struct store_read *store)
{
    return zero_if_none(
        number(store, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'inbox_position'"));
}
