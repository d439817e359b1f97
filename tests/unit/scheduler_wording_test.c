/* The words of comments, and the findings quoted in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "services/scheduler/findings.h"
#include "services/scheduler/wording.h"

static char *word(enum message_template template, struct wording_facts facts)
{
    struct buffer out = {0};
    wording_write(template, &facts, &out);
    return buffer_take(&out);
}

static void says(enum message_template template, struct wording_facts facts, const char *expected)
{
    char *text = word(template, facts);
    assert_string_equal(text, expected);
    free(text);
}

static void has(const char *text, const char *part)
{
    assert_non_null(text);
    if (strstr(text, part) == NULL)
        fail_msg("missing: %s\nin: %.2000s", part, text);
}

/* ---- finish comment ---- */

/* input is all of it, cached the part that was read. Mutations: input without the cached part; cost
 * with other decimals; unknown taken for 0. */
static void test_finish_comment(void **state)
{
    (void)state;
    struct wording_facts facts = {.role = "developer",
                                  .attempt = 2,
                                  .succeeded = true,
                                  .usage = {6100, 12100, 38100, 1000, 0.214}};
    says(TEMPLATE_AGENT_FINISHED, facts,
         "Developer done · 45.2k in (38.1k cached) / 12.1k out · $0.21 · attempt 2");
    facts.usage = (struct wording_usage)WORDING_USAGE_UNKNOWN;
    says(TEMPLATE_AGENT_FINISHED, facts, "Developer done · usage unknown · attempt 2");
    facts.usage.cost_usd = 0.5;
    says(TEMPLATE_AGENT_FINISHED, facts, "Developer done · usage unknown · $0.50 · attempt 2");
    facts.usage = (struct wording_usage){0, 0, 0, 0, 0};
    says(TEMPLATE_AGENT_FINISHED, facts, "Developer done · 0 in / 0 out · $0.00 · attempt 2");
    facts.usage = (struct wording_usage){900, 99, -1, -1, -1};
    says(TEMPLATE_AGENT_FINISHED, facts,
         "Developer done · 900 in / 99 out · cost unknown · attempt 2");
    facts.usage = (struct wording_usage){999949, 999950, -1, -1, 1234.5};
    says(TEMPLATE_AGENT_FINISHED, facts,
         "Developer done · 999.9k in / 1.0M out · $1234.50 · attempt 2");
    facts.succeeded = false;
    facts.reason = REASON_TIMEOUT;
    facts.usage = (struct wording_usage){-1, 5, -1, -1, -1};
    says(TEMPLATE_AGENT_FINISHED, facts,
         "Developer failed: ran longer than allowed · ? in / 5 out · cost unknown · attempt 2");
    says(TEMPLATE_AGENT_FINISHED,
         (struct wording_facts){.kind = "merge-gate", .succeeded = true, .attempt = 1},
         "Merge-gate done · attempt 1");
}

static void test_links_and_warnings(void **state)
{
    (void)state;
    const struct wording_link links[] = {{"12-review.md", "https://git.example.org/a/12-review.md"},
                                         {"odd [one]", "https://x/y) [z](http://evil"},
                                         {NULL, "https://git.example.org/pulls/3"}};
    struct wording_facts facts = {.role = "reviewer",
                                  .attempt = 1,
                                  .succeeded = true,
                                  .usage = WORDING_USAGE_UNKNOWN,
                                  .denied_tools = "Bash(rm -rf *)",
                                  .links = links,
                                  .link_count = 3};
    says(TEMPLATE_AGENT_FINISHED, facts,
         "Reviewer done · usage unknown · attempt 1\n\n"
         "Refused to it, while it succeeded: Bash(rm -rf \\*)\n\n"
         "[12-review.md](https://git.example.org/a/12-review.md) · odd \\[one\\] · "
         "[https://git.example.org/pulls/3](https://git.example.org/pulls/3)");
}

/* ---- the table on done ---- */

/* The sum is over all runs, failed ones and repeated roles too, and equals the rows' sum.
 * Mutations: one run per role; reserved jobs counted; unknown resets a sum. */
