/* Making a workspace, and putting one right that an agent, a crash or a person left. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"
#include "services/runner/agent_user.h"
#include "services/runner/workspace_internal.h"

enum { ASIDE_MAX = 1000, DISK_MIN_BYTES = 4 * 1024 * 1024 };

/* The refs that a workspace takes from our own repository. */
struct refs {
    char *base;   /* refs/remotes/origin/<base> */
    char *theirs; /* refs/remotes/origin/<branch>; NULL: the remote has none */
    char *ours;   /* refs/heads/<branch>: as collected last; NULL: never */
};

static void read_refs(const struct workspace *workspace, struct refs *refs)
{
    const struct repository *own = workspace->repository;
    refs->base = repository_ref(own, "refs/remotes/origin/%s", own->base);
    refs->theirs = repository_ref(own, "refs/remotes/origin/%s", workspace->branch);
    refs->ours = repository_ref(own, "refs/heads/%s", workspace->branch);
}

static void free_refs(struct refs *refs)
{
    free(refs->base);
    free(refs->theirs);
    free(refs->ours);
}

/* Whether origin/<branch> of the workspace is this commit. */
static bool shows(const struct workspace *workspace, const char *branch, const char *commit)
{
    struct git_call call = workspace_call(workspace);
    char *ref = xformat("refs/remotes/origin/%s", branch), *there = git_resolve(&call, ref);
    bool same = there && strcmp(there, commit) == 0;
    free(ref);
    free(there);
    return same;
}

/* The base and the branch (from: a ref of the own repository; NULL: not there) as origin/ of the
 * workspace. */
static int take_refs(struct workspace *workspace, const char *from, char **fault)
{
    const struct repository *own = workspace->repository;
    char *first = xformat("+refs/remotes/origin/%s:refs/remotes/origin/%s", own->base, own->base);
    char *second = from ? xformat("+%s:refs/remotes/origin/%s", from, workspace->branch) : NULL;
    const char *const refspecs[] = {first, second, NULL};
    int result = workspace_fetch(workspace, refspecs, fault);
    free(first);
    free(second);
    return result;
}

/* ---- a new one ---- */

int workspace_remove(struct workspace *workspace)
{
    char *beside = xformat("%s.new", workspace->dir);
    int result = agent_user_remove(workspace->dir) == 0 && agent_user_remove(beside) == 0 ? 0 : -1;
    int saved = errno;
    free(beside);
    errno = saved;
    return result;
}

/* In a directory beside, renamed when whole: a kill on the way leaves nothing that looks finished.
 */
static int make(struct workspace *workspace, const char *start, const char *from, char **fault)
{
    char *beside = xformat("%s.new", workspace->dir), *parent = xstrdup(workspace->dir);
    struct workspace fresh = *workspace;
    fresh.dir = beside;
    fresh.git_dir = xformat("%s/.git", beside);
    *strrchr(parent, '/') = '\0';
    int result = -1;
    struct git_call init = {.git = workspace->repository->git, .as = workspace->owner};
    struct git_call call = workspace_call(&fresh);
    if (file_make_dirs(parent, 0700) < 0 || agent_user_remove(beside) < 0 ||
        mkdir(beside, 0700) < 0 ||
        (workspace->owner && agent_user_give(beside, workspace->owner) < 0)) {
        *fault = xformat("%s: %s", beside, strerror(errno));
        goto done;
    }
    if (git_run(&init, NULL, fault, "init", "-q", "--template=", "-b", workspace->branch, beside,
                NULL) != 0 ||
        workspace_put_config(&fresh) < 0 || take_refs(&fresh, from, fault) < 0 ||
        git_run(&call, NULL, fault, "checkout", "-q", "--no-track", "-B", workspace->branch, start,
                NULL) != 0)
        goto done;
    if (rename(beside, workspace->dir) < 0)
        *fault = xformat("%s: %s", workspace->dir, strerror(errno));
    else
        result = 0;

done:
    free(beside);
    free(fresh.git_dir);
    free(parent);
    return result;
}

