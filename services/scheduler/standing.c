#include "services/scheduler/standing.h"

#include <string.h>
#include "services/scheduler/queries.h"

/* Which question a parked task is asked, as in the statement below. */
static bool is_awaited(const char *what, enum parked parked)
{
    if (strcmp(what, "ci") == 0)
        return parked == PARKED_CI;
    return strcmp(what, "labels") == 0 && (parked == PARKED_APPROVAL || parked == PARKED_CONFIRM);
}

static int64_t needless(struct scheduler *scheduler)
{
    return store_number(scheduler->store, 0,
                        "SELECT j.id FROM jobs j INDEXED BY jobs_queries JOIN tasks t"
                        " ON t.id = j.task WHERE j.state = 'queued' AND j.kind = 'query'"
                        " AND json_extract(j.input, '$.what') IN ('ci', 'labels')"
                        " AND (t.blocked_reason IS NOT NULL OR t.terminal = 1 OR t.entry <> j.entry"
                        " OR t.parked_for IS NULL"
                        " OR (t.parked_for = 'ci') <> (json_extract(j.input, '$.what') = 'ci'))"
                        " LIMIT 1",
                        "");
}

void standing_ask(struct scheduler *scheduler, int64_t task, const char *what, const char *why)
{
    queries_ask(scheduler, task, what, why);
}

void standing_end_needless(struct scheduler *scheduler)
{
    for (int64_t job; (job = needless(scheduler)) > 0;)
        standing_end(scheduler, job, "cancelled");
}

bool standing_take(struct scheduler *scheduler, const json_t *message, struct job *job,
                   struct task *task)
{
    int64_t id = message_integer(message, "job", 0);
    char key[WORK_KEY_SIZE];
    queries_key(id, key);
    work_forget(scheduler, WORK_RECONCILER, key);
    if (!job_load(scheduler, id, job) || !task_load(scheduler, job->task, task))
        return false;
    json_t *input = json_loads(job->input, 0, NULL);
    const char *what = message_text(message, "what", "");
    bool same = strcmp(message_text(input, "what", ""), what) == 0;
    json_decref(input);
    return same && job->kind == JOB_QUERY && strcmp(job->state, "queued") == 0 &&
           job->entry == task->entry && is_awaited(what, task->parked) && !task->blocked_reason;
}

void standing_again(struct scheduler *scheduler, int64_t job, int64_t within_ms)
{
    int64_t pace = scheduler->config->reconciler_interval_s * 1000;
    char key[WORK_KEY_SIZE];
    queries_key(job, key);
    work_again_in(scheduler, WORK_RECONCILER, key,
                  within_ms > 0 && within_ms < pace ? within_ms : pace);
}

void standing_end(struct scheduler *scheduler, int64_t job, const char *state)
{
    char key[WORK_KEY_SIZE];
    queries_key(job, key);
    work_forget(scheduler, WORK_RECONCILER, key);
    store_run(scheduler->store,
              "UPDATE jobs SET state = ?2, reason = '', ended_at = ?3 WHERE id = ?1", "isi", job,
              state, scheduler->now_ms);
}