static void test_summary_sums_every_run(void **state)
{
    (void)state;
    const struct wording_run runs[] = {
        {"analyst", "agent", {1000, 100, 0, 0, 0.01}},
        {"developer", "agent", {2000, 200, 500, 0, 0.02}},
        {NULL, "merge-gate", {999999, 999999, 999999, 999999, 999.0}},
        {"developer", "agent", WORDING_USAGE_UNKNOWN},
        {"developer", "agent", {3000, 300, 500, 100, 0.03}},
        {"tester", "agent", WORDING_USAGE_UNKNOWN},
    };
    says(TEMPLATE_SUMMARY,
         (struct wording_facts){.key = "SHOP-1",
                                .title = "Add <b>login</b>",
                                .merged_commit = "0123abcd",
                                .runs = runs,
                                .run_count = 6},
         "**Done**: SHOP-1 Add \\<b\\>login\\</b\\>, merged as `0123abcd`\n\n"
         "| role | runs | in | cached | out | cost |\n"
         "| --- | ---: | ---: | ---: | ---: | ---: |\n"
         "| Analyst | 1 | 1.0k | 0 | 100 | $0.0100 |\n"
         "| Developer | 3 | 6.1k | 1.0k | 500 | $0.0500 |\n"
         "| Tester | 1 | ? | ? | ? | ? |\n"
         "| **Σ** | 5 | 7.1k | 1.0k | 600 | $0.0600 |\n"
         "\n2 of 5 runs told no usage; the sums are without them.\n");
    says(TEMPLATE_SUMMARY, (struct wording_facts){.key = "SHOP-1"}, "**Done**: SHOP-1");
}

/* ---- findings ---- */

/* Word for word, whatever they hold. Mutations: a fence of three always; trimming; escaping. */
static void test_findings_are_quoted_word_for_word(void **state)
{
    (void)state;
    static const char nasty[] = "  line one\n```\n</details> **bold** ````\n| a |  \n";
    json_t *findings = json_pack("[s,s]", "ci/test failed: exit 2", nasty);
    char *text = word(TEMPLATE_ROLLBACK, (struct wording_facts){.from = STAGE_REVIEW,
                                                                .to = STAGE_DEVELOPMENT,
                                                                .reason = REASON_GATE_FAILED,
                                                                .reason_text = "CHANGES_REQUESTED",
                                                                .rollbacks = 2,
                                                                .max_rollbacks = 3,
                                                                .findings = findings});
    has(text, "Code Review → **Development**, rollback 2 of 3: CHANGES_REQUESTED");
    has(text, "```\nci/test failed: exit 2\n```\n");
    has(text, "`````\n");
    has(text, nasty);
    free(text);
    json_decref(findings);
}

static void test_findings_are_bounded_and_say_so(void **state)
{
    (void)state;
    json_t *many = json_array();
    char *big = calloc(1, 20001);
    memset(big, 'x', 20000);
    memcpy(big + FINDINGS_ONE_MAX - 1, "\xC3\xA4", 2); /* a character across the limit */
    json_array_append_new(many, json_string(big));
    for (int i = 0; i < 500; i++)
        json_array_append_new(many, json_integer(i));
    json_t *bounded = findings_bounded(many, "not used");
    assert_int_equal(json_array_size(bounded), FINDINGS_COUNT_MAX + 1);
    const char *first = json_string_value(json_array_get(bounded, 0));
    assert_int_equal(strspn(first, "x"), FINDINGS_ONE_MAX - 1);
    has(first, "\n(11809 more bytes left out)");
    assert_string_equal(json_string_value(json_array_get(bounded, 1)), "0");
    has(json_string_value(json_array_get(bounded, FINDINGS_COUNT_MAX)), "401 more findings");

    char *text =
        word(TEMPLATE_ROLLBACK, (struct wording_facts){.from = STAGE_TESTING, .findings = bounded});
    assert_true(strlen(text) <= WORDING_MAX);
    free(text);
    json_decref(bounded);
    json_array_clear(many);
    for (int i = 0; i < 50; i++)
        json_array_append_new(many, json_string(big));
    bounded = findings_bounded(many, NULL);
    char *encoded = findings_encode(bounded);
    assert_in_range(strlen(encoded), FINDINGS_ALL_MAX - 100, FINDINGS_ALL_MAX + 1024);
    text = word(TEMPLATE_BLOCKED, (struct wording_facts){.from = STAGE_TESTING,
                                                         .reason = REASON_ROLLBACKS_EXHAUSTED,
                                                         .findings = bounded});
    assert_true(strlen(text) <= WORDING_MAX);
    has(text, "more findings: see the task)");
    has(text, "move the issue to **To Analyse**");
    free(text);
    free(encoded);
    json_decref(bounded);
    json_decref(many);
    free(big);
}

