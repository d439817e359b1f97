/* What would grow without end: run directories whose result is acknowledged, what sessions had
 * reported, workspaces moved aside, loose objects of our own repositories. */
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
#include "services/runner/runner.h"

enum { DAY_S = 24 * 3600, GC_TIMEOUT_MS = 30 * 60 * 1000, THREAD_STACK = 512 * 1024 };

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
        removed += is_old(path, entry->d_name, before) && file_remove_tree(path) == 0;
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

static atomic_bool collecting;

static void collect_one(const struct git *git, const char *dir)
{
    struct git_call call = {.git = git, .git_dir = dir, .timeout_ms = GC_TIMEOUT_MS};
    char *fault = NULL;
    if (git_run(&call, NULL, &fault, "-c", "gc.auto=2000", "-c", "gc.autoPackLimit=50", "-c",
                "gc.autoDetach=false", "gc", "--auto", "--quiet", NULL) != 0)
        log_warn("janitor", "%s: %s", dir, fault ? fault : "?");
    free(fault);
}

static void *collect(void *argument)
{
    const struct runner *runner = argument;
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
    atomic_store(&collecting, false);
    return NULL;
}

/* Beside the runs: git's own collection spares what is new, and does nothing while there is little.
 */
void janitor_collect(struct runner *runner)
{
    pthread_t thread;
    pthread_attr_t attributes;
    if (atomic_exchange(&collecting, true))
        return;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    if (pthread_create(&thread, &attributes, collect, runner) != 0)
        atomic_store(&collecting, false);
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
