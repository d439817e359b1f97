/* Reading what an agent says: both versions of the CLI, in pieces of any size, and rubbish; and a
 * run's share of what its session reports. Mutations tried, each turns a test red: the usage of a
 * run without a report forgotten; what was before taken anew when the same run is read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/buffer.h"
#include "lib/file.h"
#include "services/runner/agent_output.h"
#include "services/runner/sessions.h"

#define FOLDER "tests/fixtures/agents/"

static char *fixture(const char *name, size_t *size)
{
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s", name);
    char *text = file_read(path, 1 << 22, size);
    assert_non_null(text);
    return text;
}

static void feed_text(struct agent_output *output, const char *text)
{
    output_feed(output, text, strlen(text));
}

static json_t *recorded_result(const char *name)
{
    size_t size;
    char *text = fixture(name, &size);
    json_t *result = json_loadb(text, size, 0, NULL);
    assert_non_null(result);
    free(text);
    return result;
}

static const struct {
    const char *file, *version, *tool;
    int turns;
    double cost;
    int64_t input, output, read, creation;
} streams[] = {
    /* the recorded API gave both turns of the first two one id */
    {"claude-2.1.197/stream.jsonl", "2.1.197", "Bash", 1, 0.0037249999999999996, 240, 50, 1800, 60},
    {"claude-2.1.329/stream.success.jsonl", "2.1.329", "Bash", 1, 0.002235, 240, 50, 1800, 60},
    {"claude.stream.tool-success.jsonl", "2.1.197", "Bash", 2, 0.04031, 24, 174, 20480, 4096},
};

static void check_stream(const struct agent_output *output, size_t i)
{
    assert_string_equal(output->version, streams[i].version);
    assert_string_equal(output->last_tool, streams[i].tool);
    assert_int_equal(output->turns, streams[i].turns);
    assert_true(output->session[0] && output->model[0]);
    assert_non_null(output->result);
    assert_true(output_total_cost(output->result) == streams[i].cost);
    json_t *usage = output_usage(output->result);
    assert_int_equal(json_integer_value(json_object_get(usage, "input")), streams[i].input);
    assert_int_equal(json_integer_value(json_object_get(usage, "output")), streams[i].output);
    assert_int_equal(json_integer_value(json_object_get(usage, "cache_read")), streams[i].read);
    assert_int_equal(json_integer_value(json_object_get(usage, "cache_creation")),
                     streams[i].creation);
    json_decref(usage);
}

static void test_streams_in_pieces_of_any_size(void **state)
{
    static const size_t pieces[] = {1, 2, 7, 100, 4096, 1 << 20};
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        size_t size;
        char *text = fixture(streams[i].file, &size);
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            struct agent_output output = {0};
            for (size_t at = 0; at < size; at += pieces[p])
                output_feed(&output, text + at, pieces[p] < size - at ? pieces[p] : size - at);
            output_end(&output);
            check_stream(&output, i);
            output_free(&output);
        }
        free(text);
    }
}

static void test_the_fallback_is_seen(void **state)
{
    (void)state;
    struct agent_output output = {0};
    size_t size;
    char *text = fixture("claude.stream.model-fallback.jsonl", &size);
    output_feed(&output, text, size);
    output_end(&output);
    assert_true(output.fell_back);
    assert_non_null(strstr(output.model, "claude-"));
    free(text);
    output_free(&output);
}

/* type last, a nested "type" before it, odd white space, numbers as other types. */
static void test_keys_in_any_order(void **state)
{
    (void)state;
    struct agent_output output = {0};
    feed_text(&output, "{\"usage\":{\"output_tokens\":5,\"type\":\"x\",\"input_tokens\":7},"
                       "\"total_cost_usd\":1,\"is_error\":false,\"session_id\":\"s\","
                       "\"result\":\"ok\",\"unknown\":[{\"type\":\"assistant\"}],"
                       "\"type\":\"result\"} \r\n");
    assert_non_null(output.result);
    assert_string_equal(output.session, "s");
    assert_true(output_total_cost(output.result) == 1.0);
    json_t *usage = output_usage(output.result);
    assert_int_equal(json_integer_value(json_object_get(usage, "input")), 7);
    assert_int_equal(json_integer_value(json_object_get(usage, "cache_read")), 0);
    json_decref(usage);
    assert_int_equal(output.turns, 0);
    output_free(&output);
}

