/* Why a run failed: every recorded output of the CLI, and what has no record. Mutations tried, each
 * turns a test red: the usage limit looked for after transient; codex's statuses not read from
 * its words; its warning, or its Reconnecting, taken for a failure; a turn that completes after one
 * that failed taken for success; is_error not looked at; exit 0
 * without a record taken for success; the model's own words classified. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/file.h"
#include "services/runner/agent.h"
#include "services/runner/classify.h"

#define FOLDER "tests/fixtures/agents/"

/* A recorded output as agent_output reads it, a file of one object being one line of a stream. */
static void read_output(const char *name, struct agent_output *output)
{
    char path[256];
    size_t size;
    snprintf(path, sizeof path, FOLDER "%s", name);
    char *text = file_read(path, 1 << 20, &size);
    assert_non_null(text);
    json_t *whole = json_loadb(text, size, 0, NULL);
    char *line = whole ? json_dumps(whole, JSON_COMPACT) : text;
    output_feed(output, line, strlen(line));
    output_end(output);
    if (line != text)
        free(line);
    free(text);
    json_decref(whole);
}

static struct run_facts facts_of(const struct agent_output *output, int exit_code)
{
    return (struct run_facts){.needs_result = true,
                              .result = output->result,
                              .exit_code = exit_code,
                              .limit_rejected = output->limit_rejected,
                              .limit_resets = output->limit_resets};
}

static const struct {
    const char *file;
    int exit_code;
    const char *class, *code; /* class NULL: success */
} recorded[] = {
    {"claude.result.success.json", 0, NULL, "ok"},
    {"claude.result.permission-denied.json", 0, NULL, "ok"},
    {"claude.result.structured-output.json", 0, NULL, "ok"},
    {"claude.stream.tool-success.jsonl", 0, NULL, "ok"},
    {"claude.stream.partial-messages.jsonl", 0, NULL, "ok"},
    {"claude.stream.model-fallback.jsonl", 0, NULL, "ok"},
    {"claude.result.api-error-400-credit.json", 1, "operator", "operator"},
    {"claude.result.api-error-401.json", 1, "operator", "operator"},
    {"claude.result.api-error-404-model.json", 1, "config", "config"},
    {"claude.result.api-error-429.json", 1, "transient", "transient"},
    {"claude.result.api-error-500.json", 1, "transient", "transient"},
    {"claude.result.api-error-529.json", 1, "transient", "transient"},
    {"claude.result.api-error-prompt-too-long.json", 1, "task", "task"},
    {"claude.result.api-timeout.json", 1, "transient", "transient"},
    {"claude.result.error_max_budget_usd.json", 1, "budget", "budget-run"},
    {"claude.result.error_max_turns.json", 1, "permanent", "permanent"},
    {"claude.stream.overloaded-529.jsonl", 1, "transient", "transient"},
    {"claude.stream.rate-limit-429.jsonl", 1, "transient", "transient"},
    {"claude-2.1.197/result-400.json", 1, "permanent", "permanent"},
    {"claude-2.1.197/result-401.json", 1, "operator", "operator"},
    {"claude-2.1.197/result-429.json", 1, "transient", "transient"},
    {"claude-2.1.197/result-500.json", 1, "transient", "transient"},
    {"claude-2.1.197/result-529.json", 1, "transient", "transient"},
    {"claude-2.1.197/result-maxbudget.json", 1, "budget", "budget-run"},
    {"claude-2.1.197/result-maxturns.json", 1, "permanent", "permanent"},
    {"claude-2.1.197/result-success.json", 0, NULL, "ok"},
    {"claude-2.1.197/stream.jsonl", 0, NULL, "ok"},
    {"claude-2.1.197/sigterm.jsonl", 143, "permanent", "permanent"},
    {"claude-2.1.329/result-401.json", 1, "operator", "operator"},
    {"claude-2.1.329/result-429.json", 1, "transient", "transient"},
    {"claude-2.1.329/result-500.json", 1, "transient", "transient"},
    {"claude-2.1.329/result-529.json", 1, "transient", "transient"},
    {"claude-2.1.329/result-maxturns.json", 1, "permanent", "permanent"},
    {"claude-2.1.329/result-permission-denied.json", 0, NULL, "ok"},
    {"claude-2.1.329/result-resume-first.json", 0, NULL, "ok"},
    {"claude-2.1.329/result-resume-second.json", 0, NULL, "ok"},
    {"claude-2.1.329/stream.fallback-exhausted.jsonl", 1, "transient", "transient"},
    {"claude-2.1.329/stream.success.jsonl", 0, NULL, "ok"},
};

