/* Command lines and environments of agents. Mutations tried, each turns a test red: the whole of
 * our environment handed on; ORCH_ names taken from agent.env_allow; a model that does not fit
 * passed on;
 * --resume and --session-id together or exchanged; the prompt among the arguments; two equal models
 * counted as two levels; a level of a model that does not fit; codex's thread not looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/file.h"
#include "services/runner/agent.h"

extern char **environ;

static const char *value_of(const json_t *env, const char *name)
{
    size_t index, size = strlen(name);
    const json_t *entry;
    json_array_foreach(env, index, entry)
    {
        const char *text = json_string_value(entry);
        if (strncmp(text, name, size) == 0 && text[size] == '=')
            return text + size + 1;
    }
    return NULL;
}

static struct config config;
static struct project project;

static struct agent_request request_of(const char *role)
{
    return (struct agent_request){.config = &config,
                                  .project = &project,
                                  .role = role,
                                  .stage = "development",
                                  .key = "SHOP-1",
                                  .run = "SHOP-1-j1-r1",
                                  .workspace = "/home/workspaces/SHOP-1_1",
                                  .attempt = 2,
                                  .session = "11111111-2222-4333-8444-555555555555"};
}

static int make_config(void **state)
{
    (void)state;
    static char claude[] = "claude", fallback[] = "", key[] = "SHOP";
    config.agent_command = claude;
    config.agent_fallback_model = fallback;
    config.agent_model = json_pack("{s:s}", "default", "claude-opus-4-8");
    config.agent_effort = json_pack("{s:s, s:s}", "default", "high", "reviewer", "max");
    config.agent_env_allow = json_pack("[s]", "ANTHROPIC_API_KEY");
    config.budget_run_usd = 10;
    project.key = key;
    return 0;
}

static int free_config(void **state)
{
    (void)state;
    json_decref(config.agent_model);
    json_decref(config.agent_effort);
    json_decref(config.agent_env_allow);
    json_decref(project.agent_command);
    config = (struct config){0};
    project = (struct project){0};
    return 0;
}

/* Every variable of ours is marked; what comes through is exactly the allow-list. */
static void test_the_environment_is_an_allow_list(void **state)
{
    (void)state;
    static const char *const secrets[] = {"ORCH_HTTP_OPERATOR_TOKEN",
                                          "ORCH_PLANE_TOKEN",
                                          "ORCH_GITEA_TOKEN",
                                          "ORCH_CRASH_DIR",
                                          "ORCH_RUN_DIR",
                                          "ORCH_PROJECTS_JSON",
                                          "GITEA_TOKEN",
                                          "LD_PRELOAD_X",
                                          "SSH_AUTH_SOCK",
                                          "GIT_CONFIG_GLOBAL",
                                          "AWS_SECRET",
                                          "NOTIFY_SOCKET",
                                          "ANTHROPIC_AUTH_TOKEN"};
    static const char *const allowed[] = {"PATH", "HOME", "LANG",  "LC_ALL",           "TZ",
                                          "TERM", "USER", "SHELL", "CLAUDE_CONFIG_DIR"};
    static const char *const ours[] = {
        "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL",
        "ORCH_ROLE",       "ORCH_STAGE",       "ORCH_TASK",          "ORCH_RUN",
        "ORCH_ATTEMPT",    "ORCH_WORKSPACE"};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        setenv(secrets[i], "s3cret", 1);
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (!getenv(allowed[i]))
            setenv(allowed[i], "x", 1);
    setenv("ANTHROPIC_API_KEY", "key", 1);
    json_array_append_new(config.agent_env_allow, json_string("ORCH_GITEA_TOKEN"));
    json_array_append_new(config.agent_env_allow, json_string("NOT_SET_ANYWHERE"));
    json_array_append_new(config.agent_env_allow, json_string(""));
    json_array_append_new(config.agent_env_allow, json_string("A=B"));
    struct agent_request request = request_of("developer");
    json_t *env = agent_environment(&request);
    size_t count = 1;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++, count++)
        assert_string_equal(value_of(env, allowed[i]), getenv(allowed[i]));
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++, count++)
        assert_non_null(value_of(env, ours[i]));
    assert_string_equal(value_of(env, "ANTHROPIC_API_KEY"), "key");
    assert_int_equal(json_array_size(env), count); /* and nothing else at all */
    char *dump = json_dumps(env, 0);
    assert_null(strstr(dump, "s3cret"));
    assert_string_equal(value_of(env, "ORCH_RUN"), "SHOP-1-j1-r1");
    assert_string_equal(value_of(env, "ORCH_ATTEMPT"), "2");
    assert_string_equal(value_of(env, "GIT_AUTHOR_EMAIL"), "developer@orchestrator.invalid");
    free(dump);
    json_decref(env);
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        unsetenv(secrets[i]);
}

