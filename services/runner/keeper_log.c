#include "services/runner/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/buffer.h"

enum { WATCHED_LINE_MAX = 64 * 1024 };

static int open_log(struct keeper_log *log)
{
    log->fd = open(log->name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct stat info;
    log->size = log->fd >= 0 && fstat(log->fd, &info) == 0 ? info.st_size : 0;
    return log->fd < 0 ? -1 : 0;
}

int keeper_log_open(struct keeper_log *log, const char *name)
{
    *log = (struct keeper_log){.name = name, .fd = -1};
    return open_log(log);
}

static void rotate(struct keeper_log *log)
{
    char old[64];
    snprintf(old, sizeof old, "%s.1", log->name);
    close(log->fd);
    rename(log->name, old);
    open_log(log);
}

/* A full disk loses output, never the run: the agent goes on and status says how it ended. */
static void put(struct keeper_log *log, const char *data, size_t size)
{
    while (size && log->fd >= 0) {
        ssize_t n = write(log->fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        data += n;
        size -= (size_t)n;
        log->size += n;
    }
}

/* A piece without a newline, but perhaps at its end. */
static void put_piece(struct keeper_log *log, const char *data, size_t size)
{
    if (!log->in_line && log->max > 0 && log->size > 0 && log->size + (int64_t)size > log->max)
        rotate(log);
    if (!log->in_line)
        log->line_size = 0;
    bool ends = data[size - 1] == '\n';
    int64_t room = log->max > 0 ? log->max - log->line_size : (int64_t)size;
    if (room >= (int64_t)size)
        put(log, data, size);
    else if (room > 0)
        put(log, data, (size_t)room);
    if (ends && room < (int64_t)size)
        put(log, "\n", 1);
    log->line_size += (int64_t)size;
    log->in_line = !ends;
}

void keeper_log_write(struct keeper_log *log, const char *data, size_t size)
{
    while (size) {
        const char *end = memchr(data, '\n', size);
        size_t piece = end ? (size_t)(end - data) + 1 : size;
        put_piece(log, data, piece);
        data += piece;
        size -= piece;
    }
}

void keeper_log_close(struct keeper_log *log)
{
    if (log->fd < 0)
        return;
    if (log->in_line)
        put(log, "\n", 1);
    if (log->size > 0)
        fdatasync(log->fd);
    close(log->fd);
    log->fd = -1;
}

static int64_t announced_wait(const char *line, size_t size)
{
    if (!memmem(line, size, "api_retry", strlen("api_retry")))
        return 0;
    json_t *object = json_loadb(line, size, 0, NULL);
    const char *subtype = json_string_value(json_object_get(object, "subtype"));
    double delay = json_number_value(json_object_get(object, "retry_delay_ms"));
    int64_t wait = 0;
    if (subtype && strcmp(subtype, "api_retry") == 0 && delay > 0 && delay < 24 * 3600e3)
        wait = (int64_t)delay;
    json_decref(object);
    return wait;
}

int64_t keeper_watch_feed(struct keeper_watch *watch, const char *data, size_t size)
{
    int64_t longest = 0;
    if (!watch->line)
        watch->line = xcalloc(1, WATCHED_LINE_MAX);
    while (size) {
        const char *end = memchr(data, '\n', size);
        size_t piece = end ? (size_t)(end - data) : size;
        size_t room = WATCHED_LINE_MAX - watch->size;
        memcpy(watch->line + watch->size, data, piece < room ? piece : room);
        watch->size += piece < room ? piece : room;
        if (end) {
            int64_t wait = announced_wait(watch->line, watch->size);
            longest = wait > longest ? wait : longest;
            watch->size = 0;
            piece++;
        }
        data += piece;
        size -= piece;
    }
    return longest;
}
