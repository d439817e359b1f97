#include "services/scheduler/reaping.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/log.h"
#include "services/scheduler/commands.h"
#include "services/scheduler/effects.h"
#include "services/scheduler/leases.h"
#include "services/scheduler/perform.h"
#include "services/scheduler/results.h"

enum { TIER_DEAD = 1, TIER_ENDED = 2, TIER_OVERDUE = 3 };

/* ---- what runs ---- */

static json_t *running_jobs(struct scheduler *scheduler)
{
    json_t *jobs = json_array();
    sqlite3_stmt *row =
        store_ask(scheduler->store,
                  "SELECT j.id, j.run, j.kind, j.task, t.key, j.repo, r.state <> 'commanded',"
                  " j.claimed_at FROM jobs j INDEXED BY jobs_running JOIN tasks t ON t.id = j.task"
                  " JOIN agent_runs r ON r.id = j.run WHERE j.state = 'running' ORDER BY j.id",
                  "");
    while (store_row(scheduler->store, row))
        json_array_append_new(
            jobs, json_pack("{sI ss ss sI ss ss sb sI}", "job", (json_int_t)column_int(row, 0),
                            "run", column_text(row, 1), "kind", column_text(row, 2), "task",
                            (json_int_t)column_int(row, 3), "key", column_text(row, 4), "repo",
                            column_text(row, 5), "accepted", (int)(column_int(row, 6) != 0),
                            "since_ms", (json_int_t)column_int(row, 7)));
    return jobs;
}

static json_t *leases(struct scheduler *scheduler)
{
    json_t *all = json_array();
    sqlite3_stmt *row = store_ask(
        scheduler->store,
        "SELECT l.repo, l.task, t.key, t.stage, t.terminal, l.since, l.used_by_run,"
        " EXISTS (SELECT 1 FROM jobs j INDEXED BY jobs_queued WHERE j.state = 'queued'"
        "  AND j.kind IN ('merge-gate', 'deploy') AND j.repo = l.repo AND j.task <> l.task)"
        " FROM leases l JOIN tasks t ON t.id = l.task ORDER BY l.repo",
        "");
    while (store_row(scheduler->store, row))
        json_array_append_new(
            all, json_pack("{ss sI ss ss sb sI ss? sb}", "repo", column_text(row, 0), "task",
                           (json_int_t)column_int(row, 1), "key", column_text(row, 2), "stage",
                           column_text(row, 3), "terminal", (int)(column_int(row, 4) != 0),
                           "since_ms", (json_int_t)column_int(row, 5), "used_by_run",
                           column_text(row, 6), "wanted", (int)(column_int(row, 7) != 0)));
    return all;
}

json_t *reaping_running(struct scheduler *scheduler, const json_t *message)
{
    (void)message;
    return message_new(MESSAGE_running, NULL, "{so so}", "jobs", running_jobs(scheduler), "leases",
                       leases(scheduler));
}

/* ---- proposals ---- */

static json_t *answer(bool won)
{
    return message_new(MESSAGE_ack, NULL, "{sb}", "won", (int)won);
}

/* A dead keeper left nothing to wait for. What ended and was not finished is the runner's to
 * finish: it still has the steps after the agent to make, so it is told the run once more. What
 * runs too long is told to end; a run that is gone altogether is found dead by the first tier. */
json_t *reaping_reap(struct scheduler *scheduler, const json_t *message)
{
    int64_t job = message_integer(message, "job", 0), tier = message_integer(message, "tier", 0);
    const char *run = message_text(message, "run", ""),
               *reason = message_text(message, "reason", "");
    bool won = false;
    if (tier == TIER_DEAD)
        won = results_reaped(scheduler, job, run, reason);
    else if (tier == TIER_ENDED)
        won = store_run(scheduler->store,
                        "UPDATE agent_runs SET state = 'commanded' WHERE id = ?1 AND job = ?2"
                        " AND state IN ('accepted','started')",
                        "si", run, job) > 0;
    else if (tier == TIER_OVERDUE)
        won = commands_stop(scheduler, run, reason);
    if (won) {
        const struct log_about about = {.job = job, .run = run};
        log_line(LOG_LEVEL_WARN, "reap", &about, "tier %lld: %s", (long long)tier, reason);
    }
    return answer(won);
}

/* A merge that waits for its turn has lost its right: the edge gates judge again. Parked for
 * Confirm Deploy it stays parked, and goes the same way when the confirmation comes. */
static void send_back(struct scheduler *scheduler, struct task *task)
{
    struct performed performed;
    int cancelled =
        store_run(scheduler->store,
                  "UPDATE jobs SET state = 'cancelled', reason = ?2, ended_at = ?3"
                  " WHERE task = ?1 AND state IN ('queued','running')"
                  " AND state = 'queued' AND kind = 'merge'",
                  "isi", task->id, "lease-lost: the merge lease was reclaimed", scheduler->now_ms);
    const struct occurrence occurrence = {.event = {.kind = STAGE_EVENT_JOB_MISSING,
                                                    .source = SOURCE_RECONCILER,
                                                    .entry = task->entry},
                                          .actor = "reaper"};
    if (cancelled > 0)
        perform(scheduler, task, &occurrence, &performed);
}

/* One that a living run works under is never taken, whatever was seen outside. */
static bool is_used(struct scheduler *scheduler, const struct task *task)
{
    return store_number(scheduler->store, 0,
                        "SELECT 1 FROM leases l JOIN agent_runs r ON r.id = l.used_by_run"
                        " WHERE l.repo = ?1 AND l.task = ?2 AND r.state <> 'ended'",
                        "si", task->repo, task->id) != 0;
}

json_t *reaping_lease(struct scheduler *scheduler, const json_t *message)
{
    struct task task;
    bool won = false;
    if (task_load(scheduler, message_integer(message, "task", 0), &task) &&
        strcmp(task.repo, message_text(message, "repo", "")) == 0 && !is_used(scheduler, &task)) {
        won = lease_release(scheduler, &task, message_text(message, "reason", ""));
        if (won && !task.terminal)
            send_back(scheduler, &task);
    }
    task_free(&task);
    return answer(won);
}

/* ---- services ---- */

json_t *reaping_service(struct scheduler *scheduler, const json_t *message)
{
    const char *service = message_text(message, "service", ""),
               *fault = message_text(message, "fault", "");
    char *key = xformat("service:%s", service);
    journal_add(&scheduler->journal, scheduler->store, scheduler->now_ms,
                &(struct journal_about){.event = "service", .service = service},
                json_pack("{ss ss}", "fault", fault, "text", message_text(message, "text", "")));
    if (strcmp(fault, "recovered") == 0)
        alert_clear(scheduler, key);
    else
        alert_raise(scheduler, key, message_text(message, "text", ""));
    free(key);
    return message_new(MESSAGE_ack, NULL, "{}");
}
