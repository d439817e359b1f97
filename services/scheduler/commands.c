#include "services/scheduler/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "services/scheduler/ci.h"
#include "services/scheduler/claim_rules.h"
#include "services/scheduler/findings.h"
#include "services/scheduler/queries.h"

/* With findings (findings.h) and comments (queries.c) a command is a message, even where every
 * character of it is written as six. */
enum { NAME_SIZE = 192, TITLE_BYTES = 1024, DESCRIPTION_BYTES = 256 * 1024 };

/* ---- run_start ---- */

static int64_t timeout_ms(const struct scheduler *scheduler, const struct project *project,
                          const struct job *job)
{
    const struct config *config = scheduler->config;
    bool hook = job->kind == JOB_DEPLOY || job->kind == JOB_STAGE; /* of each call of it */
    if (!job->role && !hook)
        return (config->agent_timeout_seconds + project->test_timeout_s) * 1000;
    const json_t *own = json_object_get(config->agent_timeout_overrides,
                                        hook ? stage_table[STAGE_DEPLOY_STAGING].role : job->role);
    return (json_is_integer(own) ? json_integer_value(own) : config->agent_timeout_seconds) * 1000;
}

/* The commit that a reserved job is bound to: what the gate is to judge, what it judged. */
static char *pinned_head(struct scheduler *scheduler, const struct task *task,
                         const struct job *job)
{
    if (job->kind == JOB_MERGE)
        return store_text(scheduler->store,
                          "SELECT new_head FROM leases WHERE repo = ?1 AND task = ?2", "si",
                          task->repo, task->id);
    if (job->kind == JOB_DEPLOY)
        return task->merged_commit ? xstrdup(task->merged_commit) : NULL;
    if (job->role || job->kind == JOB_CLEANUP || !task->head)
        return NULL;
    return xstrdup(task->head);
}

static json_t *pull_request(const struct task *task)
{
    if (!task->pr_number)
        return json_null();
    return json_pack("{sI ss* ss*}", "number", (json_int_t)task->pr_number, "url", task->pr_url,
                     "head", task->pr_head);
}

static json_t *bounded_text(const char *text, size_t limit)
{
    size_t kept = text_cut(text, limit), size = strlen(text);
    if (kept == size)
        return json_string(text);
    return json_sprintf("%.*s\n(%zu more bytes left out)", (int)kept, text, size - kept);
}

static bool wants_findings(const struct job *job)
{
    json_t *input = json_loads(job->input, 0, NULL);
    bool wants = json_is_true(json_object_get(input, "with_findings"));
    json_decref(input);
    return wants;
}

/* An agent that was started has found the stage's verdict file of an earlier entry removed. */
static bool is_first_of_entry(struct scheduler *scheduler, const struct task *task,
                              const struct job *job)
{
    return store_number(scheduler->store, 0,
                        "SELECT 1 FROM agent_runs WHERE task = ?1 AND entry = ?2"
                        " AND started_at IS NOT NULL LIMIT 1",
                        "ii", task->id, job->entry) == 0;
}

/* Of a commit that CI is asked about; what is not known is left out. */
static void add_head_since(struct scheduler *scheduler, int64_t task, const char *head,
                           json_t *message)
{
    int64_t since = head ? ci_head_since(scheduler, task, head) : 0;
    if (since > 0)
        json_object_set_new(message, "head_since_ms", json_integer(since));
}

/* What the hook's job before this one reported: the deployer judges a staging of this entry, the
 * finalizer tells of the last deploy. NULL where there is none. */
static json_t *hook_report(struct scheduler *scheduler, const struct task *task,
                           const struct job *job)
{
    bool judges = job->kind == JOB_AGENT && job->stage == STAGE_DEPLOY_STAGING;
    if (!judges && job->kind != JOB_FINALIZER)
        return NULL;
    char *text = store_text(scheduler->store,
                            "SELECT json_extract(r.result, '$.detail') FROM agent_runs r"
                            " INDEXED BY agent_runs_task JOIN jobs j ON j.id = r.job"
                            " WHERE r.task = ?1 AND j.kind = ?2 AND r.outcome = 'succeeded'"
                            " AND (?3 = 0 OR r.entry = ?3) ORDER BY r.commanded_at DESC LIMIT 1",
                            "isi", task->id, job_kind_table[judges ? JOB_STAGE : JOB_DEPLOY].name,
                            judges ? job->entry : (int64_t)0);
    json_t *report = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return report;
}

