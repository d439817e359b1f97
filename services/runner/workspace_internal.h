/* What the workspace's files share; nobody else includes it. */
#ifndef ORCH_WORKSPACE_INTERNAL_H
#define ORCH_WORKSPACE_INTERNAL_H

#include "services/runner/workspace.h"

/* The repository's configuration as we make it, where it differs. 0, or -1 with errno. */
int workspace_put_config(const struct workspace *workspace);

#endif
