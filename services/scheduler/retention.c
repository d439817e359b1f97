#include "services/scheduler/retention.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "services/scheduler/perform.h"

static const int64_t day_ms = 24LL * 3600 * 1000;
static const int64_t jump_ms = 3600LL * 1000;

/* A clock that jumped ahead makes everything old. It is believed again by the next process. */
static bool is_clock_believed(const struct scheduler *scheduler)
{
    int64_t drift = scheduler->now_ms - clock_mono_ms() - scheduler->clock_offset_ms;
    return drift < jump_ms && drift > -jump_ms;
}

static int drop_tasks(struct scheduler *scheduler, int64_t before_ms)
{
    return store_run(scheduler->store,
                     "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks INDEXED BY tasks_ended"
                     " WHERE terminal = 1 AND ended_at < ?1 AND cleanup_job IS NULL"
                     " AND id NOT IN (SELECT task FROM leases) ORDER BY ended_at LIMIT ?2)",
                     "ii", before_ms, (int64_t)RETENTION_TASKS);
}

/* ---- workspace and merged branch of a task that is done ---- */

struct over {
    int64_t task, ended_at;
};

/* Those that ended after where we came last time, oldest first. */
static size_t read_over(struct scheduler *scheduler, int64_t before_ms, struct over *out)
{
    size_t count = 0;
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT id, ended_at FROM tasks INDEXED BY tasks_ended"
                                  " WHERE terminal = 1 AND (ended_at, id) > (?1, ?2)"
                                  " AND ended_at < ?3 AND stage = 'done'"
                                  " ORDER BY ended_at, id LIMIT ?4",
                                  "iiii", meta_number(scheduler, "cleaned_ended_at", 0),
                                  meta_number(scheduler, "cleaned_task", 0), before_ms,
                                  (int64_t)RETENTION_CLEANUPS);
    while (store_row(scheduler->store, row))
        out[count++] = (struct over){.task = column_int(row, 0), .ended_at = column_int(row, 1)};
    return count;
}

/* A project that the configuration no longer names has no runner to clean up after it. */
static void order_cleanup(struct scheduler *scheduler, int64_t id)
{
    struct task task;
    if (!task_load(scheduler, id, &task))
        return;
    if (scheduler_project(scheduler, task.project))
        store_run(scheduler->store, "UPDATE tasks SET cleanup_job = ?2 WHERE id = ?1", "ii", id,
                  job_add(scheduler, &task, &(struct job_order){.kind = JOB_CLEANUP}));
    task_free(&task);
}

static size_t order_cleanups(struct scheduler *scheduler, int64_t before_ms)
{
    struct over over[RETENTION_CLEANUPS];
    size_t count = read_over(scheduler, before_ms, over);
    for (size_t i = 0; i < count; i++)
        order_cleanup(scheduler, over[i].task);
    if (count) {
        meta_set(scheduler, "cleaned_ended_at", over[count - 1].ended_at);
        meta_set(scheduler, "cleaned_task", over[count - 1].task);
    }
    return count;
}

/* ---- rows ---- */

static int drop_decisions(struct scheduler *scheduler, int64_t before_ms)
{
    return store_run(scheduler->store,
                     "DELETE FROM decisions WHERE event IN (SELECT event FROM (SELECT event, at"
                     " FROM decisions ORDER BY event LIMIT ?2) WHERE at < ?1)",
                     "ii", before_ms, (int64_t)RETENTION_ROWS);
}

static int drop_journal(struct scheduler *scheduler, int64_t before_ms)
{
    int64_t newest = store_number(scheduler->store, 0, "SELECT max(seq) FROM journal", "");
    return store_run(scheduler->store,
                     "DELETE FROM journal WHERE seq IN (SELECT seq FROM (SELECT seq, at"
                     " FROM journal ORDER BY seq LIMIT ?3) WHERE at < ?1 OR seq <= ?2)",
                     "iii", before_ms, newest - RETENTION_JOURNAL_ROWS, (int64_t)RETENTION_ROWS);
}

static int drop_alerts(struct scheduler *scheduler, int64_t before_ms)
{
    return store_run(scheduler->store,
                     "DELETE FROM alerts WHERE key IN (SELECT key FROM alerts"
                     " WHERE cleared_at < ?1 LIMIT ?2)",
                     "ii", before_ms, (int64_t)RETENTION_ROWS);
}

static bool prune(struct scheduler *scheduler)
{
    int64_t days = scheduler->config->retention_days, now = scheduler->now_ms;
    int64_t least = days > RETENTION_LEAST_DAYS ? days : RETENTION_LEAST_DAYS;
    int64_t logs = scheduler->config->retention_run_logs_days;
    size_t cleanups = order_cleanups(scheduler, now - (logs < days ? logs : days) * day_ms);
    int tasks = drop_tasks(scheduler, now - days * day_ms);
    int decisions = drop_decisions(scheduler, now - least * day_ms);
    int journal = drop_journal(scheduler, now - RETENTION_LEAST_DAYS * day_ms);
    int alerts = drop_alerts(scheduler, now - RETENTION_LEAST_DAYS * day_ms);
    if (tasks > 0)
        log_info("retention", "%d tasks finished more than %lld days ago are gone", tasks,
                 (long long)days);
    return cleanups == RETENTION_CLEANUPS || tasks == RETENTION_TASKS ||
           decisions == RETENTION_ROWS || journal == RETENTION_ROWS || alerts == RETENTION_ROWS;
}

bool retention_prune(struct scheduler *scheduler)
{
    if (!is_clock_believed(scheduler))
        return false;
    store_part_begin(scheduler->store);
    bool more = prune(scheduler);
    if (scheduler->store->failed && !store_fault_is_world(scheduler->store)) {
        store_part_drop(scheduler->store); /* said by the store; the turn has better to do */
        return false;
    }
    store_part_keep(scheduler->store);
    return more;
}
