/* What runs tell: accepted, started, ended in each way, once and late.
 *
 * Mutations tried, each red: the flip of the run's row without `state <> 'ended'` (a_result_counts_
 * once), results of another entry learned from or requeued (a_late_result_changes_nothing), the
 * session kept or forgotten where it should not be, a budget charged to another (each_class),
 * losses not counted in a row (three_losses_in_a_row), STOP not raised again at a requeue
 * (a_deferred_stop_applies_when_the_job_only_waits), the backstop's order taken for a person's
 * (a_run_that_was_overdue), the finish comment of a run that never ran
 * (nothing_ran_nothing_is_said), a second start comment (a_run_told_once_more), "stop:" keys left
 * in memory (nothing_is_left_in_memory), findings not kept for the next attempt
 * (the_gate_of_analysis_fails), the cleanup's alert not cleared (a_cleanup_that_fails). */
#include "tests/unit/scheduler_kit.h"
#include "services/scheduler/commands.h"

/* A task whose job runs. *run: caller frees. */
static int64_t running(struct kit *kit, const char *key, char **run)
{
    int64_t task = kit_issue(kit, key, "To Analyse");
    assert_int_equal(kit_claim(kit), 1);
    *run = kit_live_run(kit, task);
    assert_non_null(*run);
    return task;
}

/* Brings the task's stage to this one, with its job running. */
static int64_t in_stage(struct kit *kit, const char *key, enum stage stage, char **run)
{
    int64_t task = kit_issue(kit, key, "To Analyse");
    for (int at = STAGE_ANALYSIS; at < (int)stage; at++) {
        kit_pass(kit, task, "pass");
        if (at == STAGE_ANALYSIS)
            kit_operator(kit, "approve", key);
    }
    kit_claim(kit);
    *run = kit_live_run(kit, task);
    assert_text(kit, stage_table[stage].name, "SELECT stage FROM tasks WHERE id = %lld",
                (long long)task);
    return task;
}

static json_t *with(json_t *message, const char *field, json_t *value)
{
    json_object_set_new(message, field, value);
    return message;
}

static void accepted_and_started(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "To Analyse");
    kit_freshen(kit);
    json_decref(kit_ask(kit, "runner", 1, true));
    json_t *accepted = message_new(MESSAGE_run_accepted, NULL, "{ss}", "run", "DEMO-1-j1-r1");
    assert_text(kit, "commanded", "SELECT state FROM agent_runs");
    assert_false(kit_flag(kit, results_accepted, json_incref(accepted), "duplicate"));
    assert_text(kit, "accepted", "SELECT state FROM agent_runs");
    assert_true(kit_flag(kit, results_accepted, json_incref(accepted), "duplicate"));
    json_t *started = message_new(MESSAGE_run_started, NULL, "{ss si si}", "run", "DEMO-1-j1-r1",
                                  "pid", 4711, "started_ms", 12345);
    int64_t effects = kit_number(kit, "SELECT count(*) FROM effects");
    assert_false(kit_flag(kit, results_started, json_incref(started), "duplicate"));
    assert_number(kit, 4711,
                  "SELECT agent_pid FROM agent_runs WHERE started_at = 12345"
                  " AND state = 'started'");
    assert_number(kit, effects + 1, "SELECT count(*) FROM effects");
    char *before = kit_dump(kit);
    assert_true(kit_flag(kit, results_started, json_incref(started), "duplicate"));
    assert_true(kit_flag(kit, results_accepted, json_incref(accepted), "duplicate"));
    char *after = kit_dump(kit);
    assert_string_equal(before, after);
    free(before);
    free(after);
    json_decref(started);
    json_decref(accepted);
    assert_true(kit_flag(kit, results_accepted,
                         message_new(MESSAGE_run_accepted, NULL, "{ss}", "run", "no-such-run"),
                         "duplicate"));
}

/* The runner that saw it start was killed before its word of that arrived; the next one reports the
 * end. Both are said, once and in order, and the late word says nothing more. Mutation: the start
 * said by run_started alone. */
