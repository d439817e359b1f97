#include "services/scheduler/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/log.h"
#include "services/scheduler/budgets.h"
#include "services/scheduler/commands.h"
#include "services/scheduler/effects.h"
#include "services/scheduler/findings.h"
#include "services/scheduler/leases.h"
#include "services/scheduler/perform.h"
#include "services/scheduler/providers.h"
#include "services/scheduler/run_rows.h"

static json_t *ack(bool duplicate)
{
    return message_new(MESSAGE_ack, NULL, "{sb}", "duplicate", (int)duplicate);
}

/* ---- on its way ---- */

json_t *results_accepted(struct scheduler *scheduler, const json_t *message)
{
    const char *run = message_text(message, "run", "");
    work_forget(scheduler, WORK_RUNNER, run);
    int changed = store_run(scheduler->store,
                            "UPDATE agent_runs SET state = 'accepted', accepted_at = ?2"
                            " WHERE id = ?1 AND state = 'commanded'",
                            "si", run, scheduler->now_ms);
    return ack(changed == 0);
}

/* After a STOP nobody wants to hear that it had begun. */
static void comment_started(struct scheduler *scheduler, const struct task *task,
                            const struct run_row *run)
{
    struct wording_facts facts = {.role = run->role,
                                  .attempt = run->attempt,
                                  .usage = WORDING_USAGE_UNKNOWN,
                                  .from = task->stage,
                                  .to = task->stage};
    if (run->role && !task->terminal)
        effects_order(scheduler, task,
                      &(struct effect_order){.kind = EFFECT_COMMENT,
                                             .template = TEMPLATE_AGENT_STARTED,
                                             .author = run->role,
                                             .droppable = true},
                      &facts);
}

static void say_started(struct scheduler *scheduler, const struct run_row *run, int64_t pid)
{
    struct task task;
    if (!task_load(scheduler, run->task, &task))
        return;
    run_row_say(scheduler, &task, run,
                json_pack("{ss sI}", "state", "started", "pid", (json_int_t)pid));
    comment_started(scheduler, &task, run);
    task_free(&task);
}

json_t *results_started(struct scheduler *scheduler, const json_t *message)
{
    struct run_row run;
    bool fresh = false;
    int64_t pid = message_integer(message, "pid", 0);
    if (run_row_load(scheduler, message_text(message, "run", ""), &run)) {
        fresh = store_run(scheduler->store,
                          "UPDATE agent_runs SET state = 'started', agent_pid = ?3,"
                          " started_at = coalesce(started_at, ?2)"
                          " WHERE id = ?1 AND state IN ('commanded','accepted')",
                          "sii", run.id, message_integer(message, "started_ms", 0), pid) > 0;
        /* a run that was told once more (reaping.c) has started long ago */
        if (fresh && !run.started)
            say_started(scheduler, &run, pid);
    }
    run_row_free(&run);
    return ack(!fresh);
}

/* Kept in memory until a turn writes anyway: a page per agent and second is not worth its fsync. */
json_t *results_progress(struct scheduler *scheduler, const json_t *message)
{
    json_t *progress = json_pack("{sI sO? sO?}", "turns", message_integer(message, "turns", 0),
                                 "last_tool", json_object_get(message, "last_tool"),
                                 "output_tokens", json_object_get(message, "output_tokens"));
    json_object_set_new(scheduler->progress, message_text(message, "run", ""), progress);
    if (message_integer(message, "turns", 0) > 0)
        provider_answered(scheduler, message_text(message, "run", ""));
    return ack(false);
}

void results_write_progress(struct scheduler *scheduler)
{
    const char *id;
    json_t *progress;
    json_object_foreach(scheduler->progress, id, progress)
    {
        struct run_row run;
        struct task task;
        char *text = json_dumps(progress, JSON_COMPACT);
        bool there = run_row_load(scheduler, id, &run) && strcmp(run.state, "ended") != 0;
        if (there)
            store_run(scheduler->store, "UPDATE agent_runs SET progress = ?2 WHERE id = ?1", "ss",
                      id, text);
        if (there && task_load(scheduler, run.task, &task)) {
            json_t *detail = json_copy(progress);
            json_object_set_new(detail, "state", json_string("progress"));
            run_row_say(scheduler, &task, &run, detail);
            task_free(&task);
        }
        run_row_free(&run);
        free(text);
    }
    json_object_clear(scheduler->progress);
}

/* ---- ended ---- */