static void test_findings_stored_and_read_back(void **state)
{
    (void)state;
    json_t *given = json_pack("[s,s]", "a \"quoted\" thing", "ünïcode\n");
    json_t *bounded = findings_bounded(given, NULL);
    char *text = findings_encode(bounded);
    json_t *back = findings_decode(text);
    assert_true(json_equal(given, back));
    free(text);
    json_decref(back);
    json_decref(bounded);
    json_decref(given);
    bounded = findings_bounded(NULL, "12-review.md is missing"); /* a gate's reason stands in */
    assert_string_equal(json_string_value(json_array_get(bounded, 0)), "12-review.md is missing");
    json_decref(bounded);
    bounded = findings_bounded(NULL, "");
    assert_int_equal(json_array_size(bounded), 0);
    json_decref(bounded);
    static const char *const empty[] = {NULL, "", "[]"}, *const broken[] = {"{}", "[", "\"x\""};
    for (int i = 0; i < 3; i++) {
        back = findings_decode(empty[i]);
        assert_int_equal(json_array_size(back), 0);
        json_decref(back);
        back = findings_decode(broken[i]);
        assert_int_equal(json_array_size(back), 1);
        json_decref(back);
    }
    text = findings_encode(NULL);
    assert_string_equal(text, "[]");
    free(text);
}

/* ---- the other templates ---- */

static void test_transitions_say_why(void **state)
{
    (void)state;
    says(
        TEMPLATE_TRANSITION,
        (struct wording_facts){.from = STAGE_COUNT, .to = STAGE_ANALYSIS, .reason = REASON_STARTED},
        "**Analysis**: analysis started");
    says(TEMPLATE_TRANSITION,
         (struct wording_facts){
             .from = STAGE_TESTING, .to = STAGE_DEPLOY_STAGING, .reason = REASON_STAGING_OFF},
         "Testing → **Deploying (staging)**: no staging for this repository: the stage is passed "
         "through");
    says(TEMPLATE_REFUSED,
         (struct wording_facts){.command = "Approved", .reason = REASON_TOO_EARLY},
         "**Approved** was not acted on: the tracker had not yet shown what this answers.");
    says(TEMPLATE_APPROVED, (struct wording_facts){.reason = REASON_APPROVED, .actor = "anna"},
         "The analysis is approved by anna.");
    says(TEMPLATE_STOPPED, (struct wording_facts){.actor = "anna", .merged_commit = "abc"},
         "Stopped by anna. Merged as `abc`, not deployed. What was done is kept under a preserved "
         "ref.");
    says(TEMPLATE_STOP_DEFERRED, (struct wording_facts){0},
         "STOP is noted. An irreversible step is running; it is applied when that has ended.");
    says(TEMPLATE_STOP_TOO_LATE, (struct wording_facts){.merged_commit = "abc"},
         "STOP came too late: deployed as `abc`.");
    says(TEMPLATE_AGENT_STARTED, (struct wording_facts){.role = "tester", .attempt = 3},
         "Tester started · attempt 3");
}

/* What needs a person names the command. Mutation: a literal name that statuses.def no longer has.
 */
static void test_calls_to_people_name_the_command(void **state)
{
    (void)state;
    char *text = word(TEMPLATE_APPROVAL_REQUEST, (struct wording_facts){.key = "SHOP-1"});
    has(text, status_table[STATUS_APPROVED].name);
    has(text, ":approved:");
    free(text);
    text = word(TEMPLATE_CONFIRM_REQUEST, (struct wording_facts){.head = "abc`def"});
    has(text, status_table[STATUS_CONFIRM_DEPLOY].name);
    has(text, "`abcdef`");
    free(text);
    text = word(TEMPLATE_BLOCKED, (struct wording_facts){.from = STAGE_DEVELOPMENT,
                                                         .reason = REASON_ATTEMPTS_EXHAUSTED,
                                                         .reason_text = "exit 1",
                                                         .log_tail = "Traceback\n  boom\n"});
    has(text, "**Blocked** in Development (attempts-exhausted): exit 1");
    has(text, status_table[STATUS_TO_ANALYSE].name);
    has(text, "```\nTraceback\n  boom\n```\n");
    free(text);
}