/* Where the branch starts: what we know of it, else the remote's, else the base. */
static enum workspace_fault make_new(struct workspace *workspace, const struct refs *refs,
                                     char **head, char **fault)
{
    struct git_call own = repository_call(workspace->repository);
    bool use_ours =
        refs->ours && (!refs->theirs || git_is_ancestor(&own, refs->theirs, refs->ours) == 1);
    const char *start = use_ours ? refs->ours : refs->theirs ? refs->theirs : refs->base;
    char *from = use_ours       ? xformat("refs/heads/%s", workspace->branch)
                 : refs->theirs ? xformat("refs/remotes/origin/%s", workspace->branch)
                                : NULL;
    int result = make(workspace, start, from, fault);
    free(from);
    if (result == 0)
        *head = xstrdup(start);
    return result == 0 ? WORKSPACE_OK : WORKSPACE_WORLD;
}

/* ---- one that is there ---- */

/* Nothing is put away before it is saved. */
static int save_before(struct workspace *workspace, const char *run, char **fault)
{
    char *name = xformat("%s-before", run), *ref = NULL;
    int result = workspace_save(workspace, name, &ref, fault);
    if (result == 0)
        log_info("workspace", "%s: saved as %s before it is put right", workspace->dir, ref);
    free(name);
    free(ref);
    return result;
}

static int look_again(struct workspace *workspace, struct workspace_state *state, char **fault)
{
    workspace_state_free(state);
    return workspace_look(workspace, state, fault);
}

/* HEAD elsewhere, or something half done. */
static int put_on_branch(struct workspace *workspace, const struct refs *refs,
                         struct workspace_state *state, char **fault)
{
    struct git_call call = workspace_call(workspace);
    char *ref = xformat("refs/heads/%s", workspace->branch), *tip = git_resolve(&call, ref);
    const char *start = tip          ? tip
                        : refs->ours ? refs->ours
                                     : (refs->theirs ? refs->theirs : refs->base);
    log_warn("workspace", "%s: put back on %s", workspace->dir, workspace->branch);
    workspace_abort(workspace);
    int code = git_run(&call, NULL, fault, "checkout", "-q", "-f", "--no-track", "-B",
                       workspace->branch, start, NULL);
    free(ref);
    free(tip);
    return code == 0 ? look_again(workspace, state, fault) : -1;
}

/* Others pushed beside our own commits, or these rewrite what was pushed: ours on top of theirs
 * where that goes without a conflict, else theirs. */
static int take_theirs(struct workspace *workspace, const char *theirs, char **fault)
{
    static const struct git_identity bot = {"orchestrator", "orchestrator@orchestrator.invalid"};
    struct git_call call = workspace_call(workspace);
    call.identity = &bot;
    if (git_run(&call, NULL, NULL, "rebase", "--quiet", theirs, NULL) == 0)
        return 0;
    workspace_abort(workspace);
    log_warn("workspace", "%s: reset to the remote's %s", workspace->dir, theirs);
    return git_run(&call, NULL, fault, "reset", "-q", "--hard", theirs, NULL) == 0 ? 0 : -1;
}

/* What others pushed to the branch. With changes that are not committed it waits until they are:
 * the push meets it then. */
static int follow(struct workspace *workspace, const char *theirs, const char *run,
                  struct workspace_state *state, char **fault)
{
    struct git_call call = workspace_call(workspace);
    if (!theirs || strcmp(theirs, state->head) == 0 || state->changed_size ||
        git_is_ancestor(&call, theirs, state->head) == 1)
        return 0;
    if (git_is_ancestor(&call, state->head, theirs) == 1) {
        if (git_run(&call, NULL, fault, "merge", "-q", "--ff-only", theirs, NULL) != 0)
            return -1;
    } else if (save_before(workspace, run, fault) < 0 ||
               take_theirs(workspace, theirs, fault) < 0) {
        return -1;
    }
    return look_again(workspace, state, fault);
}

