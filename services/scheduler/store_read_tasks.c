/* Tasks and the built-in tracker's issues, as the pages show them. */
#include "services/scheduler/store_read_rows.h"

/* Sums count agents' runs only: reserved jobs use no model. No run at all is a known zero; runs of
 * which none is known are unknown. */
#define RUN_SUM(column)                                                                            \
    " (SELECT CASE count(*) WHEN 0 THEN 0 ELSE sum(" column ") END FROM agent_runs r"              \
    " WHERE r.task = t.id AND r.role IS NOT NULL AND r.state = 'ended')"

// clang-format off
#define TASK_COLUMNS                                                                               \
    "t.id, t.key, t.natural_key, t.title, t.project, t.repo, t.priority, t.stage, t.entry,"        \
    " t.labels AS \"labels:json\", t.terminal AS \"terminal:bool\","                               \
    " t.blocked_reason AS \"blocked.reason\", t.blocked_since AS \"blocked.since:time\","          \
    " t.parked_for AS \"parked.for\", t.parked_since AS \"parked.since:time\","                    \
    " t.branch, t.pr_number AS \"pull_request.number\", t.pr_url AS \"pull_request.url\","         \
    " t.pr_head AS \"pull_request.head\", t.head, t.merged_commit, t.rollbacks,"                   \
    " t.stop_requested AS \"stop_requested:bool\","                                                \
    " t.created_at AS \"created_at:time\", t.ended_at AS \"ended_at:time\","                       \
    RUN_SUM("cost_usd") " AS cost_usd,"                                                            \
    RUN_SUM("input_tokens") " AS \"tokens.input\","                                                \
    RUN_SUM("output_tokens") " AS \"tokens.output\","                                              \
    RUN_SUM("cache_read_tokens") " AS \"tokens.cache_read\","                                      \
    RUN_SUM("cache_creation_tokens") " AS \"tokens.cache_creation\""
// clang-format on

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
    json_t *tasks = read_rows(store,
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
    json_t *row = read_row(store, "SELECT t.id FROM tasks t WHERE " TASK_BY_KEY, "s", key);
    json_decref(row);
    return row != NULL;
}

static void add_parts(struct store_read *store, json_t *task, int64_t id)
{
    json_object_set_new(
        task, "transitions",
        read_rows(store,
                  "SELECT id AS entry, from_stage AS \"from\", to_stage AS \"to\", why,"
                  " actor, detail AS \"detail:json\", at AS \"at:time\""
                  " FROM transitions WHERE task = ?1 ORDER BY id",
                  "i", id));
    json_object_set_new(
        task, "jobs",
        read_rows(store,
                  "SELECT id, kind, role, stage, entry, state, attempt, reason, run,"
                  " nullif(not_before, 0) AS \"not_before:time\","
                  " created_at AS \"created_at:time\","
                  " claimed_at AS \"claimed_at:time\", ended_at AS \"ended_at:time\""
                  " FROM jobs WHERE task = ?1 ORDER BY id",
                  "i", id));
    json_object_set_new(
        task, "runs",
        read_rows(store,
                  "SELECT id, job, role, entry, attempt, state, outcome, class, reason, exit_code,"
                  " cost_usd, session, input_tokens AS \"tokens.input\","
                  " output_tokens AS \"tokens.output\", cache_read_tokens AS \"tokens.cache_read\","
                  " cache_creation_tokens AS \"tokens.cache_creation\","
                  " progress AS \"progress:json\", gate AS \"gate:json\","
                  " started_at AS \"started_at:time\", ended_at AS \"ended_at:time\""
                  " FROM agent_runs WHERE task = ?1 ORDER BY commanded_at, id",
                  "i", id));
    json_object_set_new(
        task, "predecessors",
        read_rows(store,
                  "SELECT p.id, p.key, p.stage, p.created_at AS \"created_at:time\","
                  " p.ended_at AS \"ended_at:time\" FROM tasks p"
                  " JOIN tasks t ON t.id = ?1"
                  " WHERE p.natural_key = t.natural_key AND p.id < t.id ORDER BY p.id",
                  "i", id));
}

json_t *store_read_task(struct store_read *store, const char *key)
{
    json_t *task = with_tokens(read_row(store,
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
    "id, project, key, title, body, status, priority, labels AS \"labels:json\","                  \
    " created_at AS \"created_at:time\", updated_at AS \"updated_at:time\""

static json_t *with_comments(struct store_read *store, json_t *issue)
{
    int64_t id = json_integer_value(json_object_get(issue, "id"));
    json_object_set_new(issue, "comments",
                        read_rows(store,
                                  "SELECT id, author, body, at AS \"at:time\" FROM local_comments"
                                  " WHERE issue = ?1 ORDER BY id",
                                  "i", id));
    return issue;
}

json_t *store_read_issues(struct store_read *store, const char *project)
{
    json_t *issues = read_rows(store,
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
        read_row(store, "SELECT " ISSUE_COLUMNS " FROM local_issues WHERE key = ?1", "s", key);
    if (!issue)
        return NULL;
    json_object_set_new(
        issue, "status_history",
        read_rows(store,
                  "SELECT status, actor, at AS \"at:time\" FROM local_status_history"
                  " WHERE issue = ?1 ORDER BY id",
                  "i", (int64_t)json_integer_value(json_object_get(issue, "id"))));
    return with_comments(store, issue);
}
