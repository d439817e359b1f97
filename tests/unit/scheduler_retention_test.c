/* What is old goes, and nothing else.
 *
 * Mutations tried, each red: unfinished or leased tasks or such with an unreported cleanup not
 * spared (old_tasks_go), the clock believed always (a_clock_that_jumps_deletes_nothing), decisions
 * dropped after retention.days where that is less than 30 (keys_are_kept_for_a_month), no limit by
 * rows or by turn (a_little_at_a_time, the_record_is_bounded), a failed deletion not undone alone
 * (a_refused_deletion_hurts_nobody). */
#include "tests/unit/scheduler_kit.h"
#include "services/scheduler/retention.h"

static const int64_t day = 24LL * 3600 * 1000;

static bool prune(struct kit *kit)
{
    kit_begin(kit);
    kit->scheduler.clock_offset_ms += kit->skew_ms; /* that clock is the true one */
    bool more = retention_prune(&kit->scheduler);
    kit->scheduler.clock_offset_ms -= kit->skew_ms;
    kit_commit(kit);
    return more;
}

/* A finished task with rows in every table, ended so many days ago. */
static int64_t finished(struct kit *kit, const char *key, int days)
{
    int64_t task = kit_issue(kit, key, "To Analyse");
    kit_claim(kit);
    kit_operator(kit, "stop", key);
    char *run = kit_live_run(kit, task);
    kit_ended(kit, kit_result(run, "cancelled", "interrupted", NULL));
    free(run);
    kit_pass(kit, task, NULL); /* the cleanup */
    assert_number(kit, 0, "SELECT count(*) FROM tasks WHERE id = %lld AND cleanup_job IS NOT NULL",
                  (long long)task);
    kit_number(kit, "UPDATE tasks SET ended_at = %lld WHERE id = %lld",
               (long long)(kit->scheduler.now_ms - days * day), (long long)task);
    return task;
}

/* A task that is done, as if it had ended so many days ago. */
static int64_t done(struct kit *kit, const char *key, int days)
{
    int64_t task = kit_issue(kit, key, "To Analyse");
    kit_number(kit, "UPDATE jobs SET state = 'done' WHERE task = %lld", (long long)task);
    kit_number(kit,
               "UPDATE tasks SET stage = 'done', terminal = 1, ended_at = %lld WHERE id = %lld",
               (long long)(kit->scheduler.now_ms - days * day), (long long)task);
    return task;
}

static int64_t cleanups_of(struct kit *kit, int64_t task)
{
    return kit_number(kit,
                      "SELECT count(*) FROM jobs j JOIN tasks t ON t.id = j.task AND"
                      " t.cleanup_job = j.id WHERE j.task = %lld AND j.kind = 'cleanup'"
                      " AND j.state = 'queued'",
                      (long long)task);
}

/* Red without the age, the place where we came, or `done`. */
static void workspaces_and_branches_of_what_is_done_go_once(void **state)
{
    struct kit *kit = *state;
    int64_t old = done(kit, "DEMO-1", 31), young = done(kit, "DEMO-2", 29);
    int64_t stopped = finished(kit, "DEMO-5", 31);
    assert_false(prune(kit));
    assert_int_equal(cleanups_of(kit, old), 1);
    assert_int_equal(cleanups_of(kit, young), 0);
    assert_int_equal(cleanups_of(kit, stopped), 0);
    kit_number(kit, "UPDATE tasks SET cleanup_job = NULL WHERE id = %lld", (long long)old);
    assert_false(prune(kit));
    assert_number(kit, 1, "SELECT count(*) FROM jobs WHERE task = %lld AND kind = 'cleanup'",
                  (long long)old);
}

static void old_tasks_go(void **state)
{
    static const char *const tables[] = {"transitions", "jobs", "agent_runs", "effects",
                                         "commands_seen"};
    struct kit *kit = *state;
    int64_t old = finished(kit, "DEMO-1", 366), leased = finished(kit, "DEMO-2", 366);
    int64_t unreported = finished(kit, "DEMO-3", 366), young = finished(kit, "DEMO-4", 364);
    int64_t living = kit_issue(kit, "DEMO-5", "To Analyse");
    kit_number(kit, "INSERT INTO leases (repo, task, since) VALUES ('sample', %lld, 1)",
               (long long)leased);
    kit_number(kit, "UPDATE tasks SET cleanup_job = 1 WHERE id = %lld", (long long)unreported);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        assert_true(kit_number(kit, "SELECT count(*) FROM %s WHERE task = %lld", tables[i],
                               (long long)old) > 0);
    assert_false(prune(kit));
    assert_number(kit, 0, "SELECT count(*) FROM tasks WHERE id = %lld", (long long)old);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        assert_number(kit, 0, "SELECT count(*) FROM %s WHERE task = %lld", tables[i],
                      (long long)old);
    assert_number(kit, 4, "SELECT count(*) FROM tasks WHERE id IN (%lld, %lld, %lld, %lld)",
                  (long long)leased, (long long)unreported, (long long)young, (long long)living);
    /* the tracker's own data are nobody's history */
    assert_number(kit, 5, "SELECT count(*) FROM local_issues");
    assert_number(kit, 0, "SELECT count(*) FROM pragma_foreign_key_check");
}

