#include "services/scheduler/outside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/log.h"
#include "services/scheduler/local.h"
#include "services/scheduler/perform.h"

enum { TASKS_PAGE_MAX = 500 };
static const int64_t remembered_ms = 30LL * 24 * 3600 * 1000; /* how long a done task is compared */

/* ---- tasks ---- */

static json_t *commands_of(struct scheduler *scheduler, int64_t task, int64_t entry)
{
    json_t *names = json_array();
    sqlite3_stmt *row = store_ask(
        scheduler->store, "SELECT command FROM commands_seen WHERE task = ?1 AND entry = ?2", "ii",
        task, entry);
    while (store_row(scheduler->store, row))
        json_array_append_new(names, json_string(column_text(row, 0)));
    return names;
}

static json_t *pull_of(sqlite3_stmt *row)
{
    int64_t number = column_int(row, 13);
    return number
               ? json_pack("{sI ss*}", "number", (json_int_t)number, "head", column_text(row, 14))
               : json_null();
}

static json_t *show(struct scheduler *scheduler, sqlite3_stmt *row)
{
    int64_t id = column_int(row, 0), entry = column_int(row, 4);
    return json_pack("{sI ss ss ss sI sb ss? sI ss? sb sI ss? ss so so}", "id", (json_int_t)id,
                     "key", column_text(row, 1), "issue", column_text(row, 2), "stage",
                     column_text(row, 3), "entry", (json_int_t)entry, "blocked",
                     (int)(column_int(row, 5) != 0), "parked", column_text(row, 6),
                     "parked_since_ms", (json_int_t)column_int(row, 7), "display",
                     column_text(row, 8), "display_confirmed", (int)(column_int(row, 9) == entry),
                     "live_jobs", (json_int_t)column_int(row, 10), "head", column_text(row, 11),
                     "branch", column_text(row, 12), "pull_request", pull_of(row), "commands_done",
                     commands_of(scheduler, id, entry));
}

/* Unfinished tasks, and those done lately (a cancelled one has given its issue up: that has no
 * task). */
json_t *outside_tasks(struct scheduler *scheduler, const json_t *message)
{
    int64_t max = message_integer(message, "max", TASKS_PAGE_MAX);
    max = max < 1 ? 1 : max > TASKS_PAGE_MAX ? TASKS_PAGE_MAX : max;
    json_t *tasks = json_array();
    bool more = false;
    sqlite3_stmt *row = store_ask(
        scheduler->store,
        "SELECT t.id, t.key, t.issue, t.stage, t.entry, t.blocked_reason IS NOT NULL, t.parked_for,"
        " coalesce(t.parked_since, 0), t.display, t.display_confirmed,"
        " (SELECT count(*) FROM jobs j INDEXED BY jobs_live WHERE j.task = t.id"
        "  AND j.entry = t.entry AND j.state IN ('queued','running') AND j.kind <> 'query'),"
        " t.head, t.branch, coalesce(t.pr_number, 0), t.pr_head FROM tasks t"
        " WHERE t.id IN (SELECT id FROM tasks WHERE terminal = 0 UNION ALL"
        "  SELECT id FROM tasks WHERE terminal = 1 AND ended_at > ?4)"
        " AND t.project = ?1 AND t.id > ?2 AND t.stage <> 'cancelled' ORDER BY t.id LIMIT ?3",
        "siii", message_text(message, "project", ""), (int64_t)message_integer(message, "after", 0),
        max + 1, scheduler->now_ms - remembered_ms);
    while (store_row(scheduler->store, row)) {
        if ((int64_t)json_array_size(tasks) == max) {
            more = true;
            break;
        }
        json_array_append_new(tasks, show(scheduler, row));
    }
    store_done(row);
    return message_new(MESSAGE_tasks, NULL, "{so sb}", "tasks", tasks, "more", (int)more);
}

/* ---- findings ---- */

/* What a person did by hand, as the reconciler names it. REASON_COUNT: none of these. */
static enum reason cause_of(const json_t *detail)
{
    static const enum reason causes[] = {REASON_PULL_CLOSED, REASON_BRANCH_GONE,
                                         REASON_BRANCH_REWRITTEN, REASON_ISSUE_CLOSED};
    const char *name = message_text(detail, "cause", "");
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++) {
        if (strcmp(name, reason_code(causes[i])) == 0)
            return causes[i];
    }
    return REASON_COUNT;
}

