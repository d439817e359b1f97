#include "services/scheduler/dependents.h"

#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "services/scheduler/dependencies.h"
#include "services/scheduler/effects.h"

/* ---- what is asked for ---- */

void dependents_learn(struct scheduler *scheduler, int64_t task, const char *description)
{
    json_t *keys = dependencies_parse(description);
    char *text = keys ? json_dumps(keys, JSON_COMPACT) : NULL;
    store_run(scheduler->store, "UPDATE tasks SET depends = ?2 WHERE id = ?1 AND depends IS NOT ?2",
              "is", task, text);
    free(text);
    json_decref(keys);
}

/* ---- who waits ---- */

struct waiting {
    struct dependency_node *nodes;
    char **keys;
    json_t **depends;
    size_t count;
};

static void read_waiting(struct scheduler *scheduler, struct waiting *waiting)
{
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT id, natural_key, depends FROM tasks INDEXED BY"
                                  " tasks_depend WHERE depends IS NOT NULL AND began = 0"
                                  " AND terminal = 0 ORDER BY id",
                                  "");
    *waiting = (struct waiting){0};
    while (store_row(scheduler->store, row)) {
        size_t i = waiting->count++;
        waiting->nodes = xrealloc(waiting->nodes, waiting->count * sizeof *waiting->nodes);
        waiting->keys = xrealloc(waiting->keys, waiting->count * sizeof *waiting->keys);
        waiting->depends = xrealloc(waiting->depends, waiting->count * sizeof *waiting->depends);
        waiting->keys[i] = column_copy(row, 1);
        waiting->depends[i] = json_loads(column_text(row, 2), 0, NULL);
        waiting->nodes[i] = (struct dependency_node){
            .task = column_int(row, 0), .key = waiting->keys[i], .depends = waiting->depends[i]};
    }
    store_done(row);
}

static void free_waiting(struct waiting *waiting)
{
    for (size_t i = 0; i < waiting->count; i++) {
        free(waiting->keys[i]);
        json_decref(waiting->depends[i]);
    }
    free(waiting->nodes);
    free(waiting->keys);
    free(waiting->depends);
}

/* ---- why ---- */

/* NULL: it is finished. Else its state in a word, "" where nobody knows the key; caller frees. */
static char *state_of(struct scheduler *scheduler, const char *key)
{
    char *state = NULL;
    sqlite3_stmt *row = store_ask(
        scheduler->store,
        "SELECT terminal, CASE WHEN blocked_reason IS NOT NULL THEN 'blocked' ELSE stage END"
        " FROM tasks WHERE id = coalesce((SELECT id FROM tasks WHERE key = ?1),"
        " (SELECT max(id) FROM tasks WHERE natural_key = ?1))",
        "s", key);
    if (store_row(scheduler->store, row)) {
        state = column_int(row, 0) ? NULL : column_copy(row, 1);
        store_done(row);
        return state;
    }
    bool issue = store_number(scheduler->store, 0, "SELECT 1 FROM local_issues WHERE key = ?1", "s",
                              key) != 0;
    return xstrdup(issue ? "not started" : "");
}

static bool judge(struct scheduler *scheduler, const struct waiting *waiting, size_t i,
                  struct dependent *out)
{
    char *circle = dependencies_circle(waiting->nodes, waiting->count, i);
    size_t index;
    const json_t *key;
    *out = (struct dependent){.task = waiting->nodes[i].task};
    if (circle) {
        out->reason = REASON_DEPENDENCY_CYCLE;
        out->words = xformat("%s: %s", reason_code(out->reason), circle);
    }
    json_array_foreach(waiting->depends[i], index, key)
    {
        char *state = out->words ? NULL : state_of(scheduler, json_string_value(key));
        if (state) {
            out->reason = *state ? REASON_DEPENDS_ON : REASON_DEPENDENCY_UNKNOWN;
            out->words = *state ? xformat("%s: %s is unfinished (%s)", reason_code(out->reason),
                                          json_string_value(key), state)
                                : xformat("%s: nobody knows %s", reason_code(out->reason),
                                          json_string_value(key));
        }
        free(state);
    }
    free(circle);
    return out->words != NULL;
}

void dependents_read(struct scheduler *scheduler, struct dependents *dependents)
{
    struct waiting waiting;
    *dependents = (struct dependents){0};
    read_waiting(scheduler, &waiting);
    if (waiting.count)
        dependents->rows = xcalloc(waiting.count, sizeof *dependents->rows);
    for (size_t i = 0; i < waiting.count; i++)
        dependents->count += judge(scheduler, &waiting, i, &dependents->rows[dependents->count]);
    free_waiting(&waiting);
}

void dependents_free(struct dependents *dependents)
{
    for (size_t i = 0; i < dependents->count; i++)
        free(dependents->rows[i].words);
    free(dependents->rows);
    *dependents = (struct dependents){0};
}

const struct dependent *dependents_find(const struct dependents *dependents, int64_t task)
{
    for (size_t i = 0; i < dependents->count; i++) {
        if (dependents->rows[i].task == task)
            return &dependents->rows[i];
    }
    return NULL;
}

/* ---- telling ---- */

static void say_once(struct scheduler *scheduler, const struct dependent *dependent)
{
    struct task task;
    if (!task_load(scheduler, dependent->task, &task))
        return;
    char *what = xformat("said:%s", dependent->words);
    bool fresh = store_run(scheduler->store,
                           "INSERT INTO commands_seen (task, entry, command, at)"
                           " VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                           "iisi", task.id, task.entry, what, scheduler->now_ms) > 0;
    struct wording_facts facts = {.usage = WORDING_USAGE_UNKNOWN,
                                  .from = task.stage,
                                  .to = task.stage,
                                  .reason = dependent->reason,
                                  .reason_text = reason_rest(dependent->words)};
    if (fresh)
        effects_order(scheduler, &task,
                      &(struct effect_order){.kind = EFFECT_COMMENT,
                                             .template = TEMPLATE_DEPENDENCY,
                                             .author = "stream"},
                      &facts);
    free(what);
    task_free(&task);
}

/* Of issues that are made at once the first may name one that comes after it: what nobody knows is
 * said when the reconciler has had the time to find it. */
static bool is_time_to_say(struct scheduler *scheduler, const struct dependent *dependent)
{
    if (dependent->reason != REASON_DEPENDENCY_UNKNOWN)
        return dependent->reason == REASON_DEPENDENCY_CYCLE;
    int64_t created = store_number(
        scheduler->store, 0, "SELECT created_at FROM tasks WHERE id = ?1", "i", dependent->task);
    int64_t due = created + scheduler->config->reconciler_interval_s * 1000;
    if (due > scheduler->now_ms)
        work_wake_at(scheduler, due);
    return due <= scheduler->now_ms;
}

void dependents_say(struct scheduler *scheduler, const struct dependents *dependents)
{
    for (size_t i = 0; i < dependents->count; i++) {
        if (is_time_to_say(scheduler, &dependents->rows[i]))
            say_once(scheduler, &dependents->rows[i]);
    }
}
