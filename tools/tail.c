/* The log of a run or of a service, its last lines and what comes after them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "protocol/address.h"
#include "tools/orchctl.h"
#include "tools/text.h"

enum { LOOK_MS = 200, BLOCK = 65536 };

struct tail {
    const struct ctl *ctl;
    bool raw; /* an agent's own words, or JSON wanted */
    struct buffer rest;
};

/* supervisor's own log stands beside its services'. */
static bool is_service(const char *name)
{
    return service_by_name(name) != SERVICE_COUNT || strcmp(name, "supervisor") == 0;
}

/* Path of the log of the task's latest run. Caller frees; NULL and *result. */
static char *find_run_log(struct ctl *ctl, enum ctl_exit *result)
{
    char *key = http_escape(ctl->request.argument);
    char *page = xformat("/tasks/%s", key), *path = NULL;
    json_t *task = http_page(ctl, page, result);
    json_t *runs = json_object_get(task, "runs");
    const char *id = NULL;
    if (json_array_size(runs))
        id = json_string_value(
            json_object_get(json_array_get(runs, json_array_size(runs) - 1), "id"));
    if (id) {
        path = config_home_path(ctl->config, "runs/%s/log", id);
    } else if (task) {
        complain("%s has no run yet", ctl->request.argument);
        *result = CTL_NOT_FOUND;
    }
    json_decref(task);
    free(page);
    free(key);
    return path;
}

static void print_line(struct tail *tail, const char *line)
{
    struct buffer out = {0};
    if (tail->raw)
        buffer_format(&out, "%s\n", line);
    else
        text_log_line(line, &out);
    print_text(&out);
}

static void take(struct tail *tail, const char *data, size_t size)
{
    buffer_add(&tail->rest, data, size);
    char *line = tail->rest.data, *stop;
    while (line && (stop = strchr(line, '\n')) != NULL) {
        *stop = '\0';
        print_line(tail, line);
        line = stop + 1;
    }
    if (!line)
        return;
    size_t left = tail->rest.size - (size_t)(line - tail->rest.data);
    memmove(tail->rest.data, line, left + 1);
    tail->rest.size = left;
}

/* Where the last lines begin. */
static off_t last_lines(int fd, int lines)
{
    char block[BLOCK];
    off_t at = lseek(fd, 0, SEEK_END);
    bool final = true; /* the newline at the very end ends the last line and begins none */
    while (at > 0) {
        size_t size = at < BLOCK ? (size_t)at : BLOCK;
        at -= (off_t)size;
        if (pread(fd, block, size, at) != (ssize_t)size)
            return 0;
        for (size_t i = size; i-- > 0;) {
            if (block[i] == '\n' && !final && --lines <= 0)
                return at + (off_t)i + 1;
            final = false;
        }
    }
    return 0;
}

static void copy_rest(struct tail *tail, int fd)
{
    char block[BLOCK];
    ssize_t n;
    while ((n = read(fd, block, sizeof block)) > 0)
        take(tail, block, (size_t)n);
}

/* True where path is another file by now (rotated) or was cut. */
static bool has_moved(const char *path, int fd)
{
    struct stat now, open_one;
    if (stat(path, &now) < 0 || fstat(fd, &open_one) < 0)
        return false;
    return now.st_ino != open_one.st_ino || now.st_size < lseek(fd, 0, SEEK_CUR);
}

static enum ctl_exit show(struct tail *tail, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        complain("%s: %s", path, strerror(errno));
        return CTL_NOT_FOUND;
    }
    lseek(fd, tail->ctl->request.lines ? last_lines(fd, tail->ctl->request.lines) : 0,
          tail->ctl->request.lines ? SEEK_SET : SEEK_END);
    copy_rest(tail, fd);
    while (tail->ctl->request.follow && !ferror(stdout)) {
        poll(NULL, 0, LOOK_MS);
        copy_rest(tail, fd);
        if (!has_moved(path, fd))
            continue;
        close(fd);
        while ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
            poll(NULL, 0, LOOK_MS);
        copy_rest(tail, fd);
    }
    if (tail->rest.size)
        print_line(tail, tail->rest.data);
    buffer_free(&tail->rest);
    close(fd);
    return CTL_DONE;
}

enum ctl_exit ctl_tail(struct ctl *ctl)
{
    enum ctl_exit result = CTL_DONE;
    bool service = is_service(ctl->request.argument);
    struct tail tail = {.ctl = ctl, .raw = ctl->request.json || !service};
    if (!instance_config(ctl)) {
        complain("logs are files of the instance: name its configuration with -c");
        return CTL_NOT_REACHABLE;
    }
    char *path = service ? config_home_path(ctl->config, "log/%s/current", ctl->request.argument)
                         : find_run_log(ctl, &result);
    if (path)
        result = show(&tail, path);
    free(path);
    return result;
}
