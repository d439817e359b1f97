#include "services/scheduler/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "lib/buffer.h"

#define TASK_COLUMNS                                                                               \
    "SELECT id, project, repo, issue, key, branch, natural_key, title, description, stage, entry," \
    " terminal, blocked_reason, parked_for, rollbacks, findings, display, display_confirmed,"      \
    " pr_number, pr_url, pr_head, head, merged_commit, stop_requested, priority,"                  \
    " reviewed_commit, returns, blocked_counter FROM tasks "

static const char *const parked_names[] = {
    [PARKED_NONE] = NULL,
    [PARKED_APPROVAL] = "approval",
    [PARKED_CONFIRM] = "confirm",
    [PARKED_CI] = "ci",
};

const char *parked_name(enum parked parked)
{
    return parked_names[parked];
}

static enum parked parked_by_name(const char *name)
{
    for (int i = PARKED_APPROVAL; name && i <= PARKED_CI; i++) {
        if (strcmp(name, parked_names[i]) == 0)
            return (enum parked)i;
    }
    return PARKED_NONE;
}

int64_t task_set_priority(struct scheduler *scheduler, int64_t task, const char *name)
{
    int rank = priority_rank(name);
    if (rank >= 0 && store_run(scheduler->store,
                               "UPDATE tasks SET priority = ?2 WHERE id = ?1 AND priority <> ?2",
                               "ii", task, (int64_t)rank) > 0)
        store_run(scheduler->store,
                  "UPDATE jobs SET priority = ?2 WHERE task = ?1 AND state IN ('queued','running')"
                  " AND state = 'queued'",
                  "ii", task, (int64_t)rank);
    return store_number(scheduler->store, 0, "SELECT priority FROM tasks WHERE id = ?1", "i", task);
}

const struct project *scheduler_project(const struct scheduler *scheduler, const char *key)
{
    return config_project(scheduler->config, key);
}

static bool read_task(struct scheduler *scheduler, sqlite3_stmt *row, struct task *task)
{
    memset(task, 0, sizeof *task);
    if (!store_row(scheduler->store, row))
        return false;
    task->exists = true;
    task->id = column_int(row, 0);
    task->project = column_copy(row, 1);
    task->repo = column_copy(row, 2);
    task->issue = column_copy(row, 3);
    task->key = column_copy(row, 4);
    task->branch = column_copy(row, 5);
    task->natural_key = column_copy(row, 6);
    task->title = column_copy(row, 7);
    task->description = column_copy(row, 8);
    task->stage = stage_by_name(column_text(row, 9));
    task->entry = column_int(row, 10);
    task->terminal = column_int(row, 11) != 0;
    task->blocked_reason = column_copy(row, 12);
    task->parked = parked_by_name(column_text(row, 13));
    task->rollbacks = (int)column_int(row, 14);
    task->findings = column_copy(row, 15);
    task->display = column_copy(row, 16);
    task->display_confirmed = column_int(row, 17);
    task->pr_number = column_int(row, 18);
    task->pr_url = column_copy(row, 19);
    task->pr_head = column_copy(row, 20);
    task->head = column_copy(row, 21);
    task->merged_commit = column_copy(row, 22);
    task->stop_requested = column_int(row, 23) != 0;
    task->priority = column_int(row, 24);
    task->reviewed_commit = column_copy(row, 25);
    task->returns = (int)column_int(row, 26);
    task->blocked_counter = column_copy(row, 27);
    store_done(row);
    return true;
}

bool task_load(struct scheduler *scheduler, int64_t id, struct task *task)
{
    return read_task(scheduler, store_ask(scheduler->store, TASK_COLUMNS "WHERE id = ?1", "i", id),
                     task);
}

bool task_load_by_issue(struct scheduler *scheduler, const char *issue, struct task *task)
{
    return read_task(
        scheduler, store_ask(scheduler->store, TASK_COLUMNS "WHERE issue = ?1", "s", issue), task);
}

bool task_load_by_key(struct scheduler *scheduler, const char *key, struct task *task)
{
    return read_task(scheduler,
                     store_ask(scheduler->store,
                               TASK_COLUMNS
                               "WHERE id = coalesce((SELECT id FROM tasks WHERE key = ?1),"
                               " (SELECT max(id) FROM tasks WHERE natural_key = ?1))",
                               "s", key),
                     task);
}

void task_free(struct task *task)
{
    char **texts[] = {
        &task->project,        &task->repo,        &task->issue,         &task->key,
        &task->branch,         &task->natural_key, &task->title,         &task->description,
        &task->blocked_reason, &task->findings,    &task->display,       &task->pr_url,
        &task->pr_head,        &task->head,        &task->merged_commit, &task->reviewed_commit,
        &task->blocked_counter};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(*texts[i]);
    memset(task, 0, sizeof *task);
}

const char *natural_text(const struct task *task, const char *text, char *out, size_t size)
{
    char suffix[32];
    int length = snprintf(suffix, sizeof suffix, "~%lld", (long long)task->id);
    size_t whole = strlen(text);
    snprintf(out, size, "%s", text);
    if (task->stage == STAGE_CANCELLED && whole > (size_t)length && whole < size &&
        strcmp(text + whole - (size_t)length, suffix) == 0)
        out[whole - (size_t)length] = '\0';
    return out;
}