static int look(struct workspace *workspace, struct workspace_state *state, char **fault)
{
    if (workspace_look(workspace, state, fault) == 0)
        return 0;
    free(*fault);
    *fault = NULL;
    return workspace_mend_index(workspace, fault) < 0 ? -1 : look_again(workspace, state, fault);
}

/* What it lacks of ours: the base as it is now, and commits of the branch that it does not stand
 * on.
 */
static int refresh(struct workspace *workspace, const struct refs *refs,
                   const struct workspace_state *state, char **fault)
{
    bool wants_theirs = refs->theirs && (!state->head || strcmp(state->head, refs->theirs) != 0) &&
                        !shows(workspace, workspace->branch, refs->theirs);
    if (!wants_theirs && shows(workspace, workspace->repository->base, refs->base))
        return 0;
    char *from = refs->theirs ? xformat("refs/remotes/origin/%s", workspace->branch) : NULL;
    int taken = take_refs(workspace, from, fault);
    free(from);
    return taken;
}

static int put_right(struct workspace *workspace, const struct refs *refs, const char *run,
                     struct workspace_state *state, char **fault)
{
    if (workspace_secure(workspace, fault) < 0 || look(workspace, state, fault) < 0 ||
        refresh(workspace, refs, state, fault) < 0)
        return -1;
    if (state->half_done || !workspace_on_branch(workspace, state)) {
        if (state->head && save_before(workspace, run, fault) < 0)
            return -1;
        if (put_on_branch(workspace, refs, state, fault) < 0)
            return -1;
    }
    if (!workspace_on_branch(workspace, state)) {
        *fault = xformat("HEAD of %s is %s, not %s", workspace->dir,
                         state->branch ? state->branch : "detached", workspace->branch);
        return -1;
    }
    return follow(workspace, refs->theirs, run, state, fault);
}

static bool disk_is_full(const char *path)
{
    struct statvfs disk;
    return statvfs(path, &disk) == 0 &&
           (disk.f_bavail * disk.f_frsize < DISK_MIN_BYTES || (disk.f_files && disk.f_favail == 0));
}

/* What no git can read is kept beside for people, and a new one made. */
static int move_aside(const struct workspace *workspace, const char *why)
{
    int result = -1;
    for (int i = 1; i <= ASIDE_MAX && result < 0; i++) {
        char *beside = xformat("%s.broken.%d", workspace->dir, i);
        struct stat info;
        if (lstat(beside, &info) < 0) {
            result = rename(workspace->dir, beside);
            log_warn("workspace", "%s: moved aside to %s: %s", workspace->dir, beside, why);
            i = result < 0 ? ASIDE_MAX : i;
        }
        free(beside);
    }
    return result;
}

static enum workspace_fault prepare(struct workspace *workspace, const struct refs *refs,
                                    const char *run, char **head, char **fault)
{
    if (workspace_exists(workspace)) {
        struct workspace_state state = {0};
        bool right = put_right(workspace, refs, run, &state, fault) == 0;
        *head = right ? xstrdup(state.head) : NULL;
        workspace_state_free(&state);
        if (right)
            return WORKSPACE_OK;
        if (disk_is_full(workspace->dir))
            return WORKSPACE_WORLD;
        if (move_aside(workspace, *fault ? *fault : "?") < 0)
            return WORKSPACE_BROKEN;
        free(*fault);
        *fault = NULL;
    }
    return make_new(workspace, refs, head, fault);
}

enum workspace_fault workspace_prepare(struct workspace *workspace, const char *run, char **head,
                                       char **fault)
{
    const struct repository *own = workspace->repository;
    struct refs refs = {0};
    enum workspace_fault result = WORKSPACE_MISSING;
    *head = NULL;
    if (strcmp(workspace->branch, own->base) == 0)
        log_abort("workspace", "the task's branch is the default branch %s", workspace->branch);
    if (repository_fetch(own, fault) < 0)
        return WORKSPACE_WORLD;
    read_refs(workspace, &refs);
    if (refs.base)
        result = prepare(workspace, &refs, run, head, fault);
    else
        *fault = xformat("%s has no branch %s", own->remote, own->base);
    free_refs(&refs);
    return result;
}