static void a_start_that_was_never_told(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "To Analyse");
    kit_freshen(kit);
    json_decref(kit_ask(kit, "runner", 1, true));
    assert_true(kit_ended(kit, kit_result("DEMO-1-j1-r1", "succeeded", "none", "pass")));
    assert_number(kit, 1,
                  "SELECT count(*) FROM effects s JOIN effects e ON e.id > s.id"
                  " WHERE s.body LIKE 'Analyst started%%' AND e.body LIKE 'Analyst done%%'");
    int64_t effects = kit_number(kit, "SELECT count(*) FROM effects");
    assert_true(kit_flag(kit, results_started,
                         message_new(MESSAGE_run_started, NULL, "{ss si si}", "run", "DEMO-1-j1-r1",
                                     "pid", 4711, "started_ms", 1000),
                         "duplicate"));
    assert_number(kit, effects, "SELECT count(*) FROM effects");
}

/* The reaper's second tier has the runner told of it once more. */
static void a_run_told_once_more(void **state)
{
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    int64_t effects = kit_number(kit, "SELECT count(*) FROM effects");
    assert_true(kit_flag(kit, reaping_reap,
                         message_new(MESSAGE_reap, NULL, "{si ss si sn ss}", "job", 1, "run", run,
                                     "tier", 2, "exit_code", "reason", "reaped: it ended"),
                         "won"));
    kit_freshen(kit);
    json_decref(kit_ask(kit, "runner", 9, false));
    assert_false(kit_flag(kit, results_started,
                          message_new(MESSAGE_run_started, NULL, "{ss si si}", "run", run, "pid",
                                      99, "started_ms", 2000),
                          "duplicate"));
    assert_text(kit, "started", "SELECT state FROM agent_runs");
    assert_number(kit, effects, "SELECT count(*) FROM effects");
    assert_number(kit, 1000, "SELECT started_at FROM agent_runs");
    free(run);
}

static void progress_is_written_now_and_then(void **state)
{
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    json_decref(kit_tell(kit, results_progress,
                         message_new(MESSAGE_run_progress, NULL, "{ss si ss sn}", "run", run,
                                     "turns", 3, "last_tool", "Edit", "output_tokens")));
    assert_text(kit, NULL, "SELECT progress FROM agent_runs");
    kit_begin(kit);
    results_write_progress(&kit->scheduler);
    kit_commit(kit);
    assert_text(kit, "Edit", "SELECT progress ->> '$.last_tool' FROM agent_runs");
    assert_int_equal(json_object_size(kit->scheduler.progress), 0);
    json_decref(kit_tell(kit, results_progress,
                         message_new(MESSAGE_run_progress, NULL, "{ss si sn sn}", "run", run,
                                     "turns", 4, "last_tool", "output_tokens")));
    kit_ended(kit, kit_result(run, "succeeded", "none", "pass"));
    assert_int_equal(json_object_size(kit->scheduler.progress), 0);
    free(run);
}

/* ---- each class ---- */