bool job_load(struct scheduler *scheduler, int64_t id, struct job *job)
{
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT id, task, entry, kind, stage, role, state, run, session,"
                                  " input, attempt, transient, losses, runs FROM jobs"
                                  " WHERE id = ?1",
                                  "i", id);
    memset(job, 0, sizeof *job);
    if (!store_row(scheduler->store, row))
        return false;
    job->id = column_int(row, 0);
    job->task = column_int(row, 1);
    job->entry = column_int(row, 2);
    job->kind = job_kind_by_name(column_text(row, 3));
    job->stage = stage_by_name(column_text(row, 4));
    job->role = column_copy(row, 5);
    job->state = column_copy(row, 6);
    job->run = column_copy(row, 7);
    job->session = column_copy(row, 8);
    job->input = column_copy(row, 9);
    job->attempt = (int)column_int(row, 10);
    job->transient = (int)column_int(row, 11);
    job->losses = (int)column_int(row, 12);
    job->runs = (int)column_int(row, 13);
    store_done(row);
    return true;
}

void job_free(struct job *job)
{
    free(job->role);
    free(job->state);
    free(job->run);
    free(job->session);
    free(job->input);
    memset(job, 0, sizeof *job);
}

/* ---- facts ---- */

static void count_jobs(struct scheduler *scheduler, const struct task *task,
                       struct stage_facts *facts)
{
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT entry, kind, state FROM jobs INDEXED BY jobs_live"
                                  " WHERE task = ?1 AND state IN ('queued','running')",
                                  "i", task->id);
    bool agent_queued = false;
    while (store_row(scheduler->store, row)) {
        enum job_kind kind = job_kind_by_name(column_text(row, 1));
        bool running = strcmp(column_text(row, 2), "running") == 0;
        if (kind == JOB_KIND_COUNT || kind == JOB_QUERY)
            continue;
        if (running && job_kind_table[kind].critical)
            facts->critical_running = true;
        if (column_int(row, 0) != task->entry)
            continue;
        facts->job_live = true;
        if (kind == JOB_AGENT && running)
            facts->agent_running = true;
        else if (kind == JOB_AGENT)
            agent_queued = true;
    }
    facts->follow_up_queued = agent_queued && facts->agent_running;
}

static bool seen(struct scheduler *scheduler, const struct task *task, const char *prefix,
                 enum stage_event_kind command)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", prefix, stage_event_names[command]);
    return store_number(scheduler->store, 0,
                        "SELECT 1 FROM commands_seen WHERE task = ?1 AND entry = ?2"
                        " AND command = ?3",
                        "iis", task->id, task->entry, name) != 0;
}

/* Whichever run it was: what is merged now was deployed by the hook. */
static bool is_deployed(struct scheduler *scheduler, const struct task *task)
{
    return task->merged_commit &&
           store_number(
               scheduler->store, 0,
               "SELECT 1 FROM agent_runs r INDEXED BY agent_runs_task JOIN jobs j"
               " ON j.id = r.job WHERE r.task = ?1 AND j.kind = 'deploy'"
               " AND r.outcome = 'succeeded' AND json_extract(r.gate, '$.verdict') = 'pass'"
               " AND json_extract(r.gate, '$.judged_commit') = ?2 LIMIT 1",
               "is", task->id, task->merged_commit) != 0;
}

void task_facts(struct scheduler *scheduler, const struct task *task, enum stage_event_kind command,
                struct stage_facts *facts)
{
    const struct config *config = scheduler->config;
    *facts = (struct stage_facts){.max_rollbacks = (int)config->max_developer_retries,
                                  .stop_enabled = config->stop_status_enabled};
    if (!task->exists)
        return;
    const struct project *project = scheduler_project(scheduler, task->project);
    facts->exists = true;
    facts->stage = task->stage;
    facts->entry = task->entry;
    facts->blocked = task->blocked_reason != NULL;
    facts->blocked_outside = task->blocked_counter && strcmp(task->blocked_counter, "outside") == 0;
    facts->parked = task->parked;
    facts->stop_requested = task->stop_requested;
    facts->display_confirmed = task->display_confirmed == task->entry;
    facts->merged = task->merged_commit != NULL;
    facts->deployed = is_deployed(scheduler, task);
    facts->rollbacks = task->rollbacks;
    facts->returns = task->returns;
    count_jobs(scheduler, task, facts);
    facts->command_seen = seen(scheduler, task, "", command);
    facts->refusal_said = seen(scheduler, task, "refused:", command);
    facts->lease_held =
        store_number(scheduler->store, 0, "SELECT 1 FROM leases WHERE repo = ?1 AND task = ?2",
                     "si", task->repo, task->id) != 0;
    if (project) {
        facts->staging_on =
            config_feature_applies(config->staging_enabled, config->staging_repos, project);
        facts->confirm_deploy = project->confirm_deploy;
        facts->deploy_hook = project->deploy_hook[0] != '\0';
        facts->self_hosting = project->self_hosting;
    }
}

int64_t meta_number(struct scheduler *scheduler, const char *key, int64_t none)
{
    return store_number(scheduler->store, none,
                        "SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1", "s", key);
}

void meta_set(struct scheduler *scheduler, const char *key, int64_t value)
{
    store_run(scheduler->store,
              "INSERT INTO meta (key, value) VALUES (?1, CAST(?2 AS TEXT))"
              " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
              "si", key, value);
}

char *project_deployed(struct scheduler *scheduler, const char *project)
{
    return store_text(scheduler->store, "SELECT value FROM meta WHERE key = 'deployed:' || ?1", "s",
                      project);
}

void project_set_deployed(struct scheduler *scheduler, const char *project, const char *commit)
{
    store_run(scheduler->store,
              "INSERT INTO meta (key, value) VALUES ('deployed:' || ?1, ?2)"
              " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
              "ss", project, commit);
}
