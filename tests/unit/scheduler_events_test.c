/* Accepted events: each is acted on once, in order, and decided on whatever it is; with them the
 * built-in tracker that they change.
 *
 * Mutations tried, each red: the position not kept with what was done (each_event_once), an event
 * that the rows refuse stops those after it (a_refused_event_stops_nobody), its part not undone
 * (a_refused_event_stops_nobody), an event of no driver dropped (of_no_driver), unreadable ones
 * fatal or uncounted (unreadable), a role taken for a person (nobody_is_named_like_a_role), an
 * unannounced change acted on (what_was_not_announced), a status of ours or an unheard command
 * written over (an_unheard_command_is_not_written_over), the external id ignored (once_per_
 * external_id), what people change not carried to the task (what_people_change). */
#include "tests/unit/scheduler_kit.h"
#include "services/scheduler/local.h"

static void each_event_once(void **state)
{
    struct kit *kit = *state;
    int64_t seq = kit_inbox(kit, "local",
                            "{\"kind\":\"issue\",\"issue\":\"DEMO-1\",\"title\":\"T\",\"status\":"
                            "\"To Analyse\"}");
    assert_int_equal(kit_take(kit), 1);
    assert_decision(kit, seq, "applied started");
    assert_int_equal(kit_take(kit), 0);
    assert_number(kit, seq, "SELECT value FROM meta WHERE key = 'inbox_position'");
    kit_restart(kit);
    assert_int_equal(kit_take(kit), 0);
    assert_number(kit, 1, "SELECT count(*) FROM tasks");
    assert_number(kit, 1, "SELECT task FROM decisions WHERE event = %lld", (long long)seq);
    /* killed after the work, before the commit: it is done again, from the beginning */
    seq = kit_inbox(kit, "local", "{\"kind\":\"status\",\"issue\":\"DEMO-1\",\"status\":\"STOP\"}");
    kit_begin(kit);
    assert_int_equal(events_take(&kit->scheduler), 1);
    kit_restart(kit);
    assert_text(kit, "analysis", "SELECT stage FROM tasks");
    assert_int_equal(kit_take(kit), 1);
    assert_text(kit, "cancelled", "SELECT stage FROM tasks");
    assert_number(kit, 2,
                  "SELECT count(*) FROM transitions WHERE to_stage IN ('analysis',"
                  " 'cancelled')");
}

static void in_their_order(void **state)
{
    struct kit *kit = *state;
    kit_inbox(
        kit, "local",
        "{\"kind\":\"issue\",\"issue\":\"DEMO-1\",\"title\":\"T\",\"status\":\"To Analyse\"}");
    kit_inbox(kit, "operator", "{\"command\":\"stop\",\"task\":\"DEMO-1\"}");
    kit_inbox(kit, "local", "{\"kind\":\"status\",\"issue\":\"DEMO-1\",\"status\":\"To Analyse\"}");
    assert_int_equal(kit_take(kit), 3); /* in one turn */
    assert_text(kit, "cancelled analysis",
                "SELECT group_concat(stage, ' ') FROM (SELECT stage FROM tasks ORDER BY id)");
}

static void unreadable(void **state)
{
    static const char *const bodies[] = {"", "{", "[]", "7", "{\"a\":1,\"a\":2}", "\xff\xfe"};
    struct kit *kit = *state;
    int count = (int)(sizeof bodies / sizeof *bodies);
    for (int i = 0; i < count; i++) {
        assert_decision(kit, kit_event(kit, "local", bodies[i]), "ignored unreadable");
        assert_decision(kit, kit_event(kit, "operator", bodies[i]), "ignored unreadable");
    }
    assert_int_equal(kit->scheduler.counters.unreadable, 2 * count);
    assert_int_equal(kit->scheduler.counters.ignored, 2 * count);
    /* readable, but of nothing that we know */
    assert_decision(kit, kit_event(kit, "operator", "{\"command\":\"dance\"}"),
                    "refused unreadable");
    assert_decision(kit, kit_event(kit, "operator", "{}"), "refused unreadable");
    assert_decision(kit, kit_event(kit, "local", "{}"), "refused unknown-project");
    assert_number(kit, 0, "SELECT count(*) FROM local_issues");
}

