/* repo create: a bare repository of the built-in forge. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/file.h"
#include "lib/process.h"
#include "tools/orchctl.h"

enum { GIT_MS = 300000 };

struct making {
    const char *branch;
    char *target; /* where it will stand */
    char *made;   /* where it is made: beside, renamed once whole */
    char *index;
};

/* Runs git; its words on failure. out (caller frees) may be NULL. */
static bool git(const char *const *argv, const char *const *env, char **out)
{
    struct process_spec spec = {.argv = argv, .env = env, .timeout_ms = GIT_MS};
    struct process_result result;
    if (process_run(&spec, &result) < 0) {
        complain("cannot run git: %s", strerror(errno));
        return false;
    }
    bool good = result.exit_code == 0 && !result.timed_out;
    if (!good)
        complain("git %s: %s", argv[1], result.err);
    if (out && good) {
        *out = xstrdup(result.out);
        (*out)[strcspn(*out, "\n")] = '\0';
    }
    process_result_free(&result);
    return good;
}

static char *find_target(const struct config *config, const char *name)
{
    size_t length = strlen(name);
    if (name[0] == '/')
        return xstrdup(name);
    bool bare = length > 4 && strcmp(name + length - 4, ".git") == 0;
    return config_home_path(config, "forge/%s%s", name, bare ? "" : ".git");
}

static const char *find_branch(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->project_count; i++) {
        if (strcmp(config->projects[i].repo, name) == 0)
            return config->projects[i].default_branch;
    }
    return "main";
}

static bool init(const struct making *making)
{
    char *head = xformat("--initial-branch=%s", making->branch);
    const char *const argv[] = {"git", "init", "--quiet", "--bare", head, making->made, NULL};
    bool good = git(argv, NULL, NULL);
    free(head);
    return good;
}

/* A repository brings its branches; its own default must be there. */
static bool clone(const struct making *making, const char *from)
{
    char *ref = xformat("refs/heads/%s", making->branch);
    const char *const copy[] = {"git", "clone", "--quiet",    "--bare", "--no-hardlinks",
                                "--",  from,    making->made, NULL};
    const char *const check[] = {"git",      "--git-dir", making->made, "rev-parse",
                                 "--verify", "--quiet",   ref,          NULL};
    const char *const head[] = {"git",  "--git-dir", making->made, "symbolic-ref",
                                "HEAD", ref,         NULL};
    const char *const remote[] = {"git",    "--git-dir", making->made, "remote",
                                  "remove", "origin",    NULL};
    bool good = git(copy, NULL, NULL);
    if (good && !git(check, NULL, NULL)) {
        complain("%s has no branch %s", from, making->branch);
        good = false;
    }
    good = good && git(head, NULL, NULL) && git(remote, NULL, NULL);
    free(ref);
    return good;
}

/* git looks for the folder's files from where it stands. */
static bool enter(const char *folder)
{
    if (chdir(folder) == 0)
        return true;
    complain("%s: %s", folder, strerror(errno));
    return false;
}

/* The first commit: what is in the folder (never written to), or nothing. */
static bool commit(const struct making *making, const char *from)
{
    char *ref = xformat("refs/heads/%s", making->branch), *tree = NULL, *made = NULL;
    char *index = xformat("GIT_INDEX_FILE=%s", making->index);
    const char *env[256] = {
        index, "GIT_AUTHOR_NAME=orchestrator", "GIT_AUTHOR_EMAIL=orchestrator@localhost",
        "GIT_COMMITTER_NAME=orchestrator", "GIT_COMMITTER_EMAIL=orchestrator@localhost"};
    for (size_t i = 0, n = 5; environ[i] && n + 1 < sizeof env / sizeof *env; i++) {
        if (strncmp(environ[i], "GIT_", 4) != 0)
            env[n++] = environ[i];
    }
    const char *const add[] = {"git", "--git-dir", making->made, "--work-tree", from ? from : "/",
                               "add", "--all",     ".",          NULL};
    const char *const write[] = {"git", "--git-dir", making->made, "write-tree", NULL};
    bool good = (!from || (enter(from) && git(add, env, NULL))) && git(write, env, &tree);
    if (good) {
        const char *const store[] = {"git", "--git-dir", making->made,      "commit-tree",
                                     tree,  "-m",        "Initial content", NULL};
        good = git(store, env, &made);
    }
    if (good) {
        const char *const update[] = {"git", "--git-dir", making->made, "update-ref",
                                      ref,   made,        NULL};
        good = git(update, env, NULL);
    }
    unlink(making->index);
    free(made);
    free(tree);
    free(index);
    free(ref);
    return good;
}

static bool make(const struct making *making, const char *from)
{
    char *inside = from ? xformat("%s/.git", from) : NULL;
    char *bare = from ? xformat("%s/HEAD", from) : NULL;
    bool good;
    if (from && (file_exists(inside) || file_exists(bare)))
        good = clone(making, from);
    else
        good = init(making) && commit(making, from);
    free(inside);
    free(bare);
    if (good && rename(making->made, making->target) < 0) {
        complain("%s: %s", making->target, strerror(errno));
        good = false;
    }
    return good;
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* A repository that no project names is made all the same; the project may come later. */
static void hint(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->project_count; i++) {
        if (strcmp(config->projects[i].repo, name) == 0)
            return;
    }
    complain("note: no project in %s has repo: %s", config->file, name);
}

static enum ctl_exit create(const struct config *config, const char *name, const char *from,
                            struct making *making)
{
    enum ctl_exit result = CTL_REFUSED;
    char *parent = file_parent(making->target);
    making->made = xformat("%s.new.%d", making->target, (int)getpid());
    making->index = xformat("%s/index.new", making->made);
    if (file_exists(making->target))
        complain("%s is there already", making->target);
    else if (file_make_dirs(parent, 0700) < 0)
        complain("%s: %s", parent, strerror(errno));
    else if (make(making, from))
        result = CTL_DONE;
    file_remove_tree(making->made);
    if (result == CTL_DONE)
        hint(config, name);
    free(parent);
    free(making->index);
    free(making->made);
    return result;
}

enum ctl_exit ctl_repo_create(struct ctl *ctl)
{
    const char *name = ctl->request.argument;
    if (!request_repo_name(name)) {
        complain("NAME: letters, digits and ._- (or a path, which begins with /), not \"%s\"",
                 name);
        return CTL_USAGE;
    }
    struct config *config = instance_config(ctl);
    if (!config)
        return CTL_NOT_REACHABLE;
    char *from = ctl->request.from ? realpath(ctl->request.from, NULL) : NULL;
    if (ctl->request.from && (!from || !is_folder(from))) {
        complain("--from: %s: %s", ctl->request.from, strerror(from ? ENOTDIR : errno));
        free(from);
        return CTL_NOT_FOUND;
    }
    struct making making = {.branch = find_branch(config, name),
                            .target = find_target(config, name)};
    enum ctl_exit result = create(config, name, from, &making);
    if (result == CTL_DONE && ctl->request.json)
        print_json(json_pack("{s:s,s:s,s:s}", "name", name, "path", making.target, "branch",
                             making.branch));
    else if (result == CTL_DONE)
        printf("%s (branch %s)\n", making.target, making.branch);
    free(making.target);
    free(from);
    return result;
}