/* What the agent's environment says of itself is ours, also where the same name is allowed. */
static void test_a_name_stands_there_once(void **state)
{
    (void)state;
    setenv("GIT_AUTHOR_NAME", "somebody", 1);
    json_array_append_new(config.agent_env_allow, json_string("GIT_AUTHOR_NAME"));
    json_array_append_new(config.agent_env_allow, json_string("PATH"));
    struct agent_request request = request_of("tester");
    json_t *env = agent_environment(&request);
    size_t index, seen = 0;
    json_t *entry;
    json_array_foreach(env, index, entry)
    {
        seen += strncmp(json_string_value(entry), "GIT_AUTHOR_NAME=", 16) == 0;
        seen += strncmp(json_string_value(entry), "PATH=", 5) == 0;
    }
    assert_int_equal(seen, 2);
    assert_string_equal(value_of(env, "GIT_AUTHOR_NAME"), "tester");
    json_decref(env);
    unsetenv("GIT_AUTHOR_NAME");
}

static const struct {
    const char *model;
    bool ok;
} models[] = {
    {"claude-opus-4-8", true},
    {"claude-opus-4-8[1m]", true},
    {"claude-3.5", true},
    {"opus", true},
    {"sonnet", true},
    {"haiku", true},
    {"sonnet[1m]", true},
    {"default", true},
    {"claude-", false},
    {"claude", false},
    {"gpt-5", false},
    {"", false},
    {"[1m]", false},
    {"--help", false},
    {"claude-x --help", false},
    {"claude-X", false},
    {"claude-x_y", false},
    {"claude-x\n", false},
    {"claude-x[1m][1m]", false},
    {"claude-x[2m]", false},
    {"Opus", false},
    {"-claude-opus", false},
    {"claude-\xc3\xbc", false},
};

static void test_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        if (agent_claude_model_ok(models[i].model) != models[i].ok)
            fail_msg("%s", models[i].model);
    }
    char endless[300];
    memset(endless, 'a', sizeof endless);
    memcpy(endless, "claude-", 7);
    endless[299] = '\0';
    assert_false(agent_claude_model_ok(endless));
}

/* The arguments as one line, a blank between. */
static char *line_of(const json_t *argv)
{
    static char line[2000];
    size_t index;
    const json_t *entry;
    line[0] = '\0';
    json_array_foreach(argv, index, entry)
    {
        size_t used = strlen(line);
        snprintf(line + used, sizeof line - used, "%s%s", index ? " " : "",
                 json_string_value(entry));
    }
    return line;
}

static const char *build(struct agent_request request, struct agent_command *command)
{
    char *fault = NULL;
    assert_ptr_equal(agent_driver("claude"), &agent_claude);
    assert_int_equal(agent_claude.build(&request, command, &fault), 0);
    return line_of(command->argv);
}

