#include "services/scheduler/labels.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "lib/log.h"
#include "services/scheduler/perform.h"
#include "services/scheduler/queries.h"

/* ---- names ---- */

static bool is_named(const char *label, const char *name)
{
    while (isspace((unsigned char)*label))
        label++;
    while (isspace((unsigned char)*name))
        name++;
    size_t size = strlen(label), wanted = strlen(name);
    while (size && isspace((unsigned char)label[size - 1]))
        size--;
    while (wanted && isspace((unsigned char)name[wanted - 1]))
        wanted--;
    return wanted && size == wanted && strncasecmp(label, name, size) == 0;
}

bool labels_have(const json_t *labels, const char *name)
{
    size_t index, found = 0;
    const json_t *label;
    json_array_foreach(labels, index, label)
    {
        const char *text = json_string_value(label);
        found += text && is_named(text, name);
    }
    return found == 1; /* two of one name: nobody can say which is meant */
}

/* ---- where ---- */

static bool is_in_force(const struct scheduler *scheduler, const char *project)
{
    const struct config *config = scheduler->config;
    const struct project *known = scheduler_project(scheduler, project);
    return known &&
           config_feature_applies(config->auto_label_enabled, config->auto_label_repos, known);
}

/* ---- asking ---- */

void labels_ask(struct scheduler *scheduler)
{
    int64_t pace = scheduler->config->reconciler_interval_s * 1000;
    if (!scheduler->config->auto_label_enabled)
        return;
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT id, project, parked_since, asked_at FROM tasks"
                                  " INDEXED BY tasks_parked WHERE parked_for IS NOT NULL"
                                  " AND parked_for <> 'ci' AND terminal = 0"
                                  " AND blocked_reason IS NULL",
                                  "");
    while (store_row(scheduler->store, row)) {
        int64_t since = column_int(row, 2), asked = column_int(row, 3);
        if (!is_in_force(scheduler, column_text(row, 1)))
            continue;
        int64_t due = asked < since ? since : asked + pace;
        if (due <= scheduler->now_ms || asked > scheduler->now_ms)
            queries_ask(scheduler, column_int(row, 0));
        else
            work_wake_at(scheduler, due);
    }
    store_done(row);
}

/* ---- what they say ---- */

static void waive(struct scheduler *scheduler, struct task *task, const char *label)
{
    struct performed performed;
    const struct occurrence occurrence = {.event = {.kind = STAGE_EVENT_LABEL,
                                                    .source = SOURCE_RUNNER,
                                                    .entry = task->entry,
                                                    .waives = task->parked},
                                          .actor = label};
    const struct log_about about = {.task = task->key};
    perform(scheduler, task, &occurrence, &performed);
    log_line(LOG_LEVEL_INFO, "label", &about, "%s: %s (%s)", label, outcome_name(performed.outcome),
             performed.words);
}

void labels_known(struct scheduler *scheduler, int64_t id)
{
    const struct config *config = scheduler->config;
    struct task task;
    if (!task_load(scheduler, id, &task))
        return;
    const char *label = task.parked == PARKED_APPROVAL  ? config->auto_label_approve_label
                        : task.parked == PARKED_CONFIRM ? config->auto_label_deploy_label
                                                        : NULL;
    char *text = store_text(scheduler->store, "SELECT labels FROM tasks WHERE id = ?1", "i", id);
    json_t *labels = text ? json_loads(text, 0, NULL) : NULL;
    if (label && is_in_force(scheduler, task.project) && labels_have(labels, label))
        waive(scheduler, &task, label);
    json_decref(labels);
    free(text);
    task_free(&task);
}
