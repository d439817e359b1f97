/* What would grow without end: run directories whose result is acknowledged, what sessions had
 * reported, workspaces moved aside, preserved refs, loose objects of our own repositories. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "services/runner/agent_user.h"
#include "services/runner/runner.h"

enum {
    REFS_MAX = 32, /* a turn; all of them fit one push */
    DAY_S = 24 * 3600,
    GC_TIMEOUT_MS = 30 * 60 * 1000,
    THREAD_STACK = 512 * 1024
};

static int64_t days_ago(int64_t days)
{
    return clock_wall_ms() / 1000 - days * DAY_S;
}

/* Entries of a folder that is_old says are over, each gone with all that is in it. */
static int sweep(const char *folder,
                 bool (*is_old)(const char *path, const char *name, int64_t before), int64_t before)
{
    int removed = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = xformat("%s/%s", folder, entry->d_name);
        removed += is_old(path, entry->d_name, before) && agent_user_remove(path) == 0;
        free(path);
    }
    if (dir)
        closedir(dir);
    return removed;
}

/* One without `acked` may still be wanted, whatever its age. */
static bool run_is_old(const char *path, const char *name, int64_t before)
{
    struct stat info;
    char *acked = xformat("%s/acked", path);
    bool old = run_id_ok(name) && stat(acked, &info) == 0 && info.st_mtim.tv_sec < before;
    free(acked);
    return old;
}

static bool session_is_old(const char *path, const char *name, int64_t before)
{
    struct stat info;
    (void)name;
    return lstat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_mtim.tv_sec < before;
}

/* The rename that moved it aside is its last change of status. */
static bool aside_is_old(const char *path, const char *name, int64_t before)
{
    struct stat info;
    return strstr(name, ".broken.") && lstat(path, &info) == 0 && info.st_ctim.tv_sec < before;
}

/* ---- repositories ---- */

static void collect_one(const struct git *git, const char *dir)
{
    struct git_call call = {.git = git, .git_dir = dir, .timeout_ms = GC_TIMEOUT_MS};
    char *fault = NULL;
    if (git_run(&call, NULL, &fault, "-c", "gc.auto=2000", "-c", "gc.autoPackLimit=50", "-c",
                "gc.autoDetach=false", "gc", "--auto", "--quiet", NULL) != 0)
        log_warn("janitor", "%s: %s", dir, fault ? fault : "?");
    free(fault);
}

/* Names of the preserved refs whose commit is older; caller frees each. */
static size_t old_refs(const struct git_call *call, int64_t before, char *names[REFS_MAX])
{
    char *out = NULL, *rest = NULL;
    size_t count = 0;
    git_run(call, &out, NULL, "for-each-ref", "--sort=committerdate",
            "--format=%(committerdate:unix) %(refname)", "refs/orchestrator/preserved/", NULL);
    for (char *line = out ? strtok_r(out, "\n", &rest) : NULL; line && count < REFS_MAX;
         line = strtok_r(NULL, "\n", &rest)) {
        char *name = strchr(line, ' ');
        if (!name || strtoll(line, NULL, 10) >= before)
            break;
        names[count++] = xstrdup(name + 1);
    }
    free(out);
    return count;
}

/* Whether a listing (lines of commit, tab, name; the last without a newline) has this very name. */
static bool is_there(const char *listing, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = listing; (at = strchr(at, '\t')); at++) {
        if (strcspn(at + 1, "\n") == size && strncmp(at + 1, name, size) == 0)
            return true;
    }
    return false;
}

/* A forge that took none of them has none to lose; false where one that has them did not let them
 * go. */
