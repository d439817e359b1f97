/* Who works: one narrow interface per kind of agent. A driver builds the command line and
 * environment and reads what the agent says, a record at a time (agent_output.h); classify.c judges
 * it. A new agent is one more file, and one more name in agent.c's list. */
#ifndef ORCH_AGENT_H
#define ORCH_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "lib/config.h"
#include "services/runner/agent_output.h"

struct agent_request {
    const struct config *config;
    const struct project *project;
    const char *role, *stage, *key, *run; /* key: the task's */
    const char *workspace;                /* path */
    const char *user;                     /* the agent's own; NULL: ours */
    const char *home, *tmp;               /* its HOME and TMPDIR; NULL: ours (tests) */
    int64_t attempt;
    int64_t model_level; /* so many of the usable models are passed over */
    const char
        *session; /* id of a new session, or of the one to resume; NULL: the agent names it */
    bool resume;
};

struct agent_command {
    json_t *argv, *env;  /* arrays of strings; agent_command_free */
    const char *model;   /* borrowed from the configuration; NULL: the agent's own */
    int64_t levels_left; /* models, the agent's own included, that could be tried after this one */
};

struct agent_driver {
    const char *name;
    bool needs_result;        /* success needs a result record; else exit 0 is enough */
    bool names_session;       /* gives a new session its id by itself, and says it */
    bool usage_is_cumulative; /* over a session, as its cost is */
    output_take *take;
    /* 0, or -1 and *fault (caller frees): the configuration cannot be carried out. */
    int (*build)(const struct agent_request *request, struct agent_command *command, char **fault);
};

/* NULL where a project names an agent that has no driver. */
const struct agent_driver *agent_driver(const char *name);
void agent_command_free(struct agent_command *command);

extern const struct agent_driver agent_claude, agent_codex, agent_command;

/* ---- what drivers share ---- */

/* The allow-listed environment: PATH HOME LANG LC_ALL TZ TERM USER SHELL CLAUDE_CONFIG_DIR,
 * agent.env_allow, the role's git identity and ORCH_ROLE ORCH_STAGE ORCH_TASK ORCH_RUN
 * ORCH_ATTEMPT. A new array; caller decrefs. */
json_t *agent_environment(const struct agent_request *request);
void agent_environment_set(json_t *env, const char *name, const char *value);

/* agent.<map>.<role> over .default; NULL where neither says anything. Pure. */
const char *agent_setting(const json_t *map, const char *role);

/* Sets model and levels_left: of the distinct models that are configured for the role (its own,
 * then the default) and that the driver can use (ok), the one at request->model_level; behind the
 * last comes the agent's own. One that does not fit is said and passed over. */
void agent_choose_model(const struct agent_request *request, const char *agent,
                        bool (*ok)(const char *model), struct agent_command *command);

/* An option, and its value where it has one, to the end of the command line. */
void agent_argument(json_t *argv, const char *option, const char *value);

/* Name and address of a role's bot in commits. The result is static. */
const char *agent_email(const char *role, char out[96]);

/* Whether the claude CLI may be given this model: an alias, or claude-..., with or without [1m].
 * Pure. */
bool agent_claude_model_ok(const char *model);
/* The same of codex: a plain name, and none of claude's. Pure. */
bool agent_codex_model_ok(const char *model);

#endif
