#include "services/runner/local_leftovers.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/process.h"

enum { ENVIRON_MAX = 4 * 1024 * 1024, TRIES = 1000 };

/* What the environment of the run's processes holds. Ids of runs are counted by each installation
 * for itself; a workspace belongs to one. */
struct marks {
    char *run, *workspace; /* NULL: not looked for */
};

static bool has_entry(const char *environment, size_t size, const char *entry)
{
    for (size_t at = 0; at < size; at += strlen(environment + at) + 1) {
        if (strcmp(environment + at, entry) == 0)
            return true;
    }
    return false;
}

static bool runs_for(int pid, const struct marks *marks)
{
    char path[64];
    size_t size;
    if (!marks->run || !marks->workspace)
        return false;
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    char *text = file_read(path, ENVIRON_MAX, &size);
    bool found =
        text && has_entry(text, size, marks->run) && has_entry(text, size, marks->workspace);
    free(text);
    return found;
}

static bool lives_in(int pid, const char *workspace)
{
    char path[64], cwd[4096];
    snprintf(path, sizeof path, "/proc/%d/cwd", pid);
    ssize_t n = readlink(path, cwd, sizeof cwd - 1);
    if (n <= 0)
        return false;
    cwd[n] = '\0';
    size_t size = strlen(workspace);
    return strncmp(cwd, workspace, size) == 0 && (cwd[size] == '\0' || cwd[size] == '/');
}

/* Group or session of the agent. Its own pid may have been given to another since, but a group id
 * is not while the group has members; the agent itself is told by its start time. */
static bool of_agent(int pid, const struct leftover_agent *agent)
{
    if (!agent->known)
        return false;
    uint64_t ticks = process_start_ticks(agent->pid);
    if (ticks != 0 && ticks != agent->start_ticks)
        return false;
    return pid == agent->pid || getsid(pid) == agent->pid || getpgid(pid) == agent->pid;
}

static bool is_zombie(int pid)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    char *text = file_read(path, 8192, NULL);
    char *at = text ? strrchr(text, ')') : NULL;
    if (!at || sscanf(at + 1, " %c", &state) != 1)
        state = 'X';
    free(text);
    return state == 'Z' || state == 'X';
}

/* Only its own user, or we in its place, may look into a process. */
static bool looks_ours(int pid, const struct marks *marks, const char *workspace)
{
    return runs_for(pid, marks) || (workspace && lives_in(pid, workspace));
}

static bool looks_ours_as(int pid, const struct marks *marks, const char *workspace,
                          const struct identity *as)
{
    if (!as)
        return false;
    identity_enter(as);
    bool ours = looks_ours(pid, marks, workspace);
    identity_leave(as);
    return ours;
}

static int kill_round(const struct leftover_agent *agent, const char *run, const char *workspace,
                      const struct identity *as)
{
    int found = 0;
    struct marks marks = {.run = run ? xformat("ORCH_RUN=%s", run) : NULL,
                          .workspace = workspace ? xformat("ORCH_WORKSPACE=%s", workspace) : NULL};
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        int pid = atoi(entry->d_name);
        if (pid <= 1 || pid == getpid())
            continue;
        bool ours = of_agent(pid, agent) || looks_ours(pid, &marks, workspace) ||
                    looks_ours_as(pid, &marks, workspace, as);
        if (ours && !is_zombie(pid) && kill(pid, SIGKILL) == 0)
            found++;
    }
    if (dir)
        closedir(dir);
    free(marks.run);
    free(marks.workspace);
    return found;
}

void leftovers_end(const struct leftover_agent *agent, const char *run, const char *workspace,
                   const struct identity *as)
{
    const struct timespec moment = {.tv_nsec = 5 * 1000000L};
    int total = 0;
    for (int tries = 0, empty = 0; empty < 2 && tries < TRIES; tries++) {
        int found = kill_round(agent, run, workspace, as);
        total += found;
        empty = found ? 0 : empty + 1;
        if (found)
            nanosleep(&moment, NULL);
    }
    if (total)
        log_info("leftovers", "ended what a lost run of %s had left", run ? run : "a task");
}
