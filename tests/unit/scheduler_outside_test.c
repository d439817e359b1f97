/* What the reconciler compares with, and what it finds.
 *
 * Mutations tried, each red: findings of another entry acted on (stale_findings), one read before
 * our own answer reached the tracker (an_outdated_reading), a finding that came too early taken for
 * heard (what_came_too_early_is_asked_again), jobs restored beside a live one (a_missing_job),
 * cancelled tasks or too old ones compared (which_tasks_are_compared), queries counted as live jobs
 * (which_tasks_are_compared), another pass's end taken for ours (the_first_look). */
#include "tests/unit/scheduler_kit.h"
#include "services/scheduler/local.h"

static json_t *finding(const char *what, const char *key, const char *issue, int64_t entry,
                       const char *status)
{
    return message_new(MESSAGE_finding, NULL, "{ss ss ss ss so ss? ss so}", "finding", what,
                       "project", "DEMO", "issue", issue, "key", key, "entry",
                       entry ? json_integer(entry) : json_null(), "status", status, "actor", "ada",
                       "detail",
                       json_pack("{ss ss s[s] sI}", "title", "Found", "body", "Words", "labels",
                                 "one", "updated_ms", (json_int_t)0));
}

/* "applied started", caller frees. */
static char *told(struct kit *kit, json_t *message)
{
    json_t *answer = kit_tell(kit, outside_finding, message);
    const char *reason = message_text(answer, "reason", message_text(answer, "code", "?"));
    char *text = xformat("%s %.*s", message_text(answer, "result", "error"),
                         (int)strcspn(reason, ":"), reason);
    json_decref(answer);
    return text;
}

#define assert_told(kit, message, expected)                                                        \
    do {                                                                                           \
        char *told_text = told(kit, message);                                                      \
        assert_string_equal(told_text, expected);                                                  \
        free(told_text);                                                                           \
    } while (0)

static int64_t entry_of(struct kit *kit, int64_t task)
{
    return kit_number(kit, "SELECT entry FROM tasks WHERE id = %lld", (long long)task);
}

static void an_issue_without_a_task(void **state)
{
    struct kit *kit = *state;
    assert_told(kit, finding("F-1", "DEMO-1", "local-1", 0, "to_analyse"), "applied started");
    assert_text(kit, "DEMO-1 Found Words [\"one\"] analysis",
                "SELECT key || ' ' || title || ' ' || description || ' ' || labels || ' ' || stage"
                " FROM tasks");
    assert_text(kit, "ada", "SELECT actor FROM transitions LIMIT 1");
    /* found once more before the next pass reads of it: there was no task then */
    assert_told(kit, finding("F-1", "DEMO-1", "local-1", 0, "to_analyse"), "ignored stale");
    assert_number(kit, 1, "SELECT count(*) FROM tasks");
}

static void an_approval_that_was_never_heard(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_deliver(kit);
    kit_pass(kit, task, "pass");
    int64_t entry = entry_of(kit, task);
    assert_told(kit, finding("F-2", "DEMO-1", "local-1", entry, "approved"), "ignored too-early");
    kit_deliver(kit);
    assert_told(kit, finding("F-2", "DEMO-1", "local-1", entry, "approved"), "applied approved");
    assert_text(kit, "architecture", "SELECT stage FROM tasks");
    assert_told(kit, finding("F-2", "DEMO-1", "local-1", entry, "approved"), "ignored stale");
}

static void stale_findings(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    int64_t entry = entry_of(kit, task);
    char *before = kit_dump(kit);
    assert_told(kit, finding("F-2", "DEMO-1", "local-1", entry - 1, "stop"), "ignored stale");
    assert_told(kit, finding("F-2", "DEMO-1", "local-1", 0, "stop"), "ignored stale");
    assert_told(kit, finding("F-4", "DEMO-1", "local-1", entry - 1, NULL), "ignored stale");
    assert_told(kit, finding("F-2", "DEMO-9", "local-9", 0, "stop"), "ignored unknown-task");
    char *after = kit_dump(kit);
    assert_string_equal(before, after);
    free(before);
    free(after);
    assert_told(kit, finding("F-2", "DEMO-1", "local-1", entry, "stop"), "applied stopped");
}

