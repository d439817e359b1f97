/* What runs say of their provider, and money, against real rows.
 *
 * Mutations tried, each red: an end of an agent of before taken for the probe's
 * (an_agent_of_before), no probe noted at the claim (a_spent_allowance), the alert raised at each
 * failure (a_revoked_key), usage_limit.enabled not asked (switched_off), failures not kept over a
 * restart (the_breaker), a push's refusal taken for the provider's (what_is_not_the_providers),
 * comparisons turned round (budgets, no_progress), a retry that pays nothing (a_person_pays_again),
 * runs of weather counted as idle (no_progress_is_not_weather), idle counters not reset by a new
 * stage or a person (no_progress). */
#include "tests/unit/scheduler_kit.h"
#include "services/scheduler/providers.h"

static int64_t running(struct kit *kit, const char *key, char **run)
{
    int64_t task = kit_issue(kit, key, "To Analyse");
    assert_int_equal(kit_claim(kit), 1);
    *run = kit_live_run(kit, task);
    assert_non_null(*run);
    return task;
}

static json_t *costing(json_t *message, double usd, int64_t ended_ms)
{
    json_object_set_new(message, "cost_usd", json_real(usd));
    json_object_set_new(message, "ended_ms", json_integer(ended_ms));
    return message;
}

static void end(struct kit *kit, char *run, const char *class)
{
    assert_true(kit_ended(kit, kit_result(run, "failed", class, NULL)));
    free(run);
}

static void wait_past(struct kit *kit, int64_t ms)
{
    kit->skew_ms += ms;
}

static int64_t alerts(struct kit *kit, const char *key)
{
    return kit_number(kit,
                      "SELECT count(*) FROM journal WHERE event = 'alert'"
                      " AND json_extract(detail, '$.key') = '%s'",
                      key);
}

static void assert_waits(struct kit *kit, int64_t task, const char *code)
{
    char *reason = kit_text(kit,
                            "SELECT reason FROM jobs WHERE task = %lld AND state = 'queued'"
                            " AND kind = 'agent'",
                            (long long)task);
    assert_non_null(reason);
    if (strncmp(reason, code, strlen(code)) != 0)
        fail_msg("waits with \"%s\", not with %s", reason, code);
    free(reason);
}

static int64_t attempts(struct kit *kit, int64_t task)
{
    return kit_number(kit, "SELECT sum(attempt - 1 + transient) FROM jobs WHERE task = %lld",
                      (long long)task);
}

/* Two tasks wait, one alert; after the reset one probe goes, and its first answer frees the other.
 */
static void a_spent_allowance(void **state)
{
    struct kit *kit = *state;
    char *one, *two;
    int64_t first = running(kit, "DEMO-1", &one), second = running(kit, "DEMO-2", &two);
    json_t *message = kit_result(one, "failed", "usage_limit", NULL);
    json_object_set_new(
        message, "detail",
        json_pack("{sI}", "resets_at_ms", (json_int_t)(kit->scheduler.now_ms + 7200 * 1000)));
    assert_true(kit_ended(kit, message));
    free(one);
    end(kit, two, "usage_limit");
    assert_int_equal(kit_claim(kit), 0);
    assert_waits(kit, first, "usage-limit: command:DEMO, tried again at ");
    assert_waits(kit, second, "usage-limit");
    assert_int_equal(alerts(kit, "provider:command:DEMO"), 1);
    wait_past(kit, 3600 * 1000);
    kit_restart(kit);
    wait_past(kit, 4000 * 1000);
    assert_int_equal(kit_claim(kit), 1);
    assert_int_equal(kit_claim(kit), 0);
    char *probe = kit_live_run(kit, first);
    assert_non_null(probe);
    json_decref(kit_tell(kit, results_progress,
                         message_new(MESSAGE_run_progress, NULL, "{ss si sn si}", "run", probe,
                                     "turns", 1, "last_tool", "output_tokens", 5)));
    assert_int_equal(kit_claim(kit), 1);
    assert_int_equal(kit_number(kit, "SELECT count(*) FROM alerts WHERE cleared_at IS NULL"), 0);
    assert_int_equal(attempts(kit, first) + attempts(kit, second), 0);
    free(probe);
}

