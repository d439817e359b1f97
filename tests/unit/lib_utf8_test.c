/* Bytes of the world as text that JSON can carry. Red when overlong forms or surrogates pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include "lib/utf8.h"

static void test_cut(void **state)
{
    (void)state;
    static const char text[] = "a\xc3\xbc\xe2\x82\xac\xf0\x9f\x8e\x89z";
    static const size_t whole[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    for (size_t max = 0; max < sizeof whole / sizeof *whole; max++)
        assert_int_equal(utf8_cut(text, sizeof text - 1, max), whole[max]);
    assert_int_equal(utf8_cut("", 0, 10), 0);
}

static const struct {
    const char *bytes;
    size_t size;
    const char *text;
} table[] = {
    {"plain", 5, "plain"},
    {"a\0b", 3, "a?b"},
    {"\xff", 1, "?"},
    {"\x80x", 2, "?x"},
    {"\xc3", 1, "?"},
    {"\xc3(", 2, "?("},
    {"\xc0\xaf", 2, "??"},
    {"\xe0\x80\x80", 3, "???"},
    {"\xed\xa0\x80", 3, "???"},
    {"\xf4\x90\x80\x80", 4, "????"},
    {"\xf8\x88\x80\x80\x80", 5, "?????"},
    {"\xe2\x82", 2, "??"},
    {"\xc3\xbc\xe2\x82\xac\xf0\x9f\x8e\x89", 9, "\xc3\xbc\xe2\x82\xac\xf0\x9f\x8e\x89"},
    {"\xf4\x8f\xbf\xbf", 4, "\xf4\x8f\xbf\xbf"},
};

static void test_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *text = utf8_text(table[i].bytes, table[i].size, 1000);
        assert_string_equal(text, table[i].text);
        free(text);
    }
}

/* Whatever three bytes stand there, jansson takes what comes out, and valid text is left as it is.
 */
static void test_every_three_bytes_become_valid(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second += 3)
            for (unsigned third = 0; third < 256; third += 5) {
                const char bytes[] = {(char)first, (char)second, (char)third, '\0'};
                char *text = utf8_text(bytes, 3, 3);
                json_t *valid = json_string(text), *before = json_string(bytes);
                assert_non_null(valid);
                if (before && strlen(bytes) == 3)
                    assert_string_equal(text, bytes);
                json_decref(valid);
                json_decref(before);
                free(text);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_every_three_bytes_become_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
