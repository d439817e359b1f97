/* Statuses of CI in the built-in forge: other people's files, so anything may be there. Doubt is
 * never green, and is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/forge/ci.h"
#include "lib/forge/forge_internal.h"

#define HEAD  "1111111111111111111111111111111111111111"
#define OTHER "2222222222222222222222222222222222222222"

static char dir[64];
static struct forge forge = {.path = dir};

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/status-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return file_remove_tree(dir);
}

static char *path_of(const char *commit, const char *name)
{
    char *folder = xformat("%s/statuses/%s", dir, commit);
    assert_int_equal(file_make_dirs(folder, 0755), 0);
    char *path = xformat("%s/%s", folder, name);
    free(folder);
    return path;
}

static void put_bytes(const char *commit, const char *name, const char *data, size_t size)
{
    char *path = path_of(commit, name);
    assert_int_equal(file_write_atomic(path, data, size, 0644), 0);
    free(path);
}

static void put(const char *name, const char *text)
{
    put_bytes(HEAD, name, text, strlen(text));
}

static void put_state(const char *context, const char *state)
{
    char *name = xformat("%s.json", context);
    char *text = xformat("{\"context\":\"%s\",\"state\":\"%s\",\"description\":\"%s said so\","
                         "\"target_url\":\"http://ci/%s\"}",
                         context, state, context, context);
    put(name, text);
    free(text);
    free(name);
}

/* "red; failing a=failure(why) ; pending b=pending(why)", then "; ever". */
static void assert_read(const char *expected)
{
    static const char *const names[] = {"none", "pending", "green", "red"};
    struct forge_statuses found;
    struct buffer out = {0};
    char *fault = NULL;
    if (forge_statuses_get(&forge, HEAD, &found, &fault) < 0)
        fail_msg("%s", fault);
    buffer_text(&out, names[found.state]);
    const struct forge_contexts *lists[] = {&found.failing, &found.pending};
    for (int i = 0; i < 2; i++)
        for (size_t j = 0; j < lists[i]->count; j++)
            buffer_format(&out, "%s %s=%s(%s)",
                          j   ? ""
                          : i ? "; pending"
                              : "; failing",
                          lists[i]->list[j].context, lists[i]->list[j].state,
                          lists[i]->list[j].description);
    if (found.ever)
        buffer_text(&out, "; ever");
    assert_string_equal(out.data, expected);
    buffer_free(&out);
    forge_statuses_free(&found);
}

static void test_nothing_there(void **state)
{
    (void)state;
    assert_read("none");
    char *all = xformat("%s/statuses", dir);
    assert_int_equal(mkdir(all, 0755), 0);
    free(all);
    assert_read("none");
}

/* Mutations: the states of another commit counted; `ever` of this commit only. */
static void test_of_another_commit(void **state)
{
    (void)state;
    put_bytes(OTHER, "a.json", "{\"context\":\"a\",\"state\":\"success\"}", 33);
    assert_read("none; ever");
}

/* The worst counts. Mutations: the last one; a warning is red; an error only pending. */
static void test_states(void **state)
{
    (void)state;
    put_state("a", "success");
    assert_read("green; ever");
    put_state("b", "warning");
    assert_read("green; ever");
    put_state("c", "pending");
    assert_read("pending; pending c=pending(c said so); ever");
    put_state("b", "failure");
    assert_read("red; failing b=failure(b said so); pending c=pending(c said so); ever");
    put_state("a", "error");
    assert_read("red; failing a=error(a said so) b=failure(b said so); pending "
                "c=pending(c said so); ever");
}

/* Mutations: each of them skipped, taken for a success, or left without its name. */
static void test_what_is_no_status_is_pending(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "no JSON object"},
        {"{", "no JSON object"},
        {"[]", "no JSON object"},
        {"\"success\"", "no JSON object"},
        {"{\"state\":\"success\",\"state\":\"failure\"}", "no JSON object"},
        {"{\"context\":\"x\"}", "no state"},
        {"{\"state\":1}", "no state"},
        {"{\"state\":null}", "no state"},
        {"{\"state\":\"Success\"}", "an unknown state"},
        {"{\"state\":\"skipped\"}", "an unknown state"},
        {"{\"state\":\"success\"} and more", "no JSON object"},
        {"\xff\xfe", "no JSON object"},
    };
    put_state("z", "success");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *expected = xformat("pending; pending x=pending(%s); ever", bad[i].why);
        put("x.json", bad[i].text);
        assert_read(expected);
        free(expected);
    }
}