static void a_revoked_key(void **state)
{
    struct kit *kit = *state;
    char *one, *two, *run;
    int64_t first = running(kit, "DEMO-1", &one), second = running(kit, "DEMO-2", &two);
    end(kit, one, "operator");
    end(kit, two, "operator");
    assert_waits(kit, first, "operator");
    for (int probe = 0; probe < 4; probe++) {
        wait_past(kit, 901 * 1000);
        assert_int_equal(kit_claim(kit), 1);
        run = kit_live_run(kit, first);
        end(kit, run, "operator");
    }
    assert_int_equal(alerts(kit, "provider:command:DEMO"), 1);
    assert_int_equal(kit_claim(kit), 0);
    kit_event(kit, "operator", "{\"command\":\"resume\",\"actor\":\"ada\"}"); /* "it is mended" */
    assert_int_equal(kit_claim(kit), 1);
    run = kit_live_run(kit, first);
    kit_ended(kit, kit_result(run, "succeeded", "none", "pass"));
    free(run);
    kit_claim(kit);
    run = kit_live_run(kit, second);
    assert_non_null(run);
    free(run);
    assert_int_equal(attempts(kit, first) + attempts(kit, second), 0);
    assert_int_equal(kit_number(kit, "SELECT count(*) FROM alerts WHERE cleared_at IS NULL"), 0);
}

static void the_breaker(void **state)
{
    struct kit *kit = *state;
    char *runs[5];
    int64_t tasks[5];
    for (int i = 0; i < 5; i++) {
        char key[16];
        snprintf(key, sizeof key, "DEMO-%d", i + 1);
        tasks[i] = running(kit, key, &runs[i]);
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(alerts(kit, "provider:command:DEMO"), 0);
        if (i == 3)
            kit_restart(kit);
        end(kit, runs[i], "transient");
    }
    assert_int_equal(alerts(kit, "provider:command:DEMO"), 1);
    wait_past(kit, 60 * 1000); /* each one's own wait is over, the breaker's is not */
    kit_restart(kit);
    assert_int_equal(kit_claim(kit), 0);
    assert_waits(kit, tasks[4], "breaker");
    wait_past(kit, 300 * 1000);
    assert_int_equal(kit_claim(kit), 1);
    char *probe = kit_live_run(kit, tasks[0]);
    assert_non_null(probe);
    end(kit, probe, "transient");
    wait_past(kit, 200 * 1000);
    assert_int_equal(kit_claim(kit), 0);
    wait_past(kit, 101 * 1000);
    assert_int_equal(kit_claim(kit), 1);
    char *run = kit_text(kit, "SELECT id FROM agent_runs WHERE state <> 'ended'");
    kit_ended(kit, kit_result(run, "succeeded", "none", "pass"));
    free(run);
    assert_int_equal(kit_claim(kit), 4); /* the fifth waits for a person, analysed */
    assert_int_equal(alerts(kit, "provider:command:DEMO"), 1);
}

static void switched_off(void **state)
{
    struct kit *kit = *state;
    char *run;
    kit_configure(kit, "usage_limit: {enabled: false}");
    kit_restart(kit);
    int64_t task = running(kit, "DEMO-1", &run);
    end(kit, run, "usage_limit");
    assert_int_equal(
        kit_number(kit, "SELECT transient FROM jobs WHERE task = %lld", (long long)task), 1);
    assert_int_equal(alerts(kit, "provider:command:DEMO"), 0);
}

