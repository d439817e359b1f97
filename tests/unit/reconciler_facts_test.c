/* JSON to facts and finding to message. Mutations tried: a role's comment counts as approval;
 * dashes of command names not read; the older of two tasks of an issue compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "protocol/message.h"
#include "services/reconciler/facts.h"

static json_t *issue(void)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:n,s:[s],s:I,s:b,s:[{s:s,s:s,s:I},{s:s,s:s,s:I}]}",
                     "id", "local-4", "key", "DEMO-4", "title", "T", "body", "B", "status",
                     "Approved", "status_key", "approved", "group", "labels", "big", "updated_ms",
                     (json_int_t)500, "status_ours", 0, "comments", "author", "analyst", "body",
                     ":approved:", "at_ms", (json_int_t)900, "author", "ada", "body",
                     "fine :approved:", "at_ms", (json_int_t)1000);
}

/* approvers and done: JSON, or NULL for none. */
static bool is_approved(const json_t *issue, int64_t since_ms, const char *approvers,
                        const char *done)
{
    json_t *row = json_pack("{s:I}", "parked_since_ms", (json_int_t)since_ms);
    json_t *may = approvers ? json_loads(approvers, 0, NULL) : NULL;
    if (done)
        json_object_set_new(row, "commands_done", json_loads(done, 0, NULL));
    bool approved = facts_issue(issue, row, may).has_approved_comment;
    json_decref(row);
    json_decref(may);
    return approved;
}

static void an_issue_is_read(void **state)
{
    (void)state;
    json_t *json = issue();
    struct compare_issue facts = facts_issue(json, NULL, NULL);
    assert_string_equal(facts.id, "local-4");
    assert_int_equal(facts.status, STATUS_APPROVED);
    assert_int_equal(facts.group, COMPARE_GROUP_UNKNOWN);
    assert_false(facts.status_ours);
    assert_int_equal(facts.updated_ms, 500);
    assert_false(facts.has_approved_comment); /* not parked: nothing to approve */
    assert_true(is_approved(json, 1000, NULL, NULL));
    assert_false(is_approved(json, 1001, NULL, NULL)); /* an older call's answer */
    json_array_remove(json_object_get(json, "comments"), 1);
    assert_false(is_approved(json, 1, NULL, NULL)); /* our own bot's word */
    json_object_set_new(json, "status_key", json_string(""));
    json_object_set_new(json, "status_ours", json_integer(1));
    assert_int_equal(facts_issue(json, NULL, NULL).status, STATUS_COUNT);
    assert_true(facts_issue(json, NULL, NULL).status_ours);
    json_decref(json);
}

/* Red: one who may not approve is answered at every pass; or never; one who may is not heard after
 * one who may not. */
static void who_may_not_is_answered_once(void **state)
{
    (void)state;
    json_t *json = issue();
    assert_true(is_approved(json, 1000, "[]", "[\"refused:approved\"]"));
    assert_true(is_approved(json, 1000, "[\"ADA\"]", "[\"refused:approved\"]"));
    assert_true(is_approved(json, 1000, "[\"grace\"]", "[\"refused:stop\"]"));
    assert_false(is_approved(json, 1000, "[\"grace\"]", "[\"stop\",\"refused:approved\"]"));
    json_decref(json);
}

static json_t *task(void)
{
    return json_pack("{s:I,s:s,s:s,s:s,s:I,s:n,s:s,s:b,s:i,s:[s,s,s]}", "id", (json_int_t)9, "key",
                     "DEMO-4", "issue", "local-4", "stage", "analysis", "entry", (json_int_t)31,
                     "blocked", "parked", "approval", "display_confirmed", 1, "live_jobs", 2,
                     "commands_done", "to-analyse", "confirm-deploy", "refused:approved");
}

