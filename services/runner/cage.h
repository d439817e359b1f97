/* What an agent may see and change, as lists of paths: chapter 03, Runner. lib/sandbox.c carries it
 * out in the agent's own process. */
#ifndef ORCH_CAGE_H
#define ORCH_CAGE_H

#include <jansson.h>
#include "lib/config.h"

struct cage_request {
    const struct config *config;
    const char *workspace, *home, *tmp; /* absolute */
    const char *program;                /* argv[0]; found through PATH where it has no slash */
    const char *config_dir;             /* CLAUDE_CONFIG_DIR, where it is set; NULL */
};

/* {"read": [...], "write": [...]}; NULL: no cage (agent.sandbox: none, or a kernel without one
 * where it is auto). Caller decrefs. Directories that hold something of ours are named by their
 * other entries. -1 and *fault (caller frees) where agent.sandbox asks for what is not there. */
int cage_build(const struct cage_request *request, json_t **cage, char **fault);

/* One line for people: what is in force. user: "" none. Caller frees. */
char *cage_describe(const struct config *config, const char *user);

#endif