/* The agent ended well; what was refused came after it. Others go on. */
static void what_is_not_the_providers(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = running(kit, "DEMO-1", &run);
    json_t *message = kit_result(run, "failed", "operator", NULL);
    json_object_set_new(message, "exit_code", json_integer(0));
    assert_true(kit_ended(kit, message));
    free(run);
    assert_int_equal(alerts(kit, "provider:command:DEMO"), 0);
    assert_int_equal(alerts(kit, "operator:DEMO"), 1);
    running(kit, "DEMO-2", &run);
    free(run);
    assert_int_equal(attempts(kit, task), 0);
}

/* The next level of the cascade once and at once, then it is an operator's. Mutations: the level
 * not kept (it would be tried for ever), levels left not asked. */
static void a_model_that_is_not_there(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = running(kit, "DEMO-1", &run);
    json_t *message = kit_result(run, "failed", "config", NULL);
    json_object_set_new(message, "detail", json_pack("{si}", "model_levels_left", 2));
    assert_true(kit_ended(kit, json_incref(message)));
    free(run);
    assert_int_equal(kit_claim(kit), 1);
    run = kit_live_run(kit, task);
    json_object_set_new(message, "run", json_string(run));
    assert_int_equal(
        kit_number(kit, "SELECT model_level FROM jobs WHERE task = %lld", (long long)task), 1);
    assert_true(kit_ended(kit, message));
    free(run);
    assert_int_equal(kit_claim(kit), 0);
    assert_waits(kit, task, "operator");
    assert_int_equal(alerts(kit, "provider:command:DEMO"), 1);
    assert_int_equal(attempts(kit, task), 0);
}

/* One that had begun before the key was revoked ends well: that is no word of the key as it is now.
 */
static void an_agent_of_before(void **state)
{
    struct kit *kit = *state;
    char *one, *two;
    running(kit, "DEMO-1", &one);
    running(kit, "DEMO-2", &two);
    end(kit, one, "operator");
    kit_ended(kit, kit_result(two, "succeeded", "none", "pass"));
    free(two);
    assert_int_equal(kit_claim(kit), 0);
    assert_int_equal(kit_number(kit, "SELECT count(*) FROM breakers WHERE hold = 'operator'"), 1);
}

/* ---- money ---- */

static void budgets(void **state)
{
    struct kit *kit = *state;
    char *run;
    kit_configure(kit, "budget: {task_usd: 2, day_usd: 5, run_usd: 1, no_progress_usd: 0}");
    kit_restart(kit);
    int64_t task = running(kit, "DEMO-1", &run);
    assert_true(kit_ended(
        kit, costing(kit_result(run, "failed", "permanent", NULL), 2.0, kit->scheduler.now_ms)));
    free(run);
    assert_int_equal(kit_claim(kit), 0);
    assert_waits(kit, task, "budget-task: $2.00 are spent");
    assert_int_equal(kit_claim(kit), 0);
    char key[40];
    snprintf(key, sizeof key, "budget:%lld", (long long)task);
    assert_int_equal(alerts(kit, key), 1);
    int64_t other = running(kit, "SHOP-1", &run);
    assert_true(kit_ended(
        kit, costing(kit_result(run, "failed", "budget", NULL), 3.0, kit->scheduler.now_ms)));
    free(run);
    assert_int_equal(kit_claim(kit), 0);
    assert_waits(kit, other, "budget-run");
    kit_configure(kit, "budget: {task_usd: 20, day_usd: 5, run_usd: 2, no_progress_usd: 0}");
    kit_restart(kit);
    assert_int_equal(kit_claim(kit), 0);
    assert_waits(kit, other, "budget-day");
    assert_waits(kit, task, "budget-day");
    assert_int_equal(alerts(kit, "budget:day"), 1);
    wait_past(kit, 86400 * 1000);
    assert_int_equal(kit_claim(kit), 2);
    assert_int_equal(kit_number(kit, "SELECT count(*) FROM alerts WHERE cleared_at IS NULL"), 0);
    assert_int_equal(kit_number(kit,
                                "SELECT count(*) FROM jobs WHERE task = %lld"
                                " AND session = 'session-1'",
                                (long long)other),
                     1);
    assert_int_equal(
        kit_number(kit, "SELECT attempt FROM jobs WHERE task = %lld", (long long)other), 1);
}

