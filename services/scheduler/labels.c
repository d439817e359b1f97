#include "services/scheduler/labels.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "lib/log.h"
#include "services/scheduler/perform.h"
#include "services/scheduler/standing.h"

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
    if (!scheduler->config->auto_label_enabled)
        return;
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT id, project FROM tasks INDEXED BY tasks_parked"
                                  " WHERE parked_for IS NOT NULL AND parked_for <> 'ci'"
                                  " AND terminal = 0 AND blocked_reason IS NULL",
                                  "");
    while (store_row(scheduler->store, row)) {
        if (is_in_force(scheduler, column_text(row, 1)))
            standing_ask(scheduler, column_int(row, 0), "labels",
                         "asking: the reconciler asks the tracker");
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
    perform(scheduler, task, &occurrence, &performed);
    const struct log_about about = {.task = task->key}; /* the row was read anew */
    log_line(LOG_LEVEL_INFO, "label", &about, "%s: %s (%s)", label, outcome_name(performed.outcome),
             performed.words);
}

/* The task's label that waives the person it waits for; NULL where it waits for none. */
static const char *waiving(const struct config *config, const struct task *task)
{
    return task->parked == PARKED_APPROVAL  ? config->auto_label_approve_label
           : task->parked == PARKED_CONFIRM ? config->auto_label_deploy_label
                                            : NULL;
}

static void act_on(struct scheduler *scheduler, struct task *task, const json_t *labels)
{
    const char *label = waiving(scheduler->config, task);
    if (label && is_in_force(scheduler, task->project) && labels_have(labels, label))
        waive(scheduler, task, label);
}

void labels_known(struct scheduler *scheduler, int64_t id)
{
    struct task task;
    if (!task_load(scheduler, id, &task))
        return;
    char *text = store_text(scheduler->store, "SELECT labels FROM tasks WHERE id = ?1", "i", id);
    json_t *labels = text ? json_loads(text, 0, NULL) : NULL;
    act_on(scheduler, &task, labels);
    json_decref(labels);
    free(text);
    task_free(&task);
}

/* Written only where they differ. */
static void learn(struct scheduler *scheduler, int64_t task, const json_t *labels)
{
    char *text = json_dumps(labels, JSON_COMPACT);
    store_run(scheduler->store, "UPDATE tasks SET labels = ?2 WHERE id = ?1 AND labels <> ?2", "is",
              task, text);
    free(text);
}

json_t *labels_take(struct scheduler *scheduler, const json_t *message)
{
    struct job job = {0};
    struct task task = {0};
    const json_t *labels = json_object_get(json_object_get(message, "answer"), "labels");
    bool awaited = standing_take(scheduler, message, &job, &task);
    int64_t entry = task.entry;
    if (awaited && json_is_array(labels)) {
        learn(scheduler, task.id, labels);
        act_on(scheduler, &task, labels);
    }
    /* where it was waived, the question has gone with the wait */
    if (awaited && !is_in_force(scheduler, task.project))
        standing_end(scheduler, job.id, "cancelled");
    else if (awaited && task.entry == entry && task.parked != PARKED_NONE)
        standing_again(scheduler, job.id, 0);
    task_free(&task);
    job_free(&job);
    return message_new(MESSAGE_ack, NULL, "{sb}", "duplicate", (int)!awaited);
}
