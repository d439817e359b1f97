/* Locks that say who is alive. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/file.h"
#include "lib/lock.h"

static char dir[64], path[96];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/lock-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/a.lock", dir);
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    return file_remove_tree(dir);
}

/* Mutation: F_SETLK in place of F_OFD_SETLK: the second take of one process succeeds. */
static void test_one_holder(void **state)
{
    (void)state;
    assert_int_equal(lock_ask(path), LOCK_FREE);
    int fd = lock_take(path, "first pid 1");
    assert_true(fd >= 0);
    assert_int_equal(lock_ask(path), LOCK_HELD);
    assert_int_equal(lock_take(path, "second pid 2"), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    char holder[64];
    lock_holder(path, holder, sizeof holder);
    assert_string_equal(holder, "first pid 1");
    assert_int_equal(lock_ask(path), LOCK_HELD); /* asking and closing dropped nothing */
    close(fd);
    assert_int_equal(lock_ask(path), LOCK_FREE);
    fd = lock_take(path, "x");
    lock_holder(path, holder, sizeof holder);
    assert_string_equal(holder, "x");
    close(fd);
}

/* Mutation: O_CLOEXEC dropped: the lock lives on in whatever its owner started. */
static void test_not_inherited_by_programs(void **state)
{
    (void)state;
    int fd = lock_take(path, "me");
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void test_gone_with_its_process(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (lock_take(path, "child") < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        pause();
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(lock_ask(path), LOCK_HELD);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(lock_ask(path), LOCK_FREE);
    close(ready[0]);
    close(ready[1]);
}

static atomic_bool stop;

static void *ask_all_the_time(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop))
        lock_ask(path);
    return NULL;
}

/* A prober in a tight loop never robs an owner that starts.
 * Mutation: lock_ask that takes and lets go (hundreds of 2000 fail). */
static void test_asking_never_robs(void **state)
{
    (void)state;
    pthread_t prober;
    assert_int_equal(pthread_create(&prober, NULL, ask_all_the_time, NULL), 0);
    int robbed = 0;
    for (int i = 0; i < 2000; i++) {
        int fd = lock_take(path, "owner");
        if (fd < 0)
            robbed++;
        else
            close(fd);
    }
    atomic_store(&stop, true);
    pthread_join(prober, NULL);
    assert_int_equal(robbed, 0);
}

static void test_what_cannot_be_asked(void **state)
{
    (void)state;
    char bad[128], holder[8];
    snprintf(bad, sizeof bad, "%s/a.lock/under", dir);
    assert_int_equal(lock_ask(bad), LOCK_UNKNOWN);
    assert_int_equal(lock_ask(dir), LOCK_UNKNOWN);
    assert_int_equal(lock_take(bad, ""), -1);
    lock_holder(bad, holder, sizeof holder);
    assert_string_equal(holder, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_holder),
        cmocka_unit_test(test_not_inherited_by_programs),
        cmocka_unit_test(test_gone_with_its_process),
        cmocka_unit_test(test_asking_never_robs),
        cmocka_unit_test(test_what_cannot_be_asked),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