/* A person says that it may go on although the limit is as it was. */
static void a_person_pays_again(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = running(kit, "DEMO-1", &run);
    end(kit, run, "budget");
    assert_int_equal(kit_claim(kit), 0);
    assert_waits(kit, task, "budget-run");
    kit_operator(kit, "retry", "DEMO-1");
    assert_int_equal(kit_claim(kit), 1);
    assert_int_equal(kit_number(kit,
                                "SELECT count(*) FROM jobs WHERE task = %lld"
                                " AND session = 'session-1'",
                                (long long)task),
                     1);
}

static void no_progress(void **state)
{
    struct kit *kit = *state;
    char *run;
    kit_configure(kit, "max_attempts: 9\nbudget: {no_progress_runs: 3, no_progress_usd: 0}");
    kit_restart(kit);
    int64_t task = running(kit, "DEMO-1", &run);
    end(kit, run, "permanent");
    assert_int_equal(kit_claim(kit), 1);
    end(kit, kit_live_run(kit, task), "permanent");
    assert_int_equal(kit_number(kit, "SELECT blocked_reason IS NULL FROM tasks"), 1);
    assert_int_equal(kit_claim(kit), 1);
    end(kit, kit_live_run(kit, task), "permanent");
    char *reason = kit_text(kit, "SELECT blocked_reason FROM tasks");
    assert_non_null(reason);
    assert_memory_equal(reason, "no-progress: 3 runs and $0.75 since analysis", 43);
    free(reason);
    assert_int_equal(kit_claim(kit), 0);
    kit_operator(kit, "retry", "DEMO-1");
    assert_int_equal(kit_claim(kit), 1);
    assert_int_equal(kit_number(kit, "SELECT idle_runs FROM tasks"), 0);
    end(kit, kit_live_run(kit, task), "permanent");
    assert_int_equal(kit_number(kit, "SELECT idle_runs FROM tasks"), 1);
    kit_claim(kit);
    kit_pass(kit, task, "pass");
    kit_operator(kit, "approve", "DEMO-1");
    assert_int_equal(kit_number(kit, "SELECT idle_runs FROM tasks"), 0);
    assert_int_equal(kit_number(kit, "SELECT blocked_reason IS NULL FROM tasks"), 1);
    kit_claim(kit);
    end(kit, kit_live_run(kit, task), "permanent");
    assert_int_equal(kit_number(kit, "SELECT idle_runs FROM tasks"), 1);
    kit_claim(kit);
    kit_pass(kit, task, "pass"); /* a new stage, and no person */
    assert_int_equal(kit_number(kit, "SELECT idle_runs FROM tasks"), 0);
}

static void no_progress_is_not_weather(void **state)
{
    struct kit *kit = *state;
    char *run;
    kit_configure(kit,
                  "breaker: {threshold: 100}\nbudget: {no_progress_runs: 2, no_progress_usd: 0}");
    kit_restart(kit);
    int64_t task = running(kit, "DEMO-1", &run);
    for (int i = 0; i < 5; i++) {
        end(kit, run, "transient");
        wait_past(kit, 3600 * 1000);
        assert_int_equal(kit_claim(kit), 1);
        run = kit_live_run(kit, task);
    }
    free(run);
    assert_int_equal(kit_number(kit, "SELECT blocked_reason IS NULL AND idle_runs = 0 FROM tasks"),
                     1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_spent_allowance),
        TEST(a_revoked_key),
        TEST(the_breaker),
        TEST(switched_off),
        TEST(what_is_not_the_providers),
        TEST(an_agent_of_before),
        TEST(a_model_that_is_not_there),
        TEST(budgets),
        TEST(a_person_pays_again),
        TEST(no_progress),
        TEST(no_progress_is_not_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
