#include "lib/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buffer.h"

static int write_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t n = write(fd, at, size);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

char *file_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0)
        return -1;
    int result = fsync(fd);
    int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

int file_sync(const char *path)
{
    return sync_path(path, 0);
}

int file_sync_dir(const char *path)
{
    return sync_path(path, O_DIRECTORY);
}

static int sync_parent(const char *path)
{
    char *parent = file_parent(path);
    int result = file_sync_dir(parent);
    int saved = errno;
    free(parent);
    errno = saved;
    return result;
}

/* Creates name with flags, writes, optionally fsyncs, closes; on failure removes it. */
static int write_new(const char *name, int flags, const void *data, size_t size, mode_t mode,
                     bool durable)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC | flags, mode);
    if (fd < 0)
        return -1;
    int result = write_all(fd, data, size);
    if (result == 0 && durable)
        result = fsync(fd);
    int saved = errno;
    if (close(fd) < 0 && result == 0) {
        result = -1;
        saved = errno;
    }
    if (result < 0)
        unlink(name);
    errno = saved;
    return result;
}

static int replace(const char *path, const void *data, size_t size, mode_t mode, bool durable)
{
    /* The thread id keeps two threads of one process from sharing a temporary. */
    char *temporary = xformat("%s.tmp.%d", path, (int)gettid());
    int result = write_new(temporary, O_TRUNC, data, size, mode, durable);
    if (result == 0 && rename(temporary, path) < 0) {
        int saved = errno;
        unlink(temporary);
        errno = saved;
        result = -1;
    }
    int saved = errno;
    free(temporary);
    errno = saved;
    return result;
}

int file_write_durable(const char *path, const void *data, size_t size, mode_t mode)
{
    return replace(path, data, size, mode, true) == 0 ? sync_parent(path) : -1;
}

int file_write_synced(const char *path, const void *data, size_t size, mode_t mode)
{
    return replace(path, data, size, mode, true);
}

int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode)
{
    return replace(path, data, size, mode, false);
}

int file_create_exclusive(const char *path, const void *data, size_t size, mode_t mode)
{
    if (write_new(path, O_EXCL, data, size, mode, true) < 0)
        return -1;
    return sync_parent(path);
}

char *file_read(const char *path, size_t max, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t used = 0, room = 4096;
    char *data = xrealloc(NULL, room);
    for (;;) {
        ssize_t n = read(fd, data + used, room - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            goto fail;
        if (n == 0)
            break;
        used += (size_t)n;
        if (used > max) {
            errno = EFBIG;
            goto fail;
        }
        if (used + 1 == room)
            data = xrealloc(data, room *= 2);
    }
    close(fd);
    data[used] = '\0';
    if (size)
        *size = used;
    return data;

fail:;
    int saved = errno;
    close(fd);
    free(data);
    errno = saved;
    return NULL;
}

static int make_dir(const char *path, mode_t mode)
{
    if (mkdir(path, mode) == 0)
        return 0;
    int saved = errno;
    struct stat status;
    if (stat(path, &status) < 0)
        errno = saved;
    else if (S_ISDIR(status.st_mode))
        return 0;
    else
        errno = ENOTDIR;
    return -1;
}

int file_make_dirs(const char *path, mode_t mode)
{
    if (!*path) {
        errno = ENOENT;
        return -1;
    }
    char *copy = xstrdup(path);
    int result = 0;
    for (char *at = copy + 1; result == 0; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char kept = *at;
        *at = '\0';
        result = make_dir(copy, mode);
        *at = kept;
        if (kept == '\0')
            break;
    }
    int saved = errno;
    free(copy);
    errno = saved;
    return result;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Package caches are made of directories that forbid writing, to their owner too. */
static int unlink_at(int parent, const char *name, int flags)
{
    int result = unlinkat(parent, name, flags);
    if (result < 0 && errno == EACCES && parent != AT_FDCWD && fchmod(parent, 0700) == 0)
        result = unlinkat(parent, name, flags);
    return result < 0 && errno == ENOENT ? 0 : result;
}

int file_open_dir(int handle)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    int fd = openat(handle, ".", flags);
    if (fd < 0 && errno == EACCES) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", handle);
        fd = chmod(path, 0700) < 0 ? -1 : openat(handle, ".", flags);
    }
    return fd;
}

static int open_dir_at(int parent, const char *name)
{
    int handle = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (handle < 0)
        return -1;
    int fd = file_open_dir(handle), saved = errno;
    close(handle);
    errno = saved;
    return fd;
}

static int remove_at(int parent, const char *name)
{
    if (unlink_at(parent, name, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    int fd = open_dir_at(parent, name);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -1;
    }
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = remove_at(fd, entry->d_name);
    }
    int saved = errno;
    closedir(dir);
    errno = saved;
    return result < 0 ? -1 : unlink_at(parent, name, AT_REMOVEDIR);
}

int file_remove_tree(const char *path)
{
    return remove_at(AT_FDCWD, path);
}