/* One result, whoever reported it. */
struct result {
    const json_t *message; /* run_result, or made from the reaper's word */
    const char *reason;
    enum run_outcome outcome;
    enum failure_class class;
    enum gate_verdict verdict;
    bool provider_held; /* of an agent: its provider's hold is what it waits for, no time of its own
                         */
    bool next_model;    /* tried at once with the next model of the cascade */
    json_t *findings;
    struct wording_usage usage;
};

static void read_result(const json_t *message, struct result *result)
{
    const json_t *gate = json_object_get(message, "gate");
    *result = (struct result){.message = message};
    result->reason = message_text(message, "reason", "");
    result->outcome = run_outcome_by_name(message_text(message, "outcome", ""));
    result->class = failure_class_by_name(message_text(message, "class", ""));
    result->verdict = gate_verdict_by_name(message_text(gate, "verdict", NULL));
    result->findings = result->verdict == GATE_FAIL || result->verdict == GATE_MOVED
                           ? findings_bounded(json_object_get(gate, "findings"),
                                              message_text(gate, "reason", NULL))
                           : json_array();
    run_row_usage(message, &result->usage);
}

/* What the gate or the run says, without its code. */
static const char *words_of(const struct result *result)
{
    const char *gate = message_text(json_object_get(result->message, "gate"), "reason", NULL);
    return reason_rest(gate && result->outcome == RUN_SUCCEEDED ? gate : result->reason);
}

static void say_finished(struct scheduler *scheduler, const struct task *task,
                         const struct run_row *run, const struct result *result)
{
    bool ran = run->started || json_is_integer(json_object_get(result->message, "exit_code"));
    if (!run->role || !ran || result->outcome == RUN_CANCELLED)
        return;
    char *denied = run_row_denied(result->message);
    struct wording_facts facts = {
        .role = run->role,
        .attempt = run->attempt,
        .succeeded = result->outcome == RUN_SUCCEEDED,
        .usage = result->usage,
        .reason = REASON_PERMANENT,
        .reason_text = result->reason,
        .denied_tools = denied,
        .from = task->stage,
        .to = task->stage,
    };
    effects_order(scheduler, task,
                  &(struct effect_order){.kind = EFFECT_COMMENT,
                                         .template = TEMPLATE_AGENT_FINISHED,
                                         .author = run->role},
                  &facts);
    free(denied);
}

/* Facts of the result that belong to the task, whatever becomes of the job: the branch's head and
 * its pull request are so now. A result of an earlier entry is history and changes nothing. */
/* What the hook deployed, whichever entry it was for; not what it was spared. */
static void learn_deployed(struct scheduler *scheduler, const struct task *task,
                           const struct result *result)
{
    const json_t *hook = json_object_get(json_object_get(result->message, "detail"), "hook");
    const char *revision = message_text(hook, "revision", NULL);
    if (result->outcome == RUN_SUCCEEDED && result->verdict == GATE_PASS && revision &&
        strcmp(message_text(hook, "how", ""), "superseded") != 0)
        project_set_deployed(scheduler, task->project, revision);
}

static void learn(struct scheduler *scheduler, struct task *task, const struct job *job,
                  const struct result *result)
{
    const json_t *pull = json_object_get(result->message, "pull_request"),
                 *detail = json_object_get(result->message, "detail");
    const char *preserved = message_text(detail, "preserved", NULL);
    if (job->kind == JOB_CLEANUP && preserved)
        store_run(scheduler->store,
                  "UPDATE transitions SET detail = json_set(detail, '$.preserved', ?2)"
                  " WHERE id = ?1",
                  "is", job->entry, preserved);
    if (job->kind == JOB_DEPLOY)
        learn_deployed(scheduler, task, result);
    if (job->entry != task->entry || job->kind == JOB_CLEANUP)
        return;
    int64_t number = message_integer(pull, "number", 0);
    store_run(scheduler->store,
              "UPDATE tasks SET head = coalesce(?2, head), pr_number = coalesce(?3, pr_number),"
              " pr_url = coalesce(?4, pr_url), pr_head = coalesce(?5, pr_head),"
              " merged_commit = coalesce(?6, merged_commit) WHERE id = ?1",
              "isnsss", task->id, message_text(result->message, "head", NULL),
              number > 0 ? number : (int64_t)-1, message_text(pull, "url", NULL),
              message_text(pull, "head", NULL),
              job->kind == JOB_MERGE ? message_text(detail, "merge_commit", NULL) : NULL);
    if (job->kind == JOB_AGENT && job->stage == STAGE_REVIEW && result->verdict == GATE_PASS)
        store_run(scheduler->store, "UPDATE tasks SET reviewed_commit = ?2 WHERE id = ?1", "is",
                  task->id,
                  message_text(json_object_get(result->message, "gate"), "started_commit", NULL));
    if (job->kind == JOB_MERGE_GATE && result->verdict == GATE_PASS)
        lease_judged(scheduler, task, detail);
    int64_t id = task->id;
    task_free(task);
    task_load(scheduler, id, task);
}

