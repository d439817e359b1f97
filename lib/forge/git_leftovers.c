/* What a killed git leaves: lock files, and itself where only its starter was killed. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/forge/git.h"
#include "lib/log.h"

enum { LOCK_DEPTH = 20, ENVIRON_MAX_BYTES = 4 * 1024 * 1024 };

/* ---- locks ---- */

static bool is_lock(int parent, const char *name, int64_t older_than_s)
{
    struct stat info;
    size_t size = strlen(name);
    if (size <= 5 || strcmp(name + size - 5, ".lock") != 0 ||
        fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(info.st_mode))
        return false;
    return older_than_s == 0 || clock_wall_ms() / 1000 - info.st_mtim.tv_sec > older_than_s;
}

static void remove_lock(int parent, const char *name, const char *shown, int64_t older_than_s)
{
    if (is_lock(parent, name, older_than_s) && unlinkat(parent, name, 0) == 0)
        log_info("git", "removed %s/%s, left by a killed git", shown, name);
}

/* Takes fd. Only real directories are entered, and not without end: whoever writes a workspace may
 * have put links there that lead to other people's locks. */
static void remove_locks_in(int fd, const char *shown, int64_t older_than_s, int depth)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        remove_lock(fd, entry->d_name, shown, older_than_s);
        int below = depth == 0 || entry->d_type == DT_REG
                        ? -1
                        : openat(fd, entry->d_name,
                                 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (below >= 0)
            remove_locks_in(below, shown, older_than_s, depth - 1);
    }
    closedir(dir);
}

void git_remove_stale_locks(const char *git_dir, int64_t older_than_s)
{
    static const char *const files[] = {"index.lock",  "HEAD.lock",    "packed-refs.lock",
                                        "config.lock", "shallow.lock", "ORIG_HEAD.lock"};
    int fd = open(git_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        remove_lock(fd, files[i], git_dir, older_than_s);
    int refs = openat(fd, "refs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    close(fd);
    if (refs >= 0)
        remove_locks_in(refs, git_dir, older_than_s, LOCK_DEPTH);
}

/* ---- processes ---- */

/* Only that user may read what is another's. */
static char *read_environment(int pid, const struct identity *as, size_t *size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    char *text = file_read(path, ENVIRON_MAX_BYTES, size);
    if (!text && as) {
        identity_enter(as);
        text = file_read(path, ENVIRON_MAX_BYTES, size);
        identity_leave(as);
    }
    return text;
}

/* Signals every process whose environment names this home; how many there were. */
static int signal_leftovers(const char *home, const struct identity *as, int number)
{
    char *mark = xformat("GIT_ORCH_HOME=%s", home);
    size_t mark_size = strlen(mark) + 1; /* with its NUL */
    int found = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        int pid = atoi(entry->d_name);
        if (pid <= 0 || pid == getpid())
            continue;
        char path[64];
        size_t size;
        snprintf(path, sizeof path, "/proc/%d/comm", pid);
        char *name = file_read(path, 64, NULL);
        bool is_git = name && strncmp(name, "git", 3) == 0; /* not what a forge's hook started */
        free(name);
        if (!is_git)
            continue;
        char *text = read_environment(pid, as, &size);
        if (text && memmem(text, size, mark, mark_size) && kill(pid, number) == 0)
            found++;
        free(text);
    }
    if (dir)
        closedir(dir);
    free(mark);
    return found;
}

/* They get time to come to their own end, which leaves nothing behind; SIGTERM, upon which git
 * removes its locks; then SIGKILL. */
void git_end_leftovers(const char *home, const struct identity *as)
{
    static const struct {
        int signal, tries;
    } table[] = {{0, 200}, {SIGTERM, 200}, {SIGKILL, 500}};
    const struct timespec moment = {.tv_nsec = 10 * 1000000L};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (int tries = 0; tries < table[i].tries; tries++) {
            int number = tries == 0 || table[i].signal == SIGKILL ? table[i].signal : 0;
            if (signal_leftovers(home, as, number) == 0)
                return;
            if (tries == 0)
                log_info("git", "a killed runner left git running; %s",
                         table[i].signal ? strsignal(table[i].signal) : "waiting for its end");
            nanosleep(&moment, NULL);
        }
    }
}