/* Several lines of one message are one turn, a subagent's are none. */
static void test_turns(void **state)
{
    (void)state;
    struct agent_output output = {0};
    static const char line[] = "{\"type\":\"assistant\",\"message\":{\"id\":\"%s\",\"content\":[],"
                               "\"usage\":{\"output_tokens\":3}},\"parent_tool_use_id\":%s}\n";
    const char *const ids[][2] = {{"a", "null"}, {"a", "null"}, {"b", "\"toolu_1\""},
                                  {"c", "null"}, {"", "null"},  {"", "null"}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char text[300];
        snprintf(text, sizeof text, line, ids[i][0], ids[i][1]);
        feed_text(&output, text);
    }
    assert_int_equal(output.turns, 4);
    assert_int_equal(output.output_tokens, 12);
    output_free(&output);
}

static void test_rubbish_is_text(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{",
        "{\"type\":\"result\"",
        "[1,2]",
        "null",
        "{\"type\":1}",
        "{\"type\":\"result\",\"a\":1,\"a\":2,\"usage\":[],\"total_cost_usd\":\"x\"}",
        "{\"type\":\"assistant\",\"message\":7}",
        "{\"type\":\"assistant\",\"message\":{\"content\":{\"type\":\"text\"}}}",
        "{\"type\":\"system\",\"subtype\":[]}",
        "{\"type\":\"rate_limit_event\",\"rate_limit_info\":\"no\"}",
        "\xff\xfe{\"type\":\"result\"}",
        "{\"type\":\"\xff\"}",
    };
    struct agent_output output = {0};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        feed_text(&output, lines[i]);
        feed_text(&output, "\n");
    }
    output_feed(&output, "a\0b\n", 4);
    output_end(&output);
    assert_non_null(output.result); /* the sixth: lenient about what it says */
    assert_null(output_usage(output.result));
    assert_true(output_total_cost(output.result) < 0);
    char *tail = output_tail(&output);
    json_t *valid = json_string(tail);
    assert_non_null(valid);
    assert_non_null(strstr(tail, "a?b"));
    json_decref(valid);
    free(tail);
    output_free(&output);
}

static void test_a_deep_nest_and_a_huge_line(void **state)
{
    (void)state;
    struct agent_output output = {0};
    struct buffer line = {0};
    for (int i = 0; i < 5000; i++)
        buffer_text(&line, "{\"a\":");
    buffer_text(&line, "\n");
    output_feed(&output, line.data, line.size);
    buffer_free(&line);
    /* 8 MiB in one line: a tool's result; then one over every limit, without its newline */
    size_t huge = 8 << 20;
    char *text = malloc(huge);
    memset(text, 'x', huge);
    feed_text(&output, "{\"type\":\"user\",\"content\":\"");
    output_feed(&output, text, huge);
    feed_text(&output, "\",\"session_id\":\"big\"}\n");
    assert_string_equal(output.session, "big");
    for (int i = 0; i < 6; i++)
        output_feed(&output, text, huge);
    assert_true(output.partial_size <= 32 << 20);
    feed_text(&output, "\n{\"type\":\"result\",\"is_error\":false}\n");
    assert_non_null(output.result);
    char *tail = output_tail(&output);
    assert_true(strlen(tail) <= OUTPUT_TAIL_BYTES);
    free(tail);
    free(text);
    output_free(&output);
}

static void test_the_tail_is_the_last_whole_lines(void **state)
{
    (void)state;
    struct agent_output output = {0};
    char line[64];
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof line, "line %d\n", i);
        feed_text(&output, line);
    }
    char *tail = output_tail(&output);
    assert_true(strncmp(tail, "line 80\n", 8) == 0);
    assert_string_equal(tail + strlen(tail) - 8, "line 99\n");
    free(tail);
    output_free(&output);
}

static void test_denied_tools(void **state)
{
    (void)state;
    json_t *result = recorded_result("claude-2.1.329/result-permission-denied.json");
    json_t *names = output_denied_tools(result);
    assert_int_equal(json_array_size(names), 1);
    assert_string_equal(json_string_value(json_array_get(names, 0)), "Bash");
    json_decref(names);
    json_decref(result);
    names = output_denied_tools(NULL);
    assert_int_equal(json_array_size(names), 0);
    json_decref(names);
}

/* ---- what a run of a resumed session cost ---- */

static char home[64];

static double cost(const char *run, double total, bool resumed)
{
    struct session_figures reported = {.cost = total};
    return sessions_share(home, "s-1", run, &reported, resumed).cost;
}

static bool near(double a, double b)
{
    double difference = a - b;
    return difference < 1e-9 && difference > -1e-9;
}

static int make_home(void **state)
{
    (void)state;
    strcpy(home, "/tmp/orch-sessions-XXXXXX");
    return mkdtemp(home) ? 0 : -1;
}

static int remove_home(void **state)
{
    (void)state;
    return file_remove_tree(home);
}

