/* A task that waits for CI: one query for as long as it waits, bound to the head, silent.
 *
 * Mutations tried, each red: the answer of another head acted on (of_another_head), an answer to a
 * task that is blocked or has gone on acted on (needless_queries), a write for each round
 * (a_round_writes_nothing), the pace left out (at_the_reconcilers_pace), the timeout without an
 * answer of now or counted from the first parking (it_times_out), merged by hand a pass before
 * deploy (merged_meanwhile). */
#include "tests/unit/scheduler_kit.h"
#include "services/scheduler/ci.h"
#include "services/scheduler/queries.h"

#define HEAD "1111111111111111111111111111111111111111" /* as kit_result */

/* In development, parked for CI of HEAD. */
static int64_t parked(struct kit *kit)
{
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_pass(kit, task, "pass");
    kit_deliver(kit);
    kit_operator(kit, "approve", "DEMO-1");
    kit_pass(kit, task, "pass");
    kit_pass(kit, task, "waiting");
    return task;
}

/* The same before the merge, with its lease. */
static int64_t parked_in_deploy(struct kit *kit)
{
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_pass(kit, task, "pass");
    kit_deliver(kit);
    kit_operator(kit, "approve", "DEMO-1");
    for (int i = 0; i < 5; i++) /* to the end of the merge gate */
        kit_pass(kit, task, "pass");
    kit_number(kit, "UPDATE leases SET new_head = '" HEAD "'");
    kit_pass(kit, task, "waiting");
    assert_text(kit, "deploy ci", "SELECT stage || ' ' || parked_for FROM tasks");
    return task;
}

/* What the reconciler is given now: the query's job, or 0. */
static int64_t asked(struct kit *kit, bool fresh)
{
    json_t *items = kit_ask(kit, "reconciler", 9, fresh), *item;
    size_t index;
    int64_t job = 0;
    json_array_foreach(items, index, item)
    {
        if (strcmp(message_text(item, "what", ""), "ci") != 0)
            continue;
        assert_int_equal(job, 0);
        job = message_integer(item, "job", 0);
        assert_string_equal(message_text(item, "head", ""), HEAD);
        assert_int_equal(message_integer(item, "pull_request", 0), 7);
    }
    json_decref(items);
    return job;
}

static json_t *says(const char *head, const char *verdict)
{
    return json_pack("{ss ss ss s[s] sb}", "head", head, "verdict", verdict, "reason",
                     "CI of 111111111111 is red: ci/test", "findings",
                     "CI, ci/test (failure): exit 2", "merged", 0);
}

/* Whether it was a duplicate. Takes answer. */
static bool answered(struct kit *kit, int64_t job, json_t *answer)
{
    return kit_flag(kit, queries_take,
                    message_new(MESSAGE_query_result, NULL, "{sI ss so}", "job", job, "what", "ci",
                                "answer", answer),
                    "duplicate");
}

#define LIVE_QUERIES "SELECT count(*) FROM jobs WHERE kind = 'query' AND state = 'queued'"

static void it_waits_in_silence(void **state)
{
    struct kit *kit = *state;
    kit_deliver(kit);
    parked(kit);
    assert_text(kit, "development ci", "SELECT stage || ' ' || parked_for FROM tasks");
    assert_number(kit, kit->scheduler.now_ms, "SELECT parked_since FROM tasks");
    assert_number(kit, 1, LIVE_QUERIES);
    assert_number(kit, 0,
                  "SELECT count(*) FROM jobs WHERE kind <> 'query' AND state IN"
                  " ('queued','running')");
    assert_text(kit, "development", "SELECT display FROM tasks");
    assert_number(kit, 1, "SELECT count(*) FROM effects WHERE status = 'development'");
    assert_number(kit, 0, "SELECT count(*) FROM alerts");
}