static void end_job(struct scheduler *scheduler, const struct job *job, const char *state,
                    const char *reason)
{
    store_run(scheduler->store,
              "UPDATE jobs SET state = ?2, reason = ?3, ended_at = ?4, run = NULL WHERE id = ?1",
              "issi", job->id, state, reason, scheduler->now_ms);
}

/* The cleanup of a cancelled task is repeated until it succeeds, and said once. */
static void cleanup_key(const struct task *task, char key[48])
{
    snprintf(key, 48, "cleanup:%lld", (long long)task->id);
}

static void raise_cleanup(struct scheduler *scheduler, const struct task *task, const char *reason)
{
    char key[48], name[192], text[600];
    cleanup_key(task, key);
    snprintf(text, sizeof text, "The cleanup of %s keeps failing: %s",
             natural_text(task, task->key, name, sizeof name), reason);
    alert_raise(scheduler, key, text);
}

static void end_cleanup(struct scheduler *scheduler, const struct task *task)
{
    char key[48];
    cleanup_key(task, key);
    store_run(scheduler->store, "UPDATE tasks SET cleanup_job = NULL WHERE id = ?1", "i", task->id);
    alert_clear(scheduler, key);
}

static void requeue(struct scheduler *scheduler, const struct task *task, const struct job *job,
                    const struct result *result, const struct retry_decision *decision)
{
    char reason[400];
    const char *session = message_text(result->message, "session", job->session);
    char *findings = decision->keep_findings ? findings_encode(result->findings) : NULL;
    reason_format(decision->reason, words_of(result), reason, sizeof reason);
    store_run(scheduler->store,
              "UPDATE jobs SET state = 'queued', run = NULL, claimed_at = NULL, attempt = ?2,"
              " transient = ?3, losses = ?4, not_before = ?5, session = ?6, reason = ?7,"
              " input = CASE WHEN ?8 THEN json_set(input, '$.with_findings', json('true'))"
              " ELSE input END WHERE id = ?1",
              "iiiiissi", job->id, (int64_t)decision->attempt, (int64_t)decision->transient,
              (int64_t)decision->losses, decision->not_before_ms,
              decision->keep_session ? session : NULL, reason, (int64_t)decision->keep_findings);
    if (findings)
        store_run(scheduler->store, "UPDATE tasks SET findings = ?2 WHERE id = ?1", "is", task->id,
                  findings);
    free(findings);
    journal_add(
        &scheduler->journal, scheduler->store, scheduler->now_ms,
        &(struct journal_about){.event = "job",
                                .task = task->key,
                                .stage = stage_table[task->stage].name,
                                .job = job->id},
        json_pack("{ss ss si}", "state", "queued", "reason", reason, "attempt", decision->attempt));
    if (result->class == FAILURE_CLASS_BUDGET && result->outcome == RUN_FAILED)
        store_run(scheduler->store, "UPDATE jobs SET over_run_usd = ?2 WHERE id = ?1", "id",
                  job->id, scheduler->config->budget_run_usd);
    if (decision->announce)
        raise_cleanup(scheduler, task, reason);
}

static void raise(struct scheduler *scheduler, struct task *task, const struct job *job,
                  const struct result *result, enum stage_event_kind kind, const char *words)
{
    struct performed performed;
    const struct occurrence occurrence = {
        .event = {.kind = kind,
                  .source = SOURCE_RUNNER,
                  .entry = job->entry,
                  .job = job->kind,
                  .verdict = result->verdict},
        .actor = job->role ? job->role : job_kind_table[job->kind].name,
        .reason_text = words,
        .findings = result->findings,
        .log_tail = message_text(result->message, "log_tail", NULL),
    };
    perform(scheduler, task, &occurrence, &performed);
}

/* A deferred STOP waits for an irreversible step to end; one that now only waits is none. */
static void raise_stop(struct scheduler *scheduler, struct task *task)
{
    struct performed performed;
    const struct occurrence occurrence = {
        .event = {.kind = STAGE_EVENT_STOP, .source = SOURCE_RUNNER, .entry = task->entry},
        .actor = "stream"};
    perform(scheduler, task, &occurrence, &performed);
}

