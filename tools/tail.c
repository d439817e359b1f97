/* What an agent says, or the log of a service: its last lines and what comes after them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/file.h"
#include "lib/mask.h"
#include "protocol/address.h"
#include "tools/orchctl.h"

enum { LOOK_MS = 200, LOOKS_PER_ASK = 10, BLOCK = 65536, LAUNCH_MAX_BYTES = 8 << 20 };

struct tail {
    struct ctl *ctl;
    void (*show)(const char *line, const struct view *view, struct buffer *out);
    char *run;  /* whose output is shown; NULL: of a service */
    bool ended; /* its task is done or cancelled: nothing comes after it */
    struct buffer rest;
};

/* supervisor's own log stands beside its services'. */
static bool is_service(const char *name)
{
    return service_by_name(name) != SERVICE_COUNT || strcmp(name, "supervisor") == 0;
}

/* The task's latest run of an agent (a reserved job says nothing there). Caller frees; NULL. */
static char *latest_run(const json_t *task)
{
    const char *found = NULL;
    const json_t *run;
    size_t index;
    json_array_foreach(json_object_get(task, "runs"), index, run)
    {
        if (text_field(run, "role") && text_field(run, "id"))
            found = text_field(run, "id");
    }
    return found ? xstrdup(found) : NULL;
}

static char *page_of(const struct ctl *ctl)
{
    char *key = http_escape(ctl->request.argument);
    char *page = xformat("/tasks/%s", key);
    free(key);
    return page;
}

static char *find_run(struct ctl *ctl, enum ctl_exit *result)
{
    char *page = page_of(ctl);
    json_t *task = http_page(ctl, page, result);
    char *run = latest_run(task);
    if (task && !run) {
        complain("%s: no agent has worked on it yet", ctl->request.argument);
        *result = CTL_NOT_FOUND;
    }
    json_decref(task);
    free(page);
    return run;
}

static void print_line(struct tail *tail, char *line)
{
    mask_text(line);
    if (tail->ctl->request.json) {
        print_json_line(line);
        return;
    }
    const struct view view = output_view();
    struct buffer out = {0};
    tail->show(line, &view, &out);
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

/* A last line that nobody ended. */
static void end_line(struct tail *tail)
{
    if (tail->rest.size)
        print_line(tail, tail->rest.data);
    buffer_free(&tail->rest);
}

/* True where path is another file by now (rotated) or was cut. */
static bool has_moved(const char *path, int fd)
{
    struct stat now, open_one;
    if (stat(path, &now) < 0 || fstat(fd, &open_one) < 0)
        return false;
    return now.st_ino != open_one.st_ino || now.st_size < lseek(fd, 0, SEEK_CUR);
}

/* True where the next agent of the task has begun, or there will be none. Who asks in vain asks
 * again: the services may be restarting. */
static bool is_over(struct tail *tail, int looks)
{
    struct http_answer answer;
    if (!tail->run || looks % LOOKS_PER_ASK != 0)
        return false;
    char *page = page_of(tail->ctl);
    http_call(tail->ctl, "GET", page, NULL, &answer);
    free(page);
    char *latest = answer.status == 200 ? latest_run(answer.json) : NULL;
    tail->ended = json_is_true(json_object_get(answer.json, "terminal"));
    http_answer_free(&answer);
    bool other = latest && strcmp(latest, tail->run) != 0;
    if (other) {
        free(tail->run);
        tail->run = latest;
        tail->ended = false; /* its output is still to be shown */
    } else {
        free(latest);
    }
    return other || tail->ended;
}

/* As the file grows, is rotated, or gives way to the next run's. */
static void follow(struct tail *tail, const char *path, int fd)
{
    for (int looks = 1; !ferror(stdout); looks++) {
        poll(NULL, 0, LOOK_MS);
        copy_rest(tail, fd);
        if (is_over(tail, looks)) {
            copy_rest(tail, fd);
            break;
        }
        if (!has_moved(path, fd))
            continue;
        int next = open(path, O_RDONLY | O_CLOEXEC);
        if (next < 0)
            continue;
        dup3(next, fd, O_CLOEXEC);
        close(next);
        copy_rest(tail, fd);
    }
}

static enum ctl_exit show(struct tail *tail, const char *path, int lines)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (int i = 0; fd < 0 && tail->run && i < LOOKS_PER_ASK; i++) { /* the keeper just starts */
        poll(NULL, 0, LOOK_MS);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        complain("%s: %s", path, strerror(errno));
        return CTL_NOT_FOUND;
    }
    lseek(fd, lines ? last_lines(fd, lines) : 0, lines ? SEEK_SET : SEEK_END);
    copy_rest(tail, fd);
    if (tail->ctl->request.follow)
        follow(tail, path, fd);
    end_line(tail);
    close(fd);
    return CTL_DONE;
}

