#include "services/runner/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/log.h"

const struct agent_driver *agent_driver(const char *name)
{
    static const struct agent_driver *const drivers[] = {&agent_claude, &agent_codex,
                                                         &agent_command};
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        if (strcmp(drivers[i]->name, name) == 0)
            return drivers[i];
    }
    return NULL;
}

void agent_command_free(struct agent_command *command)
{
    json_decref(command->argv);
    json_decref(command->env);
    command->argv = command->env = NULL;
}

/* A later value replaces an earlier one: two of one name would leave the choice to the program. */
void agent_environment_set(json_t *env, const char *name, const char *value)
{
    char *entry = xformat("%s=%s", name, value);
    size_t size = strlen(name) + 1, index;
    json_t *there, *text = json_string(entry);
    bool replaced = false;
    json_array_foreach(env, index, there)
    {
        if (text && strncmp(json_string_value(there), entry, size) == 0) {
            json_array_set(env, index, text);
            replaced = true;
        }
    }
    if (text && !replaced)
        json_array_append(env, text);
    else if (!text)
        log_warn("environment", "%s is no UTF-8 and is not handed on", name);
    json_decref(text);
    free(entry);
}

/* Our own variables carry our tokens (every key of the configuration can stand in one): they are
 * handed to nobody, whatever agent.env_allow says. */
static void take_over(json_t *env, const char *name)
{
    const char *value = getenv(name);
    if (strncmp(name, "ORCH_", 5) == 0 || !*name || strchr(name, '='))
        log_warn("environment", "agent.env_allow: %s is not handed to an agent", name);
    else if (value)
        agent_environment_set(env, name, value);
}

const char *agent_email(const char *role, char out[96])
{
    snprintf(out, 96, "%.60s@orchestrator.invalid", role);
    return out;
}

json_t *agent_environment(const struct agent_request *request)
{
    static const char *const always[] = {"PATH", "HOME", "LANG",  "LC_ALL",           "TZ",
                                         "TERM", "USER", "SHELL", "CLAUDE_CONFIG_DIR"};
    json_t *env = json_array(), *name;
    char email[96], attempt[32];
    size_t index;
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        take_over(env, always[i]);
    if (request->home)
        agent_environment_set(env, "HOME", request->home);
    if (request->tmp)
        agent_environment_set(env, "TMPDIR", request->tmp);
    if (request->user) {
        char *own = xformat("%s/.claude", request->home); /* ours is closed to it */
        agent_environment_set(env, "USER", request->user);
        agent_environment_set(env, "SHELL", "/bin/sh");
        agent_environment_set(env, "CLAUDE_CONFIG_DIR", own);
        free(own);
    }
    json_array_foreach(request->config->agent_env_allow, index, name)
        take_over(env, json_string_value(name));
    agent_email(request->role, email);
    agent_environment_set(env, "GIT_AUTHOR_NAME", request->role);
    agent_environment_set(env, "GIT_AUTHOR_EMAIL", email);
    agent_environment_set(env, "GIT_COMMITTER_NAME", request->role);
    agent_environment_set(env, "GIT_COMMITTER_EMAIL", email);
    snprintf(attempt, sizeof attempt, "%lld", (long long)request->attempt);
    agent_environment_set(env, "ORCH_ROLE", request->role);
    agent_environment_set(env, "ORCH_STAGE", request->stage);
    agent_environment_set(env, "ORCH_TASK", request->key);
    agent_environment_set(env, "ORCH_RUN", request->run);
    agent_environment_set(env, "ORCH_WORKSPACE", request->workspace);
    agent_environment_set(env, "ORCH_ATTEMPT", attempt);
    return env;
}

const char *agent_setting(const json_t *map, const char *role)
{
    const char *value = json_string_value(json_object_get(map, role));
    if (!value || !*value)
        value = json_string_value(json_object_get(map, "default"));
    return value && *value ? value : NULL;
}

void agent_choose_model(const struct agent_request *request, const char *agent,
                        bool (*ok)(const char *model), struct agent_command *command)
{
    const json_t *map = request->config->agent_model;
    const char *roles[] = {request->role, "default"}, *usable[2];
    int64_t count = 0, at = request->model_level > 0 ? request->model_level : 0;
    for (int i = 0; i < 2; i++) {
        const char *model = json_string_value(json_object_get(map, roles[i]));
        if (!model || !*model || (count && strcmp(usable[0], model) == 0))
            continue;
        if (ok(model))
            usable[count++] = model;
        else
            log_warn("model", "agent.model.%s: \"%s\" is no model of %s and is passed over",
                     roles[i], model, agent);
    }
    command->model = at < count ? usable[at] : NULL;
    command->levels_left = at < count ? count - at : 0;
}

void agent_argument(json_t *argv, const char *option, const char *value)
{
    json_array_append_new(argv, json_string(option));
    if (value)
        json_array_append_new(argv, json_string(value));
}