static void decide(struct scheduler *scheduler, struct task *task, const struct job *job,
                   const struct run_row *run, const struct result *result)
{
    struct retry_decision decision;
    const json_t *detail = json_object_get(result->message, "detail");
    /* the backstop's order to end is no wish of a person: it counts like any timeout */
    bool overdue = run->stop && reason_by_code(run->stop) == REASON_TIMEOUT;
    const struct retry_job facts = {
        .kind = job->kind,
        .stage = job->stage,
        .attempt = job->attempt,
        .max_attempts = (int)scheduler->config->max_attempts,
        .transient = job->transient,
        .max_transient = (int)scheduler->config->retry_transient_attempts,
        .losses = job->losses,
        .resumed = job->session != NULL,
        .stopped = run->stop && !overdue,
    };
    const struct retry_result ended = {
        .outcome = overdue && result->outcome == RUN_CANCELLED ? RUN_FAILED : result->outcome,
        .class = overdue ? FAILURE_CLASS_PERMANENT : result->class,
        .verdict = result->verdict,
        .retry_after_ms = message_integer(detail, "retry_after_ms", 0),
    };
    retry_decide(&facts, &ended, &scheduler->limits, scheduler->now_ms,
                 (uint64_t)job->id * 1000 + (uint64_t)job->attempt + (uint64_t)job->transient,
                 &decision);
    if (result->provider_held || result->next_model)
        decision.not_before_ms = 0;
    /* a job that another entry's decision has cancelled is not repeated */
    if (decision.action == RETRY_REQUEUE && job->entry != task->entry && job->kind != JOB_CLEANUP)
        decision.action = RETRY_CANCELLED;
    switch (decision.action) {
    case RETRY_REQUEUE:
        requeue(scheduler, task, job, result, &decision);
        if (task->stop_requested)
            raise_stop(scheduler, task);
        break;
    case RETRY_ACCEPT:
        end_job(scheduler, job, "done", result->reason);
        raise(scheduler, task, job, result, STAGE_EVENT_JOB_SUCCEEDED,
              result->verdict == GATE_FAIL || result->verdict == GATE_MOVED ? words_of(result)
                                                                            : NULL);
        break;
    case RETRY_EXHAUSTED:
        end_job(scheduler, job, "failed", result->reason);
        raise(scheduler, task, job, result, STAGE_EVENT_JOB_EXHAUSTED, words_of(result));
        break;
    case RETRY_CANCELLED:
        end_job(scheduler, job, "cancelled", result->reason);
        raise(scheduler, task, job, result, STAGE_EVENT_JOB_CANCELLED, NULL);
        break;
    }
    if (job->kind == JOB_CLEANUP && decision.action != RETRY_REQUEUE)
        end_cleanup(scheduler, task);
}

/* ---- what a run says beyond its task ---- */

/* Switched off, a spent allowance is a fault that passes. */
static void switch_off_limit(const struct scheduler *scheduler, struct result *result)
{
    if (result->class == FAILURE_CLASS_USAGE_LIMIT && !scheduler->config->usage_limit_enabled)
        result->class = FAILURE_CLASS_TRANSIENT;
}

/* A model that is not there: the next level of the cascade once, then an operator. */
static void try_next_model(struct scheduler *scheduler, const struct job *job,
                           struct result *result)
{
    if (result->class != FAILURE_CLASS_CONFIG || result->outcome != RUN_FAILED)
        return;
    int64_t left =
        message_integer(json_object_get(result->message, "detail"), "model_levels_left", 0);
    result->next_model =
        left > 0 && store_run(scheduler->store,
                              "UPDATE jobs SET model_level = 1 WHERE id = ?1 AND model_level = 0",
                              "i", job->id) > 0;
    if (!result->next_model)
        result->class = FAILURE_CLASS_OPERATOR;
}

/* An operator's matter that is not the provider's (a push that is refused, a full disk) holds up
 * this project alone: each of its jobs tries again by itself, and one alert says why. */
static void say_project(struct scheduler *scheduler, const struct task *task,
                        const struct result *result, bool mending)
{
    char key[160], text[500];
    snprintf(key, sizeof key, "operator:%s", task->project);
    if (!mending && result->outcome == RUN_SUCCEEDED)
        alert_clear(scheduler, key);
    if (!mending)
        return;
    snprintf(text, sizeof text, "%s waits for an operator: %.380s", task->project, result->reason);
    alert_raise(scheduler, key, text);
}

