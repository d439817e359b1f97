/* Proposals about what runs no more: only the winner of a guarded update acts.
 *
 * Mutations tried, each red: a dead run reaped whatever job or run it was (a_dead_run), acted on
 * twice (a_dead_run), a run that ended and was not finished taken for dead (a_run_that_ended),
 * a lease with a living user taken (a_used_lease_is_never_taken) or judged by another repository
 * (a_used_lease_is_never_taken), a queued merge left without its lease (a_reclaimed_lease), a
 * parked one sent back (a_parked_task_stays_parked), service alerts doubled or not cleared
 * (services). */
#include "tests/unit/scheduler_kit.h"

static bool reap(struct kit *kit, int64_t job, const char *run, int tier, const char *reason)
{
    return kit_flag(kit, reaping_reap,
                    message_new(MESSAGE_reap, NULL, "{sI ss si sn ss}", "job", job, "run", run,
                                "tier", tier, "exit_code", "reason", reason),
                    "won");
}

static bool reclaim(struct kit *kit, const char *repo, int64_t task)
{
    return kit_flag(kit, reaping_lease,
                    message_new(MESSAGE_lease_reclaim, NULL, "{ss sI ss}", "repo", repo, "task",
                                task, "reason", "ttl: nothing uses it"),
                    "won");
}

static char *running(struct kit *kit, const char *key, int64_t *task)
{
    *task = kit_issue(kit, key, "To Analyse");
    kit_claim(kit);
    return kit_live_run(kit, *task);
}

static void a_dead_run(void **state)
{
    struct kit *kit = *state;
    int64_t task, other;
    char *run = running(kit, "DEMO-1", &task), *another = running(kit, "DEMO-2", &other);
    char *before = kit_dump(kit);
    assert_false(reap(kit, 2, run, 1, "lost: x")); /* not that job's */
    assert_false(reap(kit, 1, another, 1, "lost: x"));
    assert_false(reap(kit, 1, "no-such-run", 1, "lost: x"));
    assert_false(reap(kit, 9, run, 1, "lost: x"));
    assert_false(reap(kit, 1, run, 7, "lost: no such tier"));
    char *after = kit_dump(kit);
    assert_string_equal(before, after);
    free(before);
    free(after);
    assert_true(reap(kit, 1, run, 1, "lost: the keeper is gone"));
    assert_text(kit, "ended lost", "SELECT state || ' ' || outcome FROM agent_runs WHERE id = '%s'",
                run);
    assert_text(kit, "queued", "SELECT state FROM jobs WHERE id = 1");
    assert_number(kit, 1, "SELECT losses FROM jobs WHERE id = 1");
    assert_int_equal(kit->scheduler.counters.reaped, 1);
    assert_false(reap(kit, 1, run, 1, "lost: once more"));
    /* and the runner's own word comes too late */
    assert_false(kit_ended(kit, kit_result(run, "succeeded", "none", "pass")));
    assert_int_equal(kit_claim(kit), 1);
    assert_false(reap(kit, 1, run, 1, "lost: of the run before"));
    assert_text(kit, "running", "SELECT state FROM jobs WHERE id = 1");
    free(run);
    free(another);
}

/* Its steps after the agent are the runner's to make: it is told the run once more. */
static void a_run_that_ended(void **state)
{
    struct kit *kit = *state;
    int64_t task;
    char *run = running(kit, "DEMO-1", &task);
    assert_false(reap(kit, 2, run, 2, "reaped: x"));
    assert_true(reap(kit, 1, run, 2, "reaped: nobody finished it"));
    assert_text(kit, "commanded", "SELECT state FROM agent_runs");
    assert_text(kit, "running", "SELECT state FROM jobs");
    assert_false(reap(kit, 1, run, 2, "reaped: it is told already"));
    kit_freshen(kit);
    json_t *items = kit_ask(kit, "runner", 9, false);
    assert_int_equal(json_array_size(items), 1);
    assert_string_equal(message_text(json_array_get(items, 0), "run", ""), run);
    json_decref(items);
    assert_true(kit_ended(kit, kit_result(run, "succeeded", "none", "pass")));
    assert_false(reap(kit, 1, run, 2, "reaped: late"));
    assert_text(kit, "ended", "SELECT state FROM agent_runs");
    free(run);
}

