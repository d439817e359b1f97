/* Running git, found through PATH, in an environment of its own.
 *
 * Hooks and fsmonitor of the repository at hand are off, nothing is asked for, the system's and the
 * user's configuration are not read; safe.directory comes from a file of ours, since only
 * GIT_CONFIG_GLOBAL reaches the far side of a local fetch. Each process carries GIT_ORCH_HOME, so
 * that a successor finds what a killed runner left behind. */
#ifndef ORCH_GIT_H
#define ORCH_GIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/process.h"

struct git; /* environment; immutable after git_new, usable from any thread */

/* home/git/config is written anew where it differs. NULL and errno. Never freed by callers that
 * live as long as the process. */
struct git *git_new(const char *home);
void git_free(struct git *git);

/* Who a commit is by; NULL: no commit is made. */
struct git_identity {
    const char *name, *email;
};

/* Where and how one command runs. */
struct git_call {
    const struct git *git;
    const char *git_dir;   /* NULL: none (ls-remote, init) */
    const char *work_tree; /* NULL: a bare repository */
    const char *index;     /* an index file of its own; NULL: the repository's */
    const char *input;     /* standard input, NULL: none */
    size_t input_size;     /* its bytes; 0: it ends with its NUL */
    const struct git_identity *identity;
    const struct identity
        *as;           /* as that user, to whom the repository belongs; NULL: as ourselves */
    int socket;        /* becomes PROCESS_SOCKET in it; 0: none */
    int timeout_ms;    /* 0: ten minutes */
    size_t max_output; /* 0: as process_run */
};

/* git ARGUMENTS...; the list ends with NULL. Exit code, or -1 where git could not be run (logged).
 * *out (caller frees; may be NULL) is its standard output without the final newline. *fault (caller
 * frees; may be NULL) is the last lines of its standard error where the exit code is not 0. */
int git_run(const struct git_call *call, char **out, char **fault, ...) __attribute__((sentinel));
int git_run_list(const struct git_call *call, char **out, size_t *out_size, char **fault,
                 const char *const *arguments);

/* Fetches into call's repository from the one at dir, which belongs to another user (theirs; NULL:
 * ours): each side's git runs as its own, and nothing but git's protocol goes between them.
 * refspecs end with NULL. 0, or -1 and *fault. */
int git_fetch_between(const struct git_call *call, const char *dir, const struct identity *theirs,
                      const char *const *refspecs, char **fault);

/* A full object name, SHA-1 or SHA-256, in lower case. */
bool git_is_object_name(const char *text);

/* The commit of a revision in a repository; a ref by its whole name costs no process. Caller frees;
 * NULL where there is none. */
char *git_resolve(const struct git_call *call, const char *revision);
/* The same for whoever acts on an absence: 1 and *commit (caller frees), 0 it is certainly not
 * there, -1 cannot tell. */
int git_find(const struct git_call *call, const char *revision, char **commit);

/* Whether ancestor is one of (or equal to) descendant: 1 yes, 0 no, -1 cannot tell. */
int git_is_ancestor(const struct git_call *call, const char *ancestor, const char *descendant);

/* Removes *.lock files that a killed git left in a repository: its own, of refs and of the packed
 * refs; follows no link. older_than_s: in seconds; 0 only where no git can be running in it. */
void git_remove_stale_locks(const char *git_dir, int64_t older_than_s);

/* Waits for every git that a killed predecessor with this home left running; ends what does not end
 * by itself. At most nine seconds. as: who else may have run one; NULL: nobody. */
void git_end_leftovers(const char *home, const struct identity *as);

#endif