static enum stage_event_kind kind_of(const json_t *message)
{
    static const struct {
        enum status status;
        enum stage_event_kind kind;
    } commands[] = {{STATUS_TO_ANALYSE, STAGE_EVENT_TO_ANALYSE},
                    {STATUS_APPROVED, STAGE_EVENT_APPROVED},
                    {STATUS_CONFIRM_DEPLOY, STAGE_EVENT_CONFIRM_DEPLOY},
                    {STATUS_STOP, STAGE_EVENT_STOP}};
    const char *finding = message_text(message, "finding", "");
    if (strcmp(finding, "F-4") == 0)
        return STAGE_EVENT_JOB_MISSING;
    if (strcmp(finding, "F-3") == 0)
        return STAGE_EVENT_MERGED_OUTSIDE;
    if (strcmp(finding, "F-5") == 0)
        return cause_of(json_object_get(message, "detail")) < REASON_COUNT ? STAGE_EVENT_BY_HAND
                                                                           : STAGE_EVENT_COUNT;
    if (strcmp(finding, "F-1") != 0 && strcmp(finding, "F-2") != 0)
        return STAGE_EVENT_COUNT;
    enum status status = status_by_key(message_text(message, "status", ""));
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (commands[i].status == status)
            return commands[i].kind;
    }
    return STAGE_EVENT_COUNT;
}

/* The issue was read before our own answer to what it showed had reached the tracker. Equal times
 * count: parallel changes share one. */
static bool is_outdated(struct scheduler *scheduler, const struct task *task, const json_t *detail)
{
    int64_t seen = message_integer(detail, "updated_ms", 0);
    return task->exists && seen > 0 &&
           seen < store_number(scheduler->store, 0, "SELECT issue_updated FROM tasks WHERE id = ?1",
                               "i", task->id);
}

/* Said by the comment. Where the finding is refused as stale nothing is learnt, nor where what was
 * merged is not the task's own. */
static void learn_merge(struct scheduler *scheduler, struct task *task,
                        const struct stage_event *event, const json_t *detail)
{
    const char *commit = message_text(detail, "merge_commit", NULL);
    if (!task->exists || task->entry != event->entry || task->stage == STAGE_DEPLOY || !commit ||
        !event->current_code)
        return;
    store_run(scheduler->store, "UPDATE tasks SET merged_commit = ?2 WHERE id = ?1", "is", task->id,
              commit);
    free(task->merged_commit);
    task->merged_commit = xstrdup(commit);
}

json_t *outside_finding(struct scheduler *scheduler, const json_t *message)
{
    struct task task;
    struct performed performed;
    const char *issue = message_text(message, "issue", ""), *key = message_text(message, "key", "");
    const json_t *detail = json_object_get(message, "detail");
    const struct project *project =
        scheduler_project(scheduler, message_text(message, "project", ""));
    enum stage_event_kind kind = kind_of(message);
    if (!project)
        return message_refusal("unknown-project", "project",
                               "no such project in the configuration");
    if (kind == STAGE_EVENT_COUNT)
        return message_refusal("unknown-finding", "finding",
                               "this version acts on no such finding");
    task_load_by_issue(scheduler, issue, &task);
    const char *merged = message_text(detail, "head_sha", ""),
               *actor = message_text(message, "actor", "reconciler");
    const struct occurrence occurrence = {
        .event = {.kind = kind,
                  .source = SOURCE_RECONCILER,
                  .entry = message_integer(message, "entry", 0),
                  .current_code = task.exists && task.head && strcmp(task.head, merged) == 0,
                  .cause = cause_of(detail),
                  .not_approver = !config_may_approve(scheduler->config->plane_approvers, actor)},
        .actor = actor,
        .project = project->key,
        .issue = issue,
        .key = key,
        .title = message_text(detail, "title", key),
        .description = message_text(detail, "body", ""),
        .labels = json_object_get(detail, "labels"),
        .priority = message_text(detail, "priority", NULL),
    };
    if (kind == STAGE_EVENT_MERGED_OUTSIDE)
        learn_merge(scheduler, &task, &occurrence.event, detail);
    if (is_outdated(scheduler, &task, detail)) {
        performed_set(&performed, DECISION_IGNORED, REASON_STALE,
                      "the issue has changed since it was read");
    } else {
        perform(scheduler, &task, &occurrence, &performed);
    }
    /* one that came too early is asked about again; all others are answered now */
    if (strcmp(project->tracker, "local") == 0 && kind <= STAGE_EVENT_RETRY &&
        performed.reason != REASON_TOO_EARLY && performed.reason != REASON_STALE)
        local_heard(scheduler, issue);
    const struct log_about about = {.task = key};
    log_line(LOG_LEVEL_INFO, "finding", &about, "%s: %s (%s)", message_text(message, "finding", ""),
             outcome_name(performed.outcome), performed.words);
    task_free(&task);
    return message_new(MESSAGE_ack, NULL, "{ss ss}", "result", outcome_name(performed.outcome),
                       "reason", performed.words);
}

json_t *outside_done(struct scheduler *scheduler, const json_t *message)
{
    struct work *work = &scheduler->work;
    int64_t pass = message_integer(message, "pass", 0);
    if (pass && pass == work->pass && !work->pass_ended) {
        work->pass_ended = true;
        log_info("pass",
                 "the first look at the outside ended: %lld compared, %lld found, %lld "
                 "projects could not be read",
                 (long long)message_integer(message, "compared", 0),
                 (long long)message_integer(message, "found", 0),
                 (long long)message_integer(message, "failed", 0));
    }
    work_forget(scheduler, WORK_RECONCILER, "pass");
    return message_new(MESSAGE_ack, NULL, "{}");
}
