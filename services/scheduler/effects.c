#include "services/scheduler/effects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/log.h"
#include "lib/mask.h"

static void say(struct scheduler *scheduler, const char *task, int64_t effect, const char *state,
                const char *kind, const char *words)
{
    journal_add(&scheduler->journal, scheduler->store, scheduler->now_ms,
                &(struct journal_about){.event = "effect", .task = task},
                json_pack("{sI ss ss ss*}", "effect", (json_int_t)effect, "state", state, "kind",
                          kind, "reason", words));
}

/* ---- alerts ---- */

static bool raise_row(struct scheduler *scheduler, const char *key, const struct task *task,
                      const char *text)
{
    bool fresh = store_run(scheduler->store,
                           "INSERT INTO alerts (key, task, text, at) VALUES (?1, ?2, ?3, ?4)"
                           " ON CONFLICT (key) DO UPDATE SET text = excluded.text,"
                           " at = excluded.at, cleared_at = NULL WHERE cleared_at IS NOT NULL",
                           "snsi", key, task ? task->id : (int64_t)-1, text, scheduler->now_ms) > 0;
    if (!fresh)
        return false;
    journal_add(&scheduler->journal, scheduler->store, scheduler->now_ms,
                &(struct journal_about){.event = "alert",
                                        .task = task ? task->key : NULL,
                                        .stage = task ? stage_table[task->stage].name : NULL},
                json_pack("{ss ss}", "key", key, "text", text));
    const struct log_about about = {.task = task ? task->key : NULL};
    log_line(LOG_LEVEL_WARN, "alert", &about, "%s", text);
    return true;
}

void alert_raise(struct scheduler *scheduler, const char *key, const char *text)
{
    raise_row(scheduler, key, NULL, text);
}

void alert_clear(struct scheduler *scheduler, const char *key)
{
    if (store_run(scheduler->store,
                  "UPDATE alerts SET cleared_at = ?2 WHERE key = ?1 AND cleared_at IS NULL", "si",
                  key, scheduler->now_ms) > 0)
        journal_add(&scheduler->journal, scheduler->store, scheduler->now_ms,
                    &(struct journal_about){.event = "alert-cleared"},
                    json_pack("{ss}", "key", key));
}

/* ---- ordering ---- */

static void insert(struct scheduler *scheduler, const struct task *task,
                   const struct effect_order *order, const char *kind, const char *body)
{
    char external[48];
    store_run(scheduler->store,
              "UPDATE tasks SET effect_ordinal = effect_ordinal + 1 WHERE id = ?1", "i", task->id);
    int64_t ordinal = store_number(scheduler->store, 0,
                                   "SELECT effect_ordinal FROM tasks WHERE id = ?1", "i", task->id);
    snprintf(external, sizeof external, "t%lld-%lld", (long long)task->id, (long long)ordinal);
    bool status = order->kind == EFFECT_STATUS;
    store_run(scheduler->store,
              "INSERT INTO effects (task, ordinal, external_id, kind, droppable, entry, author,"
              " status, body, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
              "iissinsssi", task->id, ordinal, external, kind, (int64_t)order->droppable,
              status ? task->entry : (int64_t)-1, order->author,
              status ? status_table[order->status].key : NULL, body, scheduler->now_ms);
}

void effects_succeed(struct scheduler *scheduler, int64_t task, const char *key)
{
    char replaced[120];
    reason_format(REASON_REPLACED, NULL, replaced, sizeof replaced);
    store_run(scheduler->store,
              "UPDATE effects SET state = 'dropped', reason = ?3, ended_at = ?4 WHERE task IN"
              " (SELECT id FROM tasks WHERE natural_key = ?2 AND id <> ?1)"
              " AND state IN ('pending','handed') AND state = 'pending' AND kind = 'status'",
              "issi", task, key, replaced, scheduler->now_ms);
}

static void order_status(struct scheduler *scheduler, const struct task *task,
                         const struct effect_order *order)
{
    char replaced[120];
    reason_format(REASON_REPLACED, NULL, replaced, sizeof replaced);
    store_run(scheduler->store,
              "UPDATE effects SET state = 'dropped', reason = ?2, ended_at = ?3 WHERE task = ?1"
              " AND state IN ('pending','handed') AND state = 'pending' AND kind = 'status'"
              " AND droppable <> 0",
              "isi", task->id, replaced, scheduler->now_ms);
    store_run(scheduler->store,
              "UPDATE tasks SET display = ?2, display_confirmed = 0 WHERE id = ?1", "is", task->id,
              status_table[order->status].key);
    insert(scheduler, task, order, "status", NULL);
}