static void green_goes_on(void **state)
{
    struct kit *kit = *state;
    parked(kit);
    int64_t job = asked(kit, true);
    assert_false(answered(kit, job, says(HEAD, "pass")));
    assert_text(kit, "review", "SELECT stage || coalesce(parked_for, '') FROM tasks");
    assert_text(kit, "CI", "SELECT actor FROM transitions ORDER BY id DESC LIMIT 1");
    assert_number(kit, 0, LIVE_QUERIES);
    assert_text(kit, "done", "SELECT state FROM jobs WHERE id = %lld", (long long)job);
    assert_number(kit, 0, "SELECT rollbacks FROM tasks");
    assert_true(answered(kit, job, says(HEAD, "fail")));
    assert_text(kit, "review", "SELECT stage FROM tasks");
}

static void red_goes_back(void **state)
{
    struct kit *kit = *state;
    parked(kit);
    assert_false(answered(kit, asked(kit, true), says(HEAD, "fail")));
    assert_text(kit, "development", "SELECT stage || coalesce(parked_for, '') FROM tasks");
    assert_number(kit, 1, "SELECT rollbacks FROM tasks");
    assert_text(kit, "[\"CI, ci/test (failure): exit 2\"]", "SELECT findings FROM tasks");
    assert_number(kit, 0, LIVE_QUERIES);
    assert_number(kit, 1,
                  "SELECT count(*) FROM jobs WHERE state = 'queued' AND role = 'developer' AND"
                  " input LIKE '%%with_findings%%'");
}

static void a_round_writes_nothing(void **state)
{
    struct kit *kit = *state;
    parked(kit);
    int64_t job = asked(kit, true);
    assert_false(answered(kit, job, says(HEAD, "waiting"))); /* words it had not before */
    assert_text(kit, "waiting-ci: CI of 111111111111 is red: ci/test",
                "SELECT reason FROM jobs WHERE id = %lld", (long long)job);
    char *before = kit_dump(kit);
    int changes = sqlite3_total_changes(kit->store->db);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(asked(kit, true), job);
        assert_false(answered(kit, job, says(HEAD, "waiting")));
    }
    assert_int_equal(sqlite3_total_changes(kit->store->db), changes);
    char *after = kit_dump(kit);
    assert_string_equal(after, before);
    free(before);
    free(after);
}

/* No answer, one of an older program, one that nobody understands. */
static void unknown_waits(void **state)
{
    struct kit *kit = *state;
    parked(kit);
    int64_t job = asked(kit, true);
    assert_false(answered(kit, job, json_null()));
    assert_text(kit, "waiting-ci: the forge could not be asked",
                "SELECT reason FROM jobs WHERE id = %lld", (long long)job);
    assert_int_equal(asked(kit, false), 0);
    assert_false(answered(kit, job, json_pack("{ss}", "state", "none")));
    assert_int_equal(asked(kit, false), 0);
    assert_false(answered(kit, job, says(HEAD, "green as grass")));
    assert_false(answered(kit, job, says(HEAD, "moved")));
    assert_false(answered(kit, job, json_pack("{ss}", "head", HEAD)));
    assert_text(kit, "development ci", "SELECT stage || ' ' || parked_for FROM tasks");
    assert_number(kit, 1, LIVE_QUERIES);
}

static void at_the_reconcilers_pace(void **state)
{
    struct kit *kit = *state;
    parked(kit);
    int64_t job = asked(kit, true);
    assert_true(job > 0);
    assert_int_equal(asked(kit, false), 0); /* it is with the reconciler */
    assert_false(answered(kit, job, says(HEAD, "waiting")));
    assert_int_equal(asked(kit, false), 0);
    int64_t wait = work_wait_ms(&kit->scheduler);
    assert_in_range(wait, 115 * 1000, 120 * 1000);
    kit_restart(kit); /* whoever comes after a kill asks at once */
    assert_int_equal(asked(kit, true), job);
}

static void of_another_head(void **state)
{
    struct kit *kit = *state;
    parked(kit);
    int64_t job = asked(kit, true);
    static const char *const verdicts[] = {"pass", "fail", "waiting"};
    for (int i = 0; i < 3; i++) {
        assert_false(
            answered(kit, job, says("2222222222222222222222222222222222222222", verdicts[i])));
        assert_text(kit, "development ci", "SELECT stage || ' ' || parked_for FROM tasks");
        assert_int_equal(asked(kit, false), job); /* at once */
    }
}

