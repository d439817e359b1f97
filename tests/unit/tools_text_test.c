/* Pages as text for people, and why a task waits. Mutations tried: widths counted in bytes; a
 * blocked task explained by its parked row; the job's stale reason preferred to the queue's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "tools/text.h"
#include "tools/why.h"

static void columns_are_aligned_by_characters(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct table table;
    table_begin(&table, 2);
    table_add(&table, "a → b");
    table_add(&table, "x");
    table_add(&table, "abcdef");
    table_add(&table, NULL);
    table_end(&table, " ", &out);
    assert_string_equal(out.data, " a → b   x\n abcdef  -\n");
    buffer_free(&out);
}

static void assert_age(const char *since, int64_t now_ms, const char *text)
{
    char age[24];
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
    static const char queue[] = "{\"queued\":[{\"job\":5,\"reason\":\"limit: full\"}]}";
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
    assert_why(queued, queue, "reason", "limit: full");
    assert_why(queued, queue, "next", "reviewer");
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
    text_status(empty, NULL, 0, &out);
    text_queue(empty, 0, &out);
    text_task(empty, 0, &out);
    text_tasks(list, 0, &out);
    text_event(empty, &out);
    text_log_line("no json", &out);
    text_log_line("{\"half\":", &out);
    assert_non_null(strstr(out.data, "no tasks"));
    assert_non_null(strstr(out.data, "no json\n{\"half\":\n"));
    buffer_free(&out);
    json_decref(empty);
    json_decref(list);
}

static void a_log_line_is_words(void **state)
{
    (void)state;
    struct buffer out = {0};
    text_log_line("{\"ts\":\"T\",\"level\":\"warn\",\"event\":\"reap\",\"task\":\"D-1\","
                  "\"msg\":\"tier 1\"}",
                  &out);
    assert_string_equal(out.data, "T warn  reap       D-1: tier 1\n");
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned_by_characters),
        cmocka_unit_test(ages_are_short),
        cmocka_unit_test(every_wait_is_explained),
        cmocka_unit_test(a_page_that_lacks_parts_is_shown),
        cmocka_unit_test(a_log_line_is_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