/* Mutations: links followed (the state of another file); the size not looked at; a pipe waited for
 * (the test hangs). */
static void test_what_is_no_file_is_pending(void **state)
{
    (void)state;
    char *target = xformat("%s/elsewhere", dir);
    assert_int_equal(file_write_atomic(target, "{\"state\":\"success\"}", 19, 0644), 0);
    put_state("z", "success");
    char *link = path_of(HEAD, "link.json"), *pipe = path_of(HEAD, "pipe.json"),
         *folder = path_of(HEAD, "folder.json"), *large = path_of(HEAD, "large.json");
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(mkfifo(pipe, 0644), 0);
    assert_int_equal(mkdir(folder, 0755), 0);
    size_t size = 10 * 1024 * 1024;
    char *blanks = xcalloc(1, size);
    memset(blanks, ' ', size);
    memcpy(blanks, "{\"state\":\"success\"}", 19);
    assert_int_equal(file_write_atomic(large, blanks, size, 0644), 0);
    assert_read("pending; pending folder=pending(no regular file) "
                "large=pending(larger than a status is) link=pending(a link) "
                "pipe=pending(no regular file); ever");
    free(blanks);
    free(link);
    free(pipe);
    free(folder);
    free(large);
    free(target);
}

/* What a writer has not renamed yet is not there. Mutation: every name counted. */
static void test_other_names(void **state)
{
    (void)state;
    put_state("a", "success");
    put("a.json.tmp.17", "{\"state\":");
    put(".json", "{\"state\":\"failure\"}");
    put("README", "x");
    assert_read("green; ever");
    put(".hidden.json", "{\"state\":\"failure\"}"); /* a context may be called so */
    assert_read("red; failing .hidden=failure(); ever");
}

/* Named by the file's own word, else by its name. Mutations: no decoding; a broken escape eats what
 * follows. */
static void test_names_are_percent_encoded(void **state)
{
    (void)state;
    put("ci%2Ftest%20all.json", "{\"state\":\"pending\"}");
    put("50%.json", "{\"state\":\"pending\"}");
    put("50%2.json", "{\"state\":\"pending\"}");
    put("%zz%C3%A4%ff.json", "{\"state\":\"pending\"}");
    put("own.json", "{\"state\":\"pending\",\"context\":\"its own/word\"}");
    put("empty.json", "{\"state\":\"pending\",\"context\":\"\"}");
    assert_read("pending; pending %zz\xc3\xa4?=pending() 50%=pending() 50%2=pending() "
                "ci/test all=pending() empty=pending() its own/word=pending(); ever");
}

/* Mutation: the folder of the commit followed, or taken for absent. */
static void test_a_folder_that_is_none(void **state)
{
    (void)state;
    char *commit = xformat("%s/statuses/" HEAD, dir), *all = xformat("%s/statuses", dir);
    assert_int_equal(mkdir(all, 0755), 0);
    assert_int_equal(file_write_atomic(commit, "x", 1, 0644), 0);
    assert_read("pending; pending " HEAD "=pending(no folder); ever");
    assert_int_equal(unlink(commit), 0);
    assert_int_equal(symlink("/nowhere", commit), 0);
    assert_read("pending; pending " HEAD "=pending(no folder); ever");
    free(commit);
    free(all);
}

static void assert_fault(const char *commit, const char *words)
{
    struct forge_statuses found;
    char *fault = NULL;
    assert_int_equal(forge_statuses_get(&forge, commit, &found, &fault), -1);
    assert_non_null(strstr(fault, words));
    assert_int_equal(found.state, FORGE_CI_NONE);
    assert_false(found.ever);
    free(fault);
}

/* Nothing is known then, which is not "no CI". Mutations: ENOENT of the repository taken for that
 * of the statuses; a link out of the repository followed; "../" asked for. */
