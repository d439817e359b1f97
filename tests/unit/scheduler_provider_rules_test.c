/* Mutations tried, each red: the threshold compared wrongly; a probe's transient failure that
 * closes once the threshold was raised; a reset taken as stated although it is past or years away;
 * a probe under way that lets others through; a due hold that lets nobody through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/scheduler/provider_rules.h"

static const struct provider_limits limits = {
    .threshold = 3, .open_ms = 300 * 1000, .probe_ms = 900 * 1000};
enum { NOW = 1000 * 1000 * 1000 };

static struct provider_state after(struct provider_state before, enum provider_word word,
                                   int64_t resets)
{
    return provider_after(&before, word, resets, &limits, NOW);
}

static void the_breaker_opens_after_so_many_in_a_row(void **state)
{
    (void)state;
    struct provider_state s = {0};
    s = after(s, WORD_TRANSIENT, 0);
    s = after(s, WORD_TRANSIENT, 0);
    assert_int_equal(s.hold, HOLD_NONE);
    assert_int_equal(provider_judge(&s, false, &limits, NOW), REASON_OK);
    assert_int_equal(after(after(s, WORD_ANSWERS, 0), WORD_TRANSIENT, 0).hold, HOLD_NONE);
    s = after(s, WORD_TRANSIENT, 0);
    assert_int_equal(s.hold, HOLD_BREAKER);
    assert_int_equal(s.until_ms, NOW + limits.open_ms);
    assert_int_equal(provider_judge(&s, false, &limits, NOW), REASON_BREAKER_OPEN);
}

static void one_probe_decides(void **state)
{
    (void)state;
    struct provider_state s = {.hold = HOLD_BREAKER, .failures = 3, .until_ms = NOW};
    assert_int_equal(provider_judge(&s, false, &limits, NOW - 1), REASON_BREAKER_OPEN);
    assert_int_equal(provider_judge(&s, false, &limits, NOW), REASON_OK);
    assert_int_equal(provider_judge(&s, true, &limits, NOW), REASON_BREAKER_OPEN);
    struct provider_state again = after(s, WORD_TRANSIENT, 0);
    assert_int_equal(again.hold, HOLD_BREAKER);
    assert_int_equal(again.until_ms, NOW + limits.open_ms);
    s.failures = 0; /* the threshold was raised meanwhile */
    assert_int_equal(after(s, WORD_TRANSIENT, 0).hold, HOLD_BREAKER);
    assert_int_equal(after(s, WORD_ANSWERS, 0).hold, HOLD_NONE);
    assert_int_equal(after(s, WORD_NOTHING, 0).until_ms, NOW);
}

static void an_allowance_waits_for_its_stated_reset(void **state)
{
    (void)state;
    struct provider_state s = {0};
    assert_int_equal(after(s, WORD_LIMIT, NOW + 7200000).until_ms, NOW + 7200000);
    assert_int_equal(after(s, WORD_LIMIT, 0).until_ms, NOW + limits.probe_ms);
    assert_int_equal(after(s, WORD_LIMIT, NOW - 5).until_ms, NOW + limits.probe_ms);
    assert_int_equal(after(s, WORD_LIMIT, NOW + 365LL * 86400000).until_ms, NOW + limits.probe_ms);
    s = after(s, WORD_LIMIT, NOW + 7200000);
    assert_int_equal(provider_judge(&s, false, &limits, NOW), REASON_USAGE_LIMIT);
    assert_int_equal(after(s, WORD_TRANSIENT, 0).hold, HOLD_USAGE_LIMIT);
}

static void a_key_is_probed(void **state)
{
    (void)state;
    struct provider_state s = after((struct provider_state){.failures = 2}, WORD_OPERATOR, 0);
    assert_int_equal(s.hold, HOLD_OPERATOR);
    assert_int_equal(s.until_ms, NOW + limits.probe_ms);
    assert_int_equal(provider_judge(&s, false, &limits, NOW), REASON_OPERATOR);
    assert_int_equal(provider_judge(&s, false, &limits, s.until_ms), REASON_OK);
    /* the clock jumped back by days: it is not held for days */
    assert_int_equal(provider_judge(&s, false, &limits, NOW - 864000000), REASON_OK);
}

static void what_a_run_says(void **state)
{
    (void)state;
    assert_int_equal(provider_word_of(RUN_SUCCEEDED, FAILURE_CLASS_NONE, true), WORD_ANSWERS);
    assert_int_equal(provider_word_of(RUN_FAILED, FAILURE_CLASS_TRANSIENT, false), WORD_TRANSIENT);
    assert_int_equal(provider_word_of(RUN_FAILED, FAILURE_CLASS_TRANSIENT, true), WORD_ANSWERS);
    assert_int_equal(provider_word_of(RUN_FAILED, FAILURE_CLASS_USAGE_LIMIT, false), WORD_LIMIT);
    assert_int_equal(provider_word_of(RUN_FAILED, FAILURE_CLASS_OPERATOR, false), WORD_OPERATOR);
    assert_int_equal(provider_word_of(RUN_FAILED, FAILURE_CLASS_OPERATOR, true), WORD_ANSWERS);
    assert_int_equal(provider_word_of(RUN_FAILED, FAILURE_CLASS_TASK, false), WORD_ANSWERS);
    assert_int_equal(provider_word_of(RUN_FAILED, FAILURE_CLASS_INTERRUPTED, false), WORD_NOTHING);
    assert_int_equal(provider_word_of(RUN_LOST, FAILURE_CLASS_LOST, false), WORD_NOTHING);
    assert_int_equal(provider_word_of(RUN_CANCELLED, FAILURE_CLASS_NONE, false), WORD_NOTHING);
}

static void names_are_the_reasons_codes(void **state)
{
    (void)state;
    assert_int_equal(provider_hold_by_name("breaker"), HOLD_BREAKER);
    assert_int_equal(provider_hold_by_name("usage-limit"), HOLD_USAGE_LIMIT);
    assert_int_equal(provider_hold_by_name("operator"), HOLD_OPERATOR);
    assert_int_equal(provider_hold_by_name("other"), HOLD_NONE);
    assert_int_equal(provider_hold_by_name(NULL), HOLD_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_breaker_opens_after_so_many_in_a_row),
        cmocka_unit_test(one_probe_decides),
        cmocka_unit_test(an_allowance_waits_for_its_stated_reset),
        cmocka_unit_test(a_key_is_probed),
        cmocka_unit_test(what_a_run_says),
        cmocka_unit_test(names_are_the_reasons_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
