/* Running a program to its end. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "lib/process.h"

static struct process_result run(struct process_spec spec, const char *script)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    struct process_result result;
    spec.argv = argv;
    assert_int_equal(process_run(&spec, &result), 0);
    return result;
}

static void test_ends(void **state)
{
    (void)state;
    struct process_result result = run((struct process_spec){0}, "echo out; echo err >&2; exit 3");
    assert_int_equal(result.exit_code, 3);
    assert_string_equal(result.out, "out\n");
    assert_string_equal(result.err, "err\n");
    assert_int_equal(result.out_size, 4);
    process_result_free(&result);
    result = run((struct process_spec){0}, "kill -TERM $$");
    assert_int_equal(result.exit_code, 128 + SIGTERM);
    assert_false(result.timed_out);
    process_result_free(&result);
}

static void test_cannot_start(void **state)
{
    (void)state;
    const char *argv[] = {"/nonexistent/program", NULL};
    struct process_result result;
    assert_int_equal(process_run(&(struct process_spec){.argv = argv}, &result), -1);
    assert_int_equal(errno, ENOENT);
    process_result_free(&result);
    const char *argv2[] = {"true", NULL};
    assert_int_equal(
        process_run(&(struct process_spec){.argv = argv2, .cwd = "/nonexistent"}, &result), -1);
    process_result_free(&result);
}

/* Mutation: one stream read to its end before the other (the child blocks on the second). */
static void test_much_on_both_streams(void **state)
{
    (void)state;
    struct process_result result =
        run((struct process_spec){.timeout_ms = 20000},
            "i=0; while [ $i -lt 300 ]; do printf '%01000d' $i; printf '%01000d' $i >&2; "
            "i=$((i+1)); done");
    assert_int_equal(result.exit_code, 0);
    assert_int_equal(result.out_size, 300000);
    assert_int_equal(result.err_size, 300000);
    process_result_free(&result);
}

/* Mutations: the whole input written before anything is read; what exceeds the limit not drained.
 */
static void test_much_through_it(void **state)
{
    (void)state;
    size_t size = 3000000;
    char *input = malloc(size + 1);
    memset(input, 'i', size);
    input[size] = '\0';
    struct process_result result = run(
        (struct process_spec){.input = input, .timeout_ms = 20000, .max_output = 4000000}, "cat");
    assert_int_equal(result.out_size, size);
    process_result_free(&result);
    result = run((struct process_spec){.input = input, .timeout_ms = 20000, .max_output = 1000},
                 "cat; echo end >&2");
    assert_int_equal(result.out_size, 1000);
    assert_string_equal(result.err, "end\n");
    assert_int_equal(result.exit_code, 0);
    process_result_free(&result);
    /* A child that reads nothing: no SIGPIPE for us. */
    result = run((struct process_spec){.input = input, .timeout_ms = 20000}, "exit 4");
    assert_int_equal(result.exit_code, 4);
    process_result_free(&result);
    free(input);
}

/* The whole group is killed. Mutation: the child alone: its own child keeps the pipe for 5 s. */
static void test_timeout(void **state)
{
    (void)state;
    int64_t from = clock_mono_ms();
    struct process_result result = run((struct process_spec){.timeout_ms = 200},
                                       "echo begun; sleep 5 & echo $!; trap '' TERM; sleep 5");
    assert_true(result.timed_out);
    assert_int_equal(result.exit_code, 128 + SIGKILL);
    assert_true(clock_mono_ms() - from < 2000);
    int grandchild = 0;
    assert_int_equal(sscanf(result.out, "begun\n%d", &grandchild), 1);
    for (int i = 0; i < 100 && process_start_ticks(grandchild); i++)
        usleep(10000);
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", grandchild);
    FILE *file = fopen(path, "r");
    if (file) { /* nobody may have reaped it */
        assert_non_null(fgets(text, sizeof text, file));
        fclose(file);
        assert_non_null(strstr(text, ") Z"));
    }
    process_result_free(&result);
}

/* What it leaves in the background does not hold us. Mutation: waiting for the end of the streams.
 */
static void test_background_left_behind(void **state)
{
    (void)state;
    int64_t from = clock_mono_ms();
    struct process_result result = run((struct process_spec){0}, "sleep 3 & echo done");
    assert_string_equal(result.out, "done\n");
    assert_true(clock_mono_ms() - from < 1500);
    process_result_free(&result);
}

/* Signals blocked or ignored in a service are not so in what it runs; it has its own group, the
 * given environment and directory, and none of our descriptors. */
static void test_what_it_gets(void **state)
{
    (void)state;
    sigset_t set, before;
    sigfillset(&set);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    signal(SIGPIPE, SIG_IGN);
    int leak[2];
    assert_int_equal(pipe(leak), 0);
    const char *env[] = {"PATH=/usr/bin:/bin", "ONE=1", NULL};
    struct process_result result =
        run((struct process_spec){.env = env, .cwd = "/"},
            "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t'; pwd; echo $ONE$HOME; "
            "set -- $(cat /proc/$$/stat); [ $5 = $$ ] && echo group; cat");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    signal(SIGPIPE, SIG_DFL);
    unsigned long long blocked = 1, ignored = 1;
    char rest[64] = "";
    assert_int_equal(sscanf(result.out, "SigBlk:%16llxSigIgn:%16llx%63c", &blocked, &ignored, rest),
                     3);
    assert_int_equal(blocked, 0);
    /* 32 and 33 are the C library's own: posix_spawn leaves them ignored. */
    assert_int_equal(ignored & ~0x180000000ULL, 0);
    assert_string_equal(rest, "/\n1\ngroup\n");
    process_result_free(&result);
    close(leak[0]);
    close(leak[1]);
}

static void *run_some(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++) {
        struct process_result result = run((struct process_spec){.input = "x"}, "cat; exit 5");
        if (result.exit_code != 5 || strcmp(result.out, "x") != 0)
            abort();
        process_result_free(&result);
    }
    return NULL;
}

/* Mutation: pipes without close-on-exec: one's input stays open in another's child. */
static void test_from_many_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_some, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

static void test_identity(void **state)
{
    (void)state;
    assert_true(process_start_ticks(getpid()) > 0);
    assert_int_equal(process_start_ticks(getpid()), process_start_ticks(getpid()));
    assert_int_equal(process_start_ticks(0x3ffffff), 0);
    char boot[37];
    process_boot_id(boot);
    assert_int_equal(strlen(boot), 36);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_cannot_start),
        cmocka_unit_test(test_much_on_both_streams),
        cmocka_unit_test(test_much_through_it),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_background_left_behind),
        cmocka_unit_test(test_what_it_gets),
        cmocka_unit_test(test_from_many_threads),
        cmocka_unit_test(test_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