static void of_no_driver(void **state)
{
    struct kit *kit = *state;
    assert_decision(kit, kit_event(kit, "plane", "{\"event\":\"issue\"}"), "ignored no-driver");
    assert_decision(kit, kit_event(kit, "gitea", "not even JSON"), "ignored no-driver");
}

static void of_no_project(void **state)
{
    static const char *const keys[] = {"NONE-1", "DEMO", "-1", "", "DEMOX-1", "demo-1"};
    struct kit *kit = *state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char *body = xformat("{\"kind\":\"issue\",\"issue\":\"%s\",\"title\":\"T\",\"status\":\"To "
                             "Analyse\"}",
                             keys[i]);
        assert_decision(kit, kit_event(kit, "local", body), "refused unknown-project");
        free(body);
    }
    /* a status or comment for an unknown key is kept, counted and does nothing */
    assert_decision(kit, kit_status(kit, "DEMO-7", "STOP"), "ignored unknown-task");
    assert_decision(kit,
                    kit_event(kit, "local",
                              "{\"kind\":\"comment\",\"issue\":\"DEMO-7\","
                              "\"body\":\":approved:\"}"),
                    "ignored unknown-task");
    assert_decision(kit, kit_operator(kit, "stop", "DEMO-7"), "refused unknown-task");
    assert_decision(kit, kit_operator(kit, "comment", "DEMO-7"), "refused unknown-task");
    assert_decision(kit, kit_event(kit, "operator", "{\"command\":\"pause\",\"project\":\"NONE\"}"),
                    "refused unknown-project");
    assert_number(kit, 0,
                  "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM"
                  " local_issues)");
}

/* Ingress refuses it at the door; nothing relies on that. */
static void nobody_is_named_like_a_role(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "To Analyse");
    char *before = kit_text(kit, "SELECT status || updated_at FROM local_issues");
    assert_decision(kit,
                    kit_event(kit, "local",
                              "{\"kind\":\"status\",\"issue\":\"DEMO-1\","
                              "\"status\":\"STOP\",\"actor\":\"analyst\"}"),
                    "refused reserved-actor");
    assert_decision(kit,
                    kit_event(kit, "operator",
                              "{\"command\":\"stop\",\"task\":\"DEMO-1\","
                              "\"actor\":\"Stream\"}"),
                    "refused reserved-actor");
    assert_text(kit, "analysis", "SELECT stage FROM tasks");
    assert_text(kit, before, "SELECT status || updated_at FROM local_issues");
    free(before);
}

static void status_event(struct kit *kit, const char *key, const char *status)
{
    char *body = xformat("{\"kind\":\"status\",\"issue\":\"%s\",\"status\":\"%s\",\"actor\":"
                         "\"ada\"}",
                         key, status);
    kit_event(kit, "local", body);
    free(body);
}

/* Red when a STOP finds no task any more: the issue would show it for ever; or when the one that is
 * ended for good says so once more. */
static void a_second_stop_returns_the_display(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_deliver(kit);
    status_event(kit, "DEMO-1", "STOP");
    kit_deliver(kit);
    int64_t said = kit_number(kit, "SELECT count(*) FROM effects WHERE kind = 'comment'");
    status_event(kit, "DEMO-1", "STOP");
    assert_text(kit, "cancelled",
                "SELECT group_concat(status) FROM effects WHERE task = %lld AND state = 'pending'",
                (long long)task);
    assert_number(kit, said, "SELECT count(*) FROM effects WHERE kind = 'comment'");
    assert_number(kit, 1, "SELECT count(*) FROM tasks");
}

/* Red when the predecessor's last status may still go out, over the new task's own. */
static void a_new_task_shows_its_issue_alone(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_deliver(kit);
    status_event(kit, "DEMO-1", "STOP");
    status_event(kit, "DEMO-1", "To Analyse");
    assert_number(kit, 2, "SELECT count(*) FROM tasks");
    assert_text(
        kit, "analysis",
        "SELECT group_concat(status) FROM effects WHERE kind = 'status' AND state = 'pending'");
    assert_number(kit, 1,
                  "SELECT count(*) FROM effects WHERE task = %lld AND kind = 'comment'"
                  " AND state = 'pending'",
                  (long long)task);
}

