/* What is known to be secret is not said. Mutations tried, each turns a test red: the shorter of
 * two values looked for first; short values taken as well; the entries of a map left out; the
 * variables of agent.env_allow left out; a log line not masked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/config.h"
#include "lib/log.h"
#include "lib/mask.h"

static int forget(void **state)
{
    (void)state;
    mask_forget();
    return 0;
}

static void expect(const char *text, const char *masked)
{
    char room[200];
    strcpy(room, text);
    size_t size = mask_text(room);
    assert_string_equal(room, masked);
    assert_int_equal(size, strlen(masked));
}

static void test_values_in_a_text(void **state)
{
    (void)state;
    expect("nothing is known: abcdefgh", "nothing is known: abcdefgh");
    mask_add("abcdefgh");
    mask_add("abcdefgh-and-more");
    mask_add("abcdefgh");
    mask_add("short");
    mask_add("");
    mask_add(NULL);
    expect("key=abcdefgh;", "key=***;");
    expect("abcdefghabcdefgh", "******");
    expect("x abcdefgh-and-more y", "x *** y");
    expect("short abcdefg bcdefgh", "short abcdefg bcdefgh");
    expect("", "");
}

static void test_values_in_a_message(void **state)
{
    (void)state;
    mask_add("abcdefgh");
    json_t *value = json_pack("{s:s, s:[s, i, {s:s}], s:n}", "a", "abcdefgh", "b", "plain", 1, "c",
                              "\"abcdefgh\"\n", "d");
    json_t *wanted = json_pack("{s:s, s:[s, i, {s:s}], s:n}", "a", "***", "b", "plain", 1, "c",
                               "\"***\"\n", "d");
    mask_json(value);
    assert_true(json_equal(value, wanted));
    json_decref(wanted);
    json_decref(value);
}

static void test_what_the_configuration_knows(void **state)
{
    (void)state;
    static char token[] = "plane-token-1", hook[] = "gitea-hook-1", listen[] = "127.0.0.1:8500";
    struct config config = {.plane_token = token,
                            .gitea_webhook_secret = hook,
                            .http_listen = listen,
                            .plane_tokens = json_pack("{s:s}", "analyst", "analyst-token-1"),
                            .agent_env_allow =
                                json_pack("[s, s]", "MASK_API_KEY", "MASK_BASE_URL")};
    setenv("MASK_API_KEY", "sk-from-the-environment", 1);
    setenv("MASK_BASE_URL", "http://127.0.0.1:1", 1);
    mask_add_config(&config, "operator-token-1");
    expect("plane-token-1 gitea-hook-1 127.0.0.1:8500", "*** *** 127.0.0.1:8500");
    expect("analyst-token-1 operator-token-1", "*** ***");
    expect("sk-from-the-environment http://127.0.0.1:1", "*** http://127.0.0.1:1");
    assert_true(mask_is_secret_name("db_password") && !mask_is_secret_name("PATH"));
    json_decref(config.plane_tokens);
    json_decref(config.agent_env_allow);
}

static void test_a_log_line(void **state)
{
    (void)state;
    char line[1000];
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    mask_add("abcdefgh");
    log_mask_with(mask_text);
    dup2(ends[1], STDERR_FILENO);
    log_warn("test", "it said abcdefgh");
    dup2(saved, STDERR_FILENO);
    ssize_t size = read(ends[0], line, sizeof line - 1);
    assert_true(size > 0);
    line[size] = '\0';
    assert_non_null(strstr(line, "it said ***"));
    close(ends[0]);
    close(ends[1]);
    close(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_values_in_a_text, forget),
        cmocka_unit_test_teardown(test_values_in_a_message, forget),
        cmocka_unit_test_teardown(test_what_the_configuration_knows, forget),
        cmocka_unit_test_teardown(test_a_log_line, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
