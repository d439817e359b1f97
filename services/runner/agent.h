/* Who works: one narrow interface per kind of agent. A driver builds the command line and
 * environment; what the agent says is read by agent_output.c (claude's stream-json, which the
 * others end with as well) and judged by classify.c. */
#ifndef ORCH_AGENT_H
#define ORCH_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "lib/config.h"

struct agent_request {
    const struct config *config;
    const struct project *project;
    const char *role, *stage, *key, *run; /* key: the task's */
    const char *workspace;                /* path */
    const char *user, *home;              /* the agent's own; NULL: ours */
    int64_t attempt;
    const char *session; /* id of a new session, or of the one to resume */
    bool resume;
};

struct agent_command {
    json_t *argv, *env; /* arrays of strings; agent_command_free */
    const char *model;  /* borrowed from the configuration; NULL: the agent's own */
};

struct agent_driver {
    const char *name;
    bool needs_result; /* success needs a result record; else exit 0 is enough */
    /* 0, or -1 and *fault (caller frees): the configuration cannot be carried out. */
    int (*build)(const struct agent_request *request, struct agent_command *command, char **fault);
};

/* NULL where a project names an agent that has no driver. */
const struct agent_driver *agent_driver(const char *name);
void agent_command_free(struct agent_command *command);

extern const struct agent_driver agent_claude, agent_command;

/* ---- what drivers share ---- */

/* The allow-listed environment: PATH HOME LANG LC_ALL TZ TERM USER SHELL CLAUDE_CONFIG_DIR,
 * agent.env_allow, the role's git identity and ORCH_ROLE ORCH_STAGE ORCH_TASK ORCH_RUN
 * ORCH_ATTEMPT. A new array; caller decrefs. */
json_t *agent_environment(const struct agent_request *request);
void agent_environment_set(json_t *env, const char *name, const char *value);

/* agent.<map>.<role> over .default; NULL where neither says anything. Pure. */
const char *agent_setting(const json_t *map, const char *role);

/* Name and address of a role's bot in commits. The result is static. */
const char *agent_email(const char *role, char out[96]);

/* Whether the claude CLI may be given this model: an alias, or claude-..., with or without [1m].
 * Pure. */
bool agent_claude_model_ok(const char *model);

#endif