static bool drop_at_forge(const struct repository *repository, char *const names[], size_t count)
{
    const struct git_call call = repository_call(repository);
    const char *push[REFS_MAX + 5] = {"push", "--quiet", "--no-verify", repository->remote};
    char *specs[REFS_MAX], *listing = NULL, *fault = NULL;
    size_t wanted = 0;
    bool gone = git_run(&call, &listing, &fault, "ls-remote", repository->remote,
                        "refs/orchestrator/preserved/*", NULL) == 0;
    for (size_t i = 0; gone && i < count; i++) {
        if (is_there(listing, names[i])) {
            specs[wanted] = xformat(":%s", names[i]);
            push[4 + wanted] = specs[wanted];
            wanted++;
        }
    }
    if (wanted)
        gone = git_run_list(&call, NULL, NULL, &fault, push) == 0;
    if (!gone)
        log_warn("janitor", "preserved refs stay, the forge has them: %s", fault ? fault : "?");
    while (wanted)
        free(specs[--wanted]);
    free(listing);
    free(fault);
    return gone;
}

/* At the forge first: what is gone here would not be found there again. */
static size_t drop_refs(const struct repository *repository, char *const names[], size_t count)
{
    struct git_call call = repository_call(repository);
    struct buffer order = {0};
    if (!count || !drop_at_forge(repository, names, count))
        return 0;
    for (size_t i = 0; i < count; i++)
        buffer_format(&order, "delete %s\n", names[i]);
    call.input = order.data;
    bool gone = git_run(&call, NULL, NULL, "update-ref", "--stdin", NULL) == 0;
    buffer_free(&order);
    return gone ? count : 0;
}

static void drop_old_refs(const struct runner *runner, const struct project *project)
{
    struct repository repository = {0};
    char *fault = NULL;
    struct forge *forge = forge_open(runner->config, project, runner->git, &fault);
    if (forge && repository_open(&repository, runner->git, runner->config->home, project->repo,
                                 forge_remote(forge), project->default_branch, &fault) == 0) {
        struct git_call call = repository_call(&repository);
        repository_lock(&repository);
        char *names[REFS_MAX];
        size_t old =
            old_refs(&call, days_ago(runner->config->retention_preserved_refs_days), names);
        size_t count = drop_refs(&repository, names, old);
        repository_unlock(&repository);
        if (count)
            log_info("janitor", "removed %zu preserved refs of %s whose retention is over", count,
                     project->repo);
        while (old)
            free(names[--old]);
    }
    if (fault)
        log_warn("janitor", "%s: %s", project->repo, fault);
    free(fault);
    repository_close(&repository);
    forge_close(forge);
}

static void collect_all(const struct runner *runner)
{
    char *folder = xformat("%s/repos", runner->config->home);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = xformat("%s/%s", folder, entry->d_name);
        collect_one(runner->git, path);
        free(path);
    }
    if (dir)
        closedir(dir);
    free(folder);
}

static struct looking {
    const struct runner *runner;
    bool collect;
} looking; /* of the one thread */
static atomic_bool busy;

static void *look(void *argument)
{
    const struct looking *work = argument;
    const struct config *config = work->runner->config;
    for (size_t i = 0; i < config->project_count; i++)
        drop_old_refs(work->runner, &config->projects[i]);
    if (work->collect)
        collect_all(work->runner);
    atomic_store(&busy, false);
    return NULL;
}

/* Beside the runs: git's own collection spares what is new, and does nothing while there is little.
 */
void janitor_look_at_repositories(struct runner *runner, bool collect)
{
    pthread_t thread;
    pthread_attr_t attributes;
    if (atomic_exchange(&busy, true))
        return;
    looking = (struct looking){.runner = runner, .collect = collect};
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    if (pthread_create(&thread, &attributes, look, &looking) != 0)
        atomic_store(&busy, false);
    pthread_attr_destroy(&attributes);
}

void janitor_sweep(const struct runner *runner)
{
    const struct config *config = runner->config;
    char *sessions = xformat("%s/sessions", config->home);
    char *workspaces = xformat("%s/workspaces", config->home);
    int64_t logs = days_ago(config->retention_run_logs_days);
    int runs = sweep(runner->runs_dir, run_is_old, logs);
    int others = sweep(sessions, session_is_old, days_ago(config->retention_days)) +
                 sweep(workspaces, aside_is_old, logs);
    if (runs || others)
        log_info("janitor", "removed %d run directories and %d records whose retention is over",
                 runs, others);
    free(sessions);
    free(workspaces);
}
