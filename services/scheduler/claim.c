#include "services/scheduler/claim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/log.h"
#include "services/scheduler/claim_rules.h"
#include "services/scheduler/commands.h"
#include "services/scheduler/leases.h"
#include "services/scheduler/queries.h"

enum { NOTES_MAX = 64, ROLES_MAX = 64 };

/* Agents that run now. */
struct load {
    int agents;
    json_t *projects; /* key: count */
    json_t *roles;
};

static void add_one(json_t *counts, const char *name, int by)
{
    json_object_set_new(counts, name,
                        json_integer(json_integer_value(json_object_get(counts, name)) + by));
}

static void load_count(struct load *load, const char *project, const char *role, int by)
{
    load->agents += by;
    add_one(load->projects, project, by);
    add_one(load->roles, role, by);
}

static void load_read(struct scheduler *scheduler, struct load *load)
{
    *load = (struct load){.projects = json_object(), .roles = json_object()};
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT project, role, count(*) FROM jobs INDEXED BY jobs_running"
                                  " WHERE state = 'running' AND role IS NOT NULL"
                                  " GROUP BY project, role",
                                  "");
    while (store_row(scheduler->store, row))
        load_count(load, column_text(row, 0), column_text(row, 1), (int)column_int(row, 2));
}

static void load_free(struct load *load)
{
    json_decref(load->projects);
    json_decref(load->roles);
}

/* What holds for the whole queue. */
struct gates {
    bool starting, paused, draining, disk_low;
};

static struct gates gates_read(struct scheduler *scheduler)
{
    return (struct gates){
        .starting = !scheduler->work.pass_ended,
        .paused = meta_number(scheduler, "paused", 0) != 0,
        .draining = meta_number(scheduler, "draining", 0) != 0,
        .disk_low = scheduler->low_disk_mb >= 0,
    };
}

static bool project_is_paused(struct scheduler *scheduler, const char *project)
{
    char name[96];
    snprintf(name, sizeof name, "paused:%s", project);
    return meta_number(scheduler, name, 0) != 0;
}

/* ---- facts of one row ----
 * Everything that costs a look-up is asked of live rows through partial indexes; the analysis'
 * own questions are asked of analysis jobs alone. */

#define CANDIDATES                                                                                 \
    "SELECT j.id, j.task, j.project, j.repo, j.kind, j.role, j.stage, j.not_before, j.reason,"     \
    " EXISTS (SELECT 1 FROM jobs r INDEXED BY jobs_live WHERE r.task = j.task"                     \
    "  AND r.state IN ('queued','running') AND r.state = 'running'),"                              \
    " CASE WHEN j.stage = 'analysis' THEN EXISTS (SELECT 1 FROM tasks t, tasks c"                  \
    "  INDEXED BY tasks_cleanup WHERE t.id = j.task AND c.natural_key = t.natural_key"             \
    "  AND c.cleanup_job IS NOT NULL AND c.id <> t.id) ELSE 0 END,"                                \
    " CASE WHEN j.stage = 'analysis' THEN EXISTS (SELECT 1 FROM tasks e INDEXED BY tasks_live"     \
    "  WHERE e.repo = j.repo AND e.id < j.task AND e.terminal = 0"                                 \
    "  AND (?1 = 0 OR e.blocked_reason IS NULL)) ELSE 0 END,"                                      \
    " CASE WHEN j.stage = 'analysis' THEN EXISTS (SELECT 1 FROM repo_freeze f"                     \
    "  WHERE f.repo = j.repo) ELSE 0 END,"                                                         \
    " CASE WHEN j.kind LIKE 'merge%' THEN coalesce((SELECT l.task FROM leases l"                   \
    "  WHERE l.repo = j.repo), 0) ELSE 0 END"                                                      \
    " FROM jobs j INDEXED BY jobs_queued WHERE j.state = 'queued'"                                 \
    " ORDER BY j.stage_rank DESC, j.priority DESC, j.task, j.id"

static bool is_due(struct scheduler *scheduler, sqlite3_stmt *row)
{
    int64_t not_before = column_int(row, 7);
    if (retry_due(not_before, failure_class_of_reason(column_text(row, 8)), &scheduler->limits,
                  scheduler->now_ms))
        return true;
    work_wake_at(scheduler, not_before);
    return false;
}

