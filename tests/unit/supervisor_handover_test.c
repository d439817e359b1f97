/* What an upgrade carries over comes back as it was; what can't be read is refused as a whole. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "supervisor/handover.h"

static struct supervisor before, after;

static void fill_slot(struct slot *slot, int number)
{
    int64_t mark = number * 1000;
    slot->definition.depth = number;
    slot->definition.fingerprint = UINT64_C(0xfedcba9876543210) + (uint64_t)number;
    slot->definition.has_finish = true;
    slot->pid = 70000 + number;
    slot->pidfd = 100 + number;
    slot->log.read_fd = 200 + number;
    slot->log.write_fd = 300 + number;
    slot->control.control_fd = 400 + number;
    slot->control.ok_fd = 500 + number;
    slot->changed_ms = mark + 1;
    slot->started_ms = mark + 2;
    slot->last.at_ms = mark + 3;
    slot->last.exit_code = -1;
    slot->last.signal = 9;
    snprintf(slot->last.reason, sizeof slot->last.reason, "signal 9 (Killed)");
    snprintf(slot->last.said, sizeof slot->last.said, "slot other\nend\npid 1");
    memcpy(slot->log.line, "half\0a\nline", 11);
    slot->log.used = 11;
    slot->policy.state = POLICY_STATE_UP;
    slot->policy.want = POLICY_WANT_UP;
    slot->policy.failed = true;
    slot->policy.restarts = mark + 4;
    slot->policy.died = POLICY_DEATHS_MAX + 7;
    for (int i = 0; i < POLICY_DEATHS_MAX; i++)
        slot->policy.deaths[i] = mark + i;
}

static void fill(void)
{
    memset(&before, 0, sizeof before);
    memset(&after, 0, sizeof after);
    snprintf(before.sv_dir, sizeof before.sv_dir, "/srv/sv");
    snprintf(after.sv_dir, sizeof after.sv_dir, "/srv/sv");
    before.started_ms = 17;
    before.upgrades = 3;
    before.home_lock = 41;
    before.run_lock = 42;
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        struct definition definition = {.notify_fd = -1};
        snprintf(definition.name, sizeof definition.name, "%s", names[i]);
        snprintf(definition.yaml, sizeof definition.yaml,
                 "notification-fd: 3\nshutdown-timeout-s: %d\nafter: [z]\n", 10 + i);
        fill_slot(setup_add(&before, &definition), i);
    }
}

static int written(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(handover_write(&before, fd), 0);
    return fd;
}

static void check_slot(const struct slot *slot, const struct slot *from, int number)
{
    assert_string_equal(slot->definition.name, from->definition.name);
    assert_string_equal(slot->definition.yaml, from->definition.yaml);
    assert_int_equal(slot->definition.stop_ms, (10 + number) * 1000); /* parsed anew */
    assert_int_equal(slot->definition.notify_fd, 3);
    assert_string_equal(slot->definition.after[0], "z");
    assert_int_equal(slot->definition.depth, number);
    assert_true(slot->definition.fingerprint == from->definition.fingerprint);
    assert_true(slot->removing); /* until it is found in sv/ */
    assert_int_equal(slot->pid, from->pid);
    assert_int_equal(slot->pidfd, from->pidfd);
    assert_int_equal(slot->notify_fd, -1);
    assert_int_equal(slot->log.read_fd, from->log.read_fd);
    assert_int_equal(slot->log.write_fd, from->log.write_fd);
    assert_int_equal(slot->log.file_fd, -1); /* opened anew */
    assert_int_equal(slot->control.control_fd, from->control.control_fd);
    assert_int_equal(slot->control.ok_fd, from->control.ok_fd);
    assert_int_equal(slot->log.used, 11);
    assert_memory_equal(slot->log.line, from->log.line, 11);
    assert_memory_equal(&slot->last, &from->last, sizeof slot->last);
    assert_memory_equal(&slot->policy, &from->policy, sizeof slot->policy);
}

