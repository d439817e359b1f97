/* Pages as text for people, and why a task waits. Mutations tried: widths counted in bytes; a
 * blocked task explained by its parked row; the job's stale reason preferred to the queue's; C1
 * controls or marks of direction left as they are; colours without a terminal; local time not
 * applied; an agent's success told twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/clock_text.h"
#include "tools/text.h"
#include "tools/why.h"

static const struct view plain = {.now_ms = 0};

static void columns_are_aligned_by_characters(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct table table;
    table_begin(&table, &plain, 2, NULL);
    table_add(&table, "a → b");
    table_add(&table, "x");
    table_add(&table, "abcdef");
    table_add(&table, NULL); /* an empty end is no text */
    table_add(&table, "");
    table_add(&table, "y");
    table_end(&table, " ", &out);
    assert_string_equal(out.data, " a → b   x\n abcdef\n -       y\n");
    buffer_free(&out);
}

static void heads_need_rows_and_columns_need_cells(void **state)
{
    (void)state;
    static const char *const heads[] = {"ONE", "TWO", "THREE"};
    struct buffer out = {0};
    struct table table;
    table_begin(&table, &plain, 3, heads);
    table_end(&table, "", &out);
    assert_int_equal(out.size, 0);
    table_begin(&table, &plain, 3, heads);
    table_add(&table, "1");
    table_add(&table, "2");
    table_add(&table, NULL);
    table_end(&table, "", &out);
    assert_string_equal(out.data, "ONE  TWO\n1    2\n");
    buffer_free(&out);
}

static void what_is_long_is_cut(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct table table;
    table_begin(&table, &plain, 1, NULL);
    table_add_cut(&table, "üüüü", 4);
    table_add_cut(&table, "üüüüü", 4);
    table_end(&table, "", &out);
    assert_string_equal(out.data, "üüüü\nüüü…\n");
    buffer_free(&out);
}

static void assert_clean(const char *text, const char *shown)
{
    struct buffer out = {0};
    text_clean(&out, text);
    assert_string_equal(out.data, shown);
    buffer_free(&out);
}

static void nothing_reaches_the_terminal_raw(void **state)
{
    (void)state;
    assert_clean("grün → ok", "grün → ok");
    assert_clean("\033[2Ja\007", "\\x1b[2Ja\\x07");
    assert_clean("a\nb\tc\rd\x7f", "a\\nb\\tc\\rd\\x7f");
    assert_clean("\xc2\x9b"
                 "31m",
                 "\\u009b31m"); /* CSI of one character */
    assert_clean("\xe2\x80\xae"
                 "abc",
                 "\\u202eabc"); /* right to left from here */
    assert_clean("\xe2\x81\xa6"
                 "abc",
                 "\\u2066abc");
    assert_clean("\xff\xc0\x80", "\\xff\\xc0\\x80");
    struct buffer out = {0};
    text_clean_lines(&out, "> ", "one\r\n\033two");
    assert_string_equal(out.data, "> one\n> \\x1btwo\n");
    buffer_free(&out);
}

static void colours_are_for_terminals(void **state)
{
    (void)state;
    const struct view coloured = {.colour = true};
    struct buffer out = {0};
    text_paint(&out, &plain, STYLE_BAD, "a\033");
    text_paint(&out, &coloured, STYLE_BAD, "b\033");
    text_paint(&out, &coloured, STYLE_PLAIN, "c");
    assert_string_equal(out.data, "a\\x1b\033[31mb\\x1b\033[0mc");
    buffer_free(&out);
}

static void assert_moment(const char *at, const char *now, int64_t zone_ms, const char *shown)
{
    char text[TEXT_VALUE];
    const struct view view = {.now_ms = clock_parse(now), .zone_ms = zone_ms};
    text_moment(at, &view, text);
    assert_string_equal(text, shown);
}

static void moments_are_local_and_short(void **state)
{
    (void)state;
    const int64_t hour = 3600 * 1000;
    assert_moment("2026-01-31T23:30:05.999Z", "2026-01-31T23:59:00Z", 0, "23:30:05");
    assert_moment("2026-01-31T23:30:05.999Z", "2026-02-01T00:00:00Z", 0, "01-31 23:30");
    assert_moment("2026-01-31T23:30:05.999Z", "2026-02-01T00:00:00Z", hour, "00:30:05");
    assert_moment("2024-02-29T12:00:00Z", "2026-02-01T00:00:00Z", 0, "02-29 12:00");
    assert_moment("2024-03-01T01:00:00Z", "2026-02-01T00:00:00Z", -2 * hour, "02-29 23:00");
    assert_moment("2025-12-31T12:00:00Z", "2026-02-01T00:00:00Z", 0, "12-31 12:00");
    assert_moment("nonsense", "2026-02-01T00:00:00Z", 0, "-");
    assert_moment(NULL, "2026-02-01T00:00:00Z", 0, "-");
}

static void assert_age(const char *since, int64_t now_ms, const char *text)
{
    char age[TEXT_VALUE];
    text_age(since, now_ms, age);
    assert_string_equal(age, text);
}

