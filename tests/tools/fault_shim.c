/* Loaded before libc (LD_PRELOAD): lets the Nth call of one kind fail, once, in one process's life.
 *
 * FAULT_DIR/<program> holds "KIND N ERRNO" and is taken away by the process that reads it at its start;
 * FAULT_DIR/hits gets a line "<program> <pid> KIND N" when the fault has happened. Kinds: write (also
 * pwrite; regular files only), fsync (also fdatasync), rename, send (sendmsg and writev on sockets). */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char kind[16];
static int number, error;
static atomic_int seen;

static void note(void)
{
    char path[4096], line[200];
    snprintf(path, sizeof path, "%s/hits", getenv("FAULT_DIR"));
    int size = snprintf(line, sizeof line, "%s %d %s %d\n", program_invocation_short_name,
                        (int)getpid(), kind, number);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0 && syscall(SYS_write, fd, line, (size_t)size) != size)
        abort();
    if (fd >= 0)
        close(fd);
}

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("FAULT_DIR");
    char path[4096], text[100] = "";
    if (!folder)
        return;
    snprintf(path, sizeof path, "%s/%s", folder, program_invocation_short_name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (read(fd, text, sizeof text - 1) > 0 &&
        sscanf(text, "%15s %d %d", kind, &number, &error) == 3)
        unlink(path);
    close(fd);
}

/* True where this call is the one. */
static int fails(const char *this_kind)
{
    if (!number || strcmp(kind, this_kind) != 0 || atomic_fetch_add(&seen, 1) + 1 != number)
        return 0;
    note();
    errno = error;
    return 1;
}

static int is_file(int fd)
{
    struct stat status;
    return number && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

static int is_socket(int fd)
{
    struct stat status;
    return number && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

// The C library calls them __fd and the like, which are not ours to use.
// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
ssize_t write(int fd, const void *data, size_t size)
{
    if (is_file(fd) && fails("write"))
        return -1;
    return syscall(SYS_write, fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (is_file(fd) && fails("write"))
        return -1;
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite(fd, data, size, offset);
}

int fsync(int fd)
{
    return fails("fsync") ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return fails("fsync") ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int rename(const char *from, const char *to)
{
    return fails("rename") ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return fails("send") ? -1 : syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (is_socket(fd) && fails("send"))
        return -1;
    return syscall(SYS_writev, fd, parts, count);
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