/* Every template, with nothing and with too much of everything: text, bounded, whole characters.
 * Mutations: a template missing in the table; no limit on a line. */
static void test_every_template_with_nothing_and_with_everything(void **state)
{
    (void)state;
    enum { BIG = 200000 };
    char *big = calloc(1, BIG + 1);
    for (int i = 0; i + 2 <= BIG; i += 2)
        memcpy(big + i, "\xC3\xA4", 2);
    json_t *findings = json_array();
    struct wording_link links[100];
    struct wording_run runs[100];
    for (int i = 0; i < 100; i++) {
        json_array_append_new(findings, json_string(big));
        links[i] = (struct wording_link){big, big};
        runs[i] = (struct wording_run){i % 2 ? "tester" : big, big, {1, 2, 3, 4, 5}};
    }
    struct wording_facts all = {.key = big,
                                .title = big,
                                .role = big,
                                .kind = big,
                                .denied_tools = big,
                                .reason_text = big,
                                .findings = findings,
                                .log_tail = big,
                                .command = big,
                                .actor = big,
                                .branch = big,
                                .head = big,
                                .merged_commit = big,
                                .preserved_ref = big,
                                .links = links,
                                .link_count = 100,
                                .runs = runs,
                                .run_count = 100,
                                .from = STAGE_TESTING,
                                .to = STAGE_DEPLOY};
    for (int template = 0; template <TEMPLATE_COUNT; template ++) {
        char *text = word((enum message_template) template, (struct wording_facts){0});
        assert_true(text[0] != '\0');
        free(text);
        text = word((enum message_template) template, all);
        size_t size = strlen(text);
        assert_in_range(size, 1, WORDING_MAX);
        json_t *whole = json_string(text); /* NULL where it is no UTF-8 */
        assert_non_null(whole);
        json_decref(whole);
        free(text);
    }
    char *line = word(TEMPLATE_REFUSED, all);
    assert_in_range(strlen(line), 900, 1200); /* two lines of 512 bytes and our own words */
    free(line);
    json_decref(findings);
    free(big);
}

/* Text of people cannot become markup or another line. Mutation: part_line without escapes. */
static void test_text_from_outside_stays_text(void **state)
{
    (void)state;
    char *text = word(TEMPLATE_APPROVED,
                      (struct wording_facts){.reason = REASON_APPROVED,
                                             .actor = "<img src=x>\n# [me](http://x) `c` **b**"});
    assert_string_equal(text, "The analysis is approved by \\<img src=x\\> # \\[me\\](http://x) "
                              "\\`c\\` \\*\\*b\\*\\*.");
    free(text);
}

static void test_cutting_keeps_characters_whole(void **state)
{
    (void)state;
    assert_int_equal(text_cut("abc", 3), 3);
    assert_int_equal(text_cut("abc", 2), 2);
    assert_int_equal(text_cut("a\xC3\xA4", 2), 1);
    assert_int_equal(text_cut("a\xC3\xA4", 3), 3);
    assert_int_equal(text_cut("\xF0\x9F\x98\x80", 3), 0);
    assert_int_equal(text_cut("", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finish_comment),
        cmocka_unit_test(test_links_and_warnings),
        cmocka_unit_test(test_summary_sums_every_run),
        cmocka_unit_test(test_findings_are_quoted_word_for_word),
        cmocka_unit_test(test_findings_are_bounded_and_say_so),
        cmocka_unit_test(test_findings_stored_and_read_back),
        cmocka_unit_test(test_transitions_say_why),
        cmocka_unit_test(test_calls_to_people_name_the_command),
        cmocka_unit_test(test_every_template_with_nothing_and_with_everything),
        cmocka_unit_test(test_text_from_outside_stays_text),
        cmocka_unit_test(test_cutting_keeps_characters_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
