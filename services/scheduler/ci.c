#include "services/scheduler/ci.h"

#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/log.h"
#include "services/scheduler/findings.h"
#include "services/scheduler/perform.h"
#include "services/scheduler/standing.h"

enum { WORDS_SIZE = 400 };

int64_t ci_head_since(struct scheduler *scheduler, int64_t task, const char *head)
{
    return store_number(scheduler->store, 0,
                        "SELECT min(ended_at) FROM agent_runs WHERE task = ?1"
                        " AND json_extract(result, '$.head') = ?2",
                        "is", task, head);
}

/* ---- asking ---- */

void ci_ask(struct scheduler *scheduler)
{
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT id FROM tasks INDEXED BY tasks_parked"
                                  " WHERE parked_for IS NOT NULL AND parked_for = 'ci'"
                                  " AND terminal = 0 AND blocked_reason IS NULL",
                                  "");
    while (store_row(scheduler->store, row))
        standing_ask(scheduler, column_int(row, 0), "ci",
                     "waiting-ci: the reconciler asks the forge");
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
    decide(scheduler, heard, &performed);
    if (performed.outcome == DECISION_APPLIED) {
        const struct log_about about = {.task = heard->task->key}; /* the row was read anew */
        log_line(LOG_LEVEL_INFO, "ci", &about, "%s", performed.words);
        standing_end(scheduler, heard->job, "done");
        return;
    }
    explain(scheduler, heard);
    standing_again(scheduler, heard->job, heard->left_ms);
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
    bool awaited = standing_take(scheduler, message, &job, &task);
    const char *head = message_text(answer, "head", NULL); /* outdated: asked again at once */
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
