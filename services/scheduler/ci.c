#include "services/scheduler/ci.h"

#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/log.h"
#include "services/scheduler/findings.h"
#include "services/scheduler/perform.h"
#include "services/scheduler/queries.h"

enum { WORDS_SIZE = 400 };

int64_t ci_head_since(struct scheduler *scheduler, int64_t task, const char *head)
{
    return store_number(scheduler->store, 0,
                        "SELECT min(ended_at) FROM agent_runs WHERE task = ?1"
                        " AND json_extract(result, '$.head') = ?2",
                        "is", task, head);
}

/* ---- asking ---- */

static void end_query(struct scheduler *scheduler, int64_t job, const char *state)
{
    char key[WORK_KEY_SIZE];
    queries_key(job, key);
    work_forget(scheduler, WORK_RECONCILER, key);
    store_run(scheduler->store,
              "UPDATE jobs SET state = ?2, reason = '', ended_at = ?3 WHERE id = ?1", "isi", job,
              state, scheduler->now_ms);
}

/* One that is asked for nobody: the task was stopped, blocked, resumed, or has gone on. */
static int64_t needless_query(struct scheduler *scheduler)
{
    return store_number(scheduler->store, 0,
                        "SELECT j.id FROM jobs j INDEXED BY jobs_queries JOIN tasks t"
                        " ON t.id = j.task WHERE j.state = 'queued' AND j.kind = 'query'"
                        " AND json_extract(j.input, '$.what') = 'ci' AND (t.parked_for IS NOT 'ci'"
                        " OR t.blocked_reason IS NOT NULL OR t.terminal = 1 OR t.entry <> j.entry)"
                        " LIMIT 1",
                        "");
}

void ci_ask(struct scheduler *scheduler)
{
    for (int64_t job; (job = needless_query(scheduler)) > 0;)
        end_query(scheduler, job, "cancelled");
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT id FROM tasks INDEXED BY tasks_parked"
                                  " WHERE parked_for IS NOT NULL AND parked_for = 'ci'"
                                  " AND terminal = 0 AND blocked_reason IS NULL",
                                  "");
    while (store_row(scheduler->store, row))
        queries_ask_ci(scheduler, column_int(row, 0));
    store_done(row);
}

/* ---- the answer ---- */

/* What was said of a task that waits. */
struct heard {
    struct task *task;
    int64_t job;
    int64_t left_ms;      /* of ci.timeout_s */
    const json_t *answer; /* NULL: unknown */
    enum gate_verdict verdict;
    const char *words;
};

/* Since it was parked; a clock that jumped back by more than the whole time gives none. */
static int64_t time_left(struct scheduler *scheduler, int64_t task)
{
    int64_t limit = scheduler->config->ci_timeout_s * 1000;
    int64_t waited =
        scheduler->now_ms - store_number(scheduler->store, scheduler->now_ms,
                                         "SELECT parked_since FROM tasks WHERE id = ?1", "i", task);
    return waited < -limit ? 0 : limit - waited;
}

/* While it was waited for, the pull request may have been merged by hand. In deploy the merge finds
 * that; before, the reconciler's own look at pull requests does. */
static enum gate_verdict verdict_of(const struct task *task, const json_t *answer)
{
    if (json_is_true(json_object_get(answer, "merged")))
        return task->stage == STAGE_DEPLOY ? GATE_PASS : GATE_UNKNOWN;
    enum gate_verdict verdict = gate_verdict_by_name(message_text(answer, "verdict", NULL));
    return verdict == GATE_NONE || verdict == GATE_MOVED ? GATE_UNKNOWN : verdict;
}

static void decide(struct scheduler *scheduler, const struct heard *heard,
                   struct performed *performed)
{
    bool timed_out = heard->left_ms <= 0, fails = heard->verdict == GATE_FAIL;
    bool undecided = heard->verdict != GATE_PASS && !fails;
    json_t *findings =
        fails ? findings_bounded(json_object_get(heard->answer, "findings"), heard->words) : NULL;
    char *words = undecided ? xformat("no green CI within %lld s: %s",
                                      (long long)scheduler->config->ci_timeout_s, heard->words)
                            : xstrdup(heard->words);
    const struct occurrence occurrence = {.event = {.kind = STAGE_EVENT_CI,
                                                    .source = SOURCE_RECONCILER,
                                                    .entry = heard->task->entry,
                                                    .verdict = heard->verdict,
                                                    .timed_out = timed_out},
                                          .actor = "CI",
                                          .reason_text = words,
                                          .findings = findings};
    perform(scheduler, heard->task, &occurrence, performed);
    free(words);
    json_decref(findings);
}

/* Written only where they differ: what the page of the queue and orchctl why say. */
static void explain(struct scheduler *scheduler, const struct heard *heard)
{
    char words[WORDS_SIZE];
    reason_format(REASON_WAITING_CI, heard->words, words, sizeof words);
    store_run(scheduler->store, "UPDATE jobs SET reason = ?2 WHERE id = ?1 AND reason <> ?2", "is",
              heard->job, words);
}

static void act(struct scheduler *scheduler, const struct heard *heard)
{
    struct performed performed;
    const struct log_about about = {.task = heard->task->key};
    char key[WORK_KEY_SIZE];
    queries_key(heard->job, key);
    decide(scheduler, heard, &performed);
    if (performed.outcome == DECISION_APPLIED) {
        log_line(LOG_LEVEL_INFO, "ci", &about, "%s", performed.words);
        end_query(scheduler, heard->job, "done");
        return;
    }
    int64_t pace = scheduler->config->reconciler_interval_s * 1000;
    bool ends_sooner = heard->left_ms > 0 && heard->left_ms < pace;
    explain(scheduler, heard);
    work_again_in(scheduler, WORK_RECONCILER, key, ends_sooner ? heard->left_ms : pace);
}

static bool is_awaited(const struct job *job, const struct task *task)
{
    json_t *input = json_loads(job->input, 0, NULL);
    bool is_ci = strcmp(message_text(input, "what", ""), "ci") == 0;
    json_decref(input);
    return is_ci && job->kind == JOB_QUERY && strcmp(job->state, "queued") == 0 &&
           job->entry == task->entry && task->parked == PARKED_CI && !task->blocked_reason;
}

/* Said of another head than the task's: nothing is learnt from it. */
static bool is_outdated(const struct task *task, const char *head)
{
    return head && (!task->head || strcmp(head, task->head) != 0);
}

json_t *ci_take(struct scheduler *scheduler, const json_t *message)
{
    struct job job = {0};
    struct task task = {0};
    struct heard heard = {.task = &task, .job = message_integer(message, "job", 0)};
    const json_t *answer = json_object_get(message, "answer");
    bool awaited = job_load(scheduler, heard.job, &job) && task_load(scheduler, job.task, &task) &&
                   is_awaited(&job, &task);
    const char *head = message_text(answer, "head", NULL);
    char key[WORK_KEY_SIZE];
    queries_key(heard.job, key);
    work_forget(scheduler, WORK_RECONCILER, key); /* outdated: asked again at once */
    if (awaited && !is_outdated(&task, head)) {
        heard.answer = head ? answer : NULL;
        heard.verdict = verdict_of(&task, heard.answer);
        heard.words = message_text(heard.answer, "reason", "the forge could not be asked");
        heard.left_ms = time_left(scheduler, task.id);
        act(scheduler, &heard);
    }
    task_free(&task);
    job_free(&job);
    return message_new(MESSAGE_ack, NULL, "{sb}", "duplicate", (int)!awaited);
}
