/* A scheduler without its bus, over real files in a throw-away directory, and the peers' side of
 * its messages. The clock can be set: turns take the wall clock from `skew_ms` beside the real one.
 */
#ifndef SCHEDULER_KIT_H
#define SCHEDULER_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"
#include "protocol/message.h"
#include "services/ingress/inbox.h"
#include "services/ingress/inbox_db.h"
#include "services/scheduler/effects.h"
#include "services/scheduler/events.h"
#include "services/scheduler/outside.h"
#include "services/scheduler/perform.h"
#include "services/scheduler/queries.h"
#include "services/scheduler/reaping.h"
#include "services/scheduler/results.h"

struct kit {
    char dir[32], path[64], inbox_path[64];
    struct config *config;
    struct store *store;
    struct scheduler scheduler;
    struct inbox_db inbox;
    int64_t skew_ms;
    int boots[WORK_PEER_COUNT];
};

/* Keys laid over the kit's own, as lines of YAML at the top level. */
static inline void kit_configure(struct kit *kit, const char *keys)
{
    char path[80], *faults = NULL, *warnings = NULL;
    char *text = xformat("home: %s/home\nrun_dir: %s/run\nmax_concurrency: 100\n"
                         "agent: {max_concurrency: {developer: 100}}\n"
                         "disk: {low_water_mb: 0}\n%s\n"
                         "projects:\n"
                         "- {key: DEMO, repo: sample, tracker: local, forge: local, agent: command,"
                         " agent_command: ['true'], ci: none, max_concurrency: 50}\n"
                         "- {key: SHOP, repo: shop, tracker: local, forge: local, agent: command,"
                         " agent_command: ['true'], ci: none, max_concurrency: 50,"
                         " confirm_deploy: true}\n"
                         "- {key: SITE, repo: sample, tracker: local, forge: local, agent: command,"
                         " agent_command: ['true'], ci: none, max_concurrency: 1}\n",
                         kit->dir, kit->dir, keys);
    snprintf(path, sizeof path, "%s/orchestrator.yaml", kit->dir);
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0600), 0);
    free(text);
    if (kit->config)
        config_free(kit->config);
    kit->config = config_load(path, &faults, &warnings);
    if (!kit->config)
        fail_msg("%s", faults);
    free(warnings);
}

