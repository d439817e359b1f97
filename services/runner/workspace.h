/* A task's workspace: a clone of its own at home/workspaces/<key>_<task id>, kept until the task
 * ends. The agent writes it, its git metadata included, so before any git of ours runs there the
 * metadata that makes git run something is put back (workspace_secure), and no git of ours enters a
 * repository below it. No remote is configured: an agent cannot push. */
#ifndef ORCH_WORKSPACE_H
#define ORCH_WORKSPACE_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "services/runner/repository.h"

struct workspace {
    const struct repository *repository;
    const struct identity *owner; /* the agents' user, as whom all git in it runs; NULL: we are */
    char *dir, *git_dir;
    int64_t task;
    const char *branch; /* borrowed */
};

/* Paths only. Copies dir. No '~' stands in them: the claude CLI takes "~7" for a short name of
 * Windows and denies every write below it. */
void workspace_open(struct workspace *workspace, const struct repository *repository,
                    const struct identity *owner, const char *home, const char *key, int64_t task,
                    const char *branch);
void workspace_close(struct workspace *workspace);
bool workspace_exists(const struct workspace *workspace);

enum workspace_fault {
    WORKSPACE_OK,
    WORKSPACE_WORLD,   /* try again: the remote or the disk */
    WORKSPACE_BROKEN,  /* the workspace cannot be used as it is */
    WORKSPACE_MISSING, /* the remote has no default branch */
};

/* ---- workspace_prepare.c: before the agent ---- */

/* Ready for an agent: there, on its branch, nothing half done, origin/<base> fresh, and what others
 * pushed to the branch taken in. What has to be put away for that is saved first, as
 * refs/orchestrator/preserved/<task>/<run>-before; a directory that no git can read is moved aside.
 * Under the repository's lock. *head (caller frees): where the branch stands. */
enum workspace_fault workspace_prepare(struct workspace *workspace, const char *run, char **head,
                                       char **fault);

/* ---- workspace.c ---- */

/* 1 it is one, 0 certainly not (any more), -1 with errno: it cannot be looked at. */
int workspace_is_repository(struct workspace *workspace);

/* Before any git in it, when no process of the task lives: configuration, hooks and attributes as
 * we made them, no stale lock. -1 and *fault where .git is no repository any more. */
int workspace_secure(struct workspace *workspace, char **fault);

struct workspace_state {
    char *head, *branch; /* head NULL: no commit yet; branch NULL: detached */
    char *changed;       /* what differs from head, untracked files too: paths, each with a NUL */
    size_t changed_size; /* 0: clean */
    bool half_done;      /* a rebase, merge, cherry-pick or revert is under way */
};
int workspace_look(struct workspace *workspace, struct workspace_state *state, char **fault);
void workspace_state_free(struct workspace_state *state);
bool workspace_on_branch(const struct workspace *workspace, const struct workspace_state *state);

/* Aborts whatever is half done. */
void workspace_abort(struct workspace *workspace);

/* An index that cannot be read (a power cut leaves one) is made anew from HEAD; files stay. */
int workspace_mend_index(struct workspace *workspace, char **fault);

/* ---- workspace_take.c: after the agent ---- */

/* HEAD back on the branch, with what the agent committed elsewhere on top of the
 * branch taken in. -1 and *fault where that is no plain continuation of the branch. state is what
 * workspace_look said; to be asked again afterwards. */
int workspace_return(struct workspace *workspace, const struct workspace_state *state,
                     char **fault);

/* Commits what state names, with the trailer `Orch-Run: <run>`; nothing where that is empty, or
 * where the branch's head carries it already. start: a commit known not to carry it, or NULL.
 * *head (caller frees) is the branch afterwards. */
int workspace_commit(struct workspace *workspace, const struct workspace_state *state,
                     const struct git_identity *identity, const char *subject, const char *run,
                     const char *start, char **head, char **fault);

/* Under the repository's lock: the branch to refs/heads/<branch> of the own repository. */
int workspace_collect(struct workspace *workspace, char **fault);

/* Under the repository's lock: the head and what is not committed go to
 * refs/orchestrator/preserved/<task>/<name>; the workspace stays as it is. *ref: caller frees. */
int workspace_save(struct workspace *workspace, const char *name, char **ref, char **fault);

/* A call in the workspace. */
struct git_call workspace_call(const struct workspace *workspace);

/* Fetches from the own repository; refspecs end with NULL. */
int workspace_fetch(struct workspace *workspace, const char *const *refspecs, char **fault);

/* Gone, with what a kill left of the making of one. 0, or -1 with errno. */
int workspace_remove(struct workspace *workspace);

/* ---- workspace_artefacts.c ---- */

/* Removes docs/work-items/<key>/<name> from the working tree, following no link. Absent is done. */
int workspace_remove_artefact(struct workspace *workspace, const char *key, const char *name);

/* Names of the files under docs/work-items/<key>/, sorted; caller decrefs. */
json_t *workspace_artefacts(struct workspace *workspace, const char *key);

#endif
