/* What an effect becomes. Mutation tried: an unknown status delivered instead of dropped; transient
 * reported as dropped; a second task parked with the first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "protocol/message.h"
#include "services/notifier/outcome.h"

static json_t *effect(const char *kind, const char *issue, const char *status, const char *body)
{
    return message_new(MESSAGE_effect, NULL, "{s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s?,s:s?}", "effect", 7,
                       "effect_kind", kind, "external_id", "t3-7", "project", "DEMO", "issue",
                       issue, "key", "DEMO-3", "author", "developer", "status", status, "body",
                       body);
}

static void assert_plan(const char *kind, const char *issue, const char *status, const char *body,
                        enum outcome_way way, const char *author)
{
    json_t *message = effect(kind, issue, status, body);
    struct outcome_plan plan = outcome_plan(message, true);
    assert_int_equal(plan.way, way);
    if (way == OUTCOME_NOWHERE)
        assert_non_null(strchr(plan.reason, ':'));
    else
        assert_string_equal(plan.write.author, author);
    assert_string_equal(plan.write.external_id, "t3-7");
    json_decref(message);
}

static void each_kind_has_its_way(void **state)
{
    (void)state;
    assert_plan("status", "local-3", "analysis", NULL, OUTCOME_STATUS, "developer");
    assert_plan("comment", "local-3", NULL, "hello", OUTCOME_COMMENT, "developer");
    assert_plan("alert", "local-3", NULL, "look", OUTCOME_COMMENT, "stream");
    assert_plan("alert", "", NULL, "look", OUTCOME_NOWHERE, NULL);
    assert_plan("comment", "", NULL, "hello", OUTCOME_NOWHERE, NULL);
    assert_plan("comment", "local-3", NULL, NULL, OUTCOME_NOWHERE, NULL);
    assert_plan("status", "local-3", NULL, NULL, OUTCOME_NOWHERE, NULL);
    assert_plan("status", "local-3", "nonsense", NULL, OUTCOME_NOWHERE, NULL);
    assert_plan("label", "local-3", NULL, "x", OUTCOME_NOWHERE, NULL);
    json_t *message = effect("comment", "local-3", NULL, "hello");
    assert_int_equal(outcome_plan(message, false).way, OUTCOME_NOWHERE);
    json_decref(message);
}

static void assert_outcome(enum tracker_result result, int64_t after, const char *outcome)
{
    json_t *message = effect("comment", "local-3", NULL, "hello");
    struct tracker_fault fault = {.reason = "code: text", .retry_after_ms = after};
    json_t *answer = outcome_message(message, result, &fault);
    assert_int_equal(message_integer(answer, "effect", 0), 7);
    assert_string_equal(message_text(answer, "outcome", ""), outcome);
    assert_string_equal(message_text(answer, "reason", "?"),
                        result == TRACKER_DONE ? "" : "code: text");
    assert_int_equal(message_integer(answer, "retry_after_ms", -1),
                     result == TRACKER_TRANSIENT && after ? after : -1);
    json_decref(answer);
    json_decref(message);
}

static void the_trackers_word_is_the_outcome(void **state)
{
    (void)state;
    assert_outcome(TRACKER_DONE, 0, "delivered");
    assert_outcome(TRACKER_TRANSIENT, 0, "retry");
    assert_outcome(TRACKER_TRANSIENT, 1500, "retry");
    assert_outcome(TRACKER_PERMANENT, 0, "dropped");
    assert_outcome(TRACKER_NOT_FOUND, 0, "dropped");
}

static void only_the_same_tasks_effects_wait(void **state)
{
    (void)state;
    struct outcome_parked parked = {0};
    outcome_park(&parked, "DEMO-3");
    outcome_park(&parked, "DEMO-3");
    assert_int_equal(parked.count, 1);
    assert_true(outcome_is_parked(&parked, "DEMO-3"));
    assert_false(outcome_is_parked(&parked, "DEMO-30"));
    assert_false(outcome_is_parked(&parked, "DEMO-4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_has_its_way),
        cmocka_unit_test(the_trackers_word_is_the_outcome),
        cmocka_unit_test(only_the_same_tasks_effects_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
