#include "services/runner/local_watch.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/lock.h"

enum { LOOK_AGAIN_MS = 50 /* only where the keeper cannot be watched */ };

/* The status is seen by its name, which is there before the keeper is gone; the keeper by a
 * descriptor, for one that ends without. Closing an inotify descriptor waits for the kernel, up to
 * tens of milliseconds: that is unwatch's, after the result. */
struct run_watch {
    char *dir;
    int keeper, status, output; /* -1: not watched */
};

static int watch_path(const char *path, uint32_t mask)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd >= 0 && inotify_add_watch(fd, path, mask) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

struct run_watch *local_watch(const char *dir)
{
    struct run_watch *watch = xcalloc(1, sizeof *watch);
    *watch = (struct run_watch){
        .dir = xstrdup(dir), .keeper = -1, .status = watch_path(dir, IN_MOVED_TO), .output = -1};
    return watch;
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void local_unwatch(struct run_watch *watch)
{
    if (!watch)
        return;
    close_one(&watch->keeper);
    close_one(&watch->status);
    close_one(&watch->output);
    free(watch->dir);
    free(watch);
}

/* A descriptor that is readable once the keeper is gone; -1 where it cannot be watched. */
static int watch_keeper(const char *dir)
{
    char *lock = xformat("%s/lock", dir), before[64], after[64];
    lock_holder(lock, before, sizeof before);
    int pid = atoi(before), fd = -1;
    if (pid > 0)
        fd = (int)syscall(SYS_pidfd_open, pid, 0);
    /* Still held, by the same: then the descriptor is of that process and no later one. */
    lock_holder(lock, after, sizeof after);
    if (fd >= 0 && (lock_ask(lock) != LOCK_HELD || strcmp(before, after) != 0))
        close_one(&fd);
    free(lock);
    return fd;
}

/* The log's file; after a rotation its successor's. */
static void watch_output(struct run_watch *watch)
{
    if (watch->output >= 0)
        return;
    char *log = xformat("%s/log", watch->dir);
    watch->output = watch_path(log, IN_MODIFY | IN_MOVE_SELF);
    free(log);
}

/* What is told by it: all of its masks that came. */
static uint32_t take_events(int fd)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    uint32_t came = 0;
    for (ssize_t n; (n = read(fd, events, sizeof events)) > 0;) {
        for (const char *at = events; at < events + n;) {
            const struct inotify_event *event = (const void *)at;
            came |= event->mask;
            at += sizeof *event + event->len;
        }
    }
    return came;
}

static enum run_wake take_output(struct run_watch *watch)
{
    if (take_events(watch->output) & (IN_MOVE_SELF | IN_IGNORED))
        close_one(&watch->output);
    return RUN_WAKE_OUTPUT;
}

enum run_wake local_wait(struct run_watch *watch, int called_fd, bool output, int wait_ms)
{
    if (watch->keeper < 0)
        watch->keeper = watch_keeper(watch->dir);
    if (output)
        watch_output(watch);
    if (watch->keeper < 0) {
        enum run_state state = local_observe(watch->dir);
        if (state == RUN_STATE_ENDED || state == RUN_STATE_LOST || state == RUN_STATE_NEW)
            return RUN_WAKE_END;
        if (wait_ms < 0 || wait_ms > LOOK_AGAIN_MS)
            wait_ms = LOOK_AGAIN_MS;
    }
    struct pollfd fds[] = {{watch->keeper, POLLIN, 0},
                           {watch->status, POLLIN, 0},
                           {called_fd, POLLIN, 0},
                           {output ? watch->output : -1, POLLIN, 0}};
    if (poll(fds, 4, wait_ms) <= 0)
        return RUN_WAKE_TIMEOUT;
    if (fds[0].revents)
        close_one(&watch->keeper); /* where another is started, that one is watched */
    if (fds[1].revents)
        take_events(watch->status);
    if (fds[0].revents || fds[1].revents)
        return RUN_WAKE_END;
    return fds[2].revents ? RUN_WAKE_CALLED : take_output(watch);
}