static void test_claude_arguments(void **state)
{
    (void)state;
    struct agent_command command;
    const char *line = build(request_of("developer"), &command);
    assert_true(strncmp(line,
                        "claude -p --output-format stream-json --verbose --session-id "
                        "11111111-2222-4333-8444-555555555555 --setting-sources user "
                        "--strict-mcp-config --permission-mode acceptEdits --allowedTools ",
                        strlen("claude -p")) == 0);
    assert_non_null(strstr(line, "--output-format stream-json --verbose"));
    assert_non_null(strstr(line, "--session-id 11111111-2222-4333-8444-555555555555"));
    assert_null(strstr(line, "--resume"));
    assert_non_null(strstr(line, "--setting-sources user --strict-mcp-config"));
    assert_null(strstr(line, "dangerously"));
    assert_non_null(strstr(line, "--model claude-opus-4-8 --effort high"));
    assert_non_null(strstr(line, "--max-budget-usd 10.0000"));
    assert_null(strstr(line, "--fallback-model"));
    assert_string_equal(value_of(command.env, "CLAUDE_CODE_MAX_RETRIES"), "4");
    agent_command_free(&command);
    struct agent_request request = request_of("reviewer");
    request.resume = true;
    config.budget_run_usd = 0;
    static char fallback[] = "sonnet";
    config.agent_fallback_model = fallback;
    line = build(request, &command);
    assert_non_null(strstr(line, "--resume 11111111-2222-4333-8444-555555555555"));
    assert_null(strstr(line, "--session-id"));
    assert_non_null(strstr(line, "--effort max"));
    assert_non_null(strstr(line, "--fallback-model sonnet"));
    assert_null(strstr(line, "--max-budget-usd"));
    agent_command_free(&command);
}

static void test_a_model_that_does_not_fit_is_passed_over(void **state)
{
    (void)state;
    struct agent_command command;
    json_object_set_new(config.agent_model, "developer", json_string("gpt-5"));
    assert_non_null(strstr(build(request_of("developer"), &command), "--model claude-opus-4-8"));
    agent_command_free(&command);
    json_object_set_new(config.agent_model, "developer", json_string("haiku"));
    assert_non_null(strstr(build(request_of("developer"), &command), "--model haiku"));
    assert_string_equal(command.model, "haiku");
    agent_command_free(&command);
    json_object_set_new(config.agent_model, "developer", json_string("--help"));
    json_object_set_new(config.agent_model, "default", json_string("o1"));
    static char fallback[] = "--dangerously-skip-permissions";
    config.agent_fallback_model = fallback;
    const char *line = build(request_of("developer"), &command);
    assert_null(strstr(line, "--model"));
    assert_null(strstr(line, "--help"));
    assert_null(strstr(line, "dangerously"));
    assert_null(command.model);
    agent_command_free(&command);
}

static void test_command_takes_the_projects_own_line(void **state)
{
    (void)state;
    struct agent_command command;
    struct agent_request request = request_of("developer");
    char *fault = NULL;
    assert_int_equal(agent_command.build(&request, &command, &fault), -1);
    assert_non_null(strstr(fault, "agent_command is empty"));
    free(fault);
    project.agent_command = json_pack("[s, s]", "/opt/agent", "--flag with blanks");
    fault = NULL;
    assert_int_equal(agent_command.build(&request, &command, &fault), 0);
    assert_true(json_equal(command.argv, project.agent_command));
    assert_string_equal(value_of(command.env, "ORCH_STAGE"), "development");
    agent_command_free(&command);
    assert_null(agent_driver("aider"));
}

static const char *build_codex(struct agent_request request, struct agent_command *command)
{
    char *fault = NULL;
    assert_ptr_equal(agent_driver("codex"), &agent_codex);
    assert_int_equal(agent_codex.build(&request, command, &fault), 0);
    return line_of(command->argv);
}