static void tell_provider(struct scheduler *scheduler, const struct task *task,
                          const struct job *job, struct result *result)
{
    const struct project *project = scheduler_project(scheduler, task->project);
    const json_t *code = json_object_get(result->message, "exit_code");
    const json_t *detail = json_object_get(result->message, "detail");
    bool ended_well = json_is_integer(code) && json_integer_value(code) == 0 &&
                      result->class != FAILURE_CLASS_PERMANENT;
    bool held = false;
    if (job->role && project) {
        enum provider_word word = provider_word_of(result->outcome, result->class, ended_well);
        held =
            provider_learn(scheduler, project, job->id, word,
                           message_integer(detail, "resets_at_ms", 0), reason_rest(result->reason));
        result->provider_held = held && (word == WORD_LIMIT || word == WORD_OPERATOR);
    }
    say_project(scheduler, task, result,
                result->outcome == RUN_FAILED && result->class == FAILURE_CLASS_OPERATOR &&
                    !result->provider_held);
}

/* After the decision: the task may have moved on, which is progress. */
static void look_at_progress(struct scheduler *scheduler, struct task *task, const struct job *job,
                             const struct result *result)
{
    char words[160];
    struct performed performed;
    if (!job->role || !task->exists || task->terminal ||
        !budget_is_spent_idly(scheduler, task, words, sizeof words))
        return;
    const struct occurrence occurrence = {
        .event = {.kind = STAGE_EVENT_NO_PROGRESS, .source = SOURCE_RUNNER, .entry = task->entry},
        .actor = "scheduler",
        .reason_text = words,
        .log_tail = message_text(result->message, "log_tail", NULL),
    };
    perform(scheduler, task, &occurrence, &performed);
}

static void count_spend(struct scheduler *scheduler, const struct task *task, const struct job *job,
                        const struct result *result)
{
    bool weather = result->outcome != RUN_SUCCEEDED && result->class != FAILURE_CLASS_PERMANENT &&
                   result->class != FAILURE_CLASS_TASK;
    if (job->role && result->outcome != RUN_CANCELLED)
        budget_count(scheduler, task, !weather, result->usage.cost_usd);
}

/* The guarded flip: whoever ends the run's row acts on it, and nobody else. */
static bool end_run(struct scheduler *scheduler, const json_t *message)
{
    struct run_row run;
    struct job job = {0};
    struct task task = {0};
    struct result result;
    const char *id = message_text(message, "run", "");
    if (!run_row_load(scheduler, id, &run))
        return false;
    read_result(message, &result);
    bool won = run_row_end(scheduler, &run, message, &result.usage);
    commands_forget(scheduler, id);
    if (won && job_load(scheduler, run.job, &job) && job.run && strcmp(job.run, id) == 0 &&
        task_load(scheduler, run.task, &task)) {
        run_row_say(scheduler, &task, &run,
                    json_pack("{ss ss ss}", "state", "ended", "outcome",
                              message_text(message, "outcome", ""), "reason", result.reason));
        lease_rest(scheduler, id);
        learn(scheduler, &task, &job, &result);
        /* who saw it start was killed before the word of it arrived: its successor knows the end */
        if (!run.started && json_is_integer(json_object_get(message, "started_ms")))
            comment_started(scheduler, &task, &run);
        say_finished(scheduler, &task, &run, &result);
        switch_off_limit(scheduler, &result);
        try_next_model(scheduler, &job, &result);
        tell_provider(scheduler, &task, &job, &result);
        count_spend(scheduler, &task, &job, &result);
        /* the job is ended for the facts that the stage machine is shown */
        store_run(scheduler->store, "UPDATE jobs SET state = 'done' WHERE id = ?1", "i", job.id);
        decide(scheduler, &task, &job, &run, &result);
        look_at_progress(scheduler, &task, &job, &result);
    }
    json_object_del(scheduler->progress, id);
    json_decref(result.findings);
    task_free(&task);
    job_free(&job);
    run_row_free(&run);
    return won;
}

json_t *results_ended(struct scheduler *scheduler, const json_t *message)
{
    bool won = end_run(scheduler, message);
    scheduler->counters.results += won;
    scheduler->counters.duplicates += !won;
    return ack(!won);
}

bool results_reaped(struct scheduler *scheduler, int64_t job, const char *run, const char *reason)
{
    if (store_number(scheduler->store, 0,
                     "SELECT 1 FROM jobs WHERE id = ?1 AND run = ?2 AND state = 'running'", "is",
                     job, run) == 0)
        return false;
    json_t *message = message_new(
        MESSAGE_run_result, NULL, "{ss ss ss ss sn sn sn sn sn sn sn sn sn s{} ss}", "run", run,
        "outcome", "lost", "class", "lost", "reason", reason, "exit_code", "started_ms", "ended_ms",
        "session", "usage", "cost_usd", "head", "pull_request", "gate", "detail", "log_tail", "");
    bool won = end_run(scheduler, message);
    scheduler->counters.reaped += won;
    json_decref(message);
    return won;
}
