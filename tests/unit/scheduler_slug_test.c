/* Branch names: readable where the title allows, safe for git whatever it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "services/scheduler/slug.h"

static void slug_is(const char *title, const char *expected)
{
    char slug[SLUG_MAX + 1];
    slug_of(title, slug);
    assert_string_equal(slug, expected);
}

/* Mutations: no hyphen between words; marks dropped with their letter; the cut inside a word. */
static void test_titles(void **state)
{
    (void)state;
    slug_is("Add a login page", "add-a-login-page");
    slug_is("  Fix: the `--force` flag!! (again)  ", "fix-the-force-flag-again");
    slug_is("Größe der Übersicht für Café ändern", "grosse-der-ubersicht-fur-cafe-andern");
    slug_is("Ærø × 2", "aero-2");
    slug_is("直す 3 つ", "3");
    slug_is("修正", "task");
    slug_is("", "task");
    slug_is(NULL, "task");
    slug_is("../../etc/passwd.lock", "etc-passwd-lock");
    slug_is("-rf ~^:?*[\\ @{", "rf");
    slug_is("1234567890123456789012345678901234567890", "1234567890123456789012345678901234567890");
    slug_is("12345678901234567890123456789012345678901",
            "1234567890123456789012345678901234567890");
    slug_is("one two three four five six seven eight nine ten",
            "one-two-three-four-five-six-seven-eight");
    slug_is("one two three four five six seven eightyfour", "one-two-three-four-five-six-seven");
    slug_is("ab 12345678901234567890123456789012345678901",
            "ab-1234567890123456789012345678901234567");
}

static void test_branches(void **state)
{
    (void)state;
    char branch[BRANCH_SIZE];
    slug_branch("SHOP-12", "Add a login page", branch);
    assert_string_equal(branch, "feature/SHOP-12-add-a-login-page");
    slug_branch("", "", branch);
    assert_string_equal(branch, "feature/task-task");
    slug_branch("../A..B@{1}.lock", "x", branch);
    assert_string_equal(branch, "feature/A-B-1-lock-x");
}

/* Of the rules of git check-ref-format all that concern one component of these characters. */
static bool safe(const char *branch)
{
    if (strncmp(branch, "feature/", 8) != 0 || strlen(branch) >= BRANCH_SIZE)
        return false;
    const char *name = branch + 8;
    size_t size = strlen(name);
    if (size == 0 || name[0] == '-' || name[size - 1] == '-')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
               size &&
           strstr(name, "--") == NULL;
}

static uint64_t seed = 42;
static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((seed >> 33) % below);
}

static void fill(char *text, size_t most)
{
    size_t size = draw((unsigned)most);
    for (size_t i = 0; i < size; i++)
        text[i] = draw(2) != 0 ? (char)(1 + draw(255)) : "ab -./~\xC3\xA4\xC3"[draw(10)];
    text[size] = '\0';
}

/* Any bytes at all, broken UTF-8 included. Mutation: let a dot through; no limit. */
static void test_any_bytes_give_a_safe_name(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        char key[100], title[200], branch[BRANCH_SIZE];
        fill(key, sizeof key);
        fill(title, sizeof title);
        slug_branch(key, title, branch);
        if (!safe(branch))
            fail_msg("unsafe: %s", branch);
    }
}

/* git itself agrees. */
static void test_git_accepts_them(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        char key[100], title[200], branch[BRANCH_SIZE], ref[BRANCH_SIZE + 16];
        int status;
        fill(key, sizeof key);
        fill(title, sizeof title);
        slug_branch(key, title, branch);
        snprintf(ref, sizeof ref, "refs/heads/%s", branch);
        pid_t pid = fork();
        if (pid == 0) {
            execlp("git", "git", "check-ref-format", ref, NULL);
            _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_titles),
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_any_bytes_give_a_safe_name),
        cmocka_unit_test(test_git_accepts_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