void effects_order(struct scheduler *scheduler, const struct task *task,
                   const struct effect_order *order, struct wording_facts *facts)
{
    struct buffer body = {0};
    if (order->kind == EFFECT_STATUS) {
        order_status(scheduler, task, order);
        return;
    }
    facts->key = task->key;
    facts->title = task->title;
    facts->branch = task->branch;
    facts->head = task->head;
    facts->merged_commit = task->merged_commit;
    wording_write(order->template, facts, &body);
    if (body.data)
        mask_text(body.data);
    if (order->kind == EFFECT_ALERT) {
        char key[80];
        snprintf(key, sizeof key, "task:%lld:%d:%lld", (long long)task->id, (int)order->template,
                 (long long)task->entry);
        if (raise_row(scheduler, key, task, body.data ? body.data : ""))
            insert(scheduler, task, order, "alert", body.data);
    } else {
        insert(scheduler, task, order, "comment", body.data);
    }
    buffer_free(&body);
}

void effects_drop(struct scheduler *scheduler, int64_t task)
{
    char words[120];
    reason_format(REASON_TASK_ENDED, NULL, words, sizeof words);
    store_run(scheduler->store,
              "UPDATE effects SET state = 'dropped', reason = ?2, ended_at = ?3 WHERE task = ?1"
              " AND state IN ('pending','handed') AND state = 'pending' AND droppable <> 0",
              "isi", task, words, scheduler->now_ms);
}

void effects_drop_all(struct scheduler *scheduler, const char *actor)
{
    char *words = xformat("operator: dropped by %s after a restore", actor);
    store_run(scheduler->store,
              "UPDATE tasks SET display_confirmed = entry WHERE terminal = 0 AND id IN"
              " (SELECT task FROM effects WHERE state IN ('pending','handed') AND kind = 'status')",
              "");
    store_run(scheduler->store,
              "UPDATE effects SET state = 'dropped', reason = ?1, ended_at = ?2"
              " WHERE state IN ('pending','handed')",
              "si", words, scheduler->now_ms);
    free(words);
}

/* ---- handing over ---- */

static json_t *build(sqlite3_stmt *row, const char *issue, const char *key)
{
    return message_new(MESSAGE_effect, NULL, "{sI ss ss ss ss ss ss ss? ss?}", "effect",
                       (json_int_t)column_int(row, 0), "effect_kind", column_text(row, 3),
                       "external_id", column_text(row, 4), "project", column_text(row, 5), "issue",
                       issue, "key", key, "author", column_text(row, 8), "status",
                       column_text(row, 9), "body", column_text(row, 10));
}

/* A cancelled task has given up its keys; its issue is still the same one. */
static char *natural(const char *text, int64_t task)
{
    char suffix[32];
    int length = snprintf(suffix, sizeof suffix, "~%lld", (long long)task);
    size_t whole = strlen(text);
    if (whole > (size_t)length && strcmp(text + whole - (size_t)length, suffix) == 0)
        whole -= (size_t)length;
    return xstrndup(text, whole);
}

static void give_one(struct scheduler *scheduler, sqlite3_stmt *row, const char *name)
{
    int64_t task = column_int(row, 1);
    const char *body = column_text(row, 10);
    char *issue = natural(column_text(row, 6), task), *key = natural(column_text(row, 7), task);
    work_give(scheduler, WORK_NOTIFIER, name, build(row, issue, key), body ? strlen(body) : 0);
    store_run(scheduler->store,
              "UPDATE effects SET state = 'handed', handed_boot = ?2, attempts = attempts + 1"
              " WHERE id = ?1",
              "is", column_int(row, 0), scheduler->work.peers[WORK_NOTIFIER].boot);
    free(issue);
    free(key);
}

/* In order per task: what has to wait holds up what comes after it. */
void effects_give(struct scheduler *scheduler)
{
    int64_t held = 0; /* task whose next effect is not due, or with the notifier already */
    sqlite3_stmt *row = store_ask(
        scheduler->store,
        "SELECT e.id, e.task, e.not_before, e.kind, e.external_id, t.project, t.issue, t.key,"
        " e.author, e.status, e.body FROM effects e INDEXED BY effects_waiting"
        " JOIN tasks t ON t.id = e.task WHERE e.state IN ('pending','handed')"
        " ORDER BY e.task, e.id",
        "");
    while (work_room(scheduler, WORK_NOTIFIER) && store_row(scheduler->store, row)) {
        int64_t task = column_int(row, 1), due = column_int(row, 2);
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)column_int(row, 0));
        if (task == held)
            continue;
        if (!retry_due(due, FAILURE_CLASS_TRANSIENT, &scheduler->limits, scheduler->now_ms)) {
            held = task;
            work_wake_at(scheduler, due);
        } else if (!work_wants(scheduler, WORK_NOTIFIER, name)) {
            held = task; /* what came after it must not get there first */
        } else {
            give_one(scheduler, row, name);
        }
    }
    store_done(row);
}

/* ---- what became of it ---- */

struct effect {
    int64_t id, task, entry;
    int attempts;
    bool droppable;
    char *kind, *status, *state;
};

