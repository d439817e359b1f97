/* sv/ as it is read: what it means, the order of start, and faults that name file, line and key. */
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
#include "lib/file.h"
#include "supervisor/definitions.h"

static char root[] = "/tmp/osd-XXXXXX";
static struct definitions found;
static char fault[512];

static void put(const char *service, const char *file, const char *text, mode_t mode)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, service);
    assert_int_equal(file_make_dirs(path, 0755), 0);
    snprintf(path, sizeof path, "%s/%s/%s", root, service, file);
    assert_int_equal(file_write_atomic(path, text, strlen(text), mode), 0);
    chmod(path, mode);
}

static void service(const char *name, const char *yaml)
{
    put(name, "run", "#!/bin/sh\nexec true\n", 0755);
    if (yaml)
        put(name, "service.yaml", yaml, 0644);
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/osd-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return file_remove_tree(root);
}

static int load(void)
{
    fault[0] = '\0';
    return definitions_load(&found, root, fault, sizeof fault);
}

static void test_what_it_means(void **state)
{
    (void)state;
    service("a", NULL);
    service("b", "after: [a]\nnotification-fd: 3\nshutdown-timeout-s: 7\n"
                 "limits: {nofile: 512, core: unlimited}\ncapabilities: [kill, setuid]\nconfig: "
                 "[\"\", http]\n");
    put("b", "finish", "#!/bin/sh\n", 0755);
    put("a", "down", "", 0644);
    put("a", "finish", "#!/bin/sh\n", 0644); /* not executable: none */
    put(".hidden", "run", "", 0644);         /* as runsvdir */
    char stray[64];
    snprintf(stray, sizeof stray, "%s/README", root);
    file_write_atomic(stray, "x", 1, 0644);
    assert_int_equal(load(), 0);
    assert_int_equal(found.count, 2);
    const struct definition *a = &found.items[0], *b = &found.items[1];
    assert_string_equal(a->name, "a");
    assert_true(a->down);
    assert_false(a->has_finish);
    assert_int_equal(a->notify_fd, -1);
    assert_int_equal(a->stop_ms, 5000);
    assert_int_equal(a->depth, 0);
    assert_string_equal(b->name, "b");
    assert_false(b->down);
    assert_true(b->has_finish);
    assert_int_equal(b->notify_fd, 3);
    assert_int_equal(b->stop_ms, 7000);
    assert_int_equal(b->depth, 1);
    assert_int_equal(b->limit_count, 2);
    assert_int_equal(b->capabilities, 1U << 5 | 1U << 7); /* capabilities(7): KILL, SETUID */
    assert_int_equal(b->limits[0].resource, RLIMIT_NOFILE);
    assert_int_equal(b->limits[0].value, 512);
    assert_int_equal(b->limits[1].value, RLIM_INFINITY);
    assert_int_equal(b->section_count, 2);
    assert_string_equal(b->sections[0], "");
    assert_string_equal(b->sections[1], "http");
}

/* Mutation: definitions_order() that looks at direct predecessors only. */
static void test_order_of_start(void **state)
{
    (void)state;
    service("a", "after: [c, d]\n");
    service("b", NULL);
    service("c", "after: [b]\n");
    service("d", "after: [c]\n");
    assert_int_equal(load(), 0);
    static const char *const order[] = {"b", "c", "d", "a"};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(found.items[i].name, order[i]);
        assert_int_equal(found.items[i].depth, i);
    }
}

/* {service.yaml, what the message must hold}; the service is "x" beside "other". */
static const char *const faults[][2] = {
    {"bogus: 1\n", "/x/service.yaml:1: bogus: unknown key"},
    {"# words\n\nafter: other\n", "/x/service.yaml:3: after: a list is wanted"},
    {"after: [other]\nafter: []\n", "/x/service.yaml:2: after: given twice"},
    {"after: [nobody]\n", "/x/service.yaml: after: nobody: no such service"},
    {"after: [x]\n", "/x/service.yaml: after: x: the services wait for each other in a circle"},
    {"notification-fd: three\n", "/x/service.yaml:1: notification-fd: an integer is wanted"},
    {"notification-fd: 2\n", "/x/service.yaml:1: notification-fd: 2 is not in 3..63"},
    {"\nnotification-fd: 64\n", "/x/service.yaml:2: notification-fd: 64 is not in 3..63"},
    {"shutdown-timeout-s: 0\n", "/x/service.yaml:1: shutdown-timeout-s: 0 is not in 1..86400"},
    {"shutdown-timeout-s: 1.5\n", "/x/service.yaml:1: shutdown-timeout-s: an integer is wanted"},
    {"shutdown-timeout-s: 99999999999999999999\n",
     "/x/service.yaml:1: shutdown-timeout-s: an integer is wanted"},
    {"capabilities: [sys_admin]\n",
     "/x/service.yaml:1: capabilities: sys_admin: not one that can be given"},
    {"limits: 3\n", "/x/service.yaml:1: limits: a map is wanted"},
    {"limits:\n  nofile: 3\n  files: 4\n", "/x/service.yaml:3: limits.files: unknown limit"},
    {"limits:\n  nofile: 3\n  nofile: 4\n", "/x/service.yaml:3: limits.nofile: given twice"},
    {"limits: {nofile: -1}\n", "/x/service.yaml:1: nofile: -1 is not in 0.."},
    {"user: nobody-of-that-name\n", "/x/service.yaml:1: user: nobody-of-that-name: no such user"},
    {"group: root\n", "/x/service.yaml:1: group: needs user"},
    {"user: root\ngroup: no-such-group-here\n",
     "/x/service.yaml:1: group: no-such-group-here: no such group"},
    {"user: [root]\n", "/x/service.yaml:1: user: a name is wanted"},
    {"- a\n- b\n", "/x/service.yaml:1: a map is wanted"},
    {"after: [a\n", "/x/service.yaml:"},
    {"config: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n",
     "/x/service.yaml:1: config: a name shorter than 40 is wanted"},
};