static void keys_are_kept_for_a_month(void **state)
{
    struct kit *kit = *state;
    kit_configure(kit, "retention: {days: 1}");
    kit->scheduler.config = kit->config;
    int64_t seq = kit_event(kit, "local", "no object");
    kit->skew_ms = 29 * day;
    prune(kit);
    assert_decision(kit, seq, "ignored unreadable");
    kit->skew_ms = 31 * day;
    prune(kit);
    assert_null(kit_decision(kit, seq));
}

static void a_clock_that_jumps_deletes_nothing(void **state)
{
    struct kit *kit = *state;
    finished(kit, "DEMO-1", 1);
    kit->skew_ms = 400 * day;
    kit_begin(kit);
    assert_false(retention_prune(&kit->scheduler));
    kit_commit(kit);
    assert_number(kit, 1, "SELECT count(*) FROM tasks");
    prune(kit); /* the same time, believed */
    assert_number(kit, 0, "SELECT count(*) FROM tasks");
}

static void fill_journal(struct kit *kit, int64_t rows, int64_t at)
{
    kit_number(kit,
               "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %lld)"
               " INSERT INTO journal (at, event) SELECT %lld, 'task' FROM n",
               (long long)rows, (long long)at);
}

static void a_little_at_a_time(void **state)
{
    struct kit *kit = *state;
    kit_begin(kit);
    kit_commit(kit);
    int64_t now = kit->scheduler.now_ms;
    fill_journal(kit, RETENTION_ROWS + 7, now - 31 * day);
    fill_journal(kit, 3, now - 29 * day);
    assert_true(prune(kit));
    assert_number(kit, 7 + 3, "SELECT count(*) FROM journal");
    assert_false(prune(kit));
    assert_number(kit, 3, "SELECT count(*) FROM journal");
}

static void the_record_is_bounded(void **state)
{
    struct kit *kit = *state;
    kit_begin(kit);
    kit_commit(kit);
    fill_journal(kit, RETENTION_JOURNAL_ROWS + 10, kit->scheduler.now_ms);
    prune(kit);
    assert_number(kit, RETENTION_JOURNAL_ROWS, "SELECT count(*) FROM journal");
    assert_number(kit, 11, "SELECT min(seq) FROM journal");
}

static void alerts_that_are_over_go(void **state)
{
    struct kit *kit = *state;
    kit_begin(kit);
    alert_raise(&kit->scheduler, "open", "open");
    alert_raise(&kit->scheduler, "over", "over");
    alert_clear(&kit->scheduler, "over");
    kit_commit(kit);
    kit->skew_ms = 31 * day;
    prune(kit);
    assert_text(kit, "open", "SELECT group_concat(key) FROM alerts");
}

static void a_refused_deletion_hurts_nobody(void **state)
{
    struct kit *kit = *state;
    finished(kit, "DEMO-1", 366);
    kit_number(kit, "CREATE TABLE watch (task INTEGER REFERENCES tasks(id)) STRICT");
    kit_number(kit, "INSERT INTO watch SELECT id FROM tasks");
    kit_begin(kit);
    meta_set(&kit->scheduler, "kept", 7);
    assert_false(retention_prune(&kit->scheduler));
    kit_commit(kit);
    assert_number(kit, 1, "SELECT count(*) FROM tasks");
    assert_number(kit, 7, "SELECT value FROM meta WHERE key = 'kept'");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(old_tasks_go),
        TEST(workspaces_and_branches_of_what_is_done_go_once),
        TEST(keys_are_kept_for_a_month),
        TEST(a_clock_that_jumps_deletes_nothing),
        TEST(a_little_at_a_time),
        TEST(the_record_is_bounded),
        TEST(alerts_that_are_over_go),
        TEST(a_refused_deletion_hurts_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
