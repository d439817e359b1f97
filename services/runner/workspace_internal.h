/* What the workspace's files share; nobody else includes it. */
#ifndef ORCH_WORKSPACE_INTERNAL_H
#define ORCH_WORKSPACE_INTERNAL_H

#include "services/runner/workspace.h"

/* The repository's configuration as we make it, where it differs. 0, or -1 with errno. */
int workspace_put_config(const struct workspace *workspace);

/* A path below .git; caller frees. */
char *workspace_inside(const struct workspace *workspace, const char *name);
/* rm -r of it, as the workspace's owner. 0, or -1 with errno. */
int workspace_remove_inside(const struct workspace *workspace, const char *name);

#endif
