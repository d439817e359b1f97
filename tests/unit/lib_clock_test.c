/* Times as text and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "lib/clock.h"

static void text_is(int64_t wall_ms, const char *expected)
{
    char text[CLOCK_TEXT_SIZE];
    clock_text(wall_ms, text);
    assert_string_equal(text, expected);
}

/* Mutations: milliseconds without leading zeros; a time before 1970 rounded towards it. */
static void test_text(void **state)
{
    (void)state;
    text_is(0, "1970-01-01T00:00:00.000Z");
    text_is(951782400007, "2000-02-29T00:00:00.007Z");
    text_is(1769903999999, "2026-01-31T23:59:59.999Z");
    text_is(-1, "1969-12-31T23:59:59.999Z");
}

static void test_text_never_overruns(void **state)
{
    (void)state;
    static const int64_t wild[] = {INT64_MAX, INT64_MIN, 253402300800000, -99999999999999999};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        char text[CLOCK_TEXT_SIZE + 1];
        memset(text, 'x', sizeof text);
        clock_text(wild[i], text);
        assert_int_equal(strlen(text), CLOCK_TEXT_SIZE - 1);
        assert_int_equal(text[CLOCK_TEXT_SIZE], 'x');
    }
}

/* Every day of 120 years there and back. Mutation: a leap year every four years. */
static void test_round_trip(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 366 * 120; day++) {
        int64_t ms = day * 86400000 + day % 86400000;
        char text[CLOCK_TEXT_SIZE];
        clock_text(ms, text);
        assert_int_equal(clock_parse(text), ms);
    }
    assert_int_equal(clock_parse("2100-03-01T00:00:00Z") - clock_parse("2100-02-28T00:00:00Z"),
                     86400000);
}

/* Mutations: the sign of an offset turned round; decimals beyond three not dropped. */
static void test_forms(void **state)
{
    (void)state;
    int64_t expected = clock_parse("2026-01-31T22:59:59.120Z");
    assert_int_equal(expected, 1769900399120);
    assert_int_equal(clock_parse("2026-01-31T23:59:59.12+01:00"), expected);
    assert_int_equal(clock_parse("2026-01-31 17:29:59.120987654-0530"), expected);
    assert_int_equal(clock_parse("2026-01-31t22:59:59.120z"), expected);
    assert_int_equal(clock_parse("2026-01-31T22:59:59Z"), expected - 120);
}

static void test_no_time(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "now",
        "2026-01-31",
        "2026-01-31T22:59:59",
        "2026-13-31T22:59:59Z",
        "2026-00-31T22:59:59Z",
        "2026-02-29T22:59:59Z",
        "1900-02-29T22:59:59Z",
        "2026-04-31T22:59:59Z",
        "2026-01-00T22:59:59Z",
        "2026-01-31T24:59:59Z",
        "2026-01-31T22:60:59Z",
        "2026-01-31T22:59:61Z",
        "2026-01-31T22:59:59.Z",
        "2026-01-31T22:59:59.1234567890Z",
        "2026-01-31T22:59:59Zx",
        "2026-01-31T22:59:59+24:00",
        "2026-01-31T22:59:59+1",
        "26-01-31T22:59:59Z",
        "1969-12-31T23:59:59Z",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(clock_parse(texts[i]), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),       cmocka_unit_test(test_text_never_overruns),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
