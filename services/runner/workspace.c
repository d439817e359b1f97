#include "services/runner/workspace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"
#include "services/runner/workspace_internal.h"

enum { CONFIG_MAX_BYTES = 1024 * 1024, STATUS_MAX_BYTES = 256 * 1024 * 1024 };

/* Nothing in it names a program: with the system's, the user's and the worktree's configuration out
 * of the way, no filter, fsmonitor, diff driver or alias exists. */
static const char config_text[] = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n"
                                  "\tbare = false\n\tlogallrefupdates = true\n";

void workspace_open(struct workspace *workspace, const struct repository *repository,
                    const char *home, const char *key, int64_t task, const char *branch)
{
    *workspace =
        (struct workspace){.repository = repository,
                           .dir = xformat("%s/workspaces/%s_%lld", home, key, (long long)task),
                           .task = task,
                           .branch = branch};
    workspace->git_dir = xformat("%s/.git", workspace->dir);
}

void workspace_close(struct workspace *workspace)
{
    free(workspace->dir);
    free(workspace->git_dir);
    *workspace = (struct workspace){0};
}

bool workspace_exists(const struct workspace *workspace)
{
    return file_exists(workspace->dir);
}

struct git_call workspace_call(const struct workspace *workspace)
{
    return (struct git_call){.git = workspace->repository->git,
                             .git_dir = workspace->git_dir,
                             .work_tree = workspace->dir};
}

static char *inside(const struct workspace *workspace, const char *name)
{
    return xformat("%s/%s", workspace->git_dir, name);
}

