/* Where a branch stands, and that doubt is no answer: whoever acts on "gone" or "rewritten" blocks
 * a task. Red when any failure of git counts as an absence, or a repository that cannot be read as
 * an empty one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/forge/forge.h"

static char root[] = "/tmp/orch-forge-XXXXXX", *path;
static char *first, *second, *other; /* second follows first; other does not */

static void shell(const char *script, char **out)
{
    char *line = xformat("cd %s && %s", root, script), text[200] = "";
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    while (fgets(text, sizeof text, pipe))
        ;
    assert_int_equal(pclose(pipe), 0);
    text[strcspn(text, "\n")] = '\0';
    if (out)
        *out = xstrdup(text);
    free(line);
}

static int prepare(void **state)
{
    (void)state;
    static const char made[] =
        "export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b "
        "GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b && cd shop.git && "
        "tree=$(git write-tree) && git commit-tree -m ";
    if (!mkdtemp(root))
        return -1;
    path = xformat("%s/shop.git", root);
    shell("git init -q --bare shop.git", NULL);
    char *line = xformat("%sone $tree", made);
    shell(line, &first);
    free(line);
    line = xformat("%stwo -p %s $tree", made, first);
    shell(line, &second);
    free(line);
    line = xformat("%sthree $tree", made);
    shell(line, &other);
    free(line);
    line = xformat("cd shop.git && git update-ref refs/heads/work %s", second);
    shell(line, NULL);
    free(line);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    free(first);
    free(second);
    free(other);
    free(path);
    return file_remove_tree(root);
}

/* Opened with the PATH that git is to be found through. */
static enum forge_branch look(const char *found_in, const char *branch, const char *commit)
{
    char *before = xstrdup(getenv("PATH")), *fault = NULL;
    if (found_in)
        setenv("PATH", found_in, 1);
    struct git *git = git_new(root);
    struct config config = {.home = root};
    char key[] = "SHOP", local[] = "local";
    struct project project = {.key = key, .repo = path, .forge = local};
    struct forge *forge = forge_open(&config, &project, git, &fault);
    assert_non_null(forge);
    enum forge_branch answer = forge_branch_look(forge, branch, commit, &fault);
    assert_int_equal(answer == FORGE_BRANCH_FAILED, fault != NULL);
    setenv("PATH", before, 1);
    free(fault);
    free(before);
    forge_close(forge);
    git_free(git);
    return answer;
}

static void test_answers(void **state)
{
    (void)state;
    static const char never[] = "1234567812345678123456781234567812345678";
    assert_int_equal(look(NULL, "work", second), FORGE_BRANCH_FOLLOWS);
    assert_int_equal(look(NULL, "work", first), FORGE_BRANCH_FOLLOWS);
    assert_int_equal(look(NULL, "work", other), FORGE_BRANCH_REWRITTEN);
    assert_int_equal(look(NULL, "work", never), FORGE_BRANCH_REWRITTEN);
    assert_int_equal(look(NULL, "nothing", first), FORGE_BRANCH_GONE);
}

static void test_packed(void **state)
{
    (void)state;
    shell("cd shop.git && git pack-refs --all", NULL);
    test_answers(NULL);
}

static void test_no_git(void **state)
{
    (void)state;
    assert_int_equal(look("/nonexistent", "work", first), FORGE_BRANCH_FAILED);
    assert_int_equal(look("/nonexistent", "work", other), FORGE_BRANCH_FAILED);
}

/* A ref that leads to another asks git itself. */
static void test_a_failing_git(void **state)
{
    (void)state;
    char *bin = xformat("%s/bin", root);
    shell("mkdir bin && printf '#!/bin/sh\\nexit 128\\n' > bin/git && chmod +x bin/git && "
          "cd shop.git && git symbolic-ref refs/heads/alias refs/heads/work",
          NULL);
    assert_int_equal(look(NULL, "alias", second), FORGE_BRANCH_FOLLOWS);
    assert_int_equal(look(bin, "alias", second), FORGE_BRANCH_FAILED);
    assert_int_equal(look(bin, "work", first), FORGE_BRANCH_FAILED);
    free(bin);
}

static void test_an_unreadable_list(void **state)
{
    (void)state;
    shell("cd shop.git && git symbolic-ref -d refs/heads/alias && git pack-refs --all && "
          "mv packed-refs kept && ln -s nowhere packed-refs",
          NULL);
    assert_int_equal(look("/nonexistent", "work", second), FORGE_BRANCH_FAILED);
    shell("cd shop.git && mv kept packed-refs", NULL);
    assert_int_equal(look(NULL, "work", second), FORGE_BRANCH_FOLLOWS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_no_git),
        cmocka_unit_test(test_a_failing_git),
        cmocka_unit_test(test_an_unreadable_list),
    };
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