static void ages_are_short(void **state)
{
    (void)state;
    int64_t at = clock_parse("2026-01-01T00:00:00.000Z");
    assert_age("2026-01-01T00:00:00.000Z", at + 59999, "59s");
    assert_age("2026-01-01T00:00:00.000Z", at + 60000, "1m");
    assert_age("2026-01-01T00:00:00.000Z", at + 2 * 3600000 + 5 * 60000, "2h 5m");
    assert_age("2026-01-01T00:00:00.000Z", at + 86400000 * INT64_C(4), "4d 0h");
    assert_age("2026-01-01T00:00:00.000Z", at - 5000, "0s");
    assert_age("nonsense", at, "-");
    assert_age(NULL, at, "-");
}

static json_t *task(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);
    if (!json)
        fail_msg("%s", error.text);
    return json;
}

static void assert_why(const char *text, const char *queue_text, const char *field,
                       const char *word)
{
    json_t *one = task(text), *queue = queue_text ? task(queue_text) : NULL;
    json_t *why = why_task(one, queue);
    const char *value = json_string_value(json_object_get(why, field));
    if (!value || !strstr(value, word))
        fail_msg("%s: %s is \"%s\", not \"%s\"", text, field, value ? value : "null", word);
    json_decref(why);
    json_decref(one);
    json_decref(queue);
}

#define HEAD "{\"key\":\"D-1\",\"transitions\":[],"

static void every_wait_is_explained(void **state)
{
    (void)state;
    static const char blocked[] =
        HEAD "\"stage\":\"review\",\"blocked\":{\"reason\":\"lost: gone\",\"since\":\"s\"},"
             "\"parked\":{\"for\":\"approval\",\"since\":\"t\"},\"jobs\":[]}";
    static const char parked[] =
        HEAD "\"stage\":\"analysis\",\"blocked\":null,"
             "\"parked\":{\"for\":\"approval\",\"since\":\"t\"},\"jobs\":[]}";
    static const char queued[] =
        HEAD "\"stage\":\"review\",\"blocked\":null,\"parked\":null,\"jobs\":[{\"id\":4,"
             "\"state\":\"done\"},{\"id\":5,\"state\":\"queued\",\"role\":\"reviewer\","
             "\"reason\":\"old: one\",\"created_at\":\"c\"}]}";
    static const char queue[] =
        "{\"queued\":[{\"job\":5,\"reason\":\"serial-gate: D-0 is first\"}]}";
    static const char running[] =
        HEAD "\"stage\":\"testing\",\"blocked\":null,\"parked\":null,\"jobs\":[{\"id\":5,"
             "\"state\":\"running\",\"role\":\"tester\",\"run\":\"r\",\"claimed_at\":\"c\"}]}";
    static const char jobless[] =
        HEAD "\"stage\":\"testing\",\"blocked\":null,\"parked\":null,\"jobs\":[]}";
    static const char done[] = HEAD "\"stage\":\"done\",\"ended_at\":\"e\",\"jobs\":[]}";
    assert_why(blocked, NULL, "reason", "lost: gone");
    assert_why(blocked, NULL, "next", "orchctl retry D-1");
    assert_why(blocked, NULL, "since", "s");
    assert_why(parked, NULL, "waits_for", "approval");
    assert_why(parked, NULL, "next", "orchctl approve D-1");
    assert_why(parked, NULL, "who", "a person");
    assert_why(queued, NULL, "reason", "old: one");
    assert_why(queued, NULL, "waits_for", "its turn");
    assert_why(queued, queue, "reason", "serial-gate: D-0 is first");
    assert_why(queued, queue, "who", "whoever can act on that one");
    assert_why(queued, queue, "next", "done or cancelled");
    assert_why(running, NULL, "waits_for", "agent");
    assert_why(running, NULL, "next", "deploy-staging");
    assert_why(jobless, NULL, "who", "reconciler");
    assert_why(done, NULL, "since", "e");
    assert_why(done, NULL, "waits_for", "nothing");
}

static void a_page_that_lacks_parts_is_shown(void **state)
{
    (void)state;
    struct buffer out = {0};
    json_t *empty = json_object(), *list = json_array();
    text_status(empty, NULL, &plain, &out);
    text_queue(empty, &plain, &out);
    text_task(empty, &plain, &out);
    text_issue(empty, &plain, &out);
    text_tasks(list, &plain, &out);
    text_event(empty, true, &plain, &out);
    why_text(empty, &plain, &out);
    text_log_line("no json", &plain, &out);
    text_log_line("{\"half\":", &plain, &out);
    text_agent_line("{\"type\":\"assistant\"}", &plain, &out);
    text_agent_line("\033[31mred", &plain, &out);
    assert_non_null(strstr(out.data, "no tasks"));
    assert_non_null(strstr(out.data, "no json\n{\"half\":\n\\x1b[31mred\n"));
    buffer_free(&out);
    json_decref(empty);
    json_decref(list);
}

static void assert_event(bool all, const char *text, const char *shown)
{
    struct buffer out = {0};
    const struct view view = {.now_ms = clock_parse("2026-01-31T10:00:09Z")};
    json_t *event = task(text);
    text_event(event, all, &view, &out);
    assert_string_equal(out.size ? out.data : "", shown);
    buffer_free(&out);
    json_decref(event);
}