static void it_times_out(void **state)
{
    struct kit *kit = *state;
    parked(kit);
    int64_t job = asked(kit, true);
    kit->skew_ms = 3599 * 1000;
    assert_false(answered(kit, job, says(HEAD, "waiting")));
    assert_text(kit, NULL, "SELECT blocked_reason FROM tasks");
    assert_int_equal(asked(kit, false), 0);
    assert_true(work_wait_ms(&kit->scheduler) <= 1000); /* asked once more at its end */
    kit->skew_ms = 3601 * 1000;
    kit_begin(kit); /* not before somebody has asked: it may be green by now */
    kit_commit(kit);
    assert_text(kit, NULL, "SELECT blocked_reason FROM tasks");
    assert_false(answered(kit, job, json_null()));
    assert_text(kit, "ci-timeout: no green CI within 3600 s: the forge could not be asked|ci|0|",
                "SELECT blocked_reason || '|' || parked_for || '|' || rollbacks || '|' ||"
                " blocked_counter FROM tasks");
    assert_number(kit, 0, LIVE_QUERIES);
    assert_number(kit, 1, "SELECT count(*) FROM alerts");
    /* resumed, it has its whole time again and is asked about at once */
    kit_operator(kit, "retry", "DEMO-1");
    assert_text(kit, "development ci", "SELECT stage || ' ' || parked_for FROM tasks");
    assert_number(kit, kit->scheduler.now_ms, "SELECT parked_since FROM tasks");
    int64_t again = asked(kit, false);
    assert_true(again > job);
    assert_false(answered(kit, again, says(HEAD, "waiting")));
    assert_text(kit, NULL, "SELECT blocked_reason FROM tasks");
    assert_false(answered(kit, again, says(HEAD, "pass")));
    assert_text(kit, "review", "SELECT stage FROM tasks");
}

/* Late, but green: it is the answer that counts. */
static void green_in_the_last_moment(void **state)
{
    struct kit *kit = *state;
    parked(kit);
    int64_t job = asked(kit, true);
    kit->skew_ms = 2 * 3600 * 1000;
    assert_false(answered(kit, job, says(HEAD, "pass")));
    assert_text(kit, "review", "SELECT stage FROM tasks");
}

/* The clock jumped back by more than is waited at all: nobody waits for ever. */
static void parked_in_the_future(void **state)
{
    struct kit *kit = *state;
    parked(kit);
    int64_t job = asked(kit, true);
    kit_number(kit, "UPDATE tasks SET parked_since = %lld",
               (long long)kit->scheduler.now_ms + 3500 * 1000);
    assert_false(answered(kit, job, says(HEAD, "waiting")));
    assert_text(kit, NULL, "SELECT blocked_reason FROM tasks");
    kit_number(kit, "UPDATE tasks SET parked_since = %lld",
               (long long)kit->scheduler.now_ms + 4000 * 1000);
    assert_false(answered(kit, job, says(HEAD, "waiting")));
    assert_number(kit, 1, "SELECT blocked_reason LIKE 'ci-timeout: %%' FROM tasks");
}

static void needless_queries_end(void **state)
{
    struct kit *kit = *state;
    parked(kit);
    int64_t job = asked(kit, true);
    kit_number(kit, "UPDATE tasks SET blocked_reason = 'pull-closed: by hand'");
    assert_true(answered(kit, job, says(HEAD, "pass")));
    assert_text(kit, "development", "SELECT stage FROM tasks");
    assert_text(kit, "cancelled", "SELECT state FROM jobs WHERE id = %lld", (long long)job);
    kit_number(kit, "UPDATE tasks SET blocked_reason = NULL");
    int64_t next = asked(kit, false);
    assert_true(next > job);
    kit_number(kit, "UPDATE tasks SET entry = entry + 1");
    assert_true(answered(kit, next, says(HEAD, "pass")));
    assert_text(kit, "development", "SELECT stage FROM tasks");
    assert_number(kit, 0, "SELECT count(*) FROM jobs WHERE id = %lld", (long long)next);
    assert_number(kit, 1, LIVE_QUERIES); /* of the entry that waits now */
    kit_operator(kit, "stop", "DEMO-1");
    assert_number(kit, 0, LIVE_QUERIES);
    assert_text(kit, "cancelled", "SELECT stage FROM tasks");
}

