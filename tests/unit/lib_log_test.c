/* Every line is one JSON object, whatever was said in it. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>
#include "lib/clock.h"
#include "lib/log.h"

static int ours[2], kept;

static void catch_stderr(void)
{
    assert_int_equal(pipe2(ours, O_CLOEXEC), 0);
    kept = dup(STDERR_FILENO);
    dup2(ours[1], STDERR_FILENO);
    close(ours[1]);
}

static void give_back_stderr(void)
{
    dup2(kept, STDERR_FILENO);
    close(kept);
}

/* One line that was written, without its newline, as JSON. */
static json_t *caught_line(void)
{
    char text[8192];
    ssize_t n = read(ours[0], text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_ptr_equal(strchr(text, '\n'), text + n - 1);
    json_t *line = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(line);
    return line;
}

static const char *member(const json_t *line, const char *name)
{
    return json_string_value(json_object_get(line, name));
}

static void test_members(void **state)
{
    (void)state;
    log_init("runner", LOG_LEVEL_INFO);
    catch_stderr();
    struct log_about about = {.task = "SHOP-1", .job = 7, .run = "r1"};
    log_line(LOG_LEVEL_WARN, "adopted", &about, "pid %d", 12);
    json_t *line = caught_line();
    assert_string_equal(member(line, "level"), "warn");
    assert_string_equal(member(line, "service"), "runner");
    assert_string_equal(member(line, "event"), "adopted");
    assert_string_equal(member(line, "task"), "SHOP-1");
    assert_string_equal(member(line, "run"), "r1");
    assert_string_equal(member(line, "msg"), "pid 12");
    assert_int_equal(json_integer_value(json_object_get(line, "job")), 7);
    assert_int_equal(json_integer_value(json_object_get(line, "pid")), getpid());
    assert_true(llabs(clock_parse(member(line, "ts")) - clock_wall_ms()) < 5000);
    json_decref(line);
    log_debug("quiet", "is not written");
    log_info("plain", "x");
    line = caught_line();
    assert_string_equal(member(line, "event"), "plain");
    assert_int_equal(json_object_size(line), 6);
    json_decref(line);
    give_back_stderr();
    close(ours[0]);
}

/* Mutations: bytes over 0x7f passed as they are; an escape cut in two by the limit. */
static void test_anything_said(void **state)
{
    (void)state;
    static const char *const said[] = {
        "quote \" and \\ and \n and \t and \x01",
        "Größe 修正 \xF0\x9F\x98\x80",
        "stray \xff\xfe bytes \xc3",
        "overlong \xc0\xaf \xe0\x80\xaf surrogate \xed\xa0\x80 beyond \xf4\x90\x80\x80",
    };
    catch_stderr();
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        log_info("said", "%s", said[i]);
        json_t *line = caught_line();
        if (i < 2)
            assert_string_equal(member(line, "msg"), said[i]);
        json_decref(line);
    }
    /* Long ones, of letters of one to six bytes, cut at every offset. */
    static const char *const letters[] = {"a", "é", "\xF0\x9F\x98\x80", "\x01", "\"", "\xff"};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        for (size_t offset = 0; offset < 8; offset++) {
            static char text[20000];
            memset(text, 'x', offset);
            text[offset] = '\0';
            for (size_t n = 0; n < 4000; n++)
                memcpy(text + offset + n * strlen(letters[i]), letters[i], strlen(letters[i]) + 1);
            log_info("long", "%s", text);
            json_decref(caught_line());
        }
    }
    give_back_stderr();
    close(ours[0]);
}

static void *write_lines(void *unused)
{
    (void)unused;
    char text[3000];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 1000; i++)
        log_info("many", "%s", text);
    return NULL;
}

/* Four writers; the end of the last is the end of the pipe. */
static void *write_all(void *unused)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_lines, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    give_back_stderr();
    return unused;
}

/* Lines of several threads never mix, a full pipe included. On a busy machine the reader may be
 * kept away for so long that lines are lost; those that come are whole. Mutation: a line longer
 * than PIPE_BUF, or of two writes. */
static void test_lines_never_mix(void **state)
{
    (void)state;
    catch_stderr();
    pthread_t writers;
    assert_int_equal(pthread_create(&writers, NULL, write_all, NULL), 0);
    FILE *in = fdopen(ours[0], "r");
    char *line = NULL;
    size_t room = 0;
    int lines = 0;
    for (; getline(&line, &room, in) > 0; lines++) {
        if (lines % 16 == 0)
            usleep(1000); /* the pipe is always full */
        assert_true(strlen(line) > 3000);
        json_t *parsed = json_loads(line, 0, NULL);
        assert_non_null(parsed);
        json_decref(parsed);
    }
    assert_in_range(lines, 100, 4000);
    free(line);
    pthread_join(writers, NULL);
    fclose(in);
}

/* Nobody reads: lines are lost and the service goes on. Mutation: a plain blocking write. */
static void test_nobody_reads(void **state)
{
    (void)state;
    catch_stderr();
    int64_t from = clock_mono_ms();
    char text[3000];
    memset(text, 'z', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 25; i++)
        log_info("lost", "%s", text);
    assert_true(clock_mono_ms() - from < 3000);
    give_back_stderr();
    close(ours[0]);
}

static void test_for_people(void **state)
{
    (void)state;
    setenv("ORCH_LOG_FORMAT", "text", 1);
    log_init("reaper", LOG_LEVEL_INFO);
    catch_stderr();
    log_info("pinged", "all well");
    char text[512];
    ssize_t n = read(ours[0], text, sizeof text - 1);
    give_back_stderr();
    close(ours[0]);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, " info  reaper["));
    assert_non_null(strstr(text, "] pinged: all well\n"));
    unsetenv("ORCH_LOG_FORMAT");
    log_init("reaper", LOG_LEVEL_INFO);
}

static void test_abort(void **state)
{
    (void)state;
    catch_stderr();
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        log_abort("broken", "%d is not %d", 1, 2);
    }
    int status;
    waitpid(child, &status, 0);
    json_t *line = caught_line();
    give_back_stderr();
    close(ours[0]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_string_equal(member(line, "level"), "error");
    assert_string_equal(member(line, "msg"), "1 is not 2");
    json_decref(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),         cmocka_unit_test(test_anything_said),
        cmocka_unit_test(test_lines_never_mix), cmocka_unit_test(test_nobody_reads),
        cmocka_unit_test(test_for_people),      cmocka_unit_test(test_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
