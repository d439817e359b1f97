#include "lib/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

int lock_take(const char *path, const char *holder)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    struct flock want = whole_file();
    if (fcntl(fd, F_OFD_SETLK, &want) < 0) {
        int saved = errno == EACCES || errno == EAGAIN ? EWOULDBLOCK : errno;
        close(fd);
        errno = saved;
        return -1;
    }
    /* The words are for people; the lock holds without them. */
    char line[256];
    int size = snprintf(line, sizeof line, "%.250s\n", holder);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, line, (size_t)size, 0) != size)
        errno = 0;
    return fd;
}

enum lock_state lock_ask(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? LOCK_FREE : LOCK_UNKNOWN;
    struct flock ask = whole_file();
    int result = fcntl(fd, F_OFD_GETLK, &ask);
    close(fd);
    if (result < 0)
        return LOCK_UNKNOWN;
    return ask.l_type == F_UNLCK ? LOCK_FREE : LOCK_HELD;
}

void lock_holder(const char *path, char *out, size_t size)
{
    out[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}
