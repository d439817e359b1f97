/* The bytes and texts that `sv` and readers of logs parse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include "supervisor/text.h"

/* ---- status ---- */

/* The format of runsv(8): 2026-01-01T00:00:00.250Z, pid 0x01020304. */
static void test_status_bytes(void **state)
{
    (void)state;
    static const unsigned char expected[STATUS_SIZE] = {
        0x40, 0,    0,    0,    0x69, 0x55, 0xb9, 0x0a, /* 2^62 + 10 + 1767225600 */
        0x0e, 0xe6, 0xb2, 0x80,                         /* 250000000 */
        0x04, 0x03, 0x02, 0x01, 0,    'u',  0,    1};
    struct status_facts facts = {
        .changed_ms = INT64_C(1767225600250), .pid = 0x01020304, .want_up = true};
    unsigned char bytes[STATUS_SIZE];
    status_bytes(&facts, bytes);
    assert_memory_equal(bytes, expected, STATUS_SIZE);
    facts.paused = facts.term_sent = facts.finishing = true;
    facts.want_up = false;
    status_bytes(&facts, bytes);
    assert_int_equal(bytes[16], 1);
    assert_int_equal(bytes[17], 'd');
    assert_int_equal(bytes[18], 1);
    assert_int_equal(bytes[19], 2);
    facts.pid = 0;
    status_bytes(&facts, bytes);
    assert_int_equal(bytes[19], 0);
    assert_memory_equal(bytes + 12, "\0\0\0\0", 4);
}

static void expect_stat(struct status_facts facts, const char *expected)
{
    char text[STAT_SIZE];
    status_text(&facts, text);
    assert_string_equal(text, expected);
}

static void test_status_text(void **state)
{
    (void)state;
    expect_stat((struct status_facts){.pid = 1, .want_up = true}, "run\n");
    expect_stat((struct status_facts){.pid = 0, .want_up = true}, "down\n");
    expect_stat((struct status_facts){.pid = 0}, "down\n");
    expect_stat((struct status_facts){.pid = 1}, "run, want down\n");
    expect_stat((struct status_facts){.pid = 1, .leaving = true}, "run, want exit\n");
    expect_stat((struct status_facts){.pid = 1, .want_up = true, .finishing = true}, "finish\n");
    expect_stat((struct status_facts){.pid = 1, .want_up = true, .paused = true, .term_sent = true},
                "run, paused, got TERM\n");
}

/* ---- what is a JSON object ---- */

static const char *const samples[] = {
    "{}",
    "{ }",
    "{\"a\":1}",
    "{\"a\":-0.5e+3,\"b\":[1,2,{\"c\":null}],\"d\":true,\"e\":false}",
    "{\"a\":\"\\u00e9\\n\\\"\"}",
    "{\"ü\":\"日本\"}",
    " {}",
    "{} ",
    "[]",
    "1",
    "\"a\"",
    "null",
    "",
    "{",
    "}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{a:1}",
    "{'a':1}",
    "{\"a\":1}{\"b\":2}",
    "{\"a\":01}",
    "{\"a\":1.}",
    "{\"a\":.5}",
    "{\"a\":+1}",
    "{\"a\":1e}",
    "{\"a\":tru}",
    "{\"a\":\"\t\"}",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\u00g0\"}",
    "{\"a\":\"\xff\"}",
    "{\"a\":\"\xc0\x80\"}",
    "{\"a\":\"\xed\xa0\x80\"}",
    "{\"a\":\"\xf4\x90\x80\x80\"}",
    "{\"a\":\"\xe2\x82\"}",
    "{\"a\":[1 2]}",
    "{\"a\" 1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":-}",
    "{\"a\":[}",
    "{\"a\":{}",
    "hello {\"a\":1}",
    "{\"a\":1} trailing",
};

/* Held to jansson, which is no part of the supervisor's path: it allocates. */
static bool by_jansson(const char *text, size_t size)
{
    if (!size || *text != '{')
        return false;
    json_t *value = json_loadb(text, size, JSON_ALLOW_NUL, NULL);
    bool good = json_is_object(value);
    json_decref(value);
    return good;
}

static void test_object_or_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        size_t size = strlen(samples[i]);
        if (log_is_object(samples[i], size) != by_jansson(samples[i], size))
            fail_msg("%s", samples[i]);
    }
}

/* Every sample with every byte exchanged, cut and doubled. */
static void test_object_or_not_when_damaged(void **state)
{
    (void)state;
    static const char bytes[] = "{}[]\",:\\0 9e.-nt\x01\x7f\xc3\xff";
    char text[256];
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        size_t size = strlen(samples[i]);
        for (size_t at = 0; at < size; at++) {
            assert_int_equal(log_is_object(samples[i], at), by_jansson(samples[i], at));
            for (size_t b = 0; b < sizeof bytes - 1; b++) {
                memcpy(text, samples[i], size);
                text[at] = bytes[b];
                text[size] = '\0';
                if (log_is_object(text, size) != by_jansson(text, size))
                    fail_msg("%s", text);
            }
        }
    }
}

/* A line must not be able to exhaust the stack. */
static void test_depth_is_bounded(void **state)
{
    (void)state;
    static char deep[16384];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"a\":", 5);
    assert_false(log_is_object(deep, sizeof deep));
}