static void each_class(void **state)
{
    enum { AT_ONCE, LATER };
    static const struct {
        const char *class, *reason; /* the code it waits with */
        int attempt, transient;     /* after it, from 1 and 0 */
        int when;
        bool session; /* kept */
    } table[] = {
        {"transient", "transient", 1, 1, LATER, true},
        {"usage_limit", "usage-limit", 1, 0, AT_ONCE, true}, /* its provider is held */
        {"operator", "operator", 1, 0, AT_ONCE, true},
        {"budget", "budget-run", 1, 0, AT_ONCE, true},
        {"config", "operator", 1, 0, AT_ONCE, true}, /* no other model is left */
        {"task", "task", 2, 0, AT_ONCE, false},
        {"interrupted", "interrupted", 1, 0, AT_ONCE, true},
        {"permanent", "permanent", 2, 0, AT_ONCE, false},
        {"no such class", "permanent", 2, 0, AT_ONCE, false},
        {"lost", "lost", 1, 0, AT_ONCE, true},
    };
    struct kit *kit = *state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char key[16], *run;
        snprintf(key, sizeof key, "DEMO-%zu", i + 1);
        int64_t task = running(kit, key, &run);
        assert_true(kit_ended(kit, kit_result(run, "failed", table[i].class, NULL)));
        long long job =
            (long long)kit_number(kit, "SELECT id FROM jobs WHERE task = %lld", (long long)task);
        assert_text(kit, "queued", "SELECT state FROM jobs WHERE id = %lld", job);
        assert_text(kit, table[i].reason,
                    "SELECT substr(reason, 1, instr(reason, ':') - 1) FROM jobs WHERE id = %lld",
                    job);
        assert_number(kit, table[i].attempt, "SELECT attempt FROM jobs WHERE id = %lld", job);
        assert_number(kit, table[i].transient, "SELECT transient FROM jobs WHERE id = %lld", job);
        assert_text(kit, table[i].session ? "session-1" : NULL,
                    "SELECT session FROM jobs WHERE id = %lld", job);
        assert_number(kit, table[i].when == LATER,
                      "SELECT not_before > %lld FROM jobs WHERE id = %lld",
                      (long long)kit->scheduler.now_ms, job);
        assert_number(kit, 1,
                      "SELECT count(*) FROM jobs WHERE id = %lld AND run IS NULL"
                      " AND claimed_at IS NULL",
                      job);
        assert_number(kit, 0, "SELECT blocked_reason IS NOT NULL FROM tasks WHERE id = %lld",
                      (long long)task);
        kit_begin(kit);
        store_run(kit->scheduler.store, "DELETE FROM breakers", ""); /* the next one is another */
        kit_commit(kit);
        kit_operator(kit, "stop", key);
        kit_claim(kit); /* the cleanup out of the way */
        free(run);
        run = kit_live_run(kit, task);
        kit_ended(kit, kit_result(run, "succeeded", "none", NULL));
        free(run);
    }
}

static void out_of_attempts(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = running(kit, "DEMO-1", &run);
    for (int attempt = 1; attempt <= 3; attempt++) {
        assert_int_equal(strlen(run) > 0, true);
        assert_true(kit_ended(kit, kit_result(run, "failed", "permanent", NULL)));
        free(run);
        if (attempt == 3)
            break;
        assert_number(kit, attempt + 1, "SELECT attempt FROM jobs WHERE state = 'queued'");
        kit_claim(kit);
        run = kit_live_run(kit, task);
        assert_non_null(run);
    }
    assert_text(kit, "attempts-exhausted: exit status 3", "SELECT blocked_reason FROM tasks");
    assert_text(kit, "attempts", "SELECT blocked_counter FROM tasks");
    assert_text(kit, "failed", "SELECT state FROM jobs");
    assert_text(kit, "blocked", "SELECT display FROM tasks");
    assert_number(kit, 1,
                  "SELECT count(*) FROM effects WHERE kind = 'alert'"
                  " AND body LIKE '%%the last line%%' AND body LIKE '%%exit status 3%%'");
    assert_number(kit, 3,
                  "SELECT count(*) FROM agent_runs WHERE exit_code = 3 AND cost_usd = 0.25"
                  " AND input_tokens = 100 AND command = ''");
    assert_number(kit, 0, "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')");
    kit_operator(kit, "retry", "DEMO-1");
    assert_number(kit, 1, "SELECT attempt FROM jobs WHERE state = 'queued'");
    assert_text(kit, NULL, "SELECT blocked_reason FROM tasks");
    assert_number(kit, 0, "SELECT count(*) FROM alerts WHERE cleared_at IS NULL");
    kit_pass(kit, task, "pass");
    assert_text(kit, "approval", "SELECT parked_for FROM tasks");
}

static void transients_have_a_budget_of_their_own(void **state)
{
    struct kit *kit = *state;
    char *run;
    kit->config->retry_transient_attempts = 2;
    int64_t task = running(kit, "DEMO-1", &run);
    for (int i = 1; i <= 2; i++) {
        assert_true(kit_ended(kit, kit_result(run, "failed", "transient", NULL)));
        free(run);
        assert_int_equal(kit_claim(kit), 0);
        kit->skew_ms += 3600 * 1000;
        assert_int_equal(kit_claim(kit), 1);
        run = kit_live_run(kit, task);
    }
    /* the session is resumed, so that paid work is not thrown away */
    assert_text(kit, "session-1", "SELECT session FROM agent_runs WHERE id = '%s'", run);
    assert_true(kit_ended(kit, kit_result(run, "failed", "transient", NULL)));
    assert_text(kit, "failed", "SELECT state FROM jobs");
    assert_number(kit, 1, "SELECT attempt FROM jobs");
    assert_number(kit, 1, "SELECT blocked_reason IS NOT NULL FROM tasks");
    free(run);
}