static void a_run_that_runs_too_long(void **state)
{
    struct kit *kit = *state;
    int64_t task;
    char *run = running(kit, "DEMO-1", &task);
    assert_true(reap(kit, 1, run, 3, "timeout: longer than reaper.max_running_s"));
    assert_false(reap(kit, 1, run, 3, "timeout: again"));
    json_t *items = kit_ask(kit, "runner", 9, false);
    assert_string_equal(message_text(json_array_get(items, 0), "kind", ""), "run_stop");
    json_decref(items);
    assert_true(kit_ended(kit, kit_result(run, "cancelled", "interrupted", NULL)));
    assert_number(kit, 2, "SELECT attempt FROM jobs"); /* it counts like any timeout */
    assert_false(reap(kit, 1, run, 3, "timeout: late"));
    free(run);
}

/* ---- leases ---- */

/* A task whose merge gate has passed: it holds the lease, and its merge waits. */
static int64_t merging(struct kit *kit, const char *key)
{
    int64_t task = kit_issue(kit, key, "To Analyse");
    kit_number(kit, "UPDATE tasks SET stage = 'deploy-staging' WHERE id = %lld", (long long)task);
    kit_number(kit,
               "UPDATE jobs SET stage = 'deploy-staging', kind = 'merge-gate', role = NULL"
               " WHERE task = %lld",
               (long long)task);
    kit_pass(kit, task, "pass");
    assert_text(kit, "deploy", "SELECT stage FROM tasks WHERE id = %lld", (long long)task);
    return task;
}

static void a_used_lease_is_never_taken(void **state)
{
    struct kit *kit = *state;
    int64_t task = merging(kit, "DEMO-1"), other = merging(kit, "SHOP-1");
    assert_text(kit, "confirm", "SELECT parked_for FROM tasks WHERE id = %lld", (long long)other);
    assert_text(kit, "running", "SELECT state FROM jobs WHERE kind = 'merge'"); /* under it */
    assert_false(reclaim(kit, "sample", task));
    assert_false(reclaim(kit, "shop", task)); /* whatever repository is named beside it */
    assert_false(reclaim(kit, "sample", other));
    assert_number(kit, 2, "SELECT count(*) FROM leases");
    char *run = kit_live_run(kit, task);
    kit_ended(kit, kit_result(run, "failed", "transient", NULL));
    free(run);
    assert_false(reclaim(kit, "nowhere", task));
    assert_true(reclaim(kit, "sample", task));
    assert_false(reclaim(kit, "sample", task));
}

/* Without its lease nothing may be merged: the edge gates judge again, under a new one. */
static void a_reclaimed_lease(void **state)
{
    struct kit *kit = *state;
    int64_t task = merging(kit, "DEMO-1");
    assert_text(kit, "merge", "SELECT kind FROM jobs WHERE state = 'queued'");
    kit_number(kit,
               "INSERT INTO jobs (task, project, repo, entry, stage, stage_rank, kind,"
               " created_at) SELECT id, project, repo, entry, stage, 0, 'query', 1 FROM tasks");
    assert_true(reclaim(kit, "sample", task));
    assert_text(kit, "deploy-staging", "SELECT stage FROM tasks");
    assert_text(kit, "merge-gate",
                "SELECT group_concat(kind) FROM jobs WHERE state = 'queued' AND"
                " kind <> 'query'");
    assert_text(kit, "queued", "SELECT state FROM jobs WHERE kind = 'query'");
    assert_text(kit, "cancelled", "SELECT state FROM jobs WHERE kind = 'merge'");
    assert_number(kit, 0, "SELECT rollbacks FROM tasks"); /* nobody's fault */
    kit_pass(kit, task, "pass");
    kit_pass(kit, task, NULL);
    kit_pass(kit, task, "pass");
    assert_text(kit, "done", "SELECT stage FROM tasks");
}