static void expect(const struct run_facts *facts, const char *class, const char *code,
                   const char *what)
{
    struct run_verdict verdict;
    classify_run(facts, &verdict);
    size_t size = strlen(code);
    if (verdict.succeeded != (class == NULL) ||
        strcmp(verdict.class, class ? class : "none") != 0 ||
        strncmp(verdict.reason, code, size) != 0 || verdict.reason[size] != ':')
        fail_msg("%s: %s, %s", what, verdict.class, verdict.reason);
}

static struct agent_output codex(void)
{
    return (struct agent_output){.take = agent_codex.take};
}

static const struct {
    const char *file, *status;
    int exit_code;
    const char *class, *code;
} recorded_codex[] = {
    {"codex-0.163.0/exec.success.jsonl", "", 0, NULL, "ok"},
    {"codex-0.163.0/exec.error-401.jsonl", "401", 1, "operator", "operator"},
    {"codex-0.163.0/exec.error-429.jsonl", "429", 1, "transient", "transient"},
    {"codex-0.163.0/exec.error-500.jsonl", "", 1, "transient", "transient"},
    {"codex.exec.success.jsonl", "", 0, NULL, "ok"},
    {"codex.exec.error-401.jsonl", "401", 1, "operator", "operator"},
    {"codex.exec.error-429.jsonl", "429", 1, "transient", "transient"},
};

static void test_recorded_outputs_of_codex(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof recorded_codex / sizeof *recorded_codex; i++) {
        struct agent_output output = codex();
        read_output(recorded_codex[i].file, &output);
        struct run_facts facts = facts_of(&output, recorded_codex[i].exit_code);
        expect(&facts, recorded_codex[i].class, recorded_codex[i].code, recorded_codex[i].file);
        int64_t status = json_integer_value(json_object_get(output.result, "api_error_status"));
        assert_int_equal(status, atoi(recorded_codex[i].status));
        assert_int_equal(strncmp(output.session, "01a1f", 5), 0);
        output_free(&output);
    }
}

static void test_what_codex_reports_of_itself(void **state)
{
    (void)state;
    struct agent_output output = codex();
    read_output("codex-0.163.0/exec.success.jsonl", &output);
    assert_string_equal(output.last_tool, "command_execution");
    assert_int_equal(output.turns, 2);
    assert_string_equal(json_string_value(json_object_get(output.result, "result")),
                        "All done: wrote hello.txt");
    json_t *usage = output_usage(output.result);
    json_t *wanted = json_pack("{s:i, s:i, s:i, s:i}", "input", 600, "output", 80, "cache_read",
                               1800, "cache_creation", 0);
    assert_true(json_equal(usage, wanted));
    assert_true(output_total_cost(output.result) < 0); /* it names no cost */
    json_decref(wanted);
    json_decref(usage);
    output_free(&output);
}