static void as_long_as_it_was_asked_to_wait(void **state)
{
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    assert_true(kit_ended(kit, with(kit_result(run, "failed", "transient", NULL), "detail",
                                    json_pack("{si}", "retry_after_ms", 600000))));
    int64_t wait = kit_number(kit, "SELECT not_before FROM jobs") - kit->scheduler.now_ms;
    assert_true(wait >= 600000 && wait <= 660000);
    free(run);
}

static void a_conversation_that_no_longer_fits(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = running(kit, "DEMO-1", &run);
    kit_ended(kit, kit_result(run, "failed", "interrupted", NULL));
    free(run);
    kit_claim(kit);
    run = kit_live_run(kit, task);
    assert_text(kit, "session-1", "SELECT session FROM jobs");
    kit_ended(kit, kit_result(run, "failed", "task", NULL)); /* begun anew once, for nothing */
    assert_number(kit, 1, "SELECT attempt FROM jobs");
    assert_text(kit, NULL, "SELECT session FROM jobs");
    free(run);
    kit_claim(kit);
    run = kit_live_run(kit, task);
    kit_ended(kit, kit_result(run, "failed", "task", NULL));
    assert_number(kit, 2, "SELECT attempt FROM jobs");
    free(run);
}

static void three_losses_in_a_row(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = running(kit, "DEMO-1", &run);
    for (int i = 1; i <= 3; i++) {
        assert_true(kit_ended(kit, kit_result(run, "lost", "lost", NULL)));
        assert_number(kit, i % 3, "SELECT losses FROM jobs");
        assert_number(kit, i < 3 ? 1 : 2, "SELECT attempt FROM jobs");
        assert_text(kit, i < 3 ? "session-1" : NULL, "SELECT session FROM jobs");
        free(run);
        kit_claim(kit);
        run = kit_live_run(kit, task);
    }
    /* anything else in between begins the count anew */
    kit_ended(kit, kit_result(run, "lost", "lost", NULL));
    free(run);
    kit_claim(kit);
    run = kit_live_run(kit, task);
    kit_ended(kit, kit_result(run, "failed", "interrupted", NULL));
    assert_number(kit, 0, "SELECT losses FROM jobs");
    free(run);
}

/* ---- gates ---- */

static void what_a_run_leaves_is_learned(void **state)
{
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    kit_ended(kit, kit_result(run, "succeeded", "none", "pass"));
    assert_text(kit, "1111111111111111111111111111111111111111", "SELECT head FROM tasks");
    assert_number(kit, 7, "SELECT pr_number FROM tasks");
    assert_text(kit, "http://forge/7", "SELECT pr_url FROM tasks");
    assert_text(kit, "pass", "SELECT gate ->> '$.verdict' FROM agent_runs");
    assert_number(kit, 1,
                  "SELECT count(*) FROM agent_runs WHERE state = 'ended' AND outcome ="
                  " 'succeeded' AND ended_at = 2000 AND cache_creation_tokens = 1");
    assert_number(kit, 1,
                  "SELECT count(*) FROM effects WHERE author = 'analyst' AND body LIKE"
                  " '%%done%%0.25%%'");
    free(run);
}

static void what_is_unknown_stays_unknown(void **state)
{
    static const char *const fields[] = {"usage", "cost_usd", "exit_code",   "started_ms",
                                         "head",  "session",  "pull_request"};
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    json_t *result = kit_result(run, "succeeded", "none", "pass");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        with(result, fields[i], json_null());
    assert_true(kit_ended(kit, result));
    assert_number(kit, 1,
                  "SELECT count(*) FROM agent_runs WHERE input_tokens IS NULL AND cost_usd"
                  " IS NULL AND exit_code IS NULL AND session IS NULL");
    assert_number(kit, 1, "SELECT count(*) FROM tasks WHERE head IS NULL AND pr_number IS NULL");
    assert_text(kit, "approval", "SELECT parked_for FROM tasks");
    free(run);
}

