#include "services/scheduler/queries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/log.h"
#include "services/scheduler/ci.h"
#include "services/scheduler/dependents.h"
#include "services/scheduler/labels.h"

enum { COMMENTS_MAX_BYTES = 256 * 1024 };

/* ---- asking ---- */

/* Questions answered before are of no use to anybody; a task that waits long asks often. */
static void ask(struct scheduler *scheduler, int64_t task, const char *what, const char *why)
{
    store_run(scheduler->store,
              "DELETE FROM jobs WHERE task = ?1 AND kind = 'query'"
              " AND state IN ('done','failed','cancelled')",
              "i", task);
    store_run(scheduler->store,
              "INSERT INTO jobs (task, project, repo, entry, stage, stage_rank, kind, state, input,"
              " reason, created_at) SELECT id, project, repo, entry, stage, 0, 'query', 'queued',"
              " json_object('what', ?3), ?4, ?2 FROM tasks WHERE id = ?1",
              "iiss", task, scheduler->now_ms, what, why);
}

static bool is_recent(int64_t at_ms, int64_t now_ms)
{
    return at_ms <= now_ms + QUERY_FRESH_MS && now_ms - at_ms < QUERY_FRESH_MS;
}

/* Since when a question of this task waits; -1: none does. */
static int64_t waiting_since(struct scheduler *scheduler, int64_t task, const char *what)
{
    return store_number(scheduler->store, -1,
                        "SELECT created_at FROM jobs INDEXED BY jobs_live WHERE task = ?1"
                        " AND state IN ('queued','running') AND kind = 'query'"
                        " AND json_extract(input, '$.what') = ?2",
                        "is", task, what);
}

void queries_ask(struct scheduler *scheduler, int64_t task, const char *what, const char *why)
{
    if (waiting_since(scheduler, task, what) < 0)
        ask(scheduler, task, what, why);
}

bool queries_are_fresh(struct scheduler *scheduler, int64_t task)
{
    int64_t asked =
        store_number(scheduler->store, 0, "SELECT asked_at FROM tasks WHERE id = ?1", "i", task);
    if (is_recent(asked, scheduler->now_ms))
        return true;
    int64_t since = waiting_since(scheduler, task, "issue");
    if (since < 0) {
        ask(scheduler, task, "issue", "asking: the reconciler asks the tracker");
        since = scheduler->now_ms;
    }
    int64_t patience = work_is_alive(scheduler, WORK_RECONCILER, QUERY_PATIENCE_ALONE_MS)
                           ? QUERY_PATIENCE_MS
                           : QUERY_PATIENCE_ALONE_MS;
    /* asked in the future: the clock jumped back */
    if (scheduler->now_ms - since >= patience || since - scheduler->now_ms > patience)
        return true;
    work_wake_at(scheduler, since + patience);
    return false;
}

void queries_outdate(struct scheduler *scheduler, int64_t task)
{
    char key[WORK_KEY_SIZE];
    int64_t job = store_number(scheduler->store, 0,
                               "SELECT id FROM jobs INDEXED BY jobs_live WHERE task = ?1"
                               " AND state IN ('queued','running') AND kind = 'query'"
                               " AND json_extract(input, '$.what') = 'issue'",
                               "i", task);
    if (job > 0) {
        queries_key(job, key);
        work_forget(scheduler, WORK_RECONCILER, key);
        store_run(scheduler->store,
                  "UPDATE jobs SET state = 'cancelled', ended_at = ?2 WHERE id = ?1", "ii", job,
                  scheduler->now_ms);
    }
    store_run(scheduler->store, "UPDATE tasks SET asked_at = 0 WHERE id = ?1 AND asked_at <> 0",
              "i", task);
}

json_t *queries_comments(struct scheduler *scheduler, const struct task *task, bool *stale)
{
    sqlite3_stmt *row =
        store_ask(scheduler->store,
                  "SELECT comments, comments_at, asked_at FROM tasks WHERE id = ?1", "i", task->id);
    json_t *comments = NULL;
    *stale = true;
    if (store_row(scheduler->store, row)) {
        comments = json_loads(column_text(row, 0), 0, NULL);
        *stale = column_int(row, 1) == 0 || column_int(row, 1) < column_int(row, 2) ||
                 !is_recent(column_int(row, 2), scheduler->now_ms);
        store_done(row);
    }
    if (json_is_array(comments))
        return comments;
    json_decref(comments);
    return json_array();
}