static const struct {
    const char *lines;
    int exit_code;
    const char *class, *code, *what;
} codex_lines[] = {
    {"{\"type\":\"turn.failed\",\"error\":{\"message\":\"unexpected status 404 Not Found: no such "
     "model\"}}",
     1, "config", "config", "404"},
    {"{\"type\":\"turn.failed\",\"error\":{\"message\":\"You've hit your usage limit. Try again "
     "later.\"}}",
     1, "usage_limit", "usage-limit", "limit"},
    {"{\"type\":\"turn.failed\",\"error\":{\"message\":\"x\"}}\n{\"type\":\"turn.completed\","
     "\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}",
     0, "permanent", "permanent", "completed after failed"},
    {"{\"type\":\"turn.started\"}", 0, "permanent", "permanent", "exit 0 without an end"},
    {"{\"type\":\"turn.completed\",\"usage\":null}", 0, NULL, "ok", "no usage"},
    {"{\"type\":\"turn.completed\"}", 1, "permanent", "permanent", "completed, exit 1"},
    {"{\"type\":\"item.completed\",\"item\":{\"type\":\"agent_message\",\"text\":\"It said 429, "
     "last status: 429, not logged in\"}}\n{\"type\":\"turn.completed\"}",
     0, NULL, "ok", "spoken of"},
    {"{\"type\":\"item.completed\",\"item\":{\"type\":\"error\",\"message\":\"status 401\"}}\n"
     "{\"type\":\"turn.completed\"}",
     0, NULL, "ok", "a warning"},
    {"{\"type\":\"error\",\"message\":\"Reconnecting... 1/5 (high demand)\"}", 1, "permanent",
     "permanent", "died while it tried again"},
    {"{\"type\":\"error\",\"message\":\"high demand\"}", 1, "transient", "transient",
     "an error, and no end"},
    {"{\"type\":\"thread.started\",\"thread_id\":\"--last\"}\n{\"type\":7}\n[]", 1, "permanent",
     "permanent", "rubbish"},
};

static void test_lines_of_codex(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof codex_lines / sizeof *codex_lines; i++) {
        struct agent_output output = codex();
        output_feed(&output, codex_lines[i].lines, strlen(codex_lines[i].lines));
        output_end(&output);
        char *own = output_own_tail(&output);
        struct run_facts facts = facts_of(&output, codex_lines[i].exit_code);
        facts.text = own;
        expect(&facts, codex_lines[i].class, codex_lines[i].code, codex_lines[i].what);
        assert_string_equal(output.session, "");
        free(own);
        output_free(&output);
    }
}

static void test_recorded_outputs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        struct agent_output output = {0};
        read_output(recorded[i].file, &output);
        struct run_facts facts = facts_of(&output, recorded[i].exit_code);
        expect(&facts, recorded[i].class, recorded[i].code, recorded[i].file);
        output_free(&output);
    }
}

/* The keys as the newer CLI orders them, and a number in prose that is a failure's elsewhere. */
static void test_a_succeeded_run_may_speak_of_failures(void **state)
{
    (void)state;
    static const char said[] =
        "{\"result\":\"API Error: Request rejected (429), usage limit reached, Not logged in\","
        "\"usage\":{\"output_tokens\":1,\"input_tokens\":1},\"is_error\":false,"
        "\"subtype\":\"success\",\"api_error_status\":null,\"type\":\"result\"}\n";
    struct agent_output output = {0};
    output_feed(&output, said, sizeof said - 1);
    char *own = output_own_tail(&output);
    struct run_facts facts = facts_of(&output, 0);
    facts.text = own;
    expect(&facts, NULL, "ok", "429 in prose");
    free(own);
    output_free(&output);
}

/* From the event's line to what suspends the claims. Mutation: take_limit without resetsAt. */
static void test_an_announced_limit_reaches_the_verdict(void **state)
{
    (void)state;
    static const char said[] =
        "{\"type\":\"rate_limit_event\",\"rate_limit_info\":{\"resetsAt\":1700000456,"
        "\"status\":\"rejected\",\"rateLimitType\":\"five_hour\"}}\n"
        "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":true,\"api_error_status\":429,"
        "\"result\":\"API Error: Request rejected (429)\"}\n";
    struct agent_output output = {0};
    output_feed(&output, said, sizeof said - 1);
    struct run_facts facts = facts_of(&output, 1);
    struct run_verdict verdict;
    classify_run(&facts, &verdict);
    assert_string_equal(verdict.class, "usage_limit");
    assert_int_equal(verdict.resets_at, 1700000456);
    output_free(&output);
}

/* What ends the process decides before the record; then every record fails that does not say
 * is_error: false beside exit status 0. */