/* An answer about the issue is none about CI, and one to a question that was never asked is none.
 */
static void answers_to_other_questions(void **state)
{
    struct kit *kit = *state;
    int64_t task = parked(kit);
    kit_begin(kit);
    queries_ask(&kit->scheduler, task, "issue", "asking: the tracker");
    kit_commit(kit);
    assert_number(kit, 2, LIVE_QUERIES);
    int64_t issue = kit_number(kit, "SELECT id FROM jobs WHERE input = '{\"what\":\"issue\"}'");
    assert_true(issue > 0);
    assert_true(answered(kit, issue, says(HEAD, "pass")));
    assert_true(answered(kit, 4711, says(HEAD, "pass")));
    assert_text(kit, "development ci", "SELECT stage || ' ' || parked_for FROM tasks");
}

static void before_the_merge(void **state)
{
    struct kit *kit = *state;
    int64_t task = parked_in_deploy(kit);
    assert_number(kit, task, "SELECT task FROM leases WHERE used_by_run IS NULL");
    assert_false(answered(kit, asked(kit, true), says(HEAD, "pass")));
    assert_text(kit, "deploy merge",
                "SELECT t.stage || ' ' || j.kind FROM tasks t JOIN jobs j ON"
                " j.task = t.id AND j.state = 'queued'");
    assert_text(kit, NULL, "SELECT parked_for FROM tasks");
    /* since when that head is known: the first run that said it */
    kit_freshen(kit);
    json_t *items = kit_ask(kit, "runner", 9, false);
    assert_string_equal(message_text(json_array_get(items, 0), "job_kind", ""), "merge");
    assert_int_equal(message_integer(json_array_get(items, 0), "head_since_ms", 0), 2000);
    json_decref(items);
}

static void red_before_the_merge(void **state)
{
    struct kit *kit = *state;
    parked_in_deploy(kit);
    assert_false(answered(kit, asked(kit, true), says(HEAD, "fail")));
    assert_text(kit, "development 1", "SELECT stage || ' ' || rollbacks FROM tasks");
    assert_number(kit, 0, "SELECT count(*) FROM leases");
}

static void stopped_before_the_merge(void **state)
{
    struct kit *kit = *state;
    parked_in_deploy(kit);
    kit_operator(kit, "stop", "DEMO-1");
    assert_text(kit, "cancelled", "SELECT stage FROM tasks"); /* at once */
    assert_number(kit, 0, "SELECT count(*) FROM leases");
    assert_number(kit, 0, LIVE_QUERIES);
}

/* The merge finds what another hand has merged; before deploy the look at pull requests does. */
static void merged_meanwhile(void **state)
{
    struct kit *kit = *state;
    parked_in_deploy(kit);
    json_t *merged = says(HEAD, "fail");
    json_object_set_new(merged, "merged", json_true());
    assert_false(answered(kit, asked(kit, true), json_incref(merged)));
    assert_text(kit, "deploy merge",
                "SELECT t.stage || ' ' || j.kind FROM tasks t JOIN jobs j ON"
                " j.task = t.id AND j.state = 'queued'");
    kit_number(kit, "UPDATE jobs SET state = 'done'");
    kit_number(kit,
               "UPDATE tasks SET stage = 'development', parked_for = 'ci', parked_since = %lld",
               (long long)kit->scheduler.now_ms);
    assert_false(answered(kit, asked(kit, true), merged));
    assert_text(kit, "development ci 0",
                "SELECT stage || ' ' || parked_for || ' ' || rollbacks FROM tasks");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_waits_in_silence, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(green_goes_on, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(red_goes_back, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(a_round_writes_nothing, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(unknown_waits, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(at_the_reconcilers_pace, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(of_another_head, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(it_times_out, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(green_in_the_last_moment, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(parked_in_the_future, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(needless_queries_end, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(answers_to_other_questions, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(before_the_merge, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(red_before_the_merge, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(stopped_before_the_merge, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(merged_meanwhile, kit_set_up, kit_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