/* Mutation: a field of struct policy_child left out of handover.def. */
static void test_all_comes_back(void **state)
{
    (void)state;
    fill();
    int fd = written();
    assert_int_equal(handover_read(&after, fd), 0);
    close(fd);
    assert_int_equal(after.started_ms, 17);
    assert_int_equal(after.upgrades, 3);
    assert_int_equal(after.home_lock, 41);
    assert_int_equal(after.run_lock, 42);
    int number = 0;
    FOR_EACH_SLOT(&after, slot)
    {
        check_slot(slot, &before.slots[number], number);
        number++;
    }
    assert_int_equal(number, 3);
}

static int read_text(const char *text, size_t size)
{
    memset(&after, 0, sizeof after);
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(write(fd, text, size), size);
    int result = handover_read(&after, fd);
    close(fd);
    return result;
}

/* A newer program says more, an older less. */
static void test_unknown_fields_are_skipped(void **state)
{
    (void)state;
    static const char text[] = "orchestrator-state 1\nfuture 1\nupgrades 5\nslot x\nfuture.too 9\n"
                               "pid 77\nend\n";
    assert_int_equal(read_text(text, sizeof text - 1), 0);
    assert_int_equal(after.upgrades, 5);
    assert_int_equal(after.slots[0].pid, 77);
}

/* Mutation: reading on after the last line without "end". */
static void test_what_is_cut_is_refused(void **state)
{
    (void)state;
    static char text[200000];
    fill();
    int fd = written();
    ssize_t size = pread(fd, text, sizeof text, 0);
    close(fd);
    assert_in_range(size, 1000, sizeof text - 1);
    for (ssize_t cut = 0; cut < size; cut += cut < 3000 ? 1 : 97)
        assert_int_equal(read_text(text, (size_t)cut), -1);
    assert_int_equal(read_text(text, (size_t)size), 0);
}

static void test_another_version_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"orchestrator-state 2\nend\n",
                                        "state 1\nend\n",
                                        "end\n",
                                        "",
                                        "orchestrator-state 1\nslot x\nlog.said 999\nabc\nend\n",
                                        "orchestrator-state 1\nslot x\nlog.line 99999999\nend\n",
                                        "orchestrator-state 1\nslot x\nlog.said -1\nabc\nend\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(read_text(texts[i], strlen(texts[i])), -1);
}

/* A full file system: the upgrade is given up, nothing half is handed over. */
static void test_a_write_that_fails_is_told(void **state)
{
    (void)state;
    fill();
    int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        skip();
    assert_int_equal(handover_write(&before, fd), -1);
    close(fd);
}

static bool is_kept(int fd)
{
    return fcntl(fd, F_GETFD) == 0;
}

/* Exactly what the state names goes over the exec; after one that failed all is as before. */
static void test_descriptors(void **state)
{
    (void)state;
    memset(&before, 0, sizeof before);
    struct definition definition = {.name = "a", .notify_fd = -1};
    struct slot *slot = setup_add(&before, &definition);
    int *named[] = {&before.home_lock,  &before.run_lock,          &slot->pidfd,
                    &slot->notify_fd,   &slot->control.control_fd, &slot->control.ok_fd,
                    &slot->log.read_fd, &slot->log.write_fd};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        *named[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    slot->log.file_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    handover_keep(&before, true);
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        assert_true(is_kept(*named[i]));
    assert_false(is_kept(slot->log.file_fd));
    handover_keep(&before, false);
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        assert_false(is_kept(*named[i]));
        close(*named[i]);
    }
    close(slot->log.file_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_comes_back),
        cmocka_unit_test(test_unknown_fields_are_skipped),
        cmocka_unit_test(test_what_is_cut_is_refused),
        cmocka_unit_test(test_another_version_is_refused),
        cmocka_unit_test(test_a_write_that_fails_is_told),
        cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