static void test_success_needs_all_of_it(void **state)
{
    (void)state;
    struct agent_output output = {0};
    read_output("claude.result.success.json", &output);
    struct run_facts good = facts_of(&output, 0), facts = good;
    expect(&facts, NULL, "ok", "good");
    facts.exit_code = 1;
    expect(&facts, "permanent", "permanent", "exit 1 beside a good record");
    facts = good;
    facts.timed_out = true;
    facts.exit_code = -9;
    expect(&facts, "permanent", "timeout", "timeout");
    facts = good;
    facts.stalled = true;
    expect(&facts, "permanent", "timeout", "stall");
    facts = good;
    facts.exec_error = "No such file or directory";
    expect(&facts, "operator", "operator", "missing binary");
    facts = (struct run_facts){.needs_result = true};
    expect(&facts, "permanent", "permanent", "exit 0 without a record (SIGINT)");
    json_t *odd = json_pack("{s:s, s:s}", "type", "result", "is_error", "false");
    facts.result = odd;
    expect(&facts, "permanent", "permanent", "is_error is no boolean");
    json_decref(odd);
    output_free(&output);
}

static void test_a_plain_command(void **state)
{
    (void)state;
    struct run_facts facts = {.needs_result = false, .text = "done\n"};
    expect(&facts, NULL, "ok", "exit 0");
    facts.exit_code = 3;
    expect(&facts, "permanent", "permanent", "exit 3");
    json_t *result = json_pack("{s:s, s:b}", "type", "result", "is_error", 1);
    facts = (struct run_facts){.result = result};
    expect(&facts, "permanent", "permanent", "exit 0 and is_error: true");
    json_object_del(result, "is_error");
    expect(&facts, NULL, "ok", "exit 0 and a record without is_error");
    json_decref(result);
}

static void test_ended_by_us(void **state)
{
    (void)state;
    struct run_facts facts = {.needs_result = true, .exit_code = 143, .cancelled = true};
    expect(&facts, "none", "stopped", "STOP");
    facts.interrupted = true;
    expect(&facts, "interrupted", "interrupted", "our own end");
    facts.exit_code = 0; /* heeded SIGTERM with status 0, and nothing said that it was done */
    expect(&facts, "interrupted", "interrupted", "exit 0");
    facts.needs_result = false;
    expect(&facts, "interrupted", "interrupted", "exit 0 of a plain command");
    json_t *result = json_pack("{s:s, s:b}", "type", "result", "is_error", 0);
    facts.result = result; /* it was done when the signal came */
    expect(&facts, NULL, "ok", "done in time");
    json_decref(result);
}

static const struct {
    int exit_code, signal;
    const char *text, *class, *code;
} unrecorded[] = {
    {1, 0, "error: unknown option '--effort'", "operator", "operator"},
    {2, 0, "error: unexpected argument '--jsn' found", "operator", "operator"},
    {1, 0, "--dangerously-skip-permissions cannot be used with root/sudo privileges", "operator",
     "operator"},
    {1, 0, "Error: When using --print, --output-format=stream-json requires --verbose", "operator",
     "operator"},
    {1, 0, "write /x: no space left on device", "operator", "operator"},
    {1, 0, "Not logged in \xc2\xb7 Please run /login", "operator", "operator"},
    {1, 0, "Credit balance is too low", "operator", "operator"},
    {1, 0, "No conversation found with session ID: 1", "permanent", "permanent"},
    {1, 0, "thread/resume failed: no rollout found for thread id 1", "permanent", "permanent"},
    {1, 0, "FetchError: connect ECONNREFUSED 127.0.0.1:1", "transient", "transient"},
    {1, 0, "upstream: 503 Service Unavailable", "transient", "transient"},
    {1, 0, "You've hit your limit \xc2\xb7 resets 8pm (Europe/Paris)", "usage_limit",
     "usage-limit"},
    {1, 0, "Claude AI usage limit reached|1700000000", "usage_limit", "usage-limit"},
    {1, 0, "TypeError: x is undefined", "permanent", "permanent"},
    {1, 0, "", "permanent", "permanent"},
    {1, 0, NULL, "permanent", "permanent"},
    {139, 11, "anything: rate limit", "permanent", "permanent"},
    {137, 9, NULL, "permanent", "permanent"},
    {143, 0, NULL, "permanent", "permanent"},
};