#define EVENT(name, stage, detail)                                                                 \
    "{\"ts\":\"2026-01-31T10:00:00.000Z\",\"event\":\"" name                                       \
    "\",\"task\":\"D-1\",\"stage\":\"" stage "\",\"run\":\"D-1-j1-r1\",\"detail\":{" detail "}}"

static void events_are_a_line_per_thing_that_matters(void **state)
{
    (void)state;
    static const char forward[] = EVENT("transition", "review",
                                        "\"from\":\"development\",\"to\":\"review\",\"why\":"
                                        "\"gate-passed: it passed\",\"actor\":\"developer\"");
    static const char back[] = EVENT("transition", "development",
                                     "\"from\":\"review\",\"to\":\"development\",\"why\":"
                                     "\"gate-failed: 12-review.md: bad\",\"actor\":\"reviewer\"");
    static const char works[] =
        EVENT("run", "review", "\"state\":\"started\",\"role\":\"reviewer\"");
    static const char well[] = EVENT(
        "run", "review", "\"state\":\"ended\",\"outcome\":\"succeeded\",\"role\":\"reviewer\"");
    static const char wrong[] = EVENT("run", "review",
                                      "\"state\":\"ended\",\"outcome\":\"failed\",\"role\":"
                                      "\"reviewer\",\"reason\":\"timeout: too long\"");
    static const char parked[] =
        EVENT("task", "analysis", "\"state\":\"parked\",\"for\":\"approval\"");
    static const char lease[] = EVENT("lease", "deploy", "\"state\":\"taken\",\"repo\":\"shop\"");
    static const char sent[] =
        EVENT("effect", "deploy", "\"state\":\"delivered\",\"kind\":\"comment\"");
    static const char alert[] = EVENT("alert", "deploy", "\"key\":\"k\",\"text\":\"\\u001b[2J\"");
    static const char later[] = EVENT("window", "done", "\"state\":\"opened\",\"n\":3,\"x\":null");
    assert_event(false, forward, "10:00:00  D-1      → review          it passed (developer)\n");
    assert_event(
        false, back,
        "10:00:00  D-1      ← development     rolled back: 12-review.md: bad (reviewer)\n");
    assert_event(false, works, "10:00:00  D-1        review          reviewer works (D-1-j1-r1)\n");
    assert_event(false, well, ""); /* its transition says so */
    assert_event(false, wrong,
                 "10:00:00  D-1        review          reviewer failed: timeout: too long\n");
    assert_event(false, parked,
                 "10:00:00  D-1        analysis        waits for approval: orchctl approve D-1\n");
    assert_event(false, lease, "");
    assert_event(true, lease, "10:00:00  D-1        deploy          lease state=taken repo=shop\n");
    assert_event(false, sent, "");
    assert_event(false, alert, "10:00:00  D-1        deploy          ALERT \\x1b[2J\n");
    assert_event(false, later, "10:00:00  D-1        done            window state=opened n=3\n");
}

static void a_log_line_is_words(void **state)
{
    (void)state;
    struct buffer out = {0};
    const struct view view = {.now_ms = clock_parse("2026-01-31T10:00:09Z")};
    text_log_line("{\"ts\":\"2026-01-31T10:00:00.000Z\",\"level\":\"warn\",\"event\":\"reap\","
                  "\"task\":\"D-1\",\"msg\":\"tier\\u009b 1\"}",
                  &view, &out);
    assert_string_equal(out.data, "10:00:00  warn   reap        D-1: tier\\u009b 1\n");
    buffer_free(&out);
}

static void an_agents_records_are_words(void **state)
{
    (void)state;
    struct buffer out = {0};
    text_agent_line("{\"type\":\"system\",\"subtype\":\"init\"}", &plain, &out);
    text_agent_line("{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":"
                    "\"one\\ntwo\\u001b\"},{\"type\":\"tool_use\",\"name\":\"Bash\",\"input\":"
                    "{\"command\":\"ls\"}}]}}",
                    &plain, &out);
    text_agent_line("{\"type\":\"result\",\"subtype\":\"success\",\"result\":\"fine\"}", &plain,
                    &out);
    assert_string_equal(out.data, "one\ntwo\\x1b\n  Bash {\"command\":\"ls\"}\nsuccess: fine\n");
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned_by_characters),
        cmocka_unit_test(heads_need_rows_and_columns_need_cells),
        cmocka_unit_test(what_is_long_is_cut),
        cmocka_unit_test(nothing_reaches_the_terminal_raw),
        cmocka_unit_test(colours_are_for_terminals),
        cmocka_unit_test(moments_are_local_and_short),
        cmocka_unit_test(ages_are_short),
        cmocka_unit_test(every_wait_is_explained),
        cmocka_unit_test(a_page_that_lacks_parts_is_shown),
        cmocka_unit_test(events_are_a_line_per_thing_that_matters),
        cmocka_unit_test(a_log_line_is_words),
        cmocka_unit_test(an_agents_records_are_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
