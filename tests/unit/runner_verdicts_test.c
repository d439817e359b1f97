/* Verdicts from frontmatter: every negative token in every key beside every positive one. Mutations
 * tried, each turns a test red: the first key decides, a positive token decides, substrings count,
 * NOT dropped, no positive needed, the body read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "services/runner/verdicts.h"

static const char *const negative[] = {"FAIL",     "FAILED", "BLOCKED", "CHANGES_REQUESTED",
                                       "REJECTED", "ERROR",  "NO-GO",   "NOT"};
static const char *const positive[] = {"PASS",     "PASSED", "SUCCESS", "OK",
                                       "APPROVED", "GO",     "GREEN"};
static const char *const keys[] = {"verdict", "status", "result"};

#define COUNT(list) (sizeof(list) / sizeof *(list))

static bool tester(const char *front, const char *body)
{
    char text[1000];
    struct verdict verdict;
    snprintf(text, sizeof text, "---\nwork_item: A-1\n%s---\n%s", front, body);
    verdict_tester("13-test-report.md", text, strlen(text), &verdict);
    assert_true(strncmp(verdict.reason, verdict.pass ? "gate-passed: " : "gate-failed: ", 13) == 0);
    return verdict.pass;
}

static void test_any_negative_in_any_key_wins(void **state)
{
    (void)state;
    char front[300];
    for (size_t n = 0; n < COUNT(negative); n++)
        for (size_t p = 0; p < COUNT(positive); p++)
            for (size_t bad = 0; bad < COUNT(keys); bad++)
                for (size_t fine = 0; fine < COUNT(keys); fine++) {
                    if (bad == fine)
                        snprintf(front, sizeof front, "%s: %s, %s\n", keys[bad], positive[p],
                                 negative[n]);
                    else
                        snprintf(front, sizeof front, "%s: %s\n%s: %s\n", keys[fine], positive[p],
                                 keys[bad], negative[n]);
                    if (tester(front, ""))
                        fail_msg("passed: %s", front);
                }
}

static void test_one_positive_in_any_key_is_enough(void **state)
{
    (void)state;
    char front[200];
    for (size_t p = 0; p < COUNT(positive); p++)
        for (size_t k = 0; k < COUNT(keys); k++) {
            snprintf(front, sizeof front, "%s: %s\n", keys[k], positive[p]);
            assert_true(tester(front, ""));
            snprintf(front, sizeof front, "%s: all %s (12/12)!\n", keys[k], positive[p]);
            assert_true(tester(front, "FAILED FAILED"));
        }
}

static const struct {
    const char *front;
    bool pass;
} table[] = {
    {"verdict: pass\n", true},
    {"verdict: Passed\nstatus: complete\n", true},
    {"verdict: fail\n", false},
    {"verdict: PASS\nstatus: failed\n", false},
    {"verdict: no-go\n", false},
    {"verdict: go\n", true},
    {"verdict: PASS/FAIL\n", false},
    {"verdict: PASS;ERROR\n", false},
    {"verdict: not passed\n", false},
    {"verdict: NOT_PASSED\n", false}, /* one token, and none of the list */
    {"verdict: PASS-ISH\n", false},
    {"verdict: BYPASS\n", false},
    {"verdict: UNFAILED\nresult: OK\n", true},
    {"verdict: FAILURES 0\nresult: OK\n", true},
    {"verdict: 100% GREEN\n", true},
    {"verdict: complete\n", false},
    {"verdict: \n", false},
    {"other: PASS\n", false},
    {"Verdict: PASS\n", false},
    {"", false},
    {"verdict: \"PASS\\nFAIL\"\n", false},
    {"verdict: >-\n  PASS\n  but 3 tests FAILED\n", false},
    {"verdict: PASS\nresult: |\n  fine\n  ERROR in the end\n", false},
    {"verdict: \xc3\x9cPASS\n", true}, /* bytes beyond ASCII part tokens */
    {"verdict: PASS\nresult: FAIL\xe2\x80\x94three tests\n", false},
};

static void test_tester_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        if (tester(table[i].front, "") != table[i].pass)
            fail_msg("%s", table[i].front);
    }
}

static void test_words_of_the_body_never_count(void **state)
{
    (void)state;
    assert_false(tester("status: complete\n", "verdict: PASS\nAll PASSED, GREEN, OK\n"));
    assert_true(tester("verdict: PASS\n", "verdict: FAIL\n---\nverdict: FAIL\n---\n"));
}

static const struct {
    const char *value;
    bool pass;
} reviews[] = {
    {"APPROVED", true},
    {"approved", true},
    {"  APPROVED  ", true},
    {"\"APPROVED\"", true},
    {"CHANGES_REQUESTED", false},
    {"APPROVED, CHANGES_REQUESTED", false},
    {"NOT APPROVED", false},
    {"APPROVED with remarks", false},
    {"APPROVED.", false},
    {"PASS", false},
    {"", false},
    {"~", false},
};

static void test_reviewer_and_status_are_exact(void **state)
{
    (void)state;
    struct verdict verdict;
    char text[200];
    for (size_t i = 0; i < COUNT(reviews); i++) {
        snprintf(text, sizeof text, "---\nverdict: %s\n---\nAPPROVED\n", reviews[i].value);
        verdict_reviewer("12-review.md", text, strlen(text), &verdict);
        if (verdict.pass != reviews[i].pass)
            fail_msg("%s: %s", reviews[i].value, verdict.reason);
    }
    static const char log[] = "---\ndeploy_status: SUCCESS\n---\n";
    verdict_status("14-deploy-log.md", "deploy_status", log, sizeof log - 1, &verdict);
    assert_true(verdict.pass);
    verdict_status("15-staging-log.md", "staging_status", log, sizeof log - 1, &verdict);
    assert_false(verdict.pass);
    assert_non_null(strstr(verdict.reason, "no key staging_status"));
    static const char failed[] = "---\nstaging_status: SUCCESS FAILED\n---\n";
    verdict_status("15-staging-log.md", "staging_status", failed, sizeof failed - 1, &verdict);
    assert_false(verdict.pass);
}

static void test_a_missing_file_says_so(void **state)
{
    (void)state;
    struct verdict verdict;
    verdict_reviewer("12-review.md", NULL, 0, &verdict);
    assert_false(verdict.pass);
    assert_string_equal(verdict.reason, "gate-failed: 12-review.md: the file is missing");
}

static void test_the_body_word_for_word(void **state)
{
    (void)state;
    static const char text[] = "---\nverdict: X\n---\n\n\n- one\n\n  - two\n\n";
    char *body = verdict_body(text, sizeof text - 1, 1000);
    assert_string_equal(body, "- one\n\n  - two");
    free(body);
    body = verdict_body(text, sizeof text - 1, 4);
    assert_string_equal(body, "- on");
    free(body);
    body = verdict_body("no fence\n", 9, 1000);
    assert_string_equal(body, "no fence");
    free(body);
    body = verdict_body("a\xe2\x82\xac\0\xff", 6, 3); /* not within a character */
    assert_string_equal(body, "a");
    free(body);
    body = verdict_body("a\xe2\x82\xac\0\xff", 6, 1000);
    assert_string_equal(body, "a\xe2\x82\xac??");
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_negative_in_any_key_wins),
        cmocka_unit_test(test_one_positive_in_any_key_is_enough),
        cmocka_unit_test(test_tester_table),
        cmocka_unit_test(test_words_of_the_body_never_count),
        cmocka_unit_test(test_reviewer_and_status_are_exact),
        cmocka_unit_test(test_a_missing_file_says_so),
        cmocka_unit_test(test_the_body_word_for_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