static bool has(const struct workspace *workspace, const char *name)
{
    char *path = inside(workspace, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

/* ---- security ---- */

int workspace_put_config(const struct workspace *workspace)
{
    char *path = inside(workspace, "config");
    struct stat info;
    int result = 0;
    size_t size = 0;
    char *there = lstat(path, &info) == 0 && S_ISREG(info.st_mode)
                      ? file_read(path, CONFIG_MAX_BYTES, &size)
                      : NULL;
    if (!there || strcmp(there, config_text) != 0)
        result = file_write_atomic(path, config_text, sizeof config_text - 1, 0644);
    free(there);
    free(path);
    return result;
}

static bool is_kind(const struct workspace *workspace, const char *name, mode_t kind)
{
    char *path = inside(workspace, name);
    struct stat info;
    bool is = lstat(path, &info) == 0 && (info.st_mode & S_IFMT) == kind;
    free(path);
    return is;
}

/* Links in their places would let our git write where the agent cannot. */
static bool is_repository(const struct workspace *workspace)
{
    return is_kind(workspace, "HEAD", S_IFREG) && is_kind(workspace, "objects", S_IFDIR) &&
           is_kind(workspace, "refs", S_IFDIR) && is_kind(workspace, "refs/heads", S_IFDIR);
}

int workspace_secure(struct workspace *workspace, char **fault)
{
    static const char *const removed[] = {"config.worktree",
                                          "commondir",
                                          "info/attributes",
                                          "info/grafts",
                                          "objects/info/alternates",
                                          "hooks",
                                          "shallow",
                                          "shallow.lock",
                                          "refs/replace",
                                          "info/sparse-checkout"};
    struct stat info;
    if (lstat(workspace->git_dir, &info) < 0 || !S_ISDIR(info.st_mode) ||
        !is_repository(workspace)) {
        *fault = xformat("%s is no git repository", workspace->dir);
        return -1;
    }
    for (size_t i = 0; i < sizeof removed / sizeof *removed; i++) {
        char *path = inside(workspace, removed[i]);
        file_remove_tree(path);
        free(path);
    }
    git_remove_stale_locks(workspace->git_dir, 0);
    if (workspace_put_config(workspace) < 0) {
        *fault = xformat("%s/config: %s", workspace->git_dir, strerror(errno));
        return -1;
    }
    return 0;
}

/* ---- looking ---- */

void workspace_state_free(struct workspace_state *state)
{
    free(state->head);
    free(state->branch);
    free(state->changed);
    *state = (struct workspace_state){0};
}

bool workspace_on_branch(const struct workspace *workspace, const struct workspace_state *state)
{
    return state->head && state->branch && strcmp(state->branch, workspace->branch) == 0;
}

/* The path of an entry of `status --porcelain=v2 -z`; NULL where it is none. */
static const char *path_of(const char *entry)
{
    int fields = entry[0] == '1' ? 8 : entry[0] == 'u' ? 10 : entry[0] == '?' ? 1 : 0;
    if (!fields)
        return NULL;
    for (; fields && entry; fields--) {
        entry = strchr(entry, ' ');
        entry = entry ? entry + 1 : NULL;
    }
    return entry;
}

static void take_entry(struct workspace_state *state, struct buffer *changed, const char *entry)
{
    if (strncmp(entry, "# branch.oid ", 13) == 0 && git_is_object_name(entry + 13))
        state->head = xstrdup(entry + 13);
    else if (strncmp(entry, "# branch.head ", 14) == 0 && strcmp(entry + 14, "(detached)") != 0)
        state->branch = xstrdup(entry + 14);
    const char *path = path_of(entry);
    size_t size = path ? strlen(path) : 0;
    /* Every file is listed, so a name that ends with a slash is a repository within this one: what
     * it holds is not this one's to commit. */
    if (size && path[size - 1] != '/')
        buffer_add(changed, path, size + 1);
}

int workspace_look(struct workspace *workspace, struct workspace_state *state, char **fault)
{
    static const char *const marks[] = {"rebase-merge", "rebase-apply", "MERGE_HEAD",
                                        "CHERRY_PICK_HEAD", "REVERT_HEAD"};
    /* ignore-submodules: git would else run a status inside of each, under its own configuration
     * and the filters that stand there. */
    static const char *const arguments[] = {"status",
                                            "--porcelain=v2",
                                            "--branch",
                                            "-z",
                                            "--untracked-files=all",
                                            "--no-renames",
                                            "--ignore-submodules=dirty",
                                            NULL};
    struct git_call call = workspace_call(workspace);
    struct buffer changed = {0};
    char *out = NULL;
    size_t size = 0;
    call.max_output = STATUS_MAX_BYTES;
    *state = (struct workspace_state){0};
    if (git_run_list(&call, &out, &size, fault, arguments) != 0) {
        free(out);
        return -1;
    }
    for (size_t at = 0; at < size; at += strlen(out + at) + 1)
        take_entry(state, &changed, out + at);
    free(out);
    state->changed_size = changed.size;
    state->changed = buffer_take(&changed);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        state->half_done = state->half_done || has(workspace, marks[i]);
    if (size < STATUS_MAX_BYTES)
        return 0;
    *fault = xformat("%s: too many changed files", workspace->dir);
    workspace_state_free(state);
    return -1;
}

void workspace_abort(struct workspace *workspace)
{
    static const struct {
        const char *mark, *command;
    } table[] = {{"rebase-merge", "rebase"},
                 {"rebase-apply", "rebase"},
                 {"MERGE_HEAD", "merge"},
                 {"CHERRY_PICK_HEAD", "cherry-pick"},
                 {"REVERT_HEAD", "revert"}};
    struct git_call call = workspace_call(workspace);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!has(workspace, table[i].mark))
            continue;
        log_info("workspace", "%s: aborting a %s", workspace->dir, table[i].command);
        if (git_run(&call, NULL, NULL, table[i].command, "--abort", NULL) != 0)
            git_run(&call, NULL, NULL, table[i].command, "--quit", NULL);
        /* One that git itself cannot end would be found again for ever. */
        char *path = inside(workspace, table[i].mark);
        file_remove_tree(path);
        free(path);
    }
}

int workspace_mend_index(struct workspace *workspace, char **fault)
{
    struct git_call call = workspace_call(workspace);
    char *path = inside(workspace, "index");
    log_warn("workspace", "%s: the index is made anew", workspace->dir);
    int result = file_remove_tree(path);
    free(path);
    if (result == 0)
        result = git_run(&call, NULL, fault, "read-tree", "HEAD", NULL) == 0 ? 0 : -1;
    return result;
}

/* ---- after the agent ---- */

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
    struct git_call call = repository_call(workspace->repository);
    return git_run(&call, NULL, fault, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
                   "--no-recurse-submodules", workspace->git_dir, spec, NULL) == 0
               ? 0
               : -1;
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
    char *index = inside(workspace, "orchestrator-index"), *tree = NULL, *commit = NULL;
    char *message = xformat("Saved before it is put away\n\nOrch-Run: %s\n", name);
    call.index = index;
    call.identity = &identity;
    file_remove_tree(index);
    if (git_run(&call, NULL, fault, "read-tree", "HEAD", NULL) == 0 &&
        add_to_index(call, state, fault) == 0 &&
        git_run(&call, &tree, fault, "write-tree", NULL) == 0) {
        call.input = message;
        git_run(&call, &commit, fault, "commit-tree", "-p", "HEAD", "-F", "-", tree, NULL);
    }
    file_remove_tree(index);
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