static void an_outdated_reading(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    int64_t entry = entry_of(kit, task);
    kit_number(kit, "UPDATE tasks SET issue_updated = 5000");
    json_t *message = finding("F-2", "DEMO-1", "local-1", entry, "stop");
    json_object_set_new(json_object_get(message, "detail"), "updated_ms", json_integer(4999));
    assert_told(kit, message, "ignored stale");
    message = finding("F-2", "DEMO-1", "local-1", entry, "stop");
    json_object_set_new(json_object_get(message, "detail"), "updated_ms", json_integer(5000));
    assert_told(kit, message, "applied stopped"); /* equal ones count */
}

static void what_is_not_acted_on(void **state)
{
    struct kit *kit = *state;
    json_t *message = finding("F-1", "DEMO-1", "local-1", 0, "to_analyse");
    json_object_set_new(message, "project", json_string("NONE"));
    assert_told(kit, message, "error unknown-project");
    assert_told(kit, finding("F-9", "DEMO-1", "local-1", 0, NULL), "error unknown-finding");
    assert_told(kit, finding("F-2", "DEMO-1", "local-1", 0, "development"),
                "error unknown-finding");
    assert_told(kit, finding("F-2", "DEMO-1", "local-1", 0, NULL), "error unknown-finding");
}

/* F-4: a stage whose job is gone gets it back, once. */
static void a_missing_job(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    int64_t entry = entry_of(kit, task);
    assert_told(kit, finding("F-4", "DEMO-1", "local-1", entry, NULL), "ignored repeated");
    kit_number(kit, "UPDATE jobs SET state = 'failed'");
    assert_told(kit, finding("F-4", "DEMO-1", "local-1", entry, NULL), "applied job-restored");
    assert_told(kit, finding("F-4", "DEMO-1", "local-1", entry, NULL), "ignored repeated");
    assert_number(kit, 1, "SELECT count(*) FROM jobs WHERE state = 'queued'");
    kit_pass(kit, task, "pass");
    assert_told(kit, finding("F-4", "DEMO-1", "local-1", entry, NULL),
                "ignored repeated"); /* parked */
}

static void what_came_too_early_is_asked_again(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_deliver(kit);
    kit_pass(kit, task, "pass");
    kit_event(kit, "local",
              "{\"kind\":\"status\",\"issue\":\"DEMO-1\",\"status\":\"Approved\","
              "\"announce\":false}");
    int64_t entry = entry_of(kit, task);
    assert_told(kit, finding("F-2", "DEMO-1", "local-1", entry, "approved"), "ignored too-early");
    assert_number(kit, 1, "SELECT status_unheard FROM local_issues"); /* still waits to be heard */
    kit_deliver(kit);
    assert_told(kit, finding("F-2", "DEMO-1", "local-1", entry, "approved"), "applied approved");
    assert_number(kit, 0, "SELECT status_unheard FROM local_issues");
}

/* ---- what is compared ---- */

static json_t *tasks(struct kit *kit, int64_t after, int max)
{
    return kit_tell(kit, outside_tasks,
                    message_new(MESSAGE_tasks_get, NULL, "{ss sI si}", "project", "DEMO", "after",
                                after, "max", max));
}