static void test_without_a_record_words_decide(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unrecorded / sizeof *unrecorded; i++) {
        struct run_facts facts = {.needs_result = true,
                                  .exit_code = unrecorded[i].exit_code,
                                  .signal = unrecorded[i].signal,
                                  .text = unrecorded[i].text};
        expect(&facts, unrecorded[i].class, unrecorded[i].code,
               unrecorded[i].text ? unrecorded[i].text : "(none)");
    }
}

static void test_usage_limit(void **state)
{
    (void)state;
    struct run_verdict verdict;
    json_t *result =
        json_pack("{s:s, s:s, s:b, s:i, s:s}", "type", "result", "subtype", "success", "is_error",
                  1, "api_error_status", 429, "result", "You've reached your usage limit");
    struct run_facts facts = {.needs_result = true, .exit_code = 1, .result = result};
    expect(&facts, "usage_limit", "usage-limit", "429 that names a limit, before transient");
    facts.limit_resets = 1700000123;
    classify_run(&facts, &verdict);
    assert_int_equal(verdict.resets_at, 1700000123);
    json_object_set_new(result, "result", json_string("API Error: Request rejected (429)"));
    facts.limit_resets = 0;
    expect(&facts, "transient", "transient", "a plain 429");
    facts.limit_rejected = true;
    expect(&facts, "usage_limit", "usage-limit", "announced by the event");
    facts.limit_rejected = false;
    json_object_set_new(result, "result", json_string("Claude AI usage limit reached|1700000000"));
    classify_run(&facts, &verdict);
    assert_int_equal(verdict.resets_at, 1700000000);
    json_object_set_new(result, "result", json_string("Credit balance is too low for your limit"));
    json_object_set_new(result, "api_error_status", json_integer(400));
    expect(&facts, "operator", "operator", "credit is a person's matter");
    json_decref(result);
}

static void test_what_the_model_says_is_no_failure(void **state)
{
    (void)state;
    static const char said[] =
        "{\"type\":\"assistant\",\"message\":{\"id\":\"1\",\"content\":[{\"type\":\"text\","
        "\"text\":\"The usage limit reached page shows 529 and Not logged in\"}]}}\n"
        "plain words of the program\n";
    struct agent_output output = {0};
    output_feed(&output, said, sizeof said - 1);
    char *own = output_own_tail(&output), *all = output_tail(&output);
    assert_string_equal(own, "plain words of the program\n");
    assert_non_null(strstr(all, "usage limit"));
    struct run_facts facts = {.needs_result = true, .exit_code = 137, .signal = 9, .text = own};
    expect(&facts, "permanent", "permanent", "killed while it spoke of limits");
    free(own);
    free(all);
    output_free(&output);
}

static void test_a_reason_is_one_bounded_line(void **state)
{
    (void)state;
    char text[1000];
    for (size_t i = 0; i + 3 < sizeof text; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    text[996] = '\0';
    text[3] = '\n';
    text[4] = '\xff';
    struct run_facts facts = {.needs_result = true, .exit_code = 1, .text = text};
    struct run_verdict verdict;
    classify_run(&facts, &verdict);
    assert_true(strlen(verdict.reason) < 260);
    assert_null(strchr(verdict.reason, '\n'));
    json_t *valid = json_string(verdict.reason);
    assert_non_null(valid);
    json_decref(valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_outputs),
        cmocka_unit_test(test_recorded_outputs_of_codex),
        cmocka_unit_test(test_what_codex_reports_of_itself),
        cmocka_unit_test(test_lines_of_codex),
        cmocka_unit_test(test_a_succeeded_run_may_speak_of_failures),
        cmocka_unit_test(test_an_announced_limit_reaches_the_verdict),
        cmocka_unit_test(test_success_needs_all_of_it),
        cmocka_unit_test(test_a_plain_command),
        cmocka_unit_test(test_ended_by_us),
        cmocka_unit_test(test_without_a_record_words_decide),
        cmocka_unit_test(test_usage_limit),
        cmocka_unit_test(test_what_the_model_says_is_no_failure),
        cmocka_unit_test(test_a_reason_is_one_bounded_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