/* How many levels of the cascade of models were tried in vain. */
static void add_model_level(struct scheduler *scheduler, const struct job *job, json_t *message)
{
    int64_t level = store_number(scheduler->store, 0, "SELECT model_level FROM jobs WHERE id = ?1",
                                 "i", job->id);
    if (level > 0)
        json_object_set_new(message, "model_level", json_integer(level));
}

static void add_deployed(struct scheduler *scheduler, const struct task *task, json_t *message)
{
    char *commit = project_deployed(scheduler, task->project);
    if (commit)
        json_object_set_new(message, "deployed", json_string(commit));
    free(commit);
}

static json_t *build_start(struct scheduler *scheduler, const struct task *task,
                           const struct job *job, const char *run)
{
    const struct project *project = scheduler_project(scheduler, task->project);
    char key[NAME_SIZE], branch[NAME_SIZE];
    int64_t timeout = timeout_ms(scheduler, project, job);
    char *head = pinned_head(scheduler, task, job);
    bool stale = false;
    json_t *comments = job->role ? queries_comments(scheduler, task, &stale) : json_array();
    json_t *message = message_new(
        MESSAGE_run_start, NULL,
        "{ss sI ss sI ss ss sI ss ss? si ss so so so so so ss? ss* ss? sb sI sI sb so*}", "run",
        run, "job", (json_int_t)job->id, "job_kind", job_kind_table[job->kind].name, "task",
        (json_int_t)task->id, "key", natural_text(task, task->key, key, sizeof key), "project",
        task->project, "entry", (json_int_t)job->entry, "stage", stage_table[job->stage].name,
        "role", job->role, "attempt", job->attempt, "branch",
        natural_text(task, task->branch, branch, sizeof branch), "title",
        bounded_text(task->title, TITLE_BYTES), "description",
        bounded_text(task->description, DESCRIPTION_BYTES), "comments", comments, "findings",
        wants_findings(job) ? findings_decode(task->findings) : json_array(), "pull_request",
        pull_request(task), "head", head, "reviewed",
        job->stage > STAGE_REVIEW ? task->reviewed_commit : NULL, "resume_session", job->session,
        "first_of_entry", (int)(job->role && is_first_of_entry(scheduler, task, job)), "timeout_ms",
        (json_int_t)timeout, "deadline_ms", (json_int_t)scheduler->now_ms + timeout,
        "comments_stale", (int)stale, "hook", hook_report(scheduler, task, job));
    if (job->kind == JOB_MERGE)
        add_head_since(scheduler, task->id, head, message);
    if (job->kind == JOB_DEPLOY)
        add_deployed(scheduler, task, message);
    if (job->role)
        add_model_level(scheduler, job, message);
    free(head);
    return message;
}

json_t *commands_start(struct scheduler *scheduler, const struct task *task, const struct job *job,
                       size_t *size)
{
    char run[NAME_SIZE], key[NAME_SIZE];
    snprintf(run, sizeof run, "%s-j%lld-r%d", natural_text(task, task->key, key, sizeof key),
             (long long)job->id, job->runs + 1);
    /* the statement alone decides: where the row is queued no more, nothing is claimed */
    if (store_run(scheduler->store,
                  "UPDATE jobs SET state = 'running', claimed_at = ?2, runs = runs + 1, run = ?3,"
                  " reason = '' WHERE id = ?1 AND state = 'queued'",
                  "iis", job->id, scheduler->now_ms, run) != 1)
        return NULL;
    if (claim_begins_task(job->kind, job->stage))
        store_run(scheduler->store, "UPDATE tasks SET began = 1 WHERE id = ?1 AND began = 0", "i",
                  task->id);
    json_t *message = build_start(scheduler, task, job, run);
    char *text = json_dumps(message, JSON_COMPACT);
    store_run(scheduler->store,
              "INSERT INTO agent_runs (id, job, task, entry, role, attempt, state, command,"
              " session, commanded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'commanded', ?7, ?8, ?9)",
              "siiisissi", run, job->id, task->id, job->entry, job->role, (int64_t)job->attempt,
              text, job->session, scheduler->now_ms);
    journal_add(&scheduler->journal, scheduler->store, scheduler->now_ms,
                &(struct journal_about){.event = "job",
                                        .task = task->key,
                                        .stage = stage_table[task->stage].name,
                                        .job = job->id,
                                        .run = run},
                json_pack("{ss ss ss? si}", "state", "running", "kind",
                          job_kind_table[job->kind].name, "role", job->role, "attempt",
                          job->attempt));
    *size = strlen(text);
    free(text);
    return message;
}

