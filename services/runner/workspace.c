#include "services/runner/workspace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"

enum { CONFIG_MAX_BYTES = 1024 * 1024, ARTEFACTS_MAX = 200 };

/* Nothing in it names a program: with the system's, the user's and the worktree's configuration out
 * of the way, no filter, fsmonitor, diff driver or alias exists. */
static const char config_text[] = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n"
                                  "\tbare = false\n\tlogallrefupdates = true\n";

void workspace_open(struct workspace *workspace, const struct repository *repository,
                    const char *home, const char *key, int64_t task, const char *branch)
{
    *workspace =
        (struct workspace){.repository = repository,
                           .dir = xformat("%s/workspaces/%s~%lld", home, key, (long long)task),
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

static struct git_call call_in(const struct workspace *workspace)
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

static int put_config_back(struct workspace *workspace)
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

int workspace_secure(struct workspace *workspace, char **fault)
{
    static const char *const removed[] = {"config.worktree",         "commondir", "info/attributes",
                                          "objects/info/alternates", "hooks",     "shallow.lock"};
    struct stat info;
    if (lstat(workspace->git_dir, &info) < 0 || !S_ISDIR(info.st_mode) || !has(workspace, "HEAD")) {
        *fault = xformat("%s is no git repository", workspace->dir);
        return -1;
    }
    for (size_t i = 0; i < sizeof removed / sizeof *removed; i++) {
        char *path = inside(workspace, removed[i]);
        file_remove_tree(path);
        free(path);
    }
    git_remove_stale_locks(workspace->git_dir);
    if (put_config_back(workspace) < 0) {
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
    *state = (struct workspace_state){0};
}

/* "# branch.oid <commit>" and the like; any line that begins otherwise is a change. */
static void take_status_line(struct workspace_state *state, const char *line)
{
    if (strncmp(line, "# branch.oid ", 13) == 0 && git_is_object_name(line + 13))
        state->head = xstrdup(line + 13);
    else if (strncmp(line, "# branch.head ", 14) == 0 && strcmp(line + 14, "(detached)") != 0)
        state->branch = xstrdup(line + 14);
    else if (line[0] != '#' && line[0] != '\0')
        state->dirty = true;
}

int workspace_look(struct workspace *workspace, struct workspace_state *state, char **fault)
{
    static const char *const marks[] = {"rebase-merge", "rebase-apply", "MERGE_HEAD",
                                        "CHERRY_PICK_HEAD", "REVERT_HEAD"};
    struct git_call call = call_in(workspace);
    char *out = NULL;
    *state = (struct workspace_state){0};
    if (git_run(&call, &out, fault, "status", "--porcelain=v2", "--branch",
                "--untracked-files=normal", NULL) != 0) {
        free(out);
        return -1;
    }
    for (char *line = out, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        take_status_line(state, line);
    }
    free(out);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        state->half_done = state->half_done || has(workspace, marks[i]);
    return 0;
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
    struct git_call call = call_in(workspace);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!has(workspace, table[i].mark))
            continue;
        log_info("workspace", "%s: aborting a %s", workspace->dir, table[i].command);
        if (git_run(&call, NULL, NULL, table[i].command, "--abort", NULL) != 0)
            git_run(&call, NULL, NULL, table[i].command, "--quit", NULL);
    }
}

/* ---- making and preparing ---- */

/* Refs of the own repository into the workspace; absent ones (NULL commit) are left out. */
static int take_refs(struct workspace *workspace, const char *base, const char *branch,
                     char **fault)
{
    struct git_call call = call_in(workspace);
    const struct repository *own = workspace->repository;
    char *first = xformat("+refs/remotes/origin/%s:refs/remotes/origin/%s", own->base, own->base);
    char *second = NULL;
    if (branch)
        second = xformat("+%s:refs/remotes/origin/%s", branch, workspace->branch);
    (void)base;
    int code = git_run(&call, NULL, fault, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
                       "--no-recurse-submodules", own->dir, first, second, NULL);
    free(first);
    free(second);
    return code == 0 ? 0 : -1;
}

/* In a directory beside, renamed when whole: a kill on the way leaves nothing that looks finished.
 */
static int make(struct workspace *workspace, const char *start, const char *branch_ref,
                char **fault)
{
    char *beside = xformat("%s.new", workspace->dir), *parent = xstrdup(workspace->dir);
    char *slash = strrchr(parent, '/');
    struct workspace fresh = *workspace;
    fresh.dir = beside;
    fresh.git_dir = xformat("%s/.git", beside);
    *slash = '\0';
    int result = -1;
    struct git_call init = {.git = workspace->repository->git}, call = call_in(&fresh);
    if (file_make_dirs(parent, 0700) < 0 || file_remove_tree(beside) < 0) {
        *fault = xformat("%s: %s", beside, strerror(errno));
        goto done;
    }
    if (git_run(&init, NULL, fault, "init", "-q", "--template=", "-b", workspace->branch, beside,
                NULL) != 0 ||
        put_config_back(&fresh) < 0 || take_refs(&fresh, NULL, branch_ref, fault) < 0 ||
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

/* Where a new workspace starts: what we know of the branch, else the remote's, else the base. */
static enum workspace_fault make_new(struct workspace *workspace, char **fault)
{
    const struct repository *own = workspace->repository;
    struct git_call call = repository_call(own);
    char *base = repository_ref(own, "refs/remotes/origin/%s", own->base);
    char *theirs = repository_ref(own, "refs/remotes/origin/%s", workspace->branch);
    char *ours = repository_ref(own, "refs/heads/%s", workspace->branch);
    enum workspace_fault result = WORKSPACE_WORLD;
    bool use_ours = ours && (!theirs || git_is_ancestor(&call, theirs, ours) == 1);
    const char *start = use_ours ? ours : theirs ? theirs : base;
    char *ref = use_ours ? xformat("refs/heads/%s", workspace->branch)
                : theirs ? xformat("refs/remotes/origin/%s", workspace->branch)
                         : NULL;
    if (!base) {
        *fault = xformat("%s has no branch %s", own->remote, own->base);
        result = WORKSPACE_MISSING;
    } else if (make(workspace, start, ref, fault) == 0) {
        result = WORKSPACE_OK;
    }
    free(base);
    free(theirs);
    free(ours);
    free(ref);
    return result;
}

/* HEAD elsewhere: the branch is put back; what was committed there was saved by the caller. */
static int return_to_branch(struct workspace *workspace, char **fault)
{
    struct git_call call = call_in(workspace);
    log_warn("workspace", "%s: HEAD is not %s; put back", workspace->dir, workspace->branch);
    return git_run(&call, NULL, fault, "checkout", "-q", "-f", workspace->branch, NULL) == 0 ? 0
                                                                                             : -1;
}

/* What others pushed to the branch, where we have nothing beside it. */
static int fast_forward(struct workspace *workspace, struct workspace_state *state,
                        const char *theirs, char **fault)
{
    struct git_call call = call_in(workspace);
    if (!theirs || strcmp(theirs, state->head) == 0 || state->dirty ||
        git_is_ancestor(&call, state->head, theirs) != 1)
        return 0;
    if (git_run(&call, NULL, fault, "merge", "-q", "--ff-only", theirs, NULL) != 0)
        return -1;
    free(state->head);
    state->head = xstrdup(theirs);
    return 0;
}

static enum workspace_fault prepare_existing(struct workspace *workspace,
                                             struct workspace_state *state, char **fault)
{
    const struct repository *own = workspace->repository;
    char *theirs = NULL, *ref = NULL;
    enum workspace_fault result = WORKSPACE_BROKEN;
    if (workspace_secure(workspace, fault) < 0)
        return result;
    theirs = repository_ref(own, "refs/remotes/origin/%s", workspace->branch);
    ref = theirs ? xformat("refs/remotes/origin/%s", workspace->branch) : NULL;
    if (take_refs(workspace, NULL, ref, fault) < 0)
        goto done;
    if (workspace_look(workspace, state, fault) < 0)
        goto done;
    if (state->half_done)
        workspace_abort(workspace);
    if (!state->branch || strcmp(state->branch, workspace->branch) != 0) {
        workspace_state_free(state);
        if (return_to_branch(workspace, fault) < 0 || workspace_look(workspace, state, fault) < 0)
            goto done;
    }
    if (fast_forward(workspace, state, theirs, fault) == 0)
        result = WORKSPACE_OK;

done:
    free(theirs);
    free(ref);
    return result;
}

enum workspace_fault workspace_prepare(struct workspace *workspace, char **head, char **fault)
{
    struct workspace_state state = {0};
    *head = NULL;
    if (strcmp(workspace->branch, workspace->repository->base) == 0)
        log_abort("workspace", "the task's branch is the default branch %s", workspace->branch);
    if (repository_fetch(workspace->repository, fault) < 0)
        return WORKSPACE_WORLD;
    enum workspace_fault result = WORKSPACE_OK;
    if (workspace_exists(workspace)) {
        result = prepare_existing(workspace, &state, fault);
    } else {
        result = make_new(workspace, fault);
        if (result == WORKSPACE_OK && workspace_look(workspace, &state, fault) < 0)
            result = WORKSPACE_WORLD;
    }
    if (result == WORKSPACE_OK &&
        (!state.head || !state.branch || strcmp(state.branch, workspace->branch) != 0)) {
        *fault = xformat("HEAD of %s is %s, not %s", workspace->dir,
                         state.branch ? state.branch : "detached", workspace->branch);
        result = WORKSPACE_BROKEN;
    }
    if (result == WORKSPACE_OK)
        *head = xstrdup(state.head);
    workspace_state_free(&state);
    return result;
}

/* ---- after the agent ---- */

static bool head_is_of_run(struct workspace *workspace, const char *run)
{
    struct git_call call = call_in(workspace);
    char *out = NULL;
    git_run(&call, &out, NULL, "log", "-1", "--format=%(trailers:key=Orch-Run,valueonly)", "HEAD",
            "--", NULL);
    size_t size = strlen(run);
    bool found = out && strncmp(out, run, size) == 0 && (out[size] == '\n' || out[size] == '\0');
    free(out);
    return found;
}

int workspace_commit(struct workspace *workspace, const struct git_identity *identity,
                     const char *subject, const char *run, char **head, char **fault)
{
    struct git_call call = call_in(workspace);
    struct workspace_state state;
    int result = -1;
    *head = NULL;
    if (workspace_look(workspace, &state, fault) < 0)
        return -1;
    if (!state.branch || !state.head || strcmp(state.branch, workspace->branch) != 0) {
        *fault = xformat("HEAD is %s, not %s", state.branch ? state.branch : "detached",
                         workspace->branch);
    } else if (!state.dirty || head_is_of_run(workspace, run)) {
        *head = xstrdup(state.head);
        result = 0;
    } else {
        char *message = xformat("%s\n\nOrch-Run: %s\n", subject, run);
        call.input = message;
        call.identity = identity;
        if (git_run(&call, NULL, fault, "add", "-A", NULL) == 0 &&
            git_run(&call, NULL, fault, "commit", "-q", "--no-verify", "--allow-empty",
                    "--cleanup=verbatim", "-F", "-", NULL) == 0) {
            *head = git_resolve(&call, "HEAD");
            result = *head ? 0 : -1;
        }
        free(message);
    }
    workspace_state_free(&state);
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

/* A commit of everything in the working tree on top of HEAD, through an index of its own. NULL and
 * *fault. */
static char *snapshot(struct workspace *workspace, const char *run, char **fault)
{
    static const struct git_identity identity = {"orchestrator",
                                                 "orchestrator@orchestrator.invalid"};
    struct git_call call = call_in(workspace);
    char *index = inside(workspace, "orchestrator-index"), *tree = NULL, *commit = NULL;
    char *message = xformat("Saved before it is removed\n\nOrch-Run: %s\n", run);
    call.index = index;
    call.identity = &identity;
    unlink(index);
    if (git_run(&call, NULL, fault, "read-tree", "HEAD", NULL) == 0 &&
        git_run(&call, NULL, fault, "add", "-A", NULL) == 0 &&
        git_run(&call, &tree, fault, "write-tree", NULL) == 0) {
        call.input = message;
        git_run(&call, &commit, fault, "commit-tree", "-p", "HEAD", "-F", "-", tree, NULL);
    }
    unlink(index);
    free(index);
    free(tree);
    free(message);
    if (commit && !git_is_object_name(commit)) {
        free(commit);
        commit = NULL;
    }
    return commit;
}

int workspace_save(struct workspace *workspace, int64_t task, const char *run, char **ref,
                   char **fault)
{
    struct git_call call = call_in(workspace);
    struct workspace_state state = {0};
    char *commit = NULL, *spec = NULL;
    int result = -1;
    *ref = xformat("refs/orchestrator/preserved/%lld/%s", (long long)task, run);
    if (workspace_secure(workspace, fault) < 0 || workspace_look(workspace, &state, fault) < 0)
        goto done;
    if (!state.head) {
        *fault = xstrdup("the workspace has no commit");
        goto done;
    }
    commit = state.dirty ? snapshot(workspace, run, fault) : xstrdup(state.head);
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

/* ---- artefacts ---- */

/* docs/work-items/<key> without following a link on the way; -1 where it is not there. */
static int open_artefacts(struct workspace *workspace, const char *key)
{
    const char *const parts[] = {"docs", "work-items", key};
    int fd = open(workspace->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (int i = 0; i < 3 && fd >= 0; i++) {
        int next = openat(fd, parts[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int saved = errno;
        close(fd);
        errno = saved;
        fd = next;
    }
    return fd;
}

int workspace_remove_artefact(struct workspace *workspace, const char *key, const char *name)
{
    int fd = open_artefacts(workspace, key);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
    int result = unlinkat(fd, name, 0);
    if (result < 0 && errno == ENOENT)
        result = 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

static void list_names(int fd, const char *prefix, json_t *names)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) && json_array_size(names) < ARTEFACTS_MAX;) {
        struct stat info;
        if (entry->d_name[0] == '.' ||
            fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        char *name = xformat("%s%s", prefix, entry->d_name);
        if (S_ISREG(info.st_mode)) {
            json_t *text = json_string(name); /* NULL where it is no UTF-8 */
            if (text)
                json_array_append_new(names, text);
        } else if (S_ISDIR(info.st_mode) && *prefix == '\0') {
            int below =
                openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            char *deeper = xformat("%s/", name);
            if (below >= 0)
                list_names(below, deeper, names);
            free(deeper);
        }
        free(name);
    }
    closedir(dir);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

json_t *workspace_artefacts(struct workspace *workspace, const char *key)
{
    json_t *names = json_array(), *sorted = json_array(), *list[ARTEFACTS_MAX];
    int fd = open_artefacts(workspace, key);
    if (fd >= 0)
        list_names(fd, "", names);
    size_t count = json_array_size(names);
    for (size_t i = 0; i < count; i++)
        list[i] = json_array_get(names, i);
    qsort(list, count, sizeof *list, compare_names);
    for (size_t i = 0; i < count; i++)
        json_array_append(sorted, list[i]);
    json_decref(names);
    return sorted;
}