static void a_rollback_quotes_the_findings(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = in_stage(kit, "DEMO-1", STAGE_REVIEW, &run);
    assert_true(kit_ended(kit, kit_result(run, "succeeded", "none", "fail")));
    assert_text(kit, "development", "SELECT stage FROM tasks");
    assert_number(kit, 1, "SELECT rollbacks FROM tasks");
    assert_text(kit, "[\"greeting.txt: no full stop\"]", "SELECT findings FROM tasks");
    assert_text(kit, "gate-failed: no full stop",
                "SELECT why FROM transitions ORDER BY id DESC LIMIT 1");
    assert_number(kit, 1,
                  "SELECT count(*) FROM effects WHERE author = 'stream' AND body LIKE"
                  " '%%greeting.txt: no full stop%%'");
    kit_freshen(kit);
    json_t *items = kit_ask(kit, "runner", 1, false);
    json_t *findings = json_object_get(json_array_get(items, 0), "findings");
    assert_string_equal(json_string_value(json_array_get(findings, 0)),
                        "greeting.txt: no full stop");
    json_decref(items);
    free(run);
    (void)task;
}

static void the_gate_of_analysis_fails(void **state)
{
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    assert_true(kit_ended(kit, kit_result(run, "succeeded", "none", "fail")));
    assert_text(kit, "analysis", "SELECT stage FROM tasks"); /* it stays, the job is repeated */
    assert_number(kit, 2, "SELECT attempt FROM jobs WHERE state = 'queued'");
    assert_number(kit, 1, "SELECT input ->> '$.with_findings' FROM jobs");
    assert_text(kit, "[\"greeting.txt: no full stop\"]", "SELECT findings FROM tasks");
    free(run);
}

static void doubt_is_no_pass(void **state)
{
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    assert_true(kit_ended(kit, kit_result(run, "succeeded", "none", NULL)));
    assert_text(kit, NULL, "SELECT parked_for FROM tasks");
    assert_number(kit, 2, "SELECT attempt FROM jobs WHERE state = 'queued'");
    free(run);
}

/* ---- once, and for its entry ---- */

static void a_result_counts_once(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = running(kit, "DEMO-1", &run);
    assert_true(kit_ended(kit, kit_result(run, "succeeded", "none", "pass")));
    char *before = kit_dump(kit);
    assert_false(kit_ended(kit, kit_result(run, "succeeded", "none", "pass")));
    assert_false(kit_ended(kit, kit_result(run, "failed", "permanent", NULL)));
    assert_false(kit_ended(kit, kit_result("no-such-run", "failed", "permanent", NULL)));
    char *after = kit_dump(kit);
    assert_string_equal(before, after);
    assert_int_equal(kit->scheduler.counters.results, 1);
    assert_int_equal(kit->scheduler.counters.duplicates, 3);
    free(before);
    free(after);
    free(run);
    (void)task;
}

/* The run of an attempt that was given up as lost reports after all. */
static void a_late_result_of_an_earlier_attempt(void **state)
{
    struct kit *kit = *state;
    char *first;
    int64_t task = running(kit, "DEMO-1", &first);
    assert_true(kit_ended(kit, kit_result(first, "lost", "lost", NULL)));
    kit_claim(kit);
    char *second = kit_live_run(kit, task);
    assert_string_not_equal(first, second);
    char *before = kit_dump(kit);
    assert_false(kit_ended(kit, kit_result(first, "succeeded", "none", "pass")));
    char *after = kit_dump(kit);
    assert_string_equal(before, after);
    free(before);
    free(after);
    free(first);
    free(second);
}