bool commands_stop(struct scheduler *scheduler, const char *run, const char *reason)
{
    return store_run(scheduler->store,
                     "UPDATE agent_runs SET stop = ?2 WHERE id = ?1 AND state <> 'ended'"
                     " AND stop IS NULL",
                     "ss", run, reason) > 0;
}

/* ---- handing out ---- */

/* What a run_stop is handed out by, beside its run_start. Caller frees. */
static char *stop_key(const char *run)
{
    return xformat("stop:%s", run);
}

void commands_forget(struct scheduler *scheduler, const char *run)
{
    char *key = stop_key(run);
    work_forget(scheduler, WORK_RUNNER, run);
    work_forget(scheduler, WORK_RUNNER, key);
    free(key);
}

static void give_start(struct scheduler *scheduler, const char *run)
{
    char *text =
        store_text(scheduler->store, "SELECT command FROM agent_runs WHERE id = ?1", "s", run);
    json_t *message = text ? json_loads(text, 0, NULL) : NULL;
    if (message)
        work_give(scheduler, WORK_RUNNER, run, message, strlen(text));
    free(text);
}

static void give_stop(struct scheduler *scheduler, const char *run, const char *reason)
{
    char *key = stop_key(run);
    if (work_wants(scheduler, WORK_RUNNER, key))
        work_give(scheduler, WORK_RUNNER, key,
                  message_new(MESSAGE_run_stop, NULL, "{ss ss}", "run", run, "reason", reason), 0);
    free(key);
}

void commands_give_runs(struct scheduler *scheduler)
{
    sqlite3_stmt *row =
        store_ask(scheduler->store,
                  "SELECT id, state, stop FROM agent_runs INDEXED BY agent_runs_to_tell"
                  " WHERE state <> 'ended' AND (state = 'commanded' OR stop IS NOT NULL)"
                  " ORDER BY commanded_at, id",
                  "");
    while (work_room(scheduler, WORK_RUNNER) && store_row(scheduler->store, row)) {
        const char *run = column_text(row, 0), *stop = column_text(row, 2);
        if (strcmp(column_text(row, 1), "commanded") == 0 &&
            work_wants(scheduler, WORK_RUNNER, run))
            give_start(scheduler, run);
        if (stop && work_room(scheduler, WORK_RUNNER))
            give_stop(scheduler, run, stop);
    }
    store_done(row);
}

static json_t *build_query(struct scheduler *scheduler, sqlite3_stmt *row)
{
    json_t *input = json_loads(column_text(row, 1), 0, NULL);
    int64_t pull = column_int(row, 5);
    json_t *message = message_new(
        MESSAGE_query, NULL, "{sI ss ss ss ss so ss?}", "job", (json_int_t)column_int(row, 0),
        "what", message_text(input, "what", "issue"), "project", column_text(row, 2), "issue",
        column_text(row, 3), "key", column_text(row, 4), "pull_request",
        pull ? json_integer(pull) : json_null(), "head", column_text(row, 6));
    if (strcmp(message_text(input, "what", ""), "ci") == 0)
        add_head_since(scheduler, column_int(row, 7), column_text(row, 6), message);
    json_decref(input);
    return message;
}

void commands_give_queries(struct scheduler *scheduler)
{
    sqlite3_stmt *row =
        store_ask(scheduler->store,
                  "SELECT j.id, j.input, t.project, t.issue, t.key, t.pr_number, t.head,"
                  " t.id FROM jobs j INDEXED BY jobs_queries JOIN tasks t ON t.id = j.task"
                  " WHERE j.state = 'queued' AND j.kind = 'query' ORDER BY j.id",
                  "");
    while (work_room(scheduler, WORK_RECONCILER) && store_row(scheduler->store, row)) {
        char key[WORK_KEY_SIZE];
        queries_key(column_int(row, 0), key);
        if (work_wants(scheduler, WORK_RECONCILER, key))
            work_give(scheduler, WORK_RECONCILER, key, build_query(scheduler, row), 0);
    }
    store_done(row);
}