static void a_task_is_read(void **state)
{
    (void)state;
    struct compare_task facts;
    json_t *json = task();
    assert_true(facts_task(json, &facts));
    assert_int_equal(facts.stage, STAGE_ANALYSIS);
    assert_int_equal(facts.entry, 31);
    assert_int_equal(facts.parked, COMPARE_PARKED_APPROVAL);
    assert_false(facts.blocked);
    assert_true(facts.display_confirmed);
    assert_int_equal(facts.live_jobs, 2);
    assert_true(facts.done[STATUS_TO_ANALYSE] && facts.done[STATUS_CONFIRM_DEPLOY]);
    assert_false(facts.done[STATUS_APPROVED] || facts.done[STATUS_STOP]);
    json_object_set_new(json, "blocked", json_string("lost: gone"));
    assert_true(facts_task(json, &facts) && facts.blocked);
    json_object_set_new(json, "blocked", json_false());
    assert_true(facts_task(json, &facts) && !facts.blocked);
    json_object_set_new(json, "stage", json_string("later"));
    assert_false(facts_task(json, &facts));
    json_decref(json);
}

static void a_finding_says_all(void **state)
{
    (void)state;
    json_t *left = issue(), *right = task();
    struct compare_finding start = {FINDING_F_1, 0, STATUS_TO_ANALYSE, ""};
    json_t *message = facts_finding(&start, "DEMO", left, NULL, NULL, NULL);
    json_t *detail = json_object_get(message, "detail");
    assert_string_equal(message_text(message, "finding", ""), "F-1");
    assert_string_equal(message_text(message, "status", ""), "to_analyse");
    assert_string_equal(message_text(message, "issue", ""), "local-4");
    assert_string_equal(message_text(message, "key", ""), "DEMO-4");
    assert_true(json_is_null(json_object_get(message, "entry")));
    assert_string_equal(message_text(detail, "title", ""), "T");
    assert_int_equal(json_array_size(json_object_get(detail, "labels")), 1);
    json_decref(message);
    struct compare_finding jobless = {FINDING_F_4, 31, STATUS_COUNT, ""};
    message = facts_finding(&jobless, "DEMO", NULL, right, NULL, NULL);
    assert_string_equal(message_text(message, "finding", ""), "F-4");
    assert_string_equal(message_text(message, "issue", ""), "local-4");
    assert_int_equal(message_integer(message, "entry", 0), 31);
    assert_true(json_is_null(json_object_get(message, "status")));
    json_decref(message);
    json_decref(left);
    json_decref(right);
}

static void assert_actor(const json_t *issue, const char *actor)
{
    const struct compare_finding finding = {FINDING_F_2, 31, STATUS_APPROVED, ""};
    json_t *row = task();
    json_object_set_new(row, "parked_since_ms", json_integer(1000));
    json_t *message = facts_finding(&finding, "DEMO", issue, row, NULL, NULL);
    assert_string_equal(message_text(message, "actor", ""), actor);
    json_decref(message);
    json_decref(row);
}

/* Red when the comment's approval is laid to whoever set the status: to us, mostly. */
static void whose_word_it_was(void **state)
{
    (void)state;
    json_t *json = issue();
    json_object_set_new(json, "status_actor", json_string("bob"));
    assert_actor(json, "bob"); /* he set Approved, whatever ada wrote */
    json_object_set_new(json, "status_key", json_string("awaiting_approval"));
    json_object_set_new(json, "status_actor", json_string("stream"));
    assert_actor(json, "ada");
    json_object_set_new(json, "status_key", json_string("approved"));
    json_object_set_new(json, "status_ours", json_true());
    assert_actor(json, "ada");
    json_decref(json);
}

static void the_newest_task_of_an_issue_counts(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        json_t *tasks = json_pack("[{s:i,s:s},{s:i,s:s},{s:i,s:s}]", "id", order ? 5 : 8, "issue",
                                  "a", "id", order ? 8 : 5, "issue", "a", "id", 6, "issue", "b");
        json_t *map = facts_by_issue(tasks);
        assert_int_equal(json_object_size(map), 2);
        assert_int_equal(message_integer(json_object_get(map, "a"), "id", 0), 8);
        json_decref(map);
        json_decref(tasks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_issue_is_read),  cmocka_unit_test(who_may_not_is_answered_once),
        cmocka_unit_test(a_task_is_read),    cmocka_unit_test(a_finding_says_all),
        cmocka_unit_test(whose_word_it_was), cmocka_unit_test(the_newest_task_of_an_issue_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
