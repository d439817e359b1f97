/* The agents' own user (agent.user): who it is, the way to its folders, and what is handed over.
 *
 *   home             anybody may pass through, nobody else may look
 *   home/agents/     as home; home/agents/<project>: the HOME of the project's agents, theirs alone
 *   home/tmp/        as home; home/tmp/<run>: the TMPDIR of a run's agent, while it lives
 *   home/workspaces/ as home; each workspace is theirs alone
 *   home/git/config  git's configuration for them too
 *
 * Without agent.user agents are processes of our own user, and all of this is ours. */
#ifndef ORCH_AGENT_USER_H
#define ORCH_AGENT_USER_H

#include "lib/config.h"
#include "lib/identity.h"

/* Before the process has other threads. 0 and *user, whose name is "" where agents have no user of
 * their own; -1 and *fault (caller frees): agent.user cannot be kept, so no agent may start. */
int agent_user_open(const struct config *config, struct identity *user, char **fault);

/* The TMPDIR of a run's agent, made empty where it is missing; user NULL: ours. NULL and *fault;
 * caller frees. */
char *agent_user_tmp(const struct config *config, const struct identity *user, const char *run,
                     char **fault);
/* Removes it. What an earlier runner left of runs that have their result is removed by
 * agent_user_clean_tmp, at the start. */
void agent_user_drop_tmp(const char *home, const char *run);
void agent_user_clean_tmp(const char *home);

/* The HOME of a project's agents, made where it is missing; user NULL: it is ours. NULL and *fault;
 * caller frees. */
char *agent_user_home(const struct config *config, const struct identity *user, const char *project,
                      char **fault);

/* Gives a tree to that user, following no link. A file with a second name
 * stays whose it is: the other name may stand anywhere. What is given already costs a look. 0, or
 * -1 with errno. */
int agent_user_give(const char *path, const struct identity *user);

/* rm -r of what may be theirs; it is taken back first, as we may remove nothing from another's
 * folder. 0, or -1 with errno; a missing path is success. */
int agent_user_remove(const char *path);

#endif