static void a_parked_task_stays_parked(void **state)
{
    struct kit *kit = *state;
    int64_t task = merging(kit, "SHOP-1");
    char *before = kit_text(kit, "SELECT stage || entry || parked_for FROM tasks");
    assert_true(reclaim(kit, "shop", task));
    assert_text(kit, before, "SELECT stage || entry || parked_for FROM tasks");
    free(before);
    kit_operator(kit, "confirm-deploy", "SHOP-1"); /* and goes the same way when it comes */
    assert_text(kit, "deploy-staging", "SELECT stage FROM tasks");
}

static void the_lease_of_one_that_has_ended(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_number(kit, "UPDATE tasks SET stage = 'done', terminal = 1");
    kit_number(kit, "INSERT INTO leases (repo, task, since) VALUES ('sample', %lld, 1)",
               (long long)task);
    assert_true(reclaim(kit, "sample", task));
    assert_text(kit, "done", "SELECT stage FROM tasks");
    assert_false(reclaim(kit, "sample", 99));
}

/* ---- what runs ---- */

static void what_runs_and_who_holds_what(void **state)
{
    struct kit *kit = *state;
    int64_t task, holder = merging(kit, "DEMO-1");
    char *run = running(kit, "DEMO-2", &task); /* and the merge */
    kit_issue(kit, "SITE-3", "To Analyse");
    kit_number(kit, "UPDATE jobs SET kind = 'merge-gate', role = NULL WHERE project = 'SITE'");
    json_t *answer = kit_tell(kit, reaping_running, message_new(MESSAGE_running_get, NULL, NULL));
    json_t *jobs = json_object_get(answer, "jobs"), *leases = json_object_get(answer, "leases");
    assert_int_equal(json_array_size(jobs), 2);
    json_t *job = json_array_get(jobs, 1);
    assert_string_equal(message_text(job, "run", ""), run);
    assert_true(message_flag(job, "accepted", false));
    assert_int_equal(json_array_size(leases), 1);
    json_t *lease = json_array_get(leases, 0);
    assert_int_equal(message_integer(lease, "task", 0), holder);
    assert_true(message_flag(lease, "wanted", false)); /* by SITE-3, in the same repository */
    kit_number(kit, "UPDATE jobs SET task = %lld WHERE project = 'SITE'", (long long)holder);
    json_t *own = kit_tell(kit, reaping_running, message_new(MESSAGE_running_get, NULL, NULL));
    assert_false(message_flag(json_array_get(json_object_get(own, "leases"), 0), "wanted", true));
    json_decref(own);
    assert_string_equal(message_text(lease, "used_by_run", ""),
                        message_text(json_array_get(jobs, 0), "run", "?"));
    json_decref(answer);
    free(run);
}

static void service(struct kit *kit, const char *fault, const char *text)
{
    json_decref(kit_tell(kit, reaping_service,
                         message_new(MESSAGE_service_alert, NULL, "{ss ss ss}", "service", "runner",
                                     "fault", fault, "text", text)));
}

static void services(void **state)
{
    struct kit *kit = *state;
    service(kit, "hung", "runner does not answer");
    service(kit, "hung", "runner does not answer");
    assert_number(kit, 1,
                  "SELECT count(*) FROM alerts WHERE key = 'service:runner' AND cleared_at"
                  " IS NULL");
    assert_number(kit, 1, "SELECT count(*) FROM journal WHERE event = 'alert'");
    assert_number(kit, 2,
                  "SELECT count(*) FROM journal WHERE event = 'service' AND service ="
                  " 'runner'");
    service(kit, "recovered", "");
    assert_number(kit, 0, "SELECT count(*) FROM alerts WHERE cleared_at IS NULL");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_dead_run),
        TEST(a_run_that_ended),
        TEST(a_run_that_runs_too_long),
        TEST(a_used_lease_is_never_taken),
        TEST(a_reclaimed_lease),
        TEST(a_parked_task_stays_parked),
        TEST(the_lease_of_one_that_has_ended),
        TEST(what_runs_and_who_holds_what),
        TEST(services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