static void test_what_cannot_be_read(void **state)
{
    (void)state;
    char *all = xformat("%s/statuses", dir);
    assert_int_equal(symlink("/nowhere", all), 0);
    assert_fault(HEAD, "statuses: ");
    assert_int_equal(unlink(all), 0);
    assert_int_equal(file_write_atomic(all, "x", 1, 0644), 0);
    assert_fault(HEAD, "statuses: ");
    assert_int_equal(unlink(all), 0);
    assert_fault("../../etc", "no commit");
    assert_fault("", "no commit");
    assert_int_equal(rmdir(dir), 0);
    assert_fault(HEAD, "No such file");
    assert_int_equal(mkdir(dir, 0755), 0);
    free(all);
}

/* Mutations: no bound on the kept ones; the count stops at the bound; the 1001st unread and green.
 */
static void test_many(void **state)
{
    (void)state;
    struct forge_statuses found;
    char *fault = NULL, name[40];
    char *text = xformat("{\"state\":\"failure\",\"description\":\"%*s\"}", 5000, "x");
    for (int i = 0; i < FORGE_CONTEXTS_MAX + 5; i++) {
        snprintf(name, sizeof name, "c%04d.json", i);
        put(name, text);
    }
    assert_int_equal(forge_statuses_get(&forge, HEAD, &found, &fault), 0);
    assert_int_equal(found.failing.count, FORGE_CONTEXTS_MAX + 5);
    assert_string_equal(found.failing.list[FORGE_CONTEXTS_MAX - 1].context, "c0019");
    assert_int_equal(strlen(found.failing.list[0].description), 2000);
    forge_statuses_free(&found);
    free(text);
    for (int i = 0; i <= 1000; i++) {
        snprintf(name, sizeof name, "c%04d.json", i);
        put(name, "{\"state\":\"success\"}");
    }
    assert_read("pending; pending " HEAD "=pending(more statuses than are read); ever");
}

/* ---- in words ---- */

static void assert_look(const char *setting, int64_t pushed_ms, enum ci_verdict verdict,
                        const char *words, const char *findings)
{
    struct config config = {.ci_grace_s = 120};
    char ci[16];
    snprintf(ci, sizeof ci, "%s", setting);
    struct project project = {.ci = ci};
    struct ci_answer answer;
    char *fault = NULL;
    assert_int_equal(ci_look(&forge, &config, &project, HEAD, pushed_ms, &answer, &fault), 0);
    char *found = json_dumps(answer.findings, JSON_COMPACT);
    assert_string_equal(answer.words, words);
    assert_string_equal(found, findings);
    assert_int_equal(answer.verdict, verdict);
    free(found);
    ci_answer_free(&answer);
}

/* Mutations: an unknown push taken for an old one; the description or the link left out. */
static void test_words(void **state)
{
    (void)state;
    assert_look("none", 0, CI_PASS, "no CI", "[]");
    assert_look("auto", 0, CI_WAITING, "CI has said nothing of 111111111111 yet", "[]");
    assert_look("auto", 1, CI_PASS, "no CI: this repository never had a status", "[]");
    assert_look("required", 1, CI_WAITING, "CI has said nothing of 111111111111 yet", "[]");
}

static void test_words_of_contexts(void **state)
{
    (void)state;
    put_state("a", "success");
    assert_look("auto", 1, CI_PASS, "CI is green", "[]");
    put("ci%2Fb.json", "{");
    put_state("c", "pending");
    assert_look("auto", 1, CI_WAITING,
                "CI of 111111111111 is pending: c (c said so), ci/b (no JSON object)", "[]");
    put_state("d", "failure");
    put("e.json", "{\"state\":\"error\",\"context\":\"e/\xc3\xa4\"}");
    assert_look("required", 1, CI_FAIL, "CI of 111111111111 is red: d, e/\xc3\xa4",
                "[\"CI, d (failure): d said so\\nhttp://ci/d\",\"CI, e/\xc3\xa4 (error): \"]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_of_another_commit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_states, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_status_is_pending, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_file_is_pending, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_are_percent_encoded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_folder_that_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_words_of_contexts, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
