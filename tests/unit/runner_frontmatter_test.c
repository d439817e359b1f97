/* Frontmatter: whatever is odd about a file is a clear negative reason. Mutations tried, each turns
 * a test red: duplicate keys accepted, an alias accepted, a list taken for a value, the limits left
 * out, the closing fence not asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/buffer.h"
#include "services/runner/frontmatter.h"
#include "services/runner/verdicts.h"

#define WITH_NUL(text) (text), sizeof(text) - 1

static const struct {
    const char *text;
    size_t size;        /* 0: up to its NUL */
    const char *reason; /* a part of it */
} broken[] = {
    {"", 0, "the file is empty"},
    {"verdict: APPROVED\n", 0, "no frontmatter"},
    {"\n---\nverdict: APPROVED\n---\n", 0, "no frontmatter"},
    {" ---\nverdict: APPROVED\n---\n", 0, "no frontmatter"},
    {"----\nverdict: APPROVED\n---\n", 0, "no frontmatter"},
    {"--- x\nverdict: APPROVED\n---\n", 0, "no frontmatter"},
    {"\xef\xbb\xbf---\nverdict: APPROVED\n---\n", 0, "no frontmatter"}, /* BOM */
    {"\xff\xfe-\0-\0-\0\n\0", 9, "no frontmatter"},                     /* UTF-16 */
    {"---\nverdict: APPROVED\n", 0, "no closing ---"},
    {"---\nverdict: APPROVED\n ---\n", 0, "no closing ---"},
    {"---", 0, "no closing ---"},
    {"---\n---\n", 0, "empty"},
    {"---\n# a comment\n---\n", 0, "empty"},
    {"---\n{}\n---\n", 0, "empty"},
    {"---\n- verdict\n---\n", 0, "no mapping"},
    {"---\nverdict\n---\n", 0, "no mapping"},
    {"---\nverdict: APPROVED\nverdict: CHANGES_REQUESTED\n---\n", 0, "twice"},
    {"---\nverdict: APPROVED\n\"verdict\": X\n---\n", 0, "twice"},
    {"---\n{verdict: A, verdict: B}\n---\n", 0, "twice"},
    {"---\nverdict: [APPROVED]\n---\n", 0, "verdict is not a single value"},
    {"---\nverdict: {a: APPROVED}\n---\n", 0, "verdict is not a single value"},
    {"---\nverdict:\n  nested: APPROVED\n---\n", 0, "verdict is not a single value"},
    {"---\nverdict:\n- APPROVED\n---\n", 0, "verdict is not a single value"},
    {"---\n[a]: b\n---\n", 0, "a key is not a single value"},
    {"---\n? {a: b}\n: c\n---\n", 0, "a key is not a single value"},
    {"---\na: &x APPROVED\nverdict: *x\n---\n", 0, "an anchor"},
    {"---\nverdict: *x\n---\n", 0, "an alias"},
    {"---\n&x a: b\n---\n", 0, "an anchor"},
    {"---\n<<: *x\n---\n", 0, "an alias"},
    {"---\nverdict: 'APPROVED\n---\n", 0, "broken YAML"},
    {"---\nverdict: \"APPROVED\n---\n", 0, "broken YAML"},
    {"---\n\tverdict: APPROVED\n---\n", 0, "broken YAML"},
    {"---\nverdict: APPROVED\n\tx: y\n---\n", 0, "broken YAML"},
    {"---\na: b: c\n---\n", 0, "broken YAML"},
    {"---\n%YAML 9.9\n---\n", 0, "broken YAML"},
    {"---\nverdict: \xff\n---\n", 0, "broken YAML"},
    {"---\nverdict: AP\x01PROVED\n---\n", 0, "broken YAML"},
    {WITH_NUL("---\nverdict: APPROVED\0\n---\n"), "broken YAML"},
    {WITH_NUL("---\nverdict: \"a\\0b\"\n---\n"), "NUL"},
    {WITH_NUL("---\n\"ver\\0dict\": APPROVED\n---\n"), "NUL"},
    {"---\nverdict: APPROVED\n...\nverdict: X\n---\n", 0, "broken YAML"},
};

static void refuse(const char *text, size_t size, const char *reason)
{
    struct frontmatter front;
    char why[FRONTMATTER_REASON];
    if (frontmatter_parse(text, size, &front, why) == 0)
        fail_msg("accepted: %s", text);
    if (!strstr(why, reason))
        fail_msg("%s: %s, not %s", text, why, reason);
    assert_int_equal(front.count, 0); /* nothing to free */
    /* and no verdict passes on it */
    struct verdict verdict;
    verdict_reviewer("12-review.md", text, size, &verdict);
    assert_false(verdict.pass);
    verdict_tester("13-test-report.md", text, size, &verdict);
    assert_false(verdict.pass);
    verdict_status("15-staging-log.md", "staging_status", text, size, &verdict);
    assert_false(verdict.pass);
    assert_true(strncmp(verdict.reason, "gate-failed: 15-staging-log.md", 30) == 0);
}

static void test_broken_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        refuse(broken[i].text, broken[i].size ? broken[i].size : strlen(broken[i].text),
               broken[i].reason);
}

