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

static int build(const struct agent_request *request, struct agent_command *command, char **fault)
{
    const struct config *config = request->config;
    const char *effort = agent_setting(config->agent_effort, request->role);
    const char *fallback = config->agent_fallback_model;
    (void)fault;
    json_t *argv = json_array();
    *command = (struct agent_command){.argv = argv, .env = agent_environment(request)};
    agent_choose_model(request, "claude", agent_claude_model_ok, command);
    agent_argument(argv, config->agent_command, NULL);
    agent_argument(argv, "-p", NULL);
    agent_argument(argv, "--output-format", "stream-json");
    agent_argument(argv, "--verbose", NULL);
    agent_argument(argv, request->resume ? "--resume" : "--session-id", request->session);
    agent_argument(argv, "--setting-sources", "user");
    agent_argument(argv, "--strict-mcp-config", NULL);
    agent_argument(argv, "--permission-mode", "acceptEdits");
    agent_argument(argv, "--allowedTools", tools);
    if (command->model)
        agent_argument(argv, "--model", command->model);
    if (effort)
        agent_argument(argv, "--effort", effort);
    if (*fallback && agent_claude_model_ok(fallback))
        agent_argument(argv, "--fallback-model", fallback);
    else if (*fallback)
        log_warn("model", "agent.fallback_model: \"%s\" is no model of claude and is passed over",
                 fallback);
    if (config->budget_run_usd > 0) {
        char limit[40];
        snprintf(limit, sizeof limit, "%.4f", config->budget_run_usd);
        agent_argument(argv, "--max-budget-usd", limit);
    }
    /* The queue backs off by itself; a 401 would be retried for minutes otherwise. */
    agent_environment_set(command->env, "CLAUDE_CODE_MAX_RETRIES", "4");
    agent_environment_set(command->env, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    agent_environment_set(command->env, "DISABLE_AUTOUPDATER", "1");
    agent_environment_set(command->env, "DISABLE_TELEMETRY", "1");
    return 0;
}

const struct agent_driver agent_claude = {
    .name = "claude", .needs_result = true, .take = output_take_stream_json, .build = build};