static void test_faults_name_file_line_and_key(void **state)
{
    (void)state;
    service("other", NULL);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        service("x", faults[i][0]);
        assert_int_equal(load(), -1);
        if (!strstr(fault, faults[i][1]) || strncmp(fault, root, strlen(root)) != 0)
            fail_msg("for \"%s\": \"%s\"", faults[i][0], fault);
    }
}

static void test_a_circle_of_many_is_found(void **state)
{
    (void)state;
    service("a", "after: [b]\n");
    service("b", "after: [c]\n");
    service("c", "after: [a]\n");
    service("d", NULL);
    assert_int_equal(load(), -1);
    assert_non_null(strstr(fault, "in a circle"));
}

static void test_run_must_be_executable(void **state)
{
    (void)state;
    put("x", "run", "#!/bin/sh\n", 0644);
    assert_int_equal(load(), -1);
    assert_non_null(strstr(fault, "/x/run: not executable"));
    char path[64];
    snprintf(path, sizeof path, "%s/x/run", root);
    unlink(path);
    assert_int_equal(load(), -1);
    assert_non_null(strstr(fault, "/x/run: No such file"));
}

static void test_names(void **state)
{
    (void)state;
    service("with space", NULL);
    assert_int_equal(load(), -1);
    assert_non_null(strstr(fault, "with space: a name is letters"));
}

static void test_our_own_name_is_taken(void **state)
{
    (void)state;
    service("supervisor", NULL); /* its log folder is the supervisor's own */
    assert_int_equal(load(), -1);
    assert_non_null(strstr(fault, "not supervisor"));
}

static void test_too_many(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < SERVICES_MAX; i++) {
        snprintf(name, sizeof name, "s%d", i);
        service(name, NULL);
    }
    assert_int_equal(load(), 0);
    assert_int_equal(found.count, SERVICES_MAX);
    service("one-more", NULL);
    assert_int_equal(load(), -1);
    assert_non_null(strstr(fault, "more than 32 services"));
}

static void test_nothing_there(void **state)
{
    (void)state;
    assert_int_equal(load(), -1);
    assert_non_null(strstr(fault, "no services there"));
    rmdir(root);
    assert_int_equal(load(), -1);
    assert_non_null(strstr(fault, "No such file"));
    mkdir(root, 0755);
}

static uint64_t fingerprint(void)
{
    assert_int_equal(load(), 0);
    return found.items[0].fingerprint;
}

/* SIGHUP restarts whose definition changed: each part counts, nothing else does. */
static void test_fingerprint(void **state)
{
    (void)state;
    service("x", "notification-fd: 3\n");
    uint64_t first = fingerprint();
    assert_true(fingerprint() == first);
    put("x", "README", "words", 0644);
    assert_true(fingerprint() == first);
    put("x", "run", "#!/bin/sh\nexec false\n", 0755);
    uint64_t other_run = fingerprint();
    assert_true(other_run != first);
    put("x", "service.yaml", "notification-fd: 4\n", 0644);
    uint64_t other_yaml = fingerprint();
    assert_true(other_yaml != other_run);
    put("x", "finish", "#!/bin/sh\n", 0755);
    assert_true(fingerprint() != other_yaml);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_it_means),
        TEST(test_order_of_start),
        TEST(test_faults_name_file_line_and_key),
        TEST(test_a_circle_of_many_is_found),
        TEST(test_run_must_be_executable),
        TEST(test_names),
        TEST(test_our_own_name_is_taken),
        TEST(test_too_many),
        TEST(test_nothing_there),
        TEST(test_fingerprint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
