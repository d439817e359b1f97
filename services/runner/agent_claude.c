/* agent: claude — the claude command line, print mode. What the flags do: contracts/claude-cli.md.
 * Settings, hooks and MCP servers committed in the branch take no effect; the prompt comes on
 * standard input (one that began with --- would be taken for an option). */
#include "services/runner/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/log.h"

/* Under -p nobody answers a question, so what is not allowed here is denied. Skipping permissions
 * altogether is refused to root by the CLI. */
static const char tools[] = "Bash,BashOutput,KillShell,Edit,MultiEdit,Write,Read,Glob,Grep,LS,"
                            "NotebookEdit,TodoWrite,Task,Skill,WebFetch,WebSearch";

bool agent_claude_model_ok(const char *model)
{
    static const char *const aliases[] = {"default", "opus", "sonnet", "haiku", "opusplan", "best"};
    char plain[128];
    size_t size = strlen(model);
    if (size >= sizeof plain)
        return false;
    strcpy(plain, model);
    if (size > 4 && strcmp(plain + size - 4, "[1m]") == 0)
        plain[size -= 4] = '\0';
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        if (strcmp(plain, aliases[i]) == 0)
            return true;
    }
    return size > 7 && strncmp(plain, "claude-", 7) == 0 &&
           strspn(plain + 7, "abcdefghijklmnopqrstuvwxyz0123456789.-") == size - 7;
}

/* The role's model, else the default; one that the CLI would not know is said and passed over. */
static const char *choose_model(const struct agent_request *request)
{
    const char *levels[] = {
        json_string_value(json_object_get(request->config->agent_model, request->role)),
        json_string_value(json_object_get(request->config->agent_model, "default"))};
    for (int i = 0; i < 2; i++) {
        if (!levels[i] || !*levels[i])
            continue;
        if (agent_claude_model_ok(levels[i]))
            return levels[i];
        log_warn("model", "agent.model.%s: \"%s\" is no model of claude and is passed over",
                 i == 0 ? request->role : "default", levels[i]);
    }
    return NULL;
}

static void add(json_t *argv, const char *option, const char *value)
{
    json_array_append_new(argv, json_string(option));
    if (value)
        json_array_append_new(argv, json_string(value));
}

static int build(const struct agent_request *request, struct agent_command *command, char **fault)
{
    const struct config *config = request->config;
    const char *effort = agent_setting(config->agent_effort, request->role);
    const char *fallback = config->agent_fallback_model;
    (void)fault;
    json_t *argv = json_array();
    *command = (struct agent_command){
        .argv = argv, .env = agent_environment(request), .model = choose_model(request)};
    add(argv, config->agent_command, NULL);
    add(argv, "-p", NULL);
    add(argv, "--output-format", "stream-json");
    add(argv, "--verbose", NULL);
    add(argv, request->resume ? "--resume" : "--session-id", request->session);
    add(argv, "--setting-sources", "user");
    add(argv, "--strict-mcp-config", NULL);
    add(argv, "--permission-mode", "acceptEdits");
    add(argv, "--allowedTools", tools);
    if (command->model)
        add(argv, "--model", command->model);
    if (effort)
        add(argv, "--effort", effort);
    if (*fallback && agent_claude_model_ok(fallback))
        add(argv, "--fallback-model", fallback);
    else if (*fallback)
        log_warn("model", "agent.fallback_model: \"%s\" is no model of claude and is passed over",
                 fallback);
    if (config->budget_run_usd > 0) {
        char limit[40];
        snprintf(limit, sizeof limit, "%.4f", config->budget_run_usd);
        add(argv, "--max-budget-usd", limit);
    }
    /* The queue backs off by itself; a 401 would be retried for minutes otherwise. */
    agent_environment_set(command->env, "CLAUDE_CODE_MAX_RETRIES", "4");
    agent_environment_set(command->env, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    agent_environment_set(command->env, "DISABLE_AUTOUPDATER", "1");
    agent_environment_set(command->env, "DISABLE_TELEMETRY", "1");
    return 0;
}

const struct agent_driver agent_claude = {"claude", true, build};