/* ---- wrapping ---- */

static void expect_wrapped(const char *line, size_t size, size_t lost, const char *message)
{
    static char out[6 * 16384 + 512];
    size_t used = log_wrap("runner", "2026-01-01T00:00:00.000Z", line, size, lost, out, sizeof out);
    assert_int_equal(out[used - 1], '\n');
    json_t *object = json_loadb(out, used, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "service")), "runner");
    assert_string_equal(json_string_value(json_object_get(object, "event")), "stderr");
    assert_string_equal(json_string_value(json_object_get(object, "msg")), message);
    assert_int_equal(json_integer_value(json_object_get(object, "cut_bytes")), lost);
    assert_int_equal(json_object_size(object), lost ? 6 : 5);
    json_decref(object);
}

static void test_wrapped_line_is_json_whatever_it_was(void **state)
{
    (void)state;
    expect_wrapped("plain words", 11, 0, "plain words");
    expect_wrapped("say \"hi\" \\ \t\x01\x7f", 14, 0, "say \"hi\" \\ \t\x01\x7f");
    expect_wrapped("half \xe2\x82", 7, 0, "half ??");
    expect_wrapped("caf\xc3\xa9", 5, 0, "caf\xc3\xa9");
    expect_wrapped("cut", 3, 70000, "cut");
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    char out[4096];
    size_t used = log_wrap("x", "t", all, sizeof all, 0, out, sizeof out);
    json_t *object = json_loadb(out, used, JSON_ALLOW_NUL, NULL);
    assert_non_null(object);
    json_decref(object);
}

/* Mutation: json_escape() that writes half of an escape sequence at the end of its room. */
static void test_wrapping_cuts_between_characters(void **state)
{
    (void)state;
    char line[64], out[256];
    memset(line, 1, sizeof line); /* each becomes six bytes */
    for (size_t room = 0; room < sizeof out; room++) {
        memset(out, 'X', sizeof out);
        size_t used = log_wrap("x", "t", line, sizeof line, 9, out, room);
        assert_true(used <= room);
        assert_int_equal(out[room], 'X');
        json_t *object = used ? json_loadb(out, used, 0, NULL) : NULL;
        assert_true(!used || object);
        json_decref(object);
    }
}

/* ---- run scripts ---- */

static void expect_execs(const char *script, const char *name)
{
    char found[32] = "";
    bool execs = script_execs(script, found, sizeof found);
    if (execs != (name != NULL) || (name && strcmp(found, name) != 0))
        fail_msg("%s: %s", script, found);
}

static void test_the_one_line_script(void **state)
{
    (void)state;
    expect_execs("#!/bin/sh\nexec orch-runner\n", "orch-runner");
    expect_execs("#!/bin/sh\n# words\n\n  exec\torch-runner  \n# more\n", "orch-runner");
    expect_execs("#!/bin/sh\nexec ./program", "./program");
    expect_execs("#!/bin/sh\nexec orch-runner 2>&1\n", "orch-runner");
    expect_execs("#!/bin/sh\nexec /usr/bin/program\n", "/usr/bin/program");
    /* everything that a shell would do something about stays the shell's */
    expect_execs("#!/bin/sh\nexec orch-runner -v\n", NULL);
    expect_execs("#!/bin/sh\nexec $PROGRAM\n", NULL);
    expect_execs("#!/bin/sh\nexec orch-runner 2>&1 x\n", NULL);
    expect_execs("#!/bin/sh\nexec orch-runner2>&1\n", NULL);
    expect_execs("#!/bin/sh\nexec orch-runner 2>&1;date\n", NULL);
    expect_execs("#!/bin/sh\nexec orch-runner 2>log\n", NULL);
    expect_execs("#!/bin/sh\nexec orch-runner;\n", NULL);
    expect_execs("#!/bin/sh\nexec orch-* \n", NULL);
    expect_execs("#!/bin/sh\nexec ~/program\n", NULL);
    expect_execs("#!/bin/sh\nexec 'a b'\n", NULL);
    expect_execs("#!/bin/sh\nexec a\\\nb\n", NULL);
    expect_execs("#!/bin/sh\nexec -a b\n", NULL);
    expect_execs("#!/bin/sh\ncd /\nexec orch-runner\n", NULL);
    expect_execs("#!/bin/sh\nexec orch-runner\nexec other\n", NULL);
    expect_execs("#!/bin/sh\norch-runner\n", NULL);
    expect_execs("#!/bin/sh\nexec\n", NULL);
    expect_execs("#!/bin/sh\nexecute\n", NULL);
    expect_execs("#!/bin/sh\n", NULL);
    expect_execs("#!/bin/sh -e\nexec orch-runner\n", NULL);
    expect_execs("#!/bin/bash\nexec orch-runner\n", NULL);
    expect_execs("\x7f"
                 "ELF",
                 NULL);
    expect_execs("#!/bin/sh\nexec a-name-that-is-longer-than-the-room-for-it\n", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_bytes),
        cmocka_unit_test(test_status_text),
        cmocka_unit_test(test_object_or_not),
        cmocka_unit_test(test_object_or_not_when_damaged),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_wrapped_line_is_json_whatever_it_was),
        cmocka_unit_test(test_wrapping_cuts_between_characters),
        cmocka_unit_test(test_the_one_line_script),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