static void say_plainly(const char *line, const struct view *view, struct buffer *out)
{
    text_paint(out, view, STYLE_WARNING, line);
    buffer_text(out, "\n");
}

static void head(const struct tail *tail, const char *what)
{
    if (!tail->ctl->request.json) {
        const struct view view = output_view();
        struct buffer out = {0};
        char *words = xformat("== %s%s", tail->run, what);
        text_paint(&out, &view, STYLE_STRONG, words);
        buffer_text(&out, "\n");
        print_text(&out);
        free(words);
    }
}

/* What the agent complained of, where it did. */
static void show_errors(struct tail *tail)
{
    struct stat status;
    char *path = config_home_path(tail->ctl->config, "runs/%s/err", tail->run);
    if (stat(path, &status) == 0 && status.st_size > 0) {
        head(tail, ", standard error");
        tail->show = say_plainly;
        show(tail, path, tail->ctl->request.lines);
    }
    free(path);
}

/* The log is what the agent wrote, word for word; what it was given to keep stands in its launch.
 */
static void hide_secrets(const struct tail *tail)
{
    char *path = config_home_path(tail->ctl->config, "runs/%s/launch.json", tail->run);
    size_t size, index;
    char *text = file_read(path, LAUNCH_MAX_BYTES, &size);
    json_t *launch = text ? json_loadb(text, size, 0, NULL) : NULL, *entry;
    mask_add_config(tail->ctl->config, NULL);
    json_array_foreach(json_object_get(launch, "env"), index, entry)
    {
        char *name = xstrdup(json_string_value(entry) ? json_string_value(entry) : "");
        char *value = strchr(name, '=');
        if (value)
            *value++ = '\0';
        if (value && mask_is_secret_name(name))
            mask_add(value);
        free(name);
    }
    json_decref(launch);
    free(text);
    free(path);
}

static enum ctl_exit tail_task(struct tail *tail)
{
    enum ctl_exit result;
    int lines = tail->ctl->request.lines;
    tail->run = find_run(tail->ctl, &result);
    while (tail->run && result == CTL_DONE && !ferror(stdout)) {
        char *path = config_home_path(tail->ctl->config, "runs/%s/log", tail->run);
        head(tail, "");
        hide_secrets(tail);
        tail->show = text_agent_line;
        result = show(tail, path, lines);
        free(path);
        if (!tail->ctl->request.follow)
            show_errors(tail);
        if (!tail->ctl->request.follow || tail->ended)
            break;
        lines = INT32_MAX; /* of the next run all */
    }
    free(tail->run);
    return result;
}

enum ctl_exit ctl_tail(struct ctl *ctl)
{
    struct tail tail = {.ctl = ctl, .show = text_log_line};
    if (!instance_config(ctl)) {
        complain("logs are files of the instance: name its configuration with -c");
        return CTL_NOT_REACHABLE;
    }
    if (!is_service(ctl->request.argument))
        return tail_task(&tail);
    char *path = config_home_path(ctl->config, "log/%s/current", ctl->request.argument);
    enum ctl_exit result = show(&tail, path, ctl->request.lines);
    free(path);
    return result;
}
