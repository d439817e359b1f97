/* Processes that a lost run left: found by the agent's session and group, by the run's id and its
 * workspace in their environment (another installation may have a run of the same id), and by a
 * working directory inside the workspace. */
#ifndef ORCH_LOCAL_LEFTOVERS_H
#define ORCH_LOCAL_LEFTOVERS_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/identity.h"

struct leftover_agent {
    bool known; /* of this boot */
    int pid;
    uint64_t start_ticks;
};

/* Ends them (SIGKILL) and waits until two looks find none. run and workspace may be NULL: not
 * looked for; nor is the environment without both. as: whose processes they may be beside ours. */
void leftovers_end(const struct leftover_agent *agent, const char *run, const char *workspace,
                   const struct identity *as);

#endif
