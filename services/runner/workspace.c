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
#include "services/runner/agent_user.h"
#include "services/runner/workspace_internal.h"

enum { CONFIG_MAX_BYTES = 1024 * 1024, STATUS_MAX_BYTES = 256 * 1024 * 1024 };

/* Nothing in it names a program: with the system's, the user's and the worktree's configuration out
 * of the way, no filter, fsmonitor, diff driver or alias exists. */
static const char config_text[] = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n"
                                  "\tbare = false\n\tlogallrefupdates = true\n";

void workspace_open(struct workspace *workspace, const struct repository *repository,
                    const struct identity *owner, const char *home, const char *key, int64_t task,
                    const char *branch)
{
    *workspace =
        (struct workspace){.repository = repository,
                           .owner = owner,
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
                             .work_tree = workspace->dir,
                             .as = workspace->owner};
}

char *workspace_inside(const struct workspace *workspace, const char *name)
{
    return xformat("%s/%s", workspace->git_dir, name);
}

static bool has(const struct workspace *workspace, const char *name)
{
    char *path = workspace_inside(workspace, name);
    identity_enter(workspace->owner);
    bool there = file_exists(path);
    identity_leave(workspace->owner);
    free(path);
    return there;
}

int workspace_remove_inside(const struct workspace *workspace, const char *name)
{
    char *path = workspace_inside(workspace, name);
    identity_enter(workspace->owner);
    int result = file_remove_tree(path);
    identity_leave(workspace->owner);
    free(path);
    return result;
}

/* ---- security ---- */

static int put_config(const struct workspace *workspace)
{
    char *path = workspace_inside(workspace, "config");
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

int workspace_put_config(const struct workspace *workspace)
{
    identity_enter(workspace->owner);
    int result = put_config(workspace);
    identity_leave(workspace->owner);
    return result;
}

/* 1 where it is of that kind, 0 where it is not or there is none, -1 with errno: cannot tell. Links
 * in their places would let our git write where the agent cannot. */
static int is_kind(const char *path, mode_t kind)
{
    struct stat info;
    if (lstat(path, &info) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    return (info.st_mode & S_IFMT) == kind;
}

static int is_repository(const struct workspace *workspace)
{
    static const struct {
        const char *name;
        mode_t kind;
    } parts[] = {
        {"HEAD", S_IFREG}, {"objects", S_IFDIR}, {"refs", S_IFDIR}, {"refs/heads", S_IFDIR}};
    int is = is_kind(workspace->git_dir, S_IFDIR);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && is == 1; i++) {
        char *path = workspace_inside(workspace, parts[i].name);
        is = is_kind(path, parts[i].kind);
        free(path);
    }
    return is;
}

/* One from before agents had a user of their own is handed over. */
static int hand_over(struct workspace *workspace)
{
    return workspace->owner ? agent_user_give(workspace->dir, workspace->owner) : 0;
}

int workspace_is_repository(struct workspace *workspace)
{
    if (hand_over(workspace) < 0)
        return -1;
    identity_enter(workspace->owner);
    int is = is_repository(workspace);
    identity_leave(workspace->owner);
    return is;
}

static int secure(struct workspace *workspace, char **fault)
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
    int is = is_repository(workspace);
    if (is < 1) {
        *fault = is < 0 ? xformat("%s: %s", workspace->dir, strerror(errno))
                        : xformat("%s is no git repository", workspace->dir);
        return -1;
    }
    for (size_t i = 0; i < sizeof removed / sizeof *removed; i++) {
        char *path = workspace_inside(workspace, removed[i]);
        file_remove_tree(path);
        free(path);
    }
    git_remove_stale_locks(workspace->git_dir, 0);
    if (put_config(workspace) < 0) {
        *fault = xformat("%s/config: %s", workspace->git_dir, strerror(errno));
        return -1;
    }
    return 0;
}

int workspace_secure(struct workspace *workspace, char **fault)
{
    if (hand_over(workspace) < 0) {
        *fault = xformat("%s: %s", workspace->dir, strerror(errno));
        return -1;
    }
    identity_enter(workspace->owner);
    int result = secure(workspace, fault);
    identity_leave(workspace->owner);
    return result;
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
        workspace_remove_inside(workspace, table[i].mark);
    }
}

int workspace_mend_index(struct workspace *workspace, char **fault)
{
    struct git_call call = workspace_call(workspace);
    log_warn("workspace", "%s: the index is made anew", workspace->dir);
    int result = workspace_remove_inside(workspace, "index");
    if (result == 0)
        result = git_run(&call, NULL, fault, "read-tree", "HEAD", NULL) == 0 ? 0 : -1;
    return result;
}