/* ---- the answer ---- */

void queries_key(int64_t job, char key[WORK_KEY_SIZE])
{
    snprintf(key, WORK_KEY_SIZE, "%lld", (long long)job);
}

/* People's own; what our bots said is in the artefacts. The newest ones where they are too many. */
static json_t *peoples_comments(const json_t *all)
{
    json_t *kept = json_array();
    size_t room = COMMENTS_MAX_BYTES;
    for (size_t i = json_array_size(all); i-- > 0;) {
        const json_t *comment = json_array_get(all, i);
        const char *author = message_text(comment, "author", ""),
                   *body = message_text(comment, "body", "");
        size_t size = strlen(author) + strlen(body) + 64;
        if (role_is_reserved(author))
            continue;
        if (size > room)
            break;
        room -= size;
        json_array_insert_new(kept, 0,
                              json_pack("{ss ss sI}", "author", author, "body", body, "at_ms",
                                        message_integer(comment, "at_ms", 0)));
    }
    return kept;
}

static bool learn(struct scheduler *scheduler, int64_t task, const json_t *issue)
{
    json_t *comments = peoples_comments(json_object_get(issue, "comments"));
    json_t *labels = json_object_get(issue, "labels");
    char *comments_text = json_dumps(comments, JSON_COMPACT);
    char *labels_text = json_is_array(labels) ? json_dumps(labels, JSON_COMPACT) : NULL;
    store_run(scheduler->store,
              "UPDATE tasks SET comments = ?2, comments_at = ?3, asked_at = ?3,"
              " title = coalesce(?4, title), description = coalesce(?5, description),"
              " labels = coalesce(?6, labels) WHERE id = ?1",
              "isisss", task, comments_text, scheduler->now_ms, message_text(issue, "title", NULL),
              message_text(issue, "body", NULL), labels_text);
    task_set_priority(scheduler, task, message_text(issue, "priority", NULL));
    free(comments_text);
    free(labels_text);
    if (message_text(issue, "body", NULL))
        dependents_learn(scheduler, task, message_text(issue, "body", NULL));
    json_decref(comments);
    return json_is_array(labels);
}

json_t *queries_take(struct scheduler *scheduler, const json_t *message)
{
    int64_t id = message_integer(message, "job", 0);
    const json_t *answer = json_object_get(message, "answer");
    bool learned = false;
    if (strcmp(message_text(message, "what", ""), "ci") == 0)
        return ci_take(scheduler, message);
    if (strcmp(message_text(message, "what", ""), "labels") == 0)
        return labels_take(scheduler, message);
    char key[WORK_KEY_SIZE];
    queries_key(id, key);
    work_forget(scheduler, WORK_RECONCILER, key);
    int64_t task =
        store_number(scheduler->store, 0, "SELECT task FROM jobs WHERE id = ?1", "i", id);
    int ended = store_run(scheduler->store,
                          "UPDATE jobs SET state = ?3, reason = ?4, ended_at = ?2 WHERE id = ?1"
                          " AND kind = 'query' AND state = 'queued'",
                          "iiss", id, scheduler->now_ms, json_is_object(answer) ? "done" : "failed",
                          json_is_object(answer) ? "" : "unknown: the outside did not say");
    if (ended > 0 && json_is_object(answer) &&
        strcmp(message_text(message, "what", ""), "issue") == 0)
        learned = learn(scheduler, task, answer);
    else if (ended > 0)
        store_run(scheduler->store, "UPDATE tasks SET asked_at = ?2 WHERE id = ?1", "ii", task,
                  scheduler->now_ms);
    if (learned)
        labels_known(scheduler, task);
    return message_new(MESSAGE_ack, NULL, "{sb}", "duplicate", ended == 0);
}