static void a_refused_event_stops_nobody(void **state)
{
    struct kit *kit = *state;
    kit_number(kit, "CREATE TRIGGER refuse BEFORE INSERT ON jobs WHEN (SELECT key FROM tasks WHERE"
                    " id = new.task) = 'DEMO-1' BEGIN SELECT raise(ABORT, 'not this one'); END");
    int64_t first = kit_inbox(kit, "local",
                              "{\"kind\":\"issue\",\"issue\":\"DEMO-1\",\"title\":\"T\","
                              "\"status\":\"To Analyse\"}");
    int64_t second = kit_inbox(kit, "local",
                               "{\"kind\":\"issue\",\"issue\":\"DEMO-2\",\"title\":\"T\","
                               "\"status\":\"To Analyse\"}");
    kit_begin(kit);
    assert_int_equal(events_take(&kit->scheduler), 2);
    size_t index;
    json_t *event;
    json_array_foreach(kit->scheduler.journal.pending, index, event)
    {
        assert_string_equal(message_text(event, "task", ""), "DEMO-2"); /* what will be published */
    }
    assert_int_equal(index, 3);
    kit_commit(kit);
    assert_decision(kit, first, "refused internal");
    assert_decision(kit, second, "applied started");
    assert_text(kit, "DEMO-2", "SELECT group_concat(key) FROM local_issues");
    assert_text(kit, "DEMO-2",
                "SELECT group_concat(DISTINCT task) FROM journal WHERE task IS NOT"
                " NULL");
}

/* Another file took the inbox's place, or it cannot be read: said once, tried on. */
static void an_inbox_that_cannot_be_read(void **state)
{
    struct kit *kit = *state;
    char garbage[4096];
    char log[80];
    memset(garbage, 'x', sizeof garbage);
    snprintf(log, sizeof log, "%s-wal", kit->inbox_path);
    unlink(log);
    assert_int_equal(file_write_atomic(kit->inbox_path, garbage, sizeof garbage, 0600), 0);
    kit_begin(kit);
    assert_int_equal(events_take(&kit->scheduler), -1);
    assert_true(kit->scheduler.inbox_unreadable);
    kit_commit(kit); /* and the rest of the turn is well */
    unlink(kit->inbox_path);
    kit_begin(kit);
    assert_int_equal(events_take(&kit->scheduler), 0);
    assert_false(kit->scheduler.inbox_unreadable);
    kit_commit(kit);
}

/* ---- the built-in tracker: people ---- */

static void an_issue_and_what_becomes_of_it(void **state)
{
    struct kit *kit = *state;
    int64_t seq = kit_event(kit, "local",
                            "{\"kind\":\"issue\",\"issue\":\"DEMO-1\",\"title\":\"T\","
                            "\"labels\":[\"a\"]}");
    assert_decision(kit, seq, "ignored changed");
    assert_text(kit, "Backlog [\"a\"]", "SELECT status || ' ' || labels FROM local_issues");
    assert_number(kit, 0, "SELECT count(*) FROM tasks");
    assert_decision(kit, kit_status(kit, "DEMO-1", "  to analyse "), "applied started");
    assert_text(kit, "To Analyse", "SELECT status FROM local_issues"); /* in its own spelling */
    assert_decision(kit, kit_status(kit, "DEMO-1", "Somewhere"), "ignored changed");
    assert_text(kit, "Somewhere", "SELECT status FROM local_issues");
    assert_text(kit, "To Analyse Somewhere",
                "SELECT group_concat(status, ' ') FROM (SELECT * FROM local_status_history WHERE"
                " actor = 'ada' ORDER BY id)");
}

static void what_people_change(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "To Analyse");
    assert_decision(kit,
                    kit_event(kit, "local",
                              "{\"kind\":\"issue\",\"issue\":\"DEMO-1\","
                              "\"title\":\"New\",\"body\":\"Words\",\"labels\":"
                              "[\"b\"]}"),
                    "ignored changed");
    assert_text(kit, "New Words [\"b\"]",
                "SELECT title || ' ' || description || ' ' || labels FROM tasks");
    assert_decision(kit,
                    kit_event(kit, "local",
                              "{\"kind\":\"label\",\"issue\":\"DEMO-1\","
                              "\"labels\":[\"c\",\"d\"]}"),
                    "ignored changed");
    assert_text(kit, "[\"c\",\"d\"]", "SELECT labels FROM tasks"); /* the whole set */
    assert_decision(kit,
                    kit_event(kit, "local",
                              "{\"kind\":\"comment\",\"issue\":\"DEMO-1\","
                              "\"body\":\"please\",\"actor\":\"ada\"}"),
                    "ignored commented");
    assert_text(kit, "ada: please", "SELECT author || ': ' || body FROM local_comments");
    /* a task that has ended keeps what it was told */
    kit_number(kit, "UPDATE tasks SET stage = 'done', terminal = 1");
    kit_event(kit, "local", "{\"kind\":\"issue\",\"issue\":\"DEMO-1\",\"title\":\"Later\"}");
    assert_text(kit, "New", "SELECT title FROM tasks");
}

