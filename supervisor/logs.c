#include "supervisor/logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/file.h"
#include "supervisor/text.h"

enum {
    PIPE_BYTES = 1024 * 1024, /* a burst of a service while the supervisor is busy elsewhere */
    READ_BYTES = 64 * 1024,
    READ_ROUNDS = 4,
    /* A wrapped line: every byte may become six ("\u0000"), and the frame */
    OUT_BYTES = 6 * LOG_LINE_MAX + 512,
};

/* ---- console ---- */

void console_open(struct console *console)
{
    console->used = 0;
    console->dropped = 0;
    /* An open file description of our own: O_NONBLOCK on the inherited one would reach whoever
     * shares it. A socket can't be opened so; then there is no other way. */
    console->fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_APPEND | O_NOCTTY | O_CLOEXEC);
    if (console->fd >= 0)
        return;
    console->fd = fcntl(1, F_DUPFD_CLOEXEC, 3);
    if (console->fd >= 0)
        fcntl(console->fd, F_SETFL, fcntl(console->fd, F_GETFL) | O_NONBLOCK);
}

void console_flush(struct console *console)
{
    size_t at = 0;
    while (console->fd >= 0 && at < console->used) {
        ssize_t written = write(console->fd, console->data + at, console->used - at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        at += (size_t)written;
    }
    memmove(console->data, console->data + at, console->used - at);
    console->used -= at;
}

static void console_line(struct console *console, const char *line, size_t size)
{
    if (console->fd < 0)
        return;
    if (console->used + size > CONSOLE_SIZE)
        console_flush(console);
    if (console->dropped) {
        char text[160], now[CLOCK_TEXT_SIZE];
        clock_text(clock_wall_ms(), now);
        int length = snprintf(text, sizeof text,
                              "{\"ts\":\"%s\",\"level\":\"warn\",\"service\":\"supervisor\","
                              "\"event\":\"log_dropped\",\"msg\":\"%llu lines dropped\"}\n",
                              now, (unsigned long long)console->dropped);
        if (console->used + (size_t)length + size <= CONSOLE_SIZE) {
            memcpy(console->data + console->used, text, (size_t)length);
            console->used += (size_t)length;
            console->dropped = 0;
        }
    }
    if (console->dropped || console->used + size > CONSOLE_SIZE) {
        console->dropped++;
        return;
    }
    memcpy(console->data + console->used, line, size);
    console->used += size;
}

/* ---- files ---- */

static void file_path(const struct service_log *log, int64_t number, char out[PATH_MAX])
{
    if (number)
        snprintf(out, PATH_MAX, "%.*s/current.%08lld", PATH_MAX - 40, log->folder,
                 (long long)number);
    else
        snprintf(out, PATH_MAX, "%.*s/current", PATH_MAX - 40, log->folder);
}

static void scan_numbers(struct service_log *log)
{
    struct dirent *entry;
    log->first = 1;
    log->last = 0;
    DIR *directory = opendir(log->folder);
    if (!directory)
        return;
    while ((entry = readdir(directory))) {
        if (strncmp(entry->d_name, "current.", 8) != 0)
            continue;
        char *end;
        int64_t number = strtoll(entry->d_name + 8, &end, 10);
        if (*end || number <= 0)
            continue;
        if (!log->last || number < log->first)
            log->first = number;
        if (number > log->last)
            log->last = number;
    }
    closedir(directory);
}

static int open_current(struct service_log *log)
{
    char path[PATH_MAX];
    struct stat status;
    file_path(log, 0, path);
    log->file_fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (log->file_fd < 0)
        return -1;
    log->file_size = fstat(log->file_fd, &status) ? 0 : status.st_size;
    return 0;
}

static int make_folder(struct service_log *log, const char *home, const char *service)
{
    snprintf(log->service, sizeof log->service, "%s", service);
    if (snprintf(log->folder, sizeof log->folder, "%s/log/%s", home, service) >= PATH_MAX - 40) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (file_make_dirs(log->folder, 0750))
        return -1;
    scan_numbers(log);
    return open_current(log);
}

/* current becomes the youngest of the older ones. Where that fails, current stays. */
static int rotate(struct service_log *log, int64_t keep)
{
    char path[PATH_MAX], older[PATH_MAX];
    file_path(log, 0, path);
    file_path(log, log->last + 1, older);
    if (rename(path, older))
        return -1;
    log->last++;
    for (; log->last - log->first + 1 > keep; log->first++) {
        file_path(log, log->first, older);
        unlink(older);
    }
    return 0;
}

static void write_out(struct service_log *log, const struct logs_settings *settings,
                      const char *data, size_t size)
{
    if (log->file_fd < 0 && open_current(log)) {
        log->dropped++;
        return;
    }
    if (log->file_size > 0 && log->file_size + (int64_t)size > settings->max_bytes) {
        if (rotate(log, settings->keep)) {
            log->dropped++;
            return;
        }
        close(log->file_fd);
        if (open_current(log)) {
            log->dropped++;
            return;
        }
    }
    ssize_t written = write(log->file_fd, data, size);
    if (written == (ssize_t)size) {
        log->file_size += (int64_t)size;
        return;
    }
    log->dropped++;
    /* Disk full in the middle of a line: half a line is worse than none. */
    if (written > 0 && ftruncate(log->file_fd, log->file_size))
        log->file_size += written;
}

static void write_line(struct service_log *log, const struct logs_settings *settings,
                       struct console *console, const char *line, size_t size)
{
    if (log->dropped) {
        char text[256], now[CLOCK_TEXT_SIZE];
        uint64_t dropped = log->dropped;
        clock_text(clock_wall_ms(), now);
        int length = snprintf(text, sizeof text,
                              "{\"ts\":\"%s\",\"level\":\"warn\",\"service\":\"%s\","
                              "\"event\":\"log_dropped\",\"msg\":\"%llu lines dropped\"}\n",
                              now, log->service, (unsigned long long)dropped);
        write_out(log, settings, text, (size_t)length);
        if (log->dropped == dropped)
            log->dropped = 0;
        else
            log->dropped = dropped;
    }
    write_out(log, settings, line, size);
    console_line(console, line, size);
}

/* One line of a service without its newline; `lost` bytes of it were cut. */
static void take_line(struct service_log *log, const struct logs_settings *settings,
                      struct console *console)
{
    static char out[OUT_BYTES];
    size_t size = log->used;
    char *line = log->line;
    if (size && line[size - 1] == '\r')
        size--;
    if (size) {
        size_t kept = size < LOG_LAST_SIZE - 1 ? size : LOG_LAST_SIZE - 1;
        memcpy(log->said, line, kept);
        log->said[kept] = '\0';
    }
    if (settings->text || (!log->lost && log_is_object(line, size))) {
        memcpy(out, line, size);
        out[size++] = '\n';
    } else if (size) {
        char now[CLOCK_TEXT_SIZE];
        clock_text(clock_wall_ms(), now);
        size = log_wrap(log->service, now, line, size, log->lost, out, sizeof out);
    }
    if (size)
        write_line(log, settings, console, out, size);
    log->used = log->lost = 0;
}

int logs_open(struct service_log *log, const char *home, const char *service)
{
    int ends[2];
    if (make_folder(log, home, service))
        return -1;
    if (log->read_fd >= 0)
        return 0;
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    fcntl(ends[0], F_SETFL, O_NONBLOCK); /* our end alone: a service may block on its own output */
    fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    log->read_fd = ends[0];
    log->write_fd = ends[1];
    return 0;
}

/* One read of at most `most` bytes; what read() returned. */
static ssize_t read_some(struct service_log *log, const struct logs_settings *settings,
                         struct console *console, size_t most)
{
    static char data[READ_BYTES];
    ssize_t size =
        log->read_fd < 0 ? 0 : read(log->read_fd, data, most < sizeof data ? most : sizeof data);
    for (char *at = data, *end = data + size; size > 0 && at < end;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t piece = (size_t)((newline ? newline : end) - at);
        size_t room = LOG_LINE_MAX - log->used;
        size_t kept = piece < room ? piece : room;
        memcpy(log->line + log->used, at, kept);
        log->used += kept;
        log->lost += piece - kept;
        if (newline)
            take_line(log, settings, console);
        at += piece + (newline != NULL);
    }
    return size;
}

bool logs_read(struct service_log *log, const struct logs_settings *settings,
               struct console *console)
{
    for (int round = 0; round < READ_ROUNDS; round++)
        if (read_some(log, settings, console, READ_BYTES) <= 0)
            return false;
    return true;
}

size_t logs_pending(const struct service_log *log)
{
    int bytes = 0;
    return log->read_fd >= 0 && ioctl(log->read_fd, FIONREAD, &bytes) == 0 ? (size_t)bytes : 0;
}

void logs_read_last(struct service_log *log, const struct logs_settings *settings,
                    struct console *console, size_t pending)
{
    ssize_t size;
    while (pending && (size = read_some(log, settings, console, pending)) > 0)
        pending -= (size_t)size;
    logs_flush(log, settings, console);
}

void logs_flush(struct service_log *log, const struct logs_settings *settings,
                struct console *console)
{
    if (log->used)
        take_line(log, settings, console);
}

void logs_close(struct service_log *log, const struct logs_settings *settings,
                struct console *console)
{
    while (logs_read(log, settings, console))
        continue;
    logs_flush(log, settings, console);
    if (log->read_fd >= 0)
        close(log->read_fd);
    if (log->write_fd >= 0)
        close(log->write_fd);
    if (log->file_fd >= 0)
        close(log->file_fd);
    log->read_fd = log->write_fd = log->file_fd = -1;
}

/* ---- the supervisor's own ---- */

int logs_own_open(struct service_log *log, const char *home)
{
    log->read_fd = log->write_fd = log->file_fd = -1;
    if (make_folder(log, home, "supervisor"))
        return -1;
    return dup2(log->file_fd, STDERR_FILENO) < 0 ? -1 : 0;
}

void logs_own_tick(struct service_log *log, const struct logs_settings *settings,
                   struct console *console)
{
    struct stat status;
    if (log->file_fd < 0 || fstat(log->file_fd, &status))
        return;
    while (console->fd >= 0 && log->file_size < status.st_size) {
        ssize_t size = pread(log->file_fd, log->line, LOG_LINE_MAX, log->file_size);
        char *newline = size > 0 ? memrchr(log->line, '\n', (size_t)size) : NULL;
        if (!newline)
            break;
        size_t whole = (size_t)(newline - log->line) + 1;
        for (size_t at = 0; at < whole;) {
            size_t length =
                (size_t)((char *)memchr(log->line + at, '\n', whole - at) - (log->line + at)) + 1;
            console_line(console, log->line + at, length);
            at += length;
        }
        log->file_size += (int64_t)whole;
    }
    log->file_size = status.st_size;
    if (status.st_size < settings->max_bytes || rotate(log, settings->keep))
        return;
    int old = log->file_fd;
    if (open_current(log)) {
        log->file_fd = old;
        return;
    }
    close(old);
    dup2(log->file_fd, STDERR_FILENO);
}