static bool load(struct scheduler *scheduler, int64_t id, struct effect *effect)
{
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT id, task, entry, attempts, kind, status, state,"
                                  " droppable FROM effects WHERE id = ?1",
                                  "i", id);
    memset(effect, 0, sizeof *effect);
    if (!store_row(scheduler->store, row))
        return false;
    effect->id = column_int(row, 0);
    effect->task = column_int(row, 1);
    effect->entry = column_int(row, 2);
    effect->attempts = (int)column_int(row, 3);
    effect->kind = column_copy(row, 4);
    effect->status = column_copy(row, 5);
    effect->state = column_copy(row, 6);
    effect->droppable = column_int(row, 7) != 0;
    store_done(row);
    return true;
}

static void end(struct scheduler *scheduler, const struct effect *effect, const char *state,
                const char *words)
{
    char *key =
        store_text(scheduler->store, "SELECT key FROM tasks WHERE id = ?1", "i", effect->task);
    store_run(scheduler->store,
              "UPDATE effects SET state = ?2, reason = ?3, ended_at = ?4 WHERE id = ?1", "issi",
              effect->id, state, words, scheduler->now_ms);
    /* The tracker shows what this entry ordered last: from now on a command answers it. */
    if (effect->status && strcmp(state, "delivered") == 0)
        store_run(scheduler->store,
                  "UPDATE tasks SET display_confirmed = entry WHERE id = ?1 AND entry = ?2"
                  " AND display = ?3",
                  "iis", effect->task, effect->entry, effect->status);
    say(scheduler, key, effect->id, state, effect->kind, *words ? words : NULL);
    free(key);
}

static void put_back(struct scheduler *scheduler, const struct effect *effect, const char *words,
                     int64_t after_ms)
{
    const struct retry_job job = {.kind = JOB_QUERY, .transient = effect->attempts - 1};
    const struct retry_result result = {
        .outcome = RUN_FAILED, .class = FAILURE_CLASS_TRANSIENT, .retry_after_ms = after_ms};
    struct retry_job unending = job;
    struct retry_decision decision;
    unending.max_transient = effect->attempts + 1;
    retry_decide(&unending, &result, &scheduler->limits, scheduler->now_ms, (uint64_t)effect->id,
                 &decision);
    /* one that only kept its place in the order is not what failed */
    bool order = strncmp(words, "order:", 6) == 0;
    store_run(scheduler->store,
              "UPDATE effects SET state = 'pending', reason = ?2, not_before = ?3,"
              " attempts = attempts - ?4 WHERE id = ?1",
              "isii", effect->id, words, order ? scheduler->now_ms : decision.not_before_ms,
              (int64_t)order);
}

/* Why an effect that could not be delivered is not tried again: what it shows is outdated by now.
 * REASON_COUNT: it is tried again. */
static enum reason outdated(struct scheduler *scheduler, const struct effect *effect)
{
    if (!effect->droppable)
        return REASON_COUNT;
    if (store_number(scheduler->store, 0, "SELECT terminal FROM tasks WHERE id = ?1", "i",
                     effect->task) != 0)
        return REASON_TASK_ENDED;
    if (effect->status &&
        store_number(scheduler->store, 0,
                     "SELECT 1 FROM effects INDEXED BY effects_waiting WHERE task = ?1 AND id > ?2"
                     " AND state IN ('pending','handed') AND kind = 'status'",
                     "ii", effect->task, effect->id) != 0)
        return REASON_REPLACED;
    return REASON_COUNT;
}

static void try_again(struct scheduler *scheduler, const struct effect *effect,
                      const json_t *message)
{
    enum reason reason = outdated(scheduler, effect);
    char words[120];
    if (reason == REASON_COUNT) {
        put_back(scheduler, effect, message_text(message, "reason", ""),
                 message_integer(message, "retry_after_ms", 0));
        return;
    }
    reason_format(reason, NULL, words, sizeof words);
    end(scheduler, effect, "dropped", words);
}

json_t *effects_take(struct scheduler *scheduler, const json_t *message)
{
    struct effect effect;
    int64_t id = message_integer(message, "effect", 0);
    const char *outcome = message_text(message, "outcome", ""),
               *words = message_text(message, "reason", "");
    char name[24];
    snprintf(name, sizeof name, "%lld", (long long)id);
    work_forget(scheduler, WORK_NOTIFIER, name);
    bool known = load(scheduler, id, &effect) &&
                 (strcmp(effect.state, "handed") == 0 || strcmp(effect.state, "pending") == 0);
    if (known && strcmp(outcome, "retry") == 0)
        try_again(scheduler, &effect, message);
    else if (known)
        end(scheduler, &effect, strcmp(outcome, "delivered") == 0 ? "delivered" : "dropped", words);
    scheduler->counters.effects += known;
    free(effect.kind);
    free(effect.status);
    free(effect.state);
    return message_new(MESSAGE_ack, NULL, "{sb}", "duplicate", !known);
}