/* As a new process finds things: memory is empty, the file is as it was left. */
static inline void kit_start(struct kit *kit)
{
    char fault[STORE_FAULT_SIZE];
    kit->store = store_open(kit->path, fault, sizeof fault);
    if (!kit->store)
        fail_msg("%s", fault);
    scheduler_init(&kit->scheduler, kit->config, kit->store, NULL);
    kit->scheduler.inbox = inbox_read_new(kit->inbox_path);
    kit->scheduler.inbox_position = meta_number(&kit->scheduler, "inbox_position", 0);
    /* what is tested here is not what survives a power cut */
    sqlite3_exec(kit->store->db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    kit->scheduler.work.pass_ended = true; /* but where a test is about it */
}

static inline void kit_end(struct kit *kit)
{
    store_rollback(kit->store);
    scheduler_free(&kit->scheduler);
    inbox_read_free(kit->scheduler.inbox);
    store_close(kit->store);
    kit->store = NULL;
}

/* As after a kill -9: nothing of what was not committed is left. */
static inline void kit_restart(struct kit *kit)
{
    kit_end(kit);
    kit_start(kit);
}

static inline struct kit *kit_new(const char *keys)
{
    char fault[200];
    struct kit *kit = xcalloc(1, sizeof *kit);
    snprintf(kit->dir, sizeof kit->dir, "/tmp/scheduler.XXXXXX");
    assert_non_null(mkdtemp(kit->dir));
    snprintf(kit->path, sizeof kit->path, "%s/main.db", kit->dir);
    snprintf(kit->inbox_path, sizeof kit->inbox_path, "%s/inbox.db", kit->dir);
    kit_configure(kit, keys);
    assert_int_equal(inbox_db_open(&kit->inbox, kit->inbox_path, fault, sizeof fault), 0);
    sqlite3_exec(kit->inbox.db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    kit_start(kit);
    return kit;
}

static inline void kit_free(struct kit *kit)
{
    if (kit->store)
        kit_end(kit);
    inbox_db_close(&kit->inbox);
    config_free(kit->config);
    file_remove_tree(kit->dir);
    free(kit);
}

static inline int kit_set_up(void **state)
{
    log_init("scheduler", LOG_LEVEL_ERROR + 1);
    *state = kit_new("");
    return 0;
}

static inline int kit_tear_down(void **state)
{
    kit_free(*state);
    return 0;
}

/* ---- turns ---- */

static inline void kit_begin(struct kit *kit)
{
    assert_int_equal(turn_begin(&kit->scheduler), 0);
    kit->scheduler.now_ms += kit->skew_ms;
}

static inline void kit_commit(struct kit *kit)
{
    assert_int_equal(turn_commit(&kit->scheduler), 0);
    kit->scheduler.inbox_position =
        kit->scheduler.inbox_taken ? kit->scheduler.inbox_taken : kit->scheduler.inbox_position;
    kit->scheduler.inbox_taken = 0;
}

/* A turn of its own for one message. The answer is the caller's. */
static inline json_t *kit_tell(struct kit *kit, json_t *(*take)(struct scheduler *, const json_t *),
                               json_t *message)
{
    kit_begin(kit);
    json_t *answer = take(&kit->scheduler, message);
    kit_commit(kit);
    json_decref(message);
    return answer;
}

/* The same where only one flag of the answer is of interest. */
static inline bool kit_flag(struct kit *kit, json_t *(*take)(struct scheduler *, const json_t *),
                            json_t *message, const char *flag)
{
    json_t *answer = kit_tell(kit, take, message);
    bool value = message_flag(answer, flag, false);
    json_decref(answer);
    return value;
}

/* What a peer that asks for at most max items is given in one turn (caller's). fresh: it was just
 * started. */
static inline json_t *kit_ask(struct kit *kit, const char *service, int max, bool fresh)
{
    static const char *const names[] = {"runner", "notifier", "reconciler", "monitor"};
    static char ticket;
    char boot[16];
    int peer = 0;
    while (strcmp(names[peer], service) != 0)
        peer++;
    kit->boots[peer] += fresh;
    snprintf(boot, sizeof boot, "boot-%d", kit->boots[peer]);
    json_t *request =
        json_pack("{ss ss si si}", "service", service, "boot", boot, "wait_ms", 0, "max", max);
    kit_begin(kit);
    assert_true(work_ask(&kit->scheduler, request, &ticket));
    kit_commit(kit);
    json_decref(request);
    json_t *items = json_copy(kit->scheduler.work.peers[peer].items);
    work_answer(&kit->scheduler);
    return items;
}

/* ---- rows ---- */

static inline int64_t kit_number(struct kit *kit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline char *kit_text(struct kit *kit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The statements of the tests are no literals, so they stay out of the store's cache. */
__attribute__((format(printf, 2, 0))) static inline sqlite3_stmt *
kit_first_row(struct kit *kit, const char *format, va_list arguments)
{
    char sql[2000];
    sqlite3_stmt *statement = NULL;
    vsnprintf(sql, sizeof sql, format, arguments);
    if (sqlite3_prepare_v2(kit->store->db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(kit->store->db));
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        fail_msg("%s: %s", sql, sqlite3_errmsg(kit->store->db));
    return statement;
}

/* First column of the first row; -1 where there is no row or it is null. Also for writing. */
static inline int64_t kit_number(struct kit *kit, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    sqlite3_stmt *row = kit_first_row(kit, format, arguments);
    va_end(arguments);
    int64_t number = sqlite3_column_type(row, 0) == SQLITE_NULL ? -1 : sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return number;
}

/* Caller frees; NULL where there is no row or it is null. */
static inline char *kit_text(struct kit *kit, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    sqlite3_stmt *row = kit_first_row(kit, format, arguments);
    va_end(arguments);
    const char *text = (const char *)sqlite3_column_text(row, 0);
    char *copy = text ? xstrdup(text) : NULL;
    sqlite3_finalize(row);
    return copy;
}

#define assert_text(kit, expected, ...)                                                            \
    do {                                                                                           \
        char *found_text = kit_text(kit, __VA_ARGS__);                                             \
        const char *wanted_text = expected;                                                        \
        if (!wanted_text || !found_text)                                                           \
            assert_ptr_equal(found_text, wanted_text);                                             \
        else                                                                                       \
            assert_string_equal(found_text, wanted_text);                                          \
        free(found_text);                                                                          \
    } while (0)

#define assert_number(kit, expected, ...)                                                          \
    assert_int_equal(kit_number(kit, __VA_ARGS__), (int64_t)(expected))

/* Every row of every table but meta, as text: for what must change nothing. Caller frees. */
static inline char *kit_dump(struct kit *kit)
{
    struct buffer out = {0};
    sqlite3_stmt *tables = NULL, *row = NULL;
    assert_int_equal(
        sqlite3_prepare_v2(kit->store->db,
                           "SELECT name FROM sqlite_master WHERE type = 'table'"
                           " AND name NOT IN ('meta', 'sqlite_sequence') ORDER BY name",
                           -1, &tables, NULL),
        SQLITE_OK);
    while (sqlite3_step(tables) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(tables, 0);
        char *sql = xformat("SELECT * FROM %s ORDER BY 1, 2, 3", name);
        assert_int_equal(sqlite3_prepare_v2(kit->store->db, sql, -1, &row, NULL), SQLITE_OK);
        while (sqlite3_step(row) == SQLITE_ROW) {
            buffer_text(&out, name);
            for (int i = 0; i < sqlite3_column_count(row); i++)
                buffer_format(&out, " %s=%s", sqlite3_column_name(row, i),
                              sqlite3_column_text(row, i)
                                  ? (const char *)sqlite3_column_text(row, i)
                                  : "null");
            buffer_text(&out, "\n");
        }
        sqlite3_finalize(row);
        free(sql);
    }
    sqlite3_finalize(tables);
    return buffer_take(&out);
}

/* ---- events ---- */

/* Puts a row into the inbox; its number. */
static inline int64_t kit_inbox(struct kit *kit, const char *source, const char *body)
{
    static int delivery;
    char fault[200];
    struct inbox_event event = {
        .source = source, .body = body, .size = strlen(body), .received_at = 1234};
    snprintf(event.delivery, sizeof event.delivery, "delivery-%d", ++delivery);
    assert_int_equal(inbox_db_begin(&kit->inbox, fault, sizeof fault), 0);
    assert_int_equal(inbox_db_insert(&kit->inbox, &event, fault, sizeof fault), 0);
    assert_int_equal(inbox_db_commit(&kit->inbox, fault, sizeof fault), 0);
    return event.seq;
}

/* Takes what is in the inbox. How many. */
static inline int kit_take(struct kit *kit)
{
    kit_begin(kit);
    int count = events_take(&kit->scheduler);
    kit_commit(kit);
    return count;
}

/* One event, taken at once; its number. */
static inline int64_t kit_event(struct kit *kit, const char *source, const char *body)
{
    int64_t seq = kit_inbox(kit, source, body);
    assert_int_equal(kit_take(kit), 1);
    return seq;
}

/* "applied started", caller frees. */
static inline char *kit_decision(struct kit *kit, int64_t seq)
{
    return kit_text(kit,
                    "SELECT result || ' ' || substr(reason, 1, instr(reason, ':') - 1)"
                    " FROM decisions WHERE event = %lld",
                    (long long)seq);
}

#define assert_decision(kit, seq, expected)                                                        \
    do {                                                                                           \
        char *found_decision = kit_decision(kit, seq);                                             \
        assert_non_null(found_decision);                                                           \
        assert_string_equal(found_decision, expected);                                             \
        free(found_decision);                                                                      \
    } while (0)

static inline int64_t kit_status(struct kit *kit, const char *key, const char *status)
{
    char *body = xformat("{\"kind\":\"status\",\"issue\":\"%s\",\"status\":\"%s\",\"actor\":"
                         "\"ada\"}",
                         key, status);
    int64_t seq = kit_event(kit, "local", body);
    free(body);
    return seq;
}

static inline int64_t kit_operator(struct kit *kit, const char *command, const char *key)
{
    char *body = xformat("{\"command\":\"%s\",\"task\":\"%s\",\"actor\":\"bob\"}", command, key);
    int64_t seq = kit_event(kit, "operator", body);
    free(body);
    return seq;
}

/* A new issue in this status ("To Analyse" makes the task). The id of its task, or -1. */
static inline int64_t kit_issue(struct kit *kit, const char *key, const char *status)
{
    char *body = xformat("{\"kind\":\"issue\",\"issue\":\"%s\",\"title\":\"Say hello\",\"body\":"
                         "\"In short.\",\"status\":\"%s\",\"labels\":[\"nice\"],\"actor\":\"ada\"}",
                         key, status);
    kit_event(kit, "local", body);
    free(body);
    return kit_number(kit, "SELECT id FROM tasks WHERE key = '%s'", key);
}

/* ---- the runner's side ---- */

static inline json_t *kit_result(const char *run, const char *outcome, const char *class,
                                 const char *verdict)
{
    json_t *gate =
        verdict ? json_pack("{ss ss ss s[s]}", "gate", "check", "verdict", verdict, "reason",
                            "gate-failed: no full stop", "findings", "greeting.txt: no full stop")
                : json_null();
    return message_new(
        MESSAGE_run_result, NULL, "{ss ss ss ss si si si ss so sf ss so so s{} ss}", "run", run,
        "outcome", outcome, "class", class, "reason", "permanent: exit status 3", "exit_code",
        strcmp(outcome, "succeeded") == 0 ? 0 : 3, "started_ms", 1000, "ended_ms", 2000, "session",
        "session-1", "usage",
        json_pack("{si si si si}", "input", 100, "output", 10, "cache_read", 5, "cache_creation",
                  1),
        "cost_usd", 0.25, "head", "1111111111111111111111111111111111111111", "pull_request",
        json_pack("{si ss ss}", "number", 7, "url", "http://forge/7", "head", "feature/x"), "gate",
        gate, "detail", "log_tail", "the last line");
}

/* The newest run of the task that has not ended; caller frees, NULL where there is none. */
static inline char *kit_live_run(struct kit *kit, int64_t task)
{
    return kit_text(kit,
                    "SELECT id FROM agent_runs WHERE task = %lld AND state <> 'ended'"
                    " ORDER BY commanded_at DESC, id DESC LIMIT 1",
                    (long long)task);
}

static inline bool kit_ended(struct kit *kit, json_t *result)
{
    return !kit_flag(kit, results_ended, result, "duplicate");
}

/* The tracker has just been asked about every task, so nothing waits for its answer. */
static inline void kit_freshen(struct kit *kit)
{
    kit_number(kit, "UPDATE tasks SET asked_at = %lld",
               (long long)(kit->scheduler.now_ms ? kit->scheduler.now_ms : 1));
}

/* The runner takes what there is, and says that it has started it. How many items it was given. */
static inline size_t kit_claim(struct kit *kit)
{
    kit_begin(kit); /* for the time */
    kit_commit(kit);
    kit_freshen(kit);
    json_t *items = kit_ask(kit, "runner", 64, false);
    size_t count = 0, index;
    json_t *item;
    json_array_foreach(items, index, item)
    {
        const char *run = message_text(item, "run", "");
        if (strcmp(message_text(item, "kind", ""), "run_start") != 0)
            continue;
        count++;
        json_decref(kit_tell(kit, results_accepted,
                             message_new(MESSAGE_run_accepted, NULL, "{ss}", "run", run)));
        json_decref(kit_tell(kit, results_started,
                             message_new(MESSAGE_run_started, NULL, "{ss si si}", "run", run, "pid",
                                         99, "started_ms", 1000)));
    }
    json_decref(items);
    return count;
}

/* The task's job is claimed and its run ends with this verdict of the gate. */
static inline void kit_pass(struct kit *kit, int64_t task, const char *verdict)
{
    kit_claim(kit);
    char *run = kit_live_run(kit, task);
    assert_non_null(run);
    assert_true(kit_ended(kit, kit_result(run, "succeeded", "none", verdict)));
    free(run);
}

/* The notifier delivers everything that is due, in order. How many. */
static inline int kit_deliver(struct kit *kit)
{
    int delivered = 0;
    for (;;) {
        json_t *items = kit_ask(kit, "notifier", 32, false), *item;
        size_t index, count = json_array_size(items);
        json_array_foreach(items, index, item)
        {
            json_decref(kit_tell(kit, effects_take,
                                 message_new(MESSAGE_effect_result, NULL, "{sI ss ss sn}", "effect",
                                             message_integer(item, "effect", 0), "outcome",
                                             "delivered", "reason", "", "retry_after_ms")));
            delivered++;
        }
        json_decref(items);
        if (!count)
            return delivered;
    }
}

#endif