static void a_comment_approves(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_pass(kit, task, "pass");
    kit_deliver(kit);
    assert_decision(kit,
                    kit_event(kit, "local",
                              "{\"kind\":\"comment\",\"issue\":\"DEMO-1\","
                              "\"body\":\"fine :approved: thanks\"}"),
                    "applied approved");
    assert_text(kit, "architecture", "SELECT stage FROM tasks");
    task = kit_issue(kit, "DEMO-2", "To Analyse");
    kit_claim(kit); /* both */
    char *run = kit_live_run(kit, task);
    kit_ended(kit, kit_result(run, "succeeded", "none", "pass"));
    free(run);
    assert_decision(kit,
                    kit_event(kit, "operator",
                              "{\"command\":\"comment\",\"task\":\"DEMO-2\","
                              "\"text\":\"go :approved:\",\"actor\":\"bob\"}"),
                    "applied approved");
    assert_text(kit, "bob", "SELECT author FROM local_comments ORDER BY id DESC LIMIT 1");
    assert_decision(kit,
                    kit_event(kit, "operator",
                              "{\"command\":\"comment\",\"task\":\"DEMO-2\","
                              "\"text\":\"hello\"}"),
                    "applied commented");
}

/* One seen before the tracker showed what it answers is too early, and not remembered. */
static void too_early(void **state)
{
    struct kit *kit = *state;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_deliver(kit);
    kit_pass(kit, task, "pass");
    assert_decision(kit, kit_status(kit, "DEMO-1", "Approved"), "refused too-early");
    assert_text(kit, "approval", "SELECT parked_for FROM tasks");
    kit_deliver(kit);
    assert_decision(kit, kit_status(kit, "DEMO-1", "Approved"), "applied approved");
    assert_decision(kit, kit_status(kit, "DEMO-1", "Approved"), "refused wrong-stage");
}

static void what_was_not_announced(void **state)
{
    struct kit *kit = *state;
    int64_t seq = kit_event(kit, "local",
                            "{\"kind\":\"issue\",\"issue\":\"DEMO-1\",\"title\":\"T\","
                            "\"status\":\"To Analyse\",\"announce\":false}");
    assert_decision(kit, seq, "ignored no-command");
    assert_number(kit, 0, "SELECT count(*) FROM tasks");
    assert_number(kit, 1, "SELECT status_unheard FROM local_issues WHERE status = 'To Analyse'");
    seq = kit_event(kit, "local",
                    "{\"kind\":\"comment\",\"issue\":\"DEMO-1\",\"body\":"
                    "\":approved:\",\"announce\":false}");
    assert_decision(kit, seq, "ignored commented");
    /* a status that is no command is nothing to be heard */
    kit_event(kit, "local",
              "{\"kind\":\"status\",\"issue\":\"DEMO-1\",\"status\":\"Backlog\","
              "\"announce\":false}");
    assert_number(kit, 0, "SELECT status_unheard FROM local_issues");
}

/* ---- the built-in tracker: the notifier ---- */

static json_t *put_status(struct kit *kit, const char *status, const char *external)
{
    return kit_tell(kit, local_put_status,
                    message_new(MESSAGE_local_status_put, NULL, "{ss ss ss}", "issue", "local-1",
                                "status", status, "external_id", external));
}

static bool shown_once(struct kit *kit, const char *status, const char *external)
{
    json_t *answer = put_status(kit, status, external);
    bool duplicate = message_flag(answer, "duplicate", false);
    json_decref(answer);
    return !duplicate;
}

