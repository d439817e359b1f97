/* Files that are whole or absent, and trees that go whatever stands in them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/buffer.h"
#include "lib/file.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/file-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
    (void)state;
    return file_remove_tree(dir);
}

static const char *in_dir(const char *name)
{
    static char path[4][256];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", dir, name);
    return out;
}

static void content_is(const char *name, const char *expected)
{
    size_t size;
    char *text = file_read(in_dir(name), 1 << 20, &size);
    assert_non_null(text);
    assert_int_equal(size, strlen(expected));
    assert_string_equal(text, expected);
    free(text);
}

/* Mutation: written in place: a failure then leaves half of the new content. */
static void test_replace(void **state)
{
    (void)state;
    assert_int_equal(file_write_durable(in_dir("a"), "one", 3, 0600), 0);
    content_is("a", "one");
    assert_int_equal(file_write_atomic(in_dir("a"), "two!", 4, 0640), 0);
    content_is("a", "two!");
    struct stat status;
    assert_int_equal(stat(in_dir("a"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

/* The disk is full in the middle of it: the old content stands, no temporary is left. A limit of
 * the file's size stands in for the disk. */
static void test_failure_keeps_the_old(void **state)
{
    (void)state;
    assert_int_equal(file_write_durable(in_dir("keep"), "old", 3, 0600), 0);
    pid_t child = fork();
    if (child == 0) {
        static char big[100000];
        struct sigaction ignore = {.sa_handler = SIG_IGN};
        sigaction(SIGXFSZ, &ignore, NULL);
        struct rlimit limit = {4096, 4096};
        if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
            _exit(2);
        int result = file_write_durable(in_dir("keep"), big, sizeof big, 0600);
        _exit(result == -1 && errno == EFBIG ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    content_is("keep", "old");
    char *command = xformat("test \"$(ls %s | grep -c tmp)\" = 0", dir);
    assert_int_equal(system(command), 0);
    free(command);
}

/* Mutation: O_EXCL dropped: both believe to be first. */
static void test_exclusive(void **state)
{
    (void)state;
    assert_int_equal(file_create_exclusive(in_dir("x"), "", 0, 0600), 0);
    assert_int_equal(file_create_exclusive(in_dir("x"), "2", 1, 0600), -1);
    assert_int_equal(errno, EEXIST);
    content_is("x", "");
}

static void test_read_limits(void **state)
{
    (void)state;
    static char text[10001];
    memset(text, 'q', 10000);
    assert_int_equal(file_write_atomic(in_dir("long"), text, 10000, 0600), 0);
    content_is("long", text);
    assert_null(file_read(in_dir("long"), 9999, NULL));
    assert_int_equal(errno, EFBIG);
    char *whole = file_read(in_dir("long"), 10000, NULL);
    assert_non_null(whole);
    free(whole);
    assert_null(file_read(in_dir("absent"), 10, NULL));
    assert_int_equal(errno, ENOENT);
    assert_null(file_read(dir, 10, NULL));
    assert_int_equal(errno, EISDIR);
}

static void test_make_dirs(void **state)
{
    (void)state;
    assert_int_equal(file_make_dirs(in_dir("p/q/r"), 0700), 0);
    assert_int_equal(file_make_dirs(in_dir("p/q/r"), 0700), 0);
    assert_int_equal(file_make_dirs(in_dir("p/q/r/"), 0700), 0);
    assert_true(file_exists(in_dir("p/q/r")));
    assert_int_equal(file_make_dirs("", 0700), -1);
    assert_int_equal(file_write_atomic(in_dir("p/plain"), "", 0, 0600), 0);
    assert_int_equal(file_make_dirs(in_dir("p/plain"), 0700), -1);
    assert_int_equal(errno, ENOTDIR);
    assert_int_equal(file_make_dirs(in_dir("p/plain/x"), 0700), -1);
}

/* As nobody where we are root: who owns the directories, and may write none of them. */
static int remove_as_owner(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        if (getuid() == 0 && setuid(65534) < 0)
            _exit(2);
        _exit(file_remove_tree(path) == 0 ? 0 : 1);
    }
    int status;
    return waitpid(child, &status, 0) == child ? status : -1;
}

/* Mutations: links followed; EACCES of a read-only directory final. */
static void test_remove_tree(void **state)
{
    (void)state;
    assert_int_equal(file_make_dirs(in_dir("t/cache/ro"), 0700), 0);
    assert_int_equal(file_write_atomic(in_dir("t/cache/ro/f"), "", 0, 0400), 0);
    assert_int_equal(file_write_atomic(in_dir("outside"), "stays", 5, 0600), 0);
    assert_int_equal(symlink(in_dir("outside"), in_dir("t/link")), 0);
    assert_int_equal(symlink(dir, in_dir("t/dirlink")), 0);
    assert_int_equal(symlink("nowhere", in_dir("t/dangling")), 0);
    assert_int_equal(mkfifo(in_dir("t/fifo"), 0600), 0);
    assert_int_equal(chmod(in_dir("t/cache/ro"), 0555), 0);
    assert_int_equal(chmod(in_dir("t/cache"), 0000), 0);
    char *command = xformat("chmod 711 %s; test $(id -u) != 0 || chown -hR 65534 %s/t", dir, dir);
    assert_int_equal(system(command), 0);
    free(command);
    assert_int_equal(chmod(dir, 0777), 0);
    assert_int_equal(remove_as_owner(in_dir("t")), 0);
    assert_int_equal(chmod(dir, 0700), 0);
    assert_false(file_exists(in_dir("t")));
    content_is("outside", "stays");
    assert_int_equal(file_remove_tree(in_dir("t")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replace),   cmocka_unit_test(test_failure_keeps_the_old),
        cmocka_unit_test(test_exclusive), cmocka_unit_test(test_read_limits),
        cmocka_unit_test(test_make_dirs), cmocka_unit_test(test_remove_tree),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