static void test_codex_arguments(void **state)
{
    (void)state;
    struct agent_command command;
    struct agent_request request = request_of("developer");
    static char home[] = "/tmp/orch-codex-XXXXXX", other[] = "/opt/codex";
    config.home = mkdtemp(home);
    assert_non_null(config.home);
    request.session = NULL; /* it names its threads itself */
    assert_string_equal(build_codex(request, &command),
                        "codex exec --json --dangerously-bypass-approvals-and-sandbox -");
    assert_null(command.model); /* the default is one of claude's */
    char own[100];
    snprintf(own, sizeof own, "%s/agents/SHOP/.codex", home);
    assert_string_equal(value_of(command.env, "CODEX_HOME"), own);
    assert_int_equal(access(own, W_OK), 0);
    agent_command_free(&command);
    config.agent_command = other;
    json_object_set_new(config.agent_model, "developer", json_string("gpt-5.1-codex"));
    request.session = "01a1f934-0ead-7343-a18a-3d34e2713ae1";
    request.resume = true;
    request.user = "agent"; /* whose HOME is the project's own, and the program's folder in it */
    request.home = "/home/agents/SHOP";
    assert_string_equal(build_codex(request, &command),
                        "/opt/codex exec resume --json --dangerously-bypass-approvals-and-sandbox "
                        "-m gpt-5.1-codex 01a1f934-0ead-7343-a18a-3d34e2713ae1 -");
    assert_null(value_of(command.env, "CODEX_HOME"));
    agent_command_free(&command);
    char *fault = NULL;
    request.session = "--last";
    assert_int_equal(agent_codex.build(&request, &command, &fault), -1);
    free(fault);
    assert_int_equal(file_remove_tree(home), 0);
}

static void test_models_of_codex(void **state)
{
    (void)state;
    static const char *const good[] = {"gpt-5", "gpt-5.1-codex", "o3", "openai/gpt-5", "qwen:7b"};
    static const char *const bad[] = {"",    "claude-opus-4-8", "opus",   "default",   "-m",
                                      "a b", "gpt\n",           "claude", "gpt-5[1m]", "../x"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(agent_codex_model_ok(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(agent_codex_model_ok(bad[i]));
}

static void expect_level(int64_t level, const char *model, int64_t left)
{
    struct agent_command command;
    struct agent_request request = request_of("developer");
    request.model_level = level;
    const char *line = build(request, &command);
    assert_int_equal(command.levels_left, left);
    if (model)
        assert_string_equal(command.model, model);
    else
        assert_null(command.model);
    assert_true(!strstr(line, "--model") == !model);
    agent_command_free(&command);
}

/* The role's own, the default, then whatever the program takes by itself. */
static void test_levels_of_models(void **state)
{
    (void)state;
    expect_level(0, "claude-opus-4-8", 1);
    expect_level(1, NULL, 0);
    json_object_set_new(config.agent_model, "developer", json_string("haiku"));
    expect_level(0, "haiku", 2);
    expect_level(1, "claude-opus-4-8", 1);
    expect_level(2, NULL, 0);
    expect_level(9, NULL, 0);
    expect_level(-1, "haiku", 2);
    json_object_set_new(config.agent_model, "developer", json_string("claude-opus-4-8"));
    expect_level(0, "claude-opus-4-8", 1); /* the same twice is one level */
    json_object_set_new(config.agent_model, "developer", json_string("gpt-5"));
    expect_level(0, "claude-opus-4-8", 1); /* one that does not fit is none */
    json_object_clear(config.agent_model);
    expect_level(0, NULL, 0);
}

int main(void)
{
#define WITH_CONFIG(test) cmocka_unit_test_setup_teardown(test, make_config, free_config)
    const struct CMUnitTest tests[] = {
        WITH_CONFIG(test_the_environment_is_an_allow_list),
        WITH_CONFIG(test_a_name_stands_there_once),
        cmocka_unit_test(test_models),
        WITH_CONFIG(test_claude_arguments),
        WITH_CONFIG(test_a_model_that_does_not_fit_is_passed_over),
        WITH_CONFIG(test_codex_arguments),
        cmocka_unit_test(test_models_of_codex),
        WITH_CONFIG(test_levels_of_models),
        WITH_CONFIG(test_command_takes_the_projects_own_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
