/* orchctl's command line and exit codes. Mutations tried: an option of another command taken; the
 * numbers of another project counted; 409 taken for done; surplus arguments dropped; C1 controls
 * let through; a name of a repository with ".." taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/buffer.h"
#include "tools/request.h"

enum { WORDS_MAX = 16 };

/* line: words with single spaces, "_" standing for a space inside one. */
static bool parse(const char *line, struct ctl_request *request, char *fault, size_t size)
{
    static char text[256];
    char *argv[WORDS_MAX + 1] = {(char[]){"orchctl"}};
    int argc = 1;
    strncpy(text, line, sizeof text - 1);
    for (char *word = strtok(text, " "); word && argc < WORDS_MAX; word = strtok(NULL, " "))
        argv[argc++] = word;
    return request_parse(request, argc, argv, fault, size);
}

static struct ctl_request good(const char *line)
{
    struct ctl_request request;
    char fault[160];
    if (!parse(line, &request, fault, sizeof fault))
        fail_msg("%s: %s", line, fault);
    return request;
}

static void bad(const char *line, const char *word)
{
    struct ctl_request request;
    char fault[160];
    assert_false(parse(line, &request, fault, sizeof fault));
    if (!strstr(fault, word))
        fail_msg("%s: \"%s\" does not name %s", line, fault, word);
}

static void commands_are_found(void **state)
{
    (void)state;
    assert_int_equal(good("").command, CTL_HELP);
    assert_int_equal(good("status --help").command, CTL_HELP);
    assert_int_equal(good("status").command, CTL_STATUS);
    assert_int_equal(good("task list").command, CTL_TASK_LIST);
    assert_null(good("task list").argument);
    assert_string_equal(good("task list DEMO").argument, "DEMO");
    assert_int_equal(good("why DEMO-1").command, CTL_WHY);
    assert_int_equal(good("repo create x --from d").command, CTL_REPO_CREATE);
    assert_string_equal(good("freeze shop later").argument, "shop");
    assert_string_equal(good("freeze shop later").second, "later");
    assert_int_equal(good("help task new").topic, CTL_TASK_NEW);
    assert_int_equal(good("task new --help").topic, CTL_TASK_NEW);
    assert_int_equal(good("help").topic, CTL_COMMAND_COUNT);
    for (int i = 0; i < CTL_COMMAND_COUNT; i++)
        assert_true(*ctl_commands[i].help);
}

static void options_may_stand_anywhere(void **state)
{
    (void)state;
    struct ctl_request request =
        good("--json task -c f.yaml new DEMO --label a --title T --label b --no-start");
    assert_int_equal(request.command, CTL_TASK_NEW);
    assert_true(request.json && request.no_start);
    assert_string_equal(request.config, "f.yaml");
    assert_string_equal(request.title, "T");
    assert_int_equal(request.label_count, 2);
    assert_string_equal(request.labels[1], "b");
    assert_string_equal(good("task new DEMO --title T --priority high").priority, "high");
    request = good("task new DEMO --title=a=b");
    assert_string_equal(request.title, "a=b");
    assert_true(good("events --all").all);
    request = good("tail scheduler -f -n 7");
    assert_true(request.follow);
    assert_int_equal(request.lines, 7);
    assert_int_equal(good("tail scheduler").lines, CTL_LINES);
    assert_int_equal(good("events --after 12").after, 12);
    assert_int_equal(good("events").after, -1);
}

static void faults_are_named(void **state)
{
    (void)state;
    bad("nonsense", "nonsense");
    bad("task", "task new");
    bad("task nonsense", "task list");
    bad("help nonsense", "nonsense");
    bad("--json", "no command");
    bad("why", "orchctl why KEY");
    bad("why A B", "does not take \"B\"");
    bad("comment DEMO-1", "orchctl comment KEY TEXT");
    bad("status --nonsense", "--nonsense");
    bad("status --title x", "--title");
    bad("status --json=1", "--json=1");
    bad("task new DEMO", "--title");
    bad("task new DEMO --title", "--title");
    bad("task new DEMO --title=", "--title");
    bad("task new DEMO --title T --priority soon", "--priority");
    bad("tail x -n y", "-n");
    bad("events --after -1", "--after");
    bad("a b c d e f", "too many");
}

static void an_empty_argument_is_none(void **state)
{
    (void)state;
    struct ctl_request request;
    char fault[160], *argv[] = {(char[]){"orchctl"}, (char[]){"why"}, (char[]){""}, NULL};
    assert_false(request_parse(&request, 3, argv, fault, sizeof fault));
    assert_non_null(strstr(fault, "empty"));
}

