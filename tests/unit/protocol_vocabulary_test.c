/* Stages, statuses and addresses: every map is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>
#include "protocol/address.h"
#include "protocol/vocabulary.h"

static void test_stages(void **state)
{
    (void)state;
    static const char *const order[] = {"created", "analysis", "architecture",   "development",
                                        "review",  "testing",  "deploy-staging", "deploy",
                                        "done",    "cancelled"};
    assert_int_equal(STAGE_COUNT, sizeof order / sizeof *order);
    for (int i = 0; i < STAGE_COUNT; i++) {
        const struct stage_info *stage = &stage_table[i];
        assert_string_equal(stage->name, order[i]);
        assert_int_equal(stage_by_name(stage->name), i);
        assert_true(*stage->label);
        assert_int_not_equal(status_by_key(stage->status), STATUS_COUNT);
        assert_false(status_table[status_by_key(stage->status)].command &&
                     i != STAGE_CREATED); /* a display is no command */
        assert_int_equal(stage_is_terminal((enum stage)i), stage->next == (enum stage)i);
        if (!stage_is_terminal((enum stage)i))
            assert_int_equal(stage->next, i + 1);
        assert_true(!*stage->role || role_is_reserved(stage->role));
    }
    assert_int_equal(stage_by_name("Done"), STAGE_COUNT);
    assert_int_equal(stage_by_name(""), STAGE_COUNT);
}

static void test_statuses(void **state)
{
    (void)state;
    int commands = 0;
    for (int i = 0; i < STATUS_COUNT; i++) {
        const struct status_info *status = &status_table[i];
        assert_int_equal(status_by_key(status->key), i);
        assert_int_equal(status_by_name(status->name, NULL), i);
        commands += status->command;
        /* Mutation: a command that is found by a fallback. */
        assert_true(!status->command || !*status->fallback);
        if (*status->fallback && strncmp(status->fallback, "group:", 6) != 0)
            assert_int_not_equal(status_by_key(status->fallback), STATUS_COUNT);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(strcasecmp(status_table[j].name, status->name), 0);
    }
    assert_int_equal(commands, 4);
    assert_true(status_table[STATUS_TO_ANALYSE].command);
    assert_true(status_table[STATUS_APPROVED].command);
    assert_true(status_table[STATUS_CONFIRM_DEPLOY].command);
    assert_true(status_table[STATUS_STOP].command);
}

static void test_names_of_a_tracker(void **state)
{
    (void)state;
    assert_int_equal(status_by_name("  to ANALYSE \t", NULL), STATUS_TO_ANALYSE);
    assert_int_equal(status_by_name("", NULL), STATUS_COUNT);
    assert_int_equal(status_by_name("To Analys", NULL), STATUS_COUNT);
    const char *names[STATUS_COUNT] = {[STATUS_APPROVED] = " Freigegeben"};
    assert_int_equal(status_by_name("freigegeben ", names), STATUS_APPROVED);
    /* Mutation: the default's name counts beside the configured one. */
    assert_int_equal(status_by_name("Approved", names), STATUS_COUNT);
    assert_int_equal(status_by_name("Done", names), STATUS_DONE);
}

static void test_reserved_names(void **state)
{
    (void)state;
    static const char *const roles[] = {"analyst", "architect", "developer", "reviewer",
                                        "tester",  "deployer",  "stream",    "Developer"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        assert_true(role_is_reserved(roles[i]));
    assert_false(role_is_reserved("anna"));
    assert_false(role_is_reserved(""));
}

static void test_addresses(void **state)
{
    (void)state;
    char url[ADDRESS_SIZE], run_dir[128];
    assert_int_equal(SERVICE_COUNT, 7);
    for (int i = 0; i < SERVICE_COUNT; i++)
        assert_int_equal(service_by_name(service_names[i]), i);
    assert_int_equal(service_by_name("supervisor"), SERVICE_COUNT);
    assert_int_equal(address_of("/run/o", "scheduler", url), 0);
    assert_string_equal(url, "ipc:///run/o/scheduler.ipc");
    /* 107 bytes of path fit, 108 do not. Mutation: one more. */
    memset(run_dir, 'd', sizeof run_dir);
    run_dir[107 - strlen("/a.ipc")] = '\0';
    assert_int_equal(address_of(run_dir, "a", url), 0);
    assert_int_equal(strlen(url), strlen("ipc://") + 107);
    run_dir[107 - strlen("/a.ipc")] = 'd';
    run_dir[108 - strlen("/a.ipc")] = '\0';
    assert_int_equal(address_of(run_dir, "a", url), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_names_of_a_tracker),
        cmocka_unit_test(test_reserved_names),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
