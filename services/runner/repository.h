/* The runner's own bare repository of a remote: home/repos/<name>.git. No agent can write it; every
 * git with rights of ours (fetch, push) runs here. Its branches: refs/remotes/origin/ as the
 * remote had them at the last fetch, refs/heads/<branch> as the task's workspace left it,
 * refs/orchestrator/preserved/<task>/<run> what was saved. Never --mirror: its prune would delete
 * the last two. */
#ifndef ORCH_REPOSITORY_H
#define ORCH_REPOSITORY_H

#include <stdbool.h>
#include "lib/forge/git.h"

struct repository {
    const struct git *git;
    char *dir;
    char *remote; /* what git fetches from and pushes to */
    char *base;   /* default branch */
};

/* Fills in the paths; makes the directory at first use. name: the project's repo. Copies. 0, or -1
 * and *fault (caller frees, here and below). */
int repository_open(struct repository *repository, const struct git *git, const char *home,
                    const char *name, const char *remote, const char *base, char **fault);
void repository_close(struct repository *repository);

/* Threads take turns: two gits that move the same refs refuse each other. */
void repository_lock(const struct repository *repository);
void repository_unlock(const struct repository *repository);

struct git_call repository_call(const struct repository *repository);

/* Under the lock. All branches of the remote to refs/remotes/origin/. 0, or -1 and *fault. */
int repository_fetch(const struct repository *repository, char **fault);

/* The commit of a ref; NULL where there is none. Caller frees. */
char *repository_ref(const struct repository *repository, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

enum push_outcome {
    PUSH_DONE,    /* the remote's branch is at head, now or before */
    PUSH_REFUSED, /* the remote's branch has commits that head has not */
    PUSH_FAILED,  /* the world: try again */
};

/* Under the lock. Never forces: what the remote has and head lacks is never lost. */
enum push_outcome repository_push(const struct repository *repository, const char *head,
                                  const char *branch, char **fault);

/* Under the lock. Deletes a branch at the remote if it still stands at this commit; gone is done;
 * moved is PUSH_REFUSED. Aborts on the default branch. */
enum push_outcome repository_delete_branch(const struct repository *repository, const char *branch,
                                           const char *expected, char **fault);

/* The remote's commit of a branch. 1 and *commit (caller frees), 0 no such branch, -1 and *fault.
 */
int repository_remote_head(const struct repository *repository, const char *branch, char **commit,
                           char **fault);

/* At start, before any git: what a killed git left in any of them is removed. */
void repositories_clean(const char *home);

#endif