static void which_tasks_are_compared(void **state)
{
    const int64_t day = 24LL * 3600 * 1000;
    struct kit *kit = *state;
    for (int i = 1; i <= 5; i++) {
        char key[16];
        snprintf(key, sizeof key, i == 5 ? "SHOP-%d" : "DEMO-%d", i);
        kit_issue(kit, key, "To Analyse");
    }
    kit_number(kit, "UPDATE tasks SET display_confirmed = entry WHERE id = 3");
    kit_operator(kit, "stop", "DEMO-2"); /* has given its issue up */
    kit_number(kit, "UPDATE tasks SET stage = 'done', terminal = 1, ended_at = %lld WHERE id = 3",
               (long long)(kit->scheduler.now_ms - 29 * day));
    kit_number(kit, "UPDATE tasks SET stage = 'done', terminal = 1, ended_at = %lld WHERE id = 4",
               (long long)(kit->scheduler.now_ms - 31 * day));
    kit_number(kit, "UPDATE tasks SET pr_number = 7, pr_head = 'h', head = 'abc' WHERE id = 1");
    kit_number(kit, "INSERT INTO jobs (task, project, repo, entry, stage, stage_rank, kind,"
                    " created_at) SELECT id, project, repo, entry, stage, 0, 'query', 1 FROM tasks"
                    " WHERE id = 1");
    json_t *page = tasks(kit, 0, 100), *rows = json_object_get(page, "tasks");
    assert_int_equal(json_array_size(rows), 2);
    json_t *first = json_array_get(rows, 0);
    assert_string_equal(message_text(first, "key", ""), "DEMO-1");
    assert_int_equal(message_integer(first, "live_jobs", 0), 1);
    assert_int_equal(message_integer(json_object_get(first, "pull_request"), "number", 0), 7);
    assert_false(message_flag(first, "blocked", true));
    assert_false(message_flag(first, "display_confirmed", true));
    assert_true(message_flag(json_array_get(rows, 1), "display_confirmed", false));
    assert_string_equal(message_text(json_array_get(rows, 1), "key", ""), "DEMO-3");
    json_decref(page);
    page = tasks(kit, 0, 1);
    assert_true(message_flag(page, "more", false));
    json_decref(page);
    page = tasks(kit, 1, 1);
    assert_false(message_flag(page, "more", true));
    json_decref(page);
}

static void what_was_done_in_this_entry(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_pass(kit, task, "pass");
    kit_operator(kit, "approve", "DEMO-1");
    json_t *page = tasks(kit, 0, 9);
    json_t *row = json_array_get(json_object_get(page, "tasks"), 0);
    assert_int_equal(json_array_size(json_object_get(row, "commands_done")), 0); /* a new entry */
    json_decref(page);
    kit_number(kit, "UPDATE commands_seen SET entry = (SELECT entry FROM tasks)");
    page = tasks(kit, 0, 9);
    row = json_array_get(json_object_get(page, "tasks"), 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(row, "commands_done"), 0)),
                        "approved");
    json_decref(page);
}

/* ---- the first look after a start ---- */

static void end_pass(struct kit *kit, json_t *pass)
{
    json_decref(kit_tell(kit, outside_done,
                         message_new(MESSAGE_reconcile_done, NULL, "{so si si si}", "pass", pass,
                                     "compared", 1, "found", 0, "failed", 0)));
}

static int64_t pass_of(json_t *items)
{
    int64_t pass =
        json_array_size(items) == 1 ? message_integer(json_array_get(items, 0), "pass", 0) : 0;
    json_decref(items);
    return pass;
}

static void the_first_look(void **state)
{
    struct kit *kit = *state;
    kit_number(kit, "INSERT INTO meta (key, value) VALUES ('reconcile_pass', '5')");
    kit->scheduler.work.pass = 0;
    kit->scheduler.work.pass_ended = false;
    int64_t pass = pass_of(kit_ask(kit, "reconciler", 9, true));
    assert_int_equal(pass, 6);
    end_pass(kit, json_null()); /* a periodic one, of before */
    assert_false(kit->scheduler.work.pass_ended);
    end_pass(kit, json_integer(pass - 1));
    assert_false(kit->scheduler.work.pass_ended);
    assert_int_equal(pass_of(kit_ask(kit, "reconciler", 9, false)), pass); /* still wanted */
    end_pass(kit, json_integer(pass));
    assert_true(kit->scheduler.work.pass_ended);
    assert_int_equal(pass_of(kit_ask(kit, "reconciler", 9, true)), 0);
    kit_restart(kit); /* each start asks for one of its own */
    kit->scheduler.work.pass_ended = false;
    assert_int_equal(pass_of(kit_ask(kit, "reconciler", 9, false)), pass + 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_issue_without_a_task),
        TEST(an_approval_that_was_never_heard),
        TEST(stale_findings),
        TEST(an_outdated_reading),
        TEST(what_is_not_acted_on),
        TEST(a_missing_job),
        TEST(what_came_too_early_is_asked_again),
        TEST(which_tasks_are_compared),
        TEST(what_was_done_in_this_entry),
        TEST(the_first_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