/* The recorded pair: 0.002235, then 0.0033525 for both together. */
static void test_a_resumed_session_counts_the_difference(void **state)
{
    (void)state;
    json_t *first = recorded_result("claude-2.1.329/result-resume-first.json");
    json_t *second = recorded_result("claude-2.1.329/result-resume-second.json");
    double a = output_total_cost(first), b = output_total_cost(second);
    assert_true(near(cost("r1", a, false), 0.002235));
    assert_true(near(cost("r2", b, true), 0.0033525 - 0.002235));
    /* A successor reads the same run again: the same answer, any number of times. */
    assert_true(near(cost("r2", b, true), 0.0033525 - 0.002235));
    assert_true(near(cost("r2", b, true), 0.0033525 - 0.002235));
    json_decref(first);
    json_decref(second);
}

static void test_a_run_without_a_report(void **state)
{
    (void)state;
    assert_true(near(cost("r1", 1.0, false), 1.0));
    assert_true(cost("r2", -1, true) < 0);         /* killed: unknown, never 0 */
    assert_true(near(cost("r3", 0.4, true), 0.4)); /* and its total does not contain r2 */
    assert_true(near(cost("r4", 0.6, true), 0.2));
}

static void test_a_smaller_total_is_taken_as_it_is(void **state)
{
    (void)state;
    cost("r1", 2.0, false);
    assert_true(near(cost("r2", 0.5, true), 0.5));
}

static void test_a_session_that_is_no_file_name_is_kept_nowhere(void **state)
{
    (void)state;
    struct session_figures reported = {.cost = 1.5};
    assert_true(near(sessions_share(home, "../../x", "r1", &reported, false).cost, 1.5));
    assert_true(near(sessions_share(home, NULL, "r1", &reported, false).cost, 1.5));
    char *path = xformat("%s/sessions", home);
    assert_false(file_exists(path));
    free(path);
}

static void expect_usage(const char *run, const char *reported, bool resumed, const char *share)
{
    struct session_figures figures = {.cost = -1,
                                      .usage = reported ? json_loads(reported, 0, NULL) : NULL};
    struct session_figures got = sessions_share(home, "s-2", run, &figures, resumed);
    json_t *wanted = share ? json_loads(share, 0, NULL) : NULL;
    if (share ? !json_equal(got.usage, wanted) : got.usage != NULL)
        fail_msg("%s: %s", run, got.usage ? json_dumps(got.usage, 0) : "none");
    assert_true(got.cost < 0);
    json_decref(wanted);
    json_decref(got.usage);
    json_decref(figures.usage);
}

/* Usage that counts from the thread's beginning: a run that died without a report is in the next
 * one's, the same run again gives the same, and a smaller total is another thread's. */
static void test_cumulative_usage(void **state)
{
    (void)state;
    expect_usage("r1", "{\"input\": 600, \"output\": 80}", false,
                 "{\"input\": 600, \"output\": 80}");
    expect_usage("r2", "{\"input\": 700, \"output\": 95}", true,
                 "{\"input\": 100, \"output\": 15}");
    expect_usage("r2", "{\"input\": 700, \"output\": 95}", true,
                 "{\"input\": 100, \"output\": 15}");
    expect_usage("r3", NULL, true, NULL);
    expect_usage("r4", "{\"input\": 900, \"output\": 99}", true, "{\"input\": 200, \"output\": 4}");
    expect_usage("r5", "{\"input\": 5, \"output\": 100}", true, "{\"input\": 5, \"output\": 100}");
}

/* What an earlier version wrote. */
static void test_an_older_file_is_read(void **state)
{
    (void)state;
    static const char old[] = "{\"run\": \"r1\", \"before\": null, \"total\": 2.0}";
    char *folder = xformat("%s/sessions", home), *path = xformat("%s/s-1.json", folder);
    assert_int_equal(file_make_dirs(folder, 0700), 0);
    assert_int_equal(file_write_atomic(path, old, sizeof old - 1, 0600), 0);
    assert_true(near(cost("r2", 2.5, true), 0.5));
    free(path);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_in_pieces_of_any_size),
        cmocka_unit_test(test_the_fallback_is_seen),
        cmocka_unit_test(test_keys_in_any_order),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_rubbish_is_text),
        cmocka_unit_test(test_a_deep_nest_and_a_huge_line),
        cmocka_unit_test(test_the_tail_is_the_last_whole_lines),
        cmocka_unit_test(test_denied_tools),
        cmocka_unit_test_setup_teardown(test_a_resumed_session_counts_the_difference, make_home,
                                        remove_home),
        cmocka_unit_test_setup_teardown(test_a_run_without_a_report, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_a_smaller_total_is_taken_as_it_is, make_home,
                                        remove_home),
        cmocka_unit_test_setup_teardown(test_a_session_that_is_no_file_name_is_kept_nowhere,
                                        make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_cumulative_usage, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_an_older_file_is_read, make_home, remove_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