static void a_late_result_changes_nothing(void **state)
{
    static const struct {
        const char *outcome, *class, *verdict, *job;
    } table[] = {
        {"succeeded", "none", "pass", "done"},      {"succeeded", "none", "fail", "cancelled"},
        {"failed", "permanent", NULL, "cancelled"}, {"failed", "transient", NULL, "cancelled"},
        {"lost", "lost", NULL, "cancelled"},
    };
    struct kit *kit = *state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char key[16], *run;
        snprintf(key, sizeof key, "DEMO-%zu", i + 1);
        int64_t task = running(kit, key, &run);
        /* another entry meanwhile, with a job of its own */
        kit_number(kit,
                   "INSERT INTO transitions (task, to_stage, why, actor, at)"
                   " VALUES (%lld, 'analysis', 'x: y', 'ada', 1)",
                   (long long)task);
        kit_number(kit,
                   "UPDATE tasks SET entry = (SELECT max(id) FROM transitions)"
                   " WHERE id = %lld",
                   (long long)task);
        char *before = kit_text(kit,
                                "SELECT stage || entry || coalesce(head, '-') || rollbacks ||"
                                " findings || coalesce(parked_for, '-') || coalesce("
                                "blocked_reason, '-') FROM tasks WHERE id = %lld",
                                (long long)task);
        assert_true(
            kit_ended(kit, kit_result(run, table[i].outcome, table[i].class, table[i].verdict)));
        char *after = kit_text(kit,
                               "SELECT stage || entry || coalesce(head, '-') || rollbacks ||"
                               " findings || coalesce(parked_for, '-') || coalesce("
                               "blocked_reason, '-') FROM tasks WHERE id = %lld",
                               (long long)task);
        assert_string_equal(before, after);
        assert_text(kit, table[i].job, "SELECT state FROM jobs WHERE task = %lld", (long long)task);
        /* but what it cost is known */
        assert_number(kit, 100, "SELECT input_tokens FROM agent_runs WHERE id = '%s'", run);
        free(before);
        free(after);
        free(run);
    }
}

static void a_run_that_is_not_the_jobs(void **state)
{
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    kit_number(kit, "UPDATE jobs SET run = 'another'");
    assert_true(kit_ended(kit, kit_result(run, "succeeded", "none", "pass")));
    assert_text(kit, "ended", "SELECT state FROM agent_runs");
    assert_text(kit, "running", "SELECT state FROM jobs");
    assert_text(kit, NULL, "SELECT parked_for FROM tasks");
    free(run);
}

/* What the merge gate judged is what is merged, and nothing else. */
static void what_is_judged_is_merged(void **state)
{
    struct kit *kit = *state;
    char *run;
    in_stage(kit, "DEMO-1", STAGE_DEPLOY_STAGING, &run);
    assert_true(kit_ended(
        kit, with(kit_result(run, "succeeded", "none", "pass"), "detail",
                  json_pack("{ss ss ss}", "old_head", "aaa", "new_head", "bbb", "base", "ccc"))));
    assert_text(kit, "aaa bbb ccc",
                "SELECT old_head || ' ' || new_head || ' ' || base FROM leases"
                " WHERE used_by_run IS NULL");
    kit_freshen(kit);
    json_t *items = kit_ask(kit, "runner", 9, false);
    assert_string_equal(message_text(json_array_get(items, 0), "job_kind", ""), "merge");
    assert_string_equal(message_text(json_array_get(items, 0), "head", ""), "bbb");
    assert_text(kit, "bbb", "SELECT intent_head FROM leases WHERE intent_run = used_by_run");
    json_decref(items);
    free(run);
}

static void nothing_ran_nothing_is_said(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "To Analyse");
    kit_freshen(kit);
    json_decref(kit_ask(kit, "runner", 1, true));
    int64_t effects = kit_number(kit, "SELECT count(*) FROM effects");
    json_t *result = kit_result("DEMO-1-j1-r1", "failed", "operator", NULL);
    with(result, "exit_code", json_null());
    with(result, "started_ms", json_null());
    assert_true(kit_ended(kit, result));
    assert_number(kit, effects, "SELECT count(*) FROM effects");
}

