/* What an agent left in its workspace: put on the branch, committed, taken into our own repository,
 * saved. */
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/log.h"
#include "services/runner/workspace_internal.h"

int workspace_return(struct workspace *workspace, const struct workspace_state *state, char **fault)
{
    struct git_call call = workspace_call(workspace);
    char *ref = xformat("refs/heads/%s", workspace->branch), *tip = git_resolve(&call, ref);
    const char *where = state->branch ? state->branch : "detached";
    int result = -1;
    if (!state->head || !tip) {
        *fault = xformat("HEAD is %s and the branch %s is gone", where, workspace->branch);
    } else if (git_is_ancestor(&call, tip, state->head) == 1) {
        log_info("workspace", "%s: HEAD is %s, ahead of %s: taken in", workspace->dir, where,
                 workspace->branch);
        result = git_run(&call, NULL, fault, "checkout", "-q", "--no-track", "-B",
                         workspace->branch, NULL);
    } else if (state->changed_size == 0 && git_is_ancestor(&call, state->head, tip) == 1) {
        result = git_run(&call, NULL, fault, "checkout", "-q", workspace->branch, "--", NULL);
    } else {
        *fault = xformat("the agent left HEAD %s at %s, which does not continue %s", where,
                         state->head, workspace->branch);
    }
    free(ref);
    free(tip);
    return result == 0 ? 0 : -1;
}

static bool head_is_of_run(struct workspace *workspace, const char *run)
{
    struct git_call call = workspace_call(workspace);
    char *out = NULL;
    git_run(&call, &out, NULL, "log", "-1", "--format=%(trailers:key=Orch-Run,valueonly)", "HEAD",
            "--", NULL);
    size_t size = strlen(run);
    bool found = out && strncmp(out, run, size) == 0 && (out[size] == '\n' || out[size] == '\0');
    free(out);
    return found;
}

/* By name, not by `git add --all`, which runs a status inside of every repository below. */
static int add_to_index(struct git_call call, const struct workspace_state *state, char **fault)
{
    call.input = state->changed;
    call.input_size = state->changed_size;
    return git_run(&call, NULL, fault, "update-index", "--add", "--remove", "--replace", "-z",
                   "--stdin", NULL) == 0
               ? 0
               : -1;
}

int workspace_commit(struct workspace *workspace, const struct workspace_state *state,
                     const struct git_identity *identity, const char *subject, const char *run,
                     const char *start, char **head, char **fault)
{
    struct git_call call = workspace_call(workspace);
    bool ours = start && strcmp(start, state->head) == 0;
    int result = -1;
    if (state->changed_size == 0 || (!ours && head_is_of_run(workspace, run))) {
        *head = xstrdup(state->head);
        return 0;
    }
    char *message = xformat("%s\n\nOrch-Run: %s\n", subject, run);
    *head = NULL;
    if (add_to_index(call, state, fault) == 0) {
        call.input = message;
        call.identity = identity;
        if (git_run(&call, NULL, fault, "commit", "-q", "--no-verify", "--allow-empty",
                    "--cleanup=verbatim", "-F", "-", NULL) == 0) {
            char *ref = xformat("refs/heads/%s", workspace->branch);
            *head = git_resolve(&call, ref);
            result = *head ? 0 : -1;
            free(ref);
        }
    }
    free(message);
    return result;
}

static int fetch_into_own(struct workspace *workspace, const char *spec, char **fault)
{
    const struct git_call call = repository_call(workspace->repository);
    const char *const refspecs[] = {spec, NULL};
    return git_fetch_between(&call, workspace->git_dir, workspace->owner, refspecs, fault);
}

int workspace_fetch(struct workspace *workspace, const char *const *refspecs, char **fault)
{
    const struct git_call call = workspace_call(workspace);
    return git_fetch_between(&call, workspace->repository->dir, NULL, refspecs, fault);
}

int workspace_collect(struct workspace *workspace, char **fault)
{
    char *spec = xformat("+refs/heads/%s:refs/heads/%s", workspace->branch, workspace->branch);
    int result = fetch_into_own(workspace, spec, fault);
    free(spec);
    return result;
}

/* ---- saving ---- */

/* A commit of everything in the working tree on top of HEAD, through an index of its own. NULL and
 * *fault. */
static char *snapshot(struct workspace *workspace, const struct workspace_state *state,
                      const char *name, char **fault)
{
    static const struct git_identity identity = {"orchestrator",
                                                 "orchestrator@orchestrator.invalid"};
    struct git_call call = workspace_call(workspace);
    static const char index_name[] = "orchestrator-index";
    char *index = workspace_inside(workspace, index_name), *tree = NULL, *commit = NULL;
    char *message = xformat("Saved before it is put away\n\nOrch-Run: %s\n", name);
    call.index = index;
    call.identity = &identity;
    workspace_remove_inside(workspace, index_name);
    if (git_run(&call, NULL, fault, "read-tree", "HEAD", NULL) == 0 &&
        add_to_index(call, state, fault) == 0 &&
        git_run(&call, &tree, fault, "write-tree", NULL) == 0) {
        call.input = message;
        git_run(&call, &commit, fault, "commit-tree", "-p", "HEAD", "-F", "-", tree, NULL);
    }
    workspace_remove_inside(workspace, index_name);
    free(index);
    free(tree);
    free(message);
    if (commit && !git_is_object_name(commit)) {
        free(commit);
        commit = NULL;
    }
    return commit;
}

int workspace_save(struct workspace *workspace, const char *name, char **ref, char **fault)
{
    struct git_call call = workspace_call(workspace);
    struct workspace_state state = {0};
    char *commit = NULL, *spec = NULL;
    int result = -1;
    *ref = xformat("refs/orchestrator/preserved/%lld/%s", (long long)workspace->task, name);
    if (workspace_secure(workspace, fault) < 0 || workspace_look(workspace, &state, fault) < 0)
        goto done;
    if (!state.head) {
        *fault = xstrdup("the workspace has no commit");
        goto done;
    }
    commit = state.changed_size ? snapshot(workspace, &state, name, fault) : xstrdup(state.head);
    /* Named in the workspace for the moment, since a fetch asks for names. */
    if (!commit ||
        git_run(&call, NULL, fault, "update-ref", "refs/orchestrator/save", commit, NULL) != 0)
        goto done;
    spec = xformat("+refs/orchestrator/save:%s", *ref);
    result = fetch_into_own(workspace, spec, fault);

done:
    workspace_state_free(&state);
    free(commit);
    free(spec);
    if (result < 0) {
        free(*ref);
        *ref = NULL;
    }
    return result;
}