static void once_per_external_id(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "Backlog");
    assert_true(shown_once(kit, "analysis", "t1-1"));
    assert_true(shown_once(kit, "awaiting_approval", "t1-2"));
    /* repeated after a newer one it must not turn the display back */
    assert_false(shown_once(kit, "analysis", "t1-1"));
    assert_text(kit, "Awaiting Approval",
                "SELECT status FROM local_issues WHERE status_ours = 1"
                " AND status_actor = 'stream'");
    json_t *comment =
        message_new(MESSAGE_local_comment_put, NULL, "{ss ss ss ss}", "issue", "local-1", "author",
                    "analyst", "body", "done", "external_id", "t1-3");
    assert_false(kit_flag(kit, local_put_comment, json_incref(comment), "duplicate"));
    assert_true(kit_flag(kit, local_put_comment, json_incref(comment), "duplicate"));
    assert_number(kit, 1, "SELECT count(*) FROM local_comments");
    json_decref(comment);
}

static void what_does_not_exist_is_refused(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "Backlog");
    json_t *answer = put_status(kit, "dancing", "t1-1");
    assert_string_equal(message_text(answer, "code", ""), "unknown-status");
    json_decref(answer);
    answer = kit_tell(kit, local_put_status,
                      message_new(MESSAGE_local_status_put, NULL, "{ss ss ss}", "issue", "local-7",
                                  "status", "analysis", "external_id", "x"));
    assert_string_equal(message_text(answer, "code", ""), "unknown-issue");
    json_decref(answer);
    answer = kit_tell(kit, local_put_comment,
                      message_new(MESSAGE_local_comment_put, NULL, "{ss ss ss ss}", "issue", "x",
                                  "author", "stream", "body", "b", "external_id", "y"));
    assert_string_equal(message_text(answer, "code", ""), "unknown-issue");
    json_decref(answer);
}

static void an_unheard_command_is_not_written_over(void **state)
{
    static const char *const commands[] = {"To Analyse", "Approved", "STOP", "Confirm Deploy"};
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "Backlog");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char *body = xformat("{\"kind\":\"status\",\"issue\":\"DEMO-1\",\"status\":\"%s\","
                             "\"announce\":false}",
                             commands[i]);
        char external[16];
        snprintf(external, sizeof external, "t1-%zu", i);
        kit_event(kit, "local", body);
        assert_true(shown_once(kit, "blocked", external)); /* the effect is done with */
        /* doubt stops the dangerous: Confirm Deploy is asked for again */
        bool again = strcmp(commands[i], "Confirm Deploy") == 0;
        assert_text(kit, again ? "Blocked" : commands[i], "SELECT status FROM local_issues");
        free(body);
        /* once it was heard it may go */
        kit_begin(kit);
        local_heard(&kit->scheduler, "local-1");
        kit_commit(kit);
        snprintf(external, sizeof external, "t2-%zu", i);
        assert_true(shown_once(kit, "analysis", external));
        assert_text(kit, "Analysis", "SELECT status FROM local_issues");
    }
    /* an announced one was heard */
    kit_status(kit, "DEMO-1", "Approved");
    assert_true(shown_once(kit, "development", "t3-1"));
    assert_text(kit, "Development", "SELECT status FROM local_issues");
}

static json_t *list(struct kit *kit, int64_t after, int max)
{
    return kit_tell(kit, local_list,
                    message_new(MESSAGE_local_issues_get, NULL, "{ss sI si}", "project", "DEMO",
                                "after", after, "max", max));
}

static void pages_of_issues(void **state)
{
    struct kit *kit = *state;
    for (int i = 1; i <= 5; i++) {
        char key[16];
        snprintf(key, sizeof key, i == 3 ? "SHOP-%d" : "DEMO-%d", i);
        kit_issue(kit, key, "Backlog");
    }
    json_t *page = list(kit, 0, 2);
    assert_true(message_flag(page, "more", false));
    assert_int_equal(json_array_size(json_object_get(page, "issues")), 2);
    json_decref(page);
    page = list(kit, 2, 2);
    assert_false(message_flag(page, "more", true)); /* the other project's is left out */
    json_t *issue = json_array_get(json_object_get(page, "issues"), 0);
    assert_string_equal(message_text(issue, "key", ""), "DEMO-4");
    assert_string_equal(message_text(issue, "issue", ""), "local-4");
    assert_false(message_flag(issue, "status_ours", true));
    json_decref(page);
    page = list(kit, 0, 5000);
    assert_int_equal(json_array_size(json_object_get(page, "issues")), 4);
    json_decref(page);
}