static void denied_tools_are_a_warning(void **state)
{
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    assert_true(kit_ended(kit, with(kit_result(run, "succeeded", "none", "pass"), "detail",
                                    json_pack("{s[ss]}", "denied_tools", "Bash", "WebFetch"))));
    assert_number(kit, 1, "SELECT count(*) FROM effects WHERE body LIKE '%%Bash, WebFetch%%'");
    free(run);
}

/* ---- STOP ---- */

static void stop_of_a_running_task(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = running(kit, "DEMO-1", &run);
    kit_operator(kit, "stop", "DEMO-1");
    assert_text(kit, "cancelled", "SELECT stage FROM tasks");
    assert_text(kit, "DEMO-1~1", "SELECT key FROM tasks");
    assert_text(kit, "running", "SELECT state FROM jobs WHERE kind = 'agent'");
    json_t *items = kit_ask(kit, "runner", 9, false);
    assert_int_equal(json_array_size(items), 1); /* the cleanup waits for the run's end */
    assert_string_equal(message_text(json_array_get(items, 0), "kind", ""), "run_stop");
    assert_string_equal(message_text(json_array_get(items, 0), "run", ""), run);
    json_decref(items);
    assert_true(kit_ended(kit, kit_result(run, "cancelled", "interrupted", NULL)));
    assert_text(kit, "cancelled", "SELECT state FROM jobs WHERE kind = 'agent'");
    kit_pass(kit, task, NULL);
    assert_number(kit, 0, "SELECT cleanup_job IS NOT NULL FROM tasks");
    assert_number(kit, 0, "SELECT count(*) FROM jobs WHERE state IN ('queued','running')");
    free(run);
}

static void a_run_that_ends_well_after_stop(void **state)
{
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    kit_operator(kit, "stop", "DEMO-1");
    assert_true(kit_ended(kit, kit_result(run, "succeeded", "none", "pass")));
    assert_text(kit, "cancelled", "SELECT stage FROM tasks");
    assert_text(kit, NULL, "SELECT parked_for FROM tasks");
    assert_number(kit, 0,
                  "SELECT count(*) FROM jobs WHERE kind = 'agent' AND state IN"
                  " ('queued','running')");
    free(run);
}

static void a_deferred_stop_applies_when_the_job_only_waits(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = in_stage(kit, "DEMO-1", STAGE_DEPLOY, &run);
    assert_text(kit, "merge", "SELECT kind FROM jobs WHERE state = 'running'");
    int64_t seq = kit_operator(kit, "stop", "DEMO-1");
    assert_decision(kit, seq, "applied stop-deferred");
    assert_text(kit, "deploy", "SELECT stage FROM tasks");
    assert_number(kit, 1, "SELECT stop_requested FROM tasks");
    seq = kit_operator(kit, "stop", "DEMO-1");
    assert_decision(kit, seq, "ignored repeated");
    assert_true(kit_ended(kit, kit_result(run, "failed", "transient", NULL)));
    assert_text(kit, "cancelled", "SELECT stage FROM tasks");
    assert_number(kit, 0, "SELECT count(*) FROM leases");
    assert_number(kit, 0, "SELECT count(*) FROM jobs WHERE kind = 'merge' AND state = 'queued'");
    assert_number(kit, 1, "SELECT count(*) FROM jobs WHERE kind = 'cleanup' AND state = 'queued'");
    free(run);
    (void)task;
}

static void a_stop_that_came_too_late(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = in_stage(kit, "DEMO-1", STAGE_DEPLOY, &run);
    kit_operator(kit, "stop", "DEMO-1");
    assert_true(kit_ended(kit, with(kit_result(run, "succeeded", "none", NULL), "detail",
                                    json_pack("{ss}", "merge_commit", "abc"))));
    free(run);
    assert_text(kit, "abc", "SELECT merged_commit FROM tasks");
    kit_pass(kit, task, "pass"); /* the finalizer */
    assert_text(kit, "done", "SELECT stage FROM tasks");
    assert_number(kit, 1, "SELECT count(*) FROM effects WHERE body LIKE '%%oo late%%'");
    assert_number(kit, 0, "SELECT count(*) FROM leases");
}

