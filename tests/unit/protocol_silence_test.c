/* Mutations tried, each turns a test red: an answer resets nothing; one short miss is enough;
 * one long miss is none, or is one whatever the patience; the time is
 * counted from the last miss; the patience does not grow, or grows without end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "protocol/silence.h"

enum { SECOND = 1000 };

static void one_miss_is_none(void **state)
{
    (void)state;
    struct silence silence = {0};
    assert_false(silence_missed(&silence, 0, SILENCE_FIRST_MS - 1));
    assert_true(silence_missed(&silence, SILENCE_FIRST_MS - 1, SILENCE_FIRST_MS));
}

static void one_long_miss_is_enough(void **state)
{
    (void)state;
    struct silence silence = {0};
    assert_true(silence_missed(&silence, 0, SILENCE_FIRST_MS));
    silence_renewed(&silence);
    assert_false(silence_missed(&silence, 10 * SECOND, 10 * SECOND + SILENCE_FIRST_MS));
    silence_answered(&silence);
    assert_true(silence_missed(&silence, 20 * SECOND, 20 * SECOND + 2 * SILENCE_FIRST_MS));
}

static void misses_close_together_are_one(void **state)
{
    (void)state;
    struct silence silence = {0};
    for (int i = 0; i < 64; i++) /* all asked at once, as by many threads */
        assert_false(silence_missed(&silence, i, 2 * SECOND));
    assert_true(silence_missed(&silence, 2 * SECOND, SILENCE_FIRST_MS));
}

static void an_answer_begins_anew(void **state)
{
    (void)state;
    struct silence silence = {0};
    assert_false(silence_missed(&silence, 0, 2 * SECOND));
    silence_answered(&silence);
    assert_false(silence_missed(&silence, 10 * SECOND, 12 * SECOND));
    assert_false(silence_missed(&silence, 12 * SECOND, 13 * SECOND));
    assert_true(silence_missed(&silence, 13 * SECOND, 14 * SECOND));
}

static void doubted_until_it_is_renewed(void **state)
{
    (void)state;
    struct silence silence = {0};
    assert_false(silence_missed(&silence, 0, 2 * SECOND));
    assert_true(silence_missed(&silence, 2 * SECOND, 4 * SECOND));
    assert_true(silence_missed(&silence, 4 * SECOND, 6 * SECOND));
    silence_renewed(&silence);
    assert_false(silence_missed(&silence, 6 * SECOND, 8 * SECOND));
}

/* How many sockets a peer costs that answers nothing for so long, asked every two seconds. */
static int doubts_in(int64_t ms)
{
    struct silence silence = {0};
    for (int64_t now = 0; now < ms; now += 2 * SECOND) {
        if (silence_missed(&silence, now, now + 2 * SECOND))
            silence_renewed(&silence);
    }
    return silence.doubts;
}

static void a_slow_peer_costs_little(void **state)
{
    (void)state;
    assert_int_equal(doubts_in(4 * SECOND), 1);
    assert_int_equal(doubts_in(12 * SECOND), 2);
    assert_int_equal(doubts_in(28 * SECOND), 3);
    assert_in_range(doubts_in(24 * 3600 * INT64_C(1000)), 140, 160); /* one in ten minutes */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_miss_is_none),
        cmocka_unit_test(one_long_miss_is_enough),
        cmocka_unit_test(misses_close_together_are_one),
        cmocka_unit_test(an_answer_begins_anew),
        cmocka_unit_test(doubted_until_it_is_renewed),
        cmocka_unit_test(a_slow_peer_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
