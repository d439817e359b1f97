#include "supervisor/control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_fifo(const char *folder, const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/supervise/%s", folder, name) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (mkfifo(path, 0600) && errno != EEXIST)
        return -1;
    return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
}

int control_open(struct control *control, const char *folder)
{
    control->control_fd = open_fifo(folder, "control");
    control->ok_fd = control->control_fd < 0 ? -1 : open_fifo(folder, "ok");
    if (control->ok_fd >= 0)
        return 0;
    int error = errno;
    control_close(control);
    errno = error;
    return -1;
}

void control_close(struct control *control)
{
    if (control->control_fd >= 0)
        close(control->control_fd);
    if (control->ok_fd >= 0)
        close(control->ok_fd);
    control->control_fd = control->ok_fd = -1;
}

size_t control_read(const struct control *control, char *letters, size_t size)
{
    ssize_t got = control->control_fd < 0 ? 0 : read(control->control_fd, letters, size);
    return got > 0 ? (size_t)got : 0;
}

int control_replace(const char *path, const void *data, size_t size, mode_t mode)
{
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, data, size);
    int error = written < 0 ? errno : (size_t)written < size ? ENOSPC : 0;
    close(fd);
    if (!error && rename(beside, path) == 0)
        return 0;
    if (!error)
        error = errno;
    unlink(beside);
    errno = error;
    return -1;
}

static int replace_in(const char *folder, const char *name, const void *data, size_t size)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/supervise/%s", folder, name) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return control_replace(path, data, size, 0644);
}

int control_publish(const char *folder, const struct status_facts *facts,
                    struct control_record *before)
{
    struct control_record now = {.pid = facts->pid, .pid_written = true};
    char pid[16] = "";
    status_bytes(facts, now.status);
    status_text(facts, now.stat);
    if (facts->pid)
        snprintf(pid, sizeof pid, "%d\n", facts->pid);
    /* status last: who sees the new record finds the texts that belong to it */
    if ((now.pid != before->pid || !before->pid_written) &&
        replace_in(folder, "pid", pid, strlen(pid)))
        return -1;
    if (strcmp(now.stat, before->stat) != 0 &&
        replace_in(folder, "stat", now.stat, strlen(now.stat)))
        return -1;
    if (memcmp(now.status, before->status, sizeof now.status) != 0 &&
        replace_in(folder, "status", now.status, sizeof now.status))
        return -1;
    *before = now;
    return 0;
}