/* Nine levels of ten aliases each: a thousand million words if they were followed. */
static void test_an_alias_bomb(void **state)
{
    (void)state;
    struct buffer text = {0};
    buffer_text(&text, "---\na0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol,lol]\n");
    for (int i = 1; i < 10; i++) {
        buffer_format(&text, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            buffer_format(&text, "*a%d,", i - 1);
        buffer_text(&text, "]\n");
    }
    buffer_text(&text, "verdict: APPROVED\n---\n");
    refuse(text.data, text.size, "single value");
    buffer_free(&text);
}

static void test_limits(void **state)
{
    (void)state;
    struct buffer text = {0};
    buffer_text(&text, "---\n");
    while (text.size <= FRONTMATTER_MAX)
        buffer_text(&text, "# a comment that makes it long\n");
    buffer_text(&text, "verdict: APPROVED\n---\n");
    refuse(text.data, text.size, "too large");
    buffer_free(&text);
    buffer_text(&text, "---\n");
    for (int i = 0; i <= FRONTMATTER_KEYS_MAX; i++)
        buffer_format(&text, "k%d: v\n", i);
    buffer_text(&text, "---\n");
    refuse(text.data, text.size, "too many keys");
    buffer_free(&text);
    buffer_text(&text, "---\nverdict: APPROVED\n---\n");
    char *body = calloc(1, FRONTMATTER_FILE_MAX);
    memset(body, 'x', FRONTMATTER_FILE_MAX);
    buffer_add(&text, body, FRONTMATTER_FILE_MAX);
    free(body);
    refuse(text.data, text.size, "too large");
    buffer_free(&text);
    buffer_text(&text, "---\nverdict: ");
    for (int i = 0; i < 20000; i++)
        buffer_text(&text, "[");
    buffer_text(&text, "\n---\n");
    refuse(text.data, text.size, "single value");
    buffer_free(&text);
}

static const struct {
    const char *text, *verdict, *body;
} good[] = {
    {"---\nverdict: APPROVED\n---\nbody\n", "APPROVED", "body\n"},
    {"---\r\nverdict: APPROVED\r\n---\r\nbody", "APPROVED", "body"},
    {"---  \nverdict:   APPROVED  \n---\t\n", "APPROVED", ""},
    {"---\n\"verdict\": 'APPROVED' # words\n---", "APPROVED", ""},
    {"---\n{verdict: APPROVED, other: x}\n---\n", "APPROVED", ""},
    {"---\nverdict: >-\n  APPROVED\n  not really\n---\n", "APPROVED not really", ""},
    {"---\nverdict: |\n  APPROVED\n---\n", "APPROVED\n", ""},
    {"---\nverdict:\n---\n", "", ""},
    {"---\nverdict: ~\n---\n---\nverdict: X\n---\n", "~", "---\nverdict: X\n---\n"},
    {"---\nother: \xc3\xbc\nverdict: \"A\\u0050PROVED\"\n---\n", "APPROVED", ""},
    {"---\n!!str verdict: APPROVED\n---\n", "APPROVED", ""},
};

static void test_good_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct frontmatter front;
        char why[FRONTMATTER_REASON];
        if (frontmatter_parse(good[i].text, strlen(good[i].text), &front, why) < 0)
            fail_msg("%s: %s", good[i].text, why);
        assert_string_equal(frontmatter_get(&front, "verdict"), good[i].verdict);
        assert_string_equal(good[i].text + front.body, good[i].body);
        assert_null(frontmatter_get(&front, "Verdict"));
        frontmatter_free(&front);
    }
}

/* Every prefix of a good file, and the file with any one byte replaced, neither crashes nor says
 * more than the file does: a verdict that is not there is never read. */
static void test_cut_and_changed_files(void **state)
{
    (void)state;
    static const char text[] = "---\nwork_item: A-1\nverdict: CHANGES_REQUESTED\n---\nAPPROVED\n";
    char copy[sizeof text];
    struct verdict verdict;
    for (size_t size = 0; size < sizeof text; size++) {
        verdict_reviewer("12-review.md", text, size, &verdict);
        assert_false(verdict.pass);
    }
    for (size_t at = 0; at + 1 < sizeof text; at++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(copy, text, sizeof text);
            copy[at] = (char)byte;
            verdict_reviewer("12-review.md", copy, sizeof text - 1, &verdict);
            assert_false(verdict.pass);
        }
    }
}

static void test_missing_keys(void **state)
{
    (void)state;
    struct frontmatter front;
    char why[FRONTMATTER_REASON];
    static const char text[] = "---\nwork_item: A-1\nstage: review\nstatus: done\n---\n";
    assert_int_equal(frontmatter_parse(text, sizeof text - 1, &front, why), 0);
    char *missing = frontmatter_missing(&front);
    assert_string_equal(missing, "author_agent, created_at");
    free(missing);
    frontmatter_free(&front);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_files), cmocka_unit_test(test_an_alias_bomb),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_good_files),
        cmocka_unit_test(test_missing_keys), cmocka_unit_test(test_cut_and_changed_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
