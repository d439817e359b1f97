/* What the drivers share; nobody else includes it. */
#ifndef ORCH_FORGE_INTERNAL_H
#define ORCH_FORGE_INTERNAL_H

#include "lib/forge/forge.h"

struct forge {
    const struct git *git;
    char *path;   /* local: the bare repository */
    char *remote; /* for git */
};

/* pull-requests/<number>.json by rename; durable: fsynced. 0, or -1 with errno. */
int local_pull_write(struct forge *forge, const struct pull_request *pull, bool durable);

/* A git command in the forge's repository. */
struct git_call local_call(const struct forge *forge);

#endif
