#include "services/runner/keeper.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"

struct process {
    pid_t pid, parent;
    bool ours;
};

/* Parent of a pid, and whether it is a zombie, from /proc/<pid>/stat; 0 where it is gone. */
static pid_t parent_of(pid_t pid, bool *zombie)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    char *text = file_read(path, 8192, NULL);
    if (!text)
        return 0;
    char *at = strrchr(text, ')');
    char state = 0;
    int parent = 0;
    if (!at || sscanf(at + 1, " %c %d", &state, &parent) != 2)
        parent = 0;
    *zombie = state == 'Z' || state == 'X';
    free(text);
    return parent;
}

/* Every living process; caller frees. */
static struct process *list_processes(size_t *count)
{
    struct process *list = NULL;
    size_t room = 0;
    *count = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        pid_t pid = (pid_t)atoi(entry->d_name);
        bool zombie = false;
        pid_t parent = parent_of(pid, &zombie);
        if (parent == 0 || zombie)
            continue;
        if (*count == room)
            list = xrealloc(list, (room = room ? room * 2 : 256) * sizeof *list);
        list[(*count)++] = (struct process){pid, parent, false};
    }
    if (dir)
        closedir(dir);
    return list;
}

/* A child's pid may be smaller than its parent's after a wrap, so until nothing new is found. */
static int mark_descendants(struct process *list, size_t count, pid_t root)
{
    int found = 0;
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < count; i++) {
            if (list[i].ours)
                continue;
            bool child = list[i].parent == root;
            for (size_t j = 0; j < count && !child; j++)
                child = list[j].ours && list[j].pid == list[i].parent;
            if (child) {
                list[i].ours = more = true;
                found++;
            }
        }
    }
    return found;
}

int keeper_signal_descendants(int signal, pid_t but_group)
{
    size_t count;
    struct process *list = list_processes(&count);
    int found = mark_descendants(list, count, getpid());
    for (size_t i = 0; i < count; i++) {
        if (list[i].ours && (!but_group || getpgid(list[i].pid) != but_group))
            kill(list[i].pid, signal); /* it may have vanished: fine */
    }
    free(list);
    return found;
}

/* Every orphan below us becomes our child, so without children there is no descendant at all. */
static bool reap(void (*on_child)(void *context, pid_t pid, int status), void *context)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        on_child(context, pid, status);
    return pid < 0 && errno == ECHILD;
}

bool keeper_sweep(int64_t max_ms, void (*on_child)(void *context, pid_t pid, int status),
                  void *context)
{
    const struct timespec moment = {.tv_nsec = 2 * 1000000L};
    int64_t until = clock_mono_ms() + max_ms;
    while (!reap(on_child, context)) {
        keeper_signal_descendants(SIGKILL, 0);
        if (clock_mono_ms() >= until)
            return false;
        nanosleep(&moment, NULL); /* the killed ones' children come to us meanwhile */
    }
    return true;
}