/* What the reaper ends because it ran too long counts like any timeout. */
static void a_run_that_was_overdue(void **state)
{
    struct kit *kit = *state;
    char *run;
    running(kit, "DEMO-1", &run);
    kit_begin(kit);
    assert_true(commands_stop(&kit->scheduler, run, "timeout: longer than max_running_s"));
    assert_false(commands_stop(&kit->scheduler, run, "stopped: once more"));
    kit_commit(kit);
    assert_true(kit_ended(kit, kit_result(run, "cancelled", "interrupted", NULL)));
    assert_number(kit, 2, "SELECT attempt FROM jobs WHERE state = 'queued'");
    assert_text(kit, NULL, "SELECT session FROM jobs");
    free(run);
}

static void a_cleanup_that_fails(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_operator(kit, "stop", "DEMO-1");
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(kit_claim(kit), 1);
        char *run = kit_live_run(kit, task);
        assert_true(kit_ended(kit, kit_result(run, "failed", "permanent", NULL)));
        free(run);
        assert_number(kit, i >= 3, "SELECT count(*) FROM alerts"); /* said once, never given up */
        assert_text(kit, "queued", "SELECT state FROM jobs WHERE kind = 'cleanup'");
        kit->skew_ms += 3600 * 1000;
    }
    assert_text(kit, "cleanup:1",
                "SELECT key FROM alerts WHERE cleared_at IS NULL"
                " AND text LIKE '%%DEMO-1 %%'");
    kit_claim(kit);
    char *run = kit_live_run(kit, task);
    assert_true(kit_ended(kit, with(kit_result(run, "succeeded", "none", NULL), "detail",
                                    json_pack("{ss}", "preserved", "refs/orchestrator/1"))));
    free(run);
    assert_number(kit, 0, "SELECT count(*) FROM alerts WHERE cleared_at IS NULL");
    assert_number(kit, 0, "SELECT cleanup_job IS NOT NULL FROM tasks");
    assert_text(kit, "refs/orchestrator/1",
                "SELECT detail ->> '$.preserved' FROM transitions"
                " ORDER BY id DESC LIMIT 1");
}

static void nothing_is_left_in_memory(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = running(kit, "DEMO-1", &run);
    kit_operator(kit, "stop", "DEMO-1");
    json_decref(kit_ask(kit, "runner", 9, false));
    kit_ended(kit, kit_result(run, "cancelled", "interrupted", NULL));
    kit_pass(kit, task, NULL);
    kit_deliver(kit);
    for (int i = 0; i < WORK_PEER_COUNT; i++) {
        assert_int_equal(json_object_size(kit->scheduler.work.peers[i].handed), 0);
        assert_int_equal(json_array_size(kit->scheduler.work.peers[i].items), 0);
    }
    assert_int_equal(json_array_size(kit->scheduler.journal.pending), 0);
    free(run);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(accepted_and_started),
        TEST(a_start_that_was_never_told),
        TEST(a_run_told_once_more),
        TEST(progress_is_written_now_and_then),
        TEST(each_class),
        TEST(out_of_attempts),
        TEST(transients_have_a_budget_of_their_own),
        TEST(as_long_as_it_was_asked_to_wait),
        TEST(a_conversation_that_no_longer_fits),
        TEST(three_losses_in_a_row),
        TEST(what_a_run_leaves_is_learned),
        TEST(what_is_unknown_stays_unknown),
        TEST(a_rollback_quotes_the_findings),
        TEST(the_gate_of_analysis_fails),
        TEST(doubt_is_no_pass),
        TEST(a_result_counts_once),
        TEST(a_late_result_of_an_earlier_attempt),
        TEST(a_late_result_changes_nothing),
        TEST(a_run_that_is_not_the_jobs),
        TEST(what_is_judged_is_merged),
        TEST(nothing_ran_nothing_is_said),
        TEST(denied_tools_are_a_warning),
        TEST(stop_of_a_running_task),
        TEST(a_run_that_ends_well_after_stop),
        TEST(a_deferred_stop_applies_when_the_job_only_waits),
        TEST(a_stop_that_came_too_late),
        TEST(a_run_that_was_overdue),
        TEST(a_cleanup_that_fails),
        TEST(nothing_is_left_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