/* Whatever people write, a page is a message. */
static void the_largest_page_is_a_message(void **state)
{
    struct kit *kit = *state;
    for (int i = 1; i <= 4; i++) {
        char key[16];
        snprintf(key, sizeof key, "DEMO-%d", i);
        kit_issue(kit, key, "Backlog");
    }
    kit_number(kit, "UPDATE local_issues SET body = printf('%%.*c', 3000000, char(1))");
    for (int i = 1; i <= 2000; i++)
        kit_number(kit,
                   "INSERT INTO local_comments (issue, author, body, at) VALUES (2, 'ada',"
                   " '%d ' || printf('%%.*c', 1000, char(2)), %d)",
                   i, i);
    int seen = 0;
    for (int64_t after = 0; seen < 4;) {
        json_t *page = list(kit, after, 100), *issues = json_object_get(page, "issues");
        assert_true(json_dumpb(page, NULL, 0, JSON_COMPACT) < MESSAGE_MAX_BYTES);
        assert_true(json_array_size(issues) > 0);
        seen += (int)json_array_size(issues);
        json_t *last = json_array_get(issues, json_array_size(issues) - 1);
        after = message_integer(last, "id", 0);
        const json_t *comments = json_object_get(last, "comments");
        size_t count = json_array_size(comments);
        if (after == 2) { /* the newest ones, oldest first */
            assert_true(count > 100 && count < 2000);
            assert_int_equal(message_integer(json_array_get(comments, count - 1), "at_ms", 0),
                             2000);
            assert_int_equal(message_integer(json_array_get(comments, 0), "at_ms", 0),
                             2001 - (int64_t)count);
        }
        json_decref(page);
    }
    assert_int_equal(seen, 4);
}

/* ---- the queue's and the repositories' switches ---- */

static void freezing(void **state)
{
    struct kit *kit = *state;
    assert_decision(kit,
                    kit_event(kit, "operator",
                              "{\"command\":\"freeze\",\"repo\":\"sample\","
                              "\"text\":\"red\",\"actor\":\"bob\"}"),
                    "applied freeze-set");
    assert_text(kit, "red by bob", "SELECT reason || ' by ' || actor FROM repo_freeze");
    int64_t since = kit_number(kit, "SELECT since FROM repo_freeze");
    kit->skew_ms = 5000;
    kit_event(kit, "operator", "{\"command\":\"freeze\",\"repo\":\"sample\",\"text\":\"still\"}");
    assert_number(kit, since, "SELECT since FROM repo_freeze WHERE reason = 'still'");
    /* announced once, and over with it */
    assert_text(kit, "sample is frozen by bob: red",
                "SELECT text FROM alerts WHERE cleared_at IS"
                " NULL");
    assert_decision(kit, kit_event(kit, "operator", "{\"command\":\"unfreeze\",\"repo\":\"x\"}"),
                    "refused not-frozen");
    assert_decision(kit,
                    kit_event(kit, "operator",
                              "{\"command\":\"unfreeze\",\"repo\":"
                              "\"sample\"}"),
                    "applied freeze-lifted");
    assert_number(kit, 0,
                  "SELECT (SELECT count(*) FROM repo_freeze) + (SELECT count(*) FROM alerts"
                  " WHERE cleared_at IS NULL)");
    assert_decision(kit, kit_event(kit, "operator", "{\"command\":\"freeze\"}"),
                    "refused internal"); /* the rows know better than a missing check */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(each_event_once),
        TEST(in_their_order),
        TEST(unreadable),
        TEST(of_no_driver),
        TEST(of_no_project),
        TEST(nobody_is_named_like_a_role),
        TEST(a_second_stop_returns_the_display),
        TEST(a_new_task_shows_its_issue_alone),
        TEST(a_refused_event_stops_nobody),
        TEST(an_inbox_that_cannot_be_read),
        TEST(an_issue_and_what_becomes_of_it),
        TEST(what_people_change),
        TEST(a_comment_approves),
        TEST(too_early),
        TEST(what_was_not_announced),
        TEST(once_per_external_id),
        TEST(what_does_not_exist_is_refused),
        TEST(an_unheard_command_is_not_written_over),
        TEST(pages_of_issues),
        TEST(the_largest_page_is_a_message),
        TEST(freezing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