static enum reason judge_row(struct scheduler *scheduler, const struct gates *gates,
                             const struct load *load, sqlite3_stmt *row)
{
    const struct config *config = scheduler->config;
    const char *key = column_text(row, 2), *role = column_text(row, 5);
    const struct project *project = scheduler_project(scheduler, key);
    int64_t task = column_int(row, 1), holder = column_int(row, 13);
    struct claim_facts facts = {
        .kind = job_kind_by_name(column_text(row, 4)),
        .stage = stage_by_name(column_text(row, 6)),
        .starting = gates->starting,
        .paused = gates->paused,
        .draining = gates->draining,
        .disk_low = gates->disk_low,
        .project_known = project != NULL,
        .project_paused = project_is_paused(scheduler, key),
        .task_runs = column_int(row, 9) != 0,
        .predecessor_cleaned = column_int(row, 10) == 0,
        .is_gated =
            project && column_int(row, 11) != 0 &&
            config_feature_applies(config->serial_gate_enabled, config->serial_gate_repos, project),
        .is_frozen = config->serial_gate_freeze_enabled && column_int(row, 12) != 0,
        .lease_busy = holder != 0 && holder != task,
        .lease_held = holder == task,
        .due = is_due(scheduler, row),
        .agents = load->agents,
        .agents_max = (int)config->max_concurrency,
    };
    if (role && project) {
        const json_t *most = json_object_get(config->agent_max_concurrency, role);
        facts.project_agents = (int)json_integer_value(json_object_get(load->projects, key));
        facts.project_agents_max = (int)project->max_concurrency;
        facts.role_agents = (int)json_integer_value(json_object_get(load->roles, role));
        facts.role_agents_max = (int)json_integer_value(most);
    }
    return claim_judge(&facts);
}

/* ---- one job ---- */

/* The statement alone decides: where the row is queued no more, nothing is claimed. */
static bool take(struct scheduler *scheduler, const struct task *task, struct job *job)
{
    if (job->kind == JOB_MERGE_GATE && !lease_take(scheduler, task))
        return false;
    if (store_run(scheduler->store,
                  "UPDATE jobs SET state = 'running', claimed_at = ?2, runs = runs + 1, reason = ''"
                  " WHERE id = ?1 AND state = 'queued'",
                  "ii", job->id, scheduler->now_ms) != 1)
        return false;
    commands_start(scheduler, task, job);
    if (job->kind == JOB_MERGE_GATE || job->kind == JOB_MERGE) {
        char *run =
            store_text(scheduler->store, "SELECT run FROM jobs WHERE id = ?1", "i", job->id);
        lease_use(scheduler, task, run, job->kind == JOB_MERGE);
        free(run);
    }
    scheduler->claimed++;
    return true;
}

static bool claim(struct scheduler *scheduler, int64_t id, struct load *load)
{
    struct job job;
    struct task task;
    bool taken = false;
    if (!job_load(scheduler, id, &job))
        return false;
    if (task_load(scheduler, job.task, &task)) {
        taken = take(scheduler, &task, &job);
        if (taken && job.role)
            load_count(load, task.project, job.role, 1);
        const struct log_about about = {.task = task.key, .job = id};
        if (taken)
            log_line(LOG_LEVEL_INFO, "claim", &about, "%s%s%s, attempt %d",
                     job_kind_table[job.kind].name, job.role ? " " : "", job.role ? job.role : "",
                     job.attempt);
    }
    task_free(&task);
    job_free(&job);
    return taken;
}

/* ---- the queue ---- */

struct note {
    int64_t job;
    enum reason reason;
};

/* A job's words change only where its reason does: what is written costs a page, each time. */
static bool is_said(const char *before, enum reason reason)
{
    return reason == REASON_COUNT || (reason_by_code(before) == reason);
}

static void write_notes(struct scheduler *scheduler, const struct note *notes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[200];
        reason_format(notes[i].reason, NULL, text, sizeof text);
        store_run(scheduler->store,
                  "UPDATE jobs SET reason = ?2 WHERE id = ?1 AND state = 'queued'", "is",
                  notes[i].job, text);
    }
}

/* The first job that may run, 0 where none may; notes of those before it. */
static int64_t find(struct scheduler *scheduler, const struct gates *gates, const struct load *load)
{
    struct note notes[NOTES_MAX];
    size_t noted = 0;
    int64_t found = 0, asking = 0;
    sqlite3_stmt *row = store_ask(scheduler->store, CANDIDATES, "i",
                                  (int64_t)scheduler->config->serial_gate_skip_blocked);
    while (!found && store_row(scheduler->store, row)) {
        int64_t id = column_int(row, 0);
        if (strcmp(column_text(row, 4), "query") == 0)
            continue;
        enum reason reason = judge_row(scheduler, gates, load, row);
        /* asked last: of an issue whose agent could start now */
        if (reason == REASON_OK && column_text(row, 5) &&
            !queries_are_fresh(scheduler, column_int(row, 1)))
            reason = REASON_ASKING;
        if (reason == REASON_OK)
            found = id;
        else if (!is_said(column_text(row, 8), reason) && noted < NOTES_MAX)
            notes[noted++] = (struct note){id, reason};
        asking += reason == REASON_ASKING;
    }
    store_done(row);
    write_notes(scheduler, notes, noted);
    if (asking && work_has_room(scheduler, WORK_RECONCILER))
        commands_give_queries(scheduler);
    return found;
}

void claim_jobs(struct scheduler *scheduler)
{
    struct load load;
    struct gates gates = gates_read(scheduler);
    load_read(scheduler, &load);
    for (int64_t job; work_has_room(scheduler, WORK_RUNNER);) {
        job = find(scheduler, &gates, &load);
        if (!job || !claim(scheduler, job, &load))
            break;
    }
    load_free(&load);
}