static void the_help_names_every_command(void **state)
{
    (void)state;
    char *text = request_help(CTL_COMMAND_COUNT);
    for (int i = 0; i < CTL_COMMAND_COUNT; i++)
        assert_non_null(strstr(text, ctl_commands[i].words));
    free(text);
    text = request_help(CTL_APPROVE);
    assert_non_null(strstr(text, "orchctl approve KEY"));
    assert_non_null(strstr(text, "--actor"));
    assert_null(strstr(text, "--title"));
    free(text);
}

static void check_text(const char *text, size_t size, enum text_kind kind, const char *word)
{
    char fault[160] = "";
    bool good = request_check_text("--title", text, size, 10, kind, fault, sizeof fault);
    if (good != (word == NULL) || (word && !strstr(fault, word)))
        fail_msg("\"%s\": \"%s\" does not say %s", text, fault, word ? word : "nothing");
    if (!good)
        assert_memory_equal(fault, "--title: ", 9);
}

static void text_is_judged_by_its_field(void **state)
{
    (void)state;
    check_text("plain ü", 8, TEXT_LINE, NULL);
    check_text("0123456789", 10, TEXT_LINE, NULL);
    check_text("üüüüüüüüüü", 20, TEXT_LINE, NULL); /* characters count, not bytes */
    check_text("0123456789a", 11, TEXT_LINE, "11 characters, 10 at most");
    check_text("ab\033[2J", 6, TEXT_LINE, "control character at byte 3");
    check_text("ab\nc", 4, TEXT_LINE, "control character at byte 3");
    check_text("ab\nc\t", 5, TEXT_LINES, NULL);
    check_text("ab\033", 3, TEXT_LINES, "control character at byte 3");
    check_text("a\xc2\x9b"
               "2J",
               5, TEXT_LINE, "control character at byte 2");
    check_text("a\xc2\x9b"
               "2J",
               5, TEXT_LINES, "control character at byte 2");
    check_text("a\x7f", 2, TEXT_LINE, "control character at byte 2");
    check_text("ab\033", 3, TEXT_BODY, NULL);
    check_text("ab\0c", 4, TEXT_BODY, "NUL at byte 3");
    check_text("a\xff", 2, TEXT_BODY, "not UTF-8 at byte 2");
    check_text("a\xe2\x82", 3, TEXT_BODY, "not UTF-8 at byte 2");
}

static void names_of_repositories_stay_in_their_folder(void **state)
{
    (void)state;
    static const char *const good_ones[] = {"shop", "a.b_c-1", "team/shop", "/srv/git/shop.git"};
    static const char *const bad_ones[] = {"",   "/",    "../x", "a/../b", "a b",  ".x",
                                           "-x", "a//b", "a/",   "a\nb",   "x/.g", "ü"};
    for (size_t i = 0; i < sizeof good_ones / sizeof *good_ones; i++)
        assert_true(request_repo_name(good_ones[i]));
    for (size_t i = 0; i < sizeof bad_ones / sizeof *bad_ones; i++)
        assert_false(request_repo_name(bad_ones[i]));
}

static void answers_become_exit_codes(void **state)
{
    (void)state;
    static const struct {
        long status;
        enum ctl_exit code;
    } table[] = {{200, CTL_DONE},        {202, CTL_DONE},         {409, CTL_REFUSED},
                 {401, CTL_REFUSED},     {400, CTL_REFUSED},      {404, CTL_NOT_FOUND},
                 {0, CTL_NOT_REACHABLE}, {503, CTL_NOT_REACHABLE}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_int_equal(request_exit(table[i].status), table[i].code);
    assert_int_equal(CTL_REFUSED, 1);
    assert_int_equal(CTL_USAGE, 2);
    assert_int_equal(CTL_NOT_REACHABLE, 3);
    assert_int_equal(CTL_NOT_FOUND, 4);
}

static void the_next_number_is_one_more(void **state)
{
    (void)state;
    static const char *const keys[] = {"DEMO-2", "DEMO-10", "DEMOX-99", "DEM-77",
                                       "DEMO-x", "DEMO_99", "DEMO-12x"};
    assert_int_equal(request_next_number("DEMO", keys, 7), 11);
    assert_int_equal(request_next_number("DEMO", keys, 1), 3);
    assert_int_equal(request_next_number("OTHER", keys, 7), 1);
    assert_int_equal(request_next_number("OTHER", NULL, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_found),
        cmocka_unit_test(options_may_stand_anywhere),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(an_empty_argument_is_none),
        cmocka_unit_test(the_help_names_every_command),
        cmocka_unit_test(text_is_judged_by_its_field),
        cmocka_unit_test(names_of_repositories_stay_in_their_folder),
        cmocka_unit_test(answers_become_exit_codes),
        cmocka_unit_test(the_next_number_is_one_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
