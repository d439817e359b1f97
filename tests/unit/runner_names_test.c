/* Names from messages that become paths and refs. Red when a rule of run_branch_ok is left out:
 * git's own answer is the judge of each name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "lib/process.h"
#include "services/runner/runner.h"

static void test_run_ids(void **state)
{
    (void)state;
    static const char *const good[] = {"SHOP-1-j1-r1", "a", "A.b~c_d-e", "r..1"};
    static const char *const bad[] = {"",     ".",   "..",  ".x",    "a/b",
                                      "/",    "a b", "a\n", "a\tb",  "\xc3\xbc",
                                      "a\\b", "a:b", "a*",  "a\x7f", "~/../x"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(run_id_ok(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(run_id_ok(bad[i]));
    char name[202];
    memset(name, 'a', sizeof name);
    name[201] = '\0';
    assert_false(run_id_ok(name));
    name[200] = '\0';
    assert_true(run_id_ok(name));
}

static bool git_says(const char *branch)
{
    const char *argv[] = {"git", "check-ref-format", "--branch", branch, NULL};
    struct process_result result;
    assert_int_equal(process_run(&(struct process_spec){.argv = argv}, &result), 0);
    bool ok = result.exit_code == 0;
    process_result_free(&result);
    return ok;
}

/* What we take, git takes; and what means more than a name in a refspec or an option is not taken.
 */
static void test_branches(void **state)
{
    (void)state;
    static const char *const names[] = {"feature/SHOP-1-a-thing",
                                        "a",
                                        "a/b/c",
                                        "x.y",
                                        "x@y",
                                        "@",
                                        "\xc3\xbc",
                                        "a'b",
                                        "$(x)",
                                        "a;b",
                                        "a.lockx",
                                        "locked.lock/x",
                                        "a-",
                                        "a_",
                                        "#1",
                                        "a{b",
                                        "a@b{c",
                                        "a&b"};
    static const char *const bad[] = {"",
                                      "-x",
                                      "--force",
                                      "/a",
                                      "a/",
                                      "a//b",
                                      ".a",
                                      "a/.b",
                                      "a.",
                                      "a..b",
                                      "a.lock",
                                      "a.lock/b",
                                      "a b",
                                      "a\tb",
                                      "a\nb",
                                      "a~1",
                                      "a^",
                                      "a:b",
                                      "x:refs/heads/main",
                                      "a?",
                                      "a*",
                                      "a[b",
                                      "a\\b",
                                      "@{-1}",
                                      "a@{1}",
                                      "a\x7f",
                                      "a\x01",
                                      "HEAD"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (run_branch_ok(names[i]) && !git_says(names[i]))
            fail_msg("git does not take %s", names[i]);
    }
    assert_true(run_branch_ok(names[0]) && run_branch_ok("a/b/c") && run_branch_ok("x.y"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (run_branch_ok(bad[i]))
            fail_msg("taken: %s", bad[i]);
    }
    char name[202];
    memset(name, 'a', sizeof name);
    name[201] = '\0';
    assert_false(run_branch_ok(name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_ids),
        cmocka_unit_test(test_branches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
