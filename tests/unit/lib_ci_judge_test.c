/* What CI's statuses are worth, every combination by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "lib/forge/ci_judge.h"

enum { GRACE = 120000 };

/* Setting, whether the repository ever had one, age; then for none, pending, green, red. */
static const struct {
    enum ci_setting setting;
    bool ever;
    int64_t age_ms;
    const char *expected[4];
} cases[] = {
    {CI_NONE, false, 0, {"pass", "pass", "pass", "pass"}},
    {CI_NONE, true, GRACE, {"pass", "pass", "pass", "pass"}},
    {CI_AUTO, false, 0, {"waiting", "waiting", "pass", "fail"}},
    {CI_AUTO, false, GRACE - 1, {"waiting", "waiting", "pass", "fail"}},
    {CI_AUTO, false, GRACE, {"pass", "waiting", "pass", "fail"}},
    {CI_AUTO, false, 1000LL * GRACE, {"pass", "waiting", "pass", "fail"}},
    {CI_AUTO, false, -1, {"waiting", "waiting", "pass", "fail"}}, /* the clock jumped back */
    {CI_AUTO, true, 0, {"waiting", "waiting", "pass", "fail"}},
    {CI_AUTO, true, 1000LL * GRACE, {"waiting", "waiting", "pass", "fail"}},
    {CI_REQUIRED, false, 0, {"waiting", "waiting", "pass", "fail"}},
    {CI_REQUIRED, false, 1000LL * GRACE, {"waiting", "waiting", "pass", "fail"}},
    {CI_REQUIRED, true, 1000LL * GRACE, {"waiting", "waiting", "pass", "fail"}},
};

/* Mutations, each red: `ever` not asked; > for >=; required let through as auto; none asked for its
 * statuses; pending a pass; red waited with. */
static void test_every_combination(void **state)
{
    (void)state;
    static const enum forge_ci states[] = {FORGE_CI_NONE, FORGE_CI_PENDING, FORGE_CI_GREEN,
                                           FORGE_CI_RED};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int j = 0; j < 4; j++) {
            struct ci_facts facts = {.setting = cases[i].setting,
                                     .state = states[j],
                                     .ever = cases[i].ever,
                                     .age_ms = cases[i].age_ms,
                                     .grace_ms = GRACE};
            const char *found = ci_verdict_names[ci_judge(&facts)];
            if (strcmp(found, cases[i].expected[j]) != 0)
                fail_msg("case %zu, state %d: %s", i, j, found);
        }
}

/* A setting that this version does not know asks for the most. Mutation: CI_NONE for it. */
static void test_settings(void **state)
{
    (void)state;
    assert_int_equal(ci_setting_by_name("none"), CI_NONE);
    assert_int_equal(ci_setting_by_name("auto"), CI_AUTO);
    assert_int_equal(ci_setting_by_name("required"), CI_REQUIRED);
    assert_int_equal(ci_setting_by_name("sometimes"), CI_REQUIRED);
    assert_int_equal(ci_setting_by_name(""), CI_REQUIRED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
