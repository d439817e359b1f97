/* The commands that show a page. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/clock.h"
#include "tools/orchctl.h"
#include "tools/text.h"
#include "tools/why.h"

/* /health is a page also where it says 503. */
enum ctl_exit ctl_status(struct ctl *ctl)
{
    struct http_answer health, queue;
    struct buffer out = {0};
    http_call(ctl, "GET", "/health", NULL, &health);
    if (!health.json) {
        enum ctl_exit result = http_judge(ctl, &health);
        http_answer_free(&health);
        return result == CTL_DONE ? CTL_NOT_REACHABLE : result;
    }
    http_call(ctl, "GET", "/queue", NULL, &queue);
    bool shown = queue.status == 200 && queue.json;
    if (queue.status == 401)
        http_judge(ctl, &queue);
    if (ctl->request.json) {
        print_json(
            json_pack("{s:O,s:O?}", "health", health.json, "queue", shown ? queue.json : NULL));
    } else {
        text_status(health.json, shown ? queue.json : NULL, clock_wall_ms(), &out);
        print_text(&out);
    }
    enum ctl_exit result = health.status == 200 ? CTL_DONE : CTL_NOT_REACHABLE;
    http_answer_free(&health);
    http_answer_free(&queue);
    return result;
}

static enum ctl_exit show_page(struct ctl *ctl, const char *path,
                               void (*show)(const json_t *, int64_t, struct buffer *))
{
    enum ctl_exit result;
    json_t *page = http_page(ctl, path, &result);
    if (!page)
        return result;
    if (ctl->request.json) {
        print_json(page);
    } else {
        struct buffer out = {0};
        show(page, clock_wall_ms(), &out);
        print_text(&out);
        json_decref(page);
    }
    return CTL_DONE;
}

enum ctl_exit ctl_queue(struct ctl *ctl)
{
    return show_page(ctl, "/queue", text_queue);
}

static char *path_of(const char *before, const char *name)
{
    char *escaped = http_escape(name);
    char *path = xformat("%s%s", before, escaped);
    free(escaped);
    return path;
}

enum ctl_exit ctl_task_list(struct ctl *ctl)
{
    char *path = ctl->request.argument ? path_of("/tasks?project=", ctl->request.argument)
                                       : xstrdup("/tasks");
    enum ctl_exit result = show_page(ctl, path, text_tasks);
    free(path);
    return result;
}

enum ctl_exit ctl_task_show(struct ctl *ctl)
{
    char *path = path_of("/tasks/", ctl->request.argument);
    enum ctl_exit result = show_page(ctl, path, text_task);
    free(path);
    return result;
}

/* The answer for a key that is no task: perhaps an issue that nobody started. */
static json_t *explain_issue(struct ctl *ctl, enum ctl_exit *result)
{
    char *path = path_of("/local/issues/", ctl->request.argument);
    json_t *issue = http_page(ctl, path, result);
    json_t *why = issue ? why_issue(issue) : NULL;
    json_decref(issue);
    free(path);
    return why;
}

static json_t *explain_task(struct ctl *ctl, const json_t *task)
{
    struct http_answer queue;
    http_call(ctl, "GET", "/queue", NULL, &queue);
    json_t *why = why_task(task, queue.status == 200 ? queue.json : NULL);
    http_answer_free(&queue);
    return why;
}

enum ctl_exit ctl_why(struct ctl *ctl)
{
    struct http_answer task;
    struct buffer out = {0};
    char *path = path_of("/tasks/", ctl->request.argument);
    http_call(ctl, "GET", path, NULL, &task);
    free(path);
    enum ctl_exit result = task.status == 404 ? CTL_DONE : http_judge(ctl, &task);
    json_t *why = NULL;
    if (task.status == 404)
        why = explain_issue(ctl, &result);
    else if (result == CTL_DONE)
        why = explain_task(ctl, task.json);
    http_answer_free(&task);
    if (!why)
        return result;
    if (ctl->request.json) {
        print_json(why);
        return CTL_DONE;
    }
    why_text(why, clock_wall_ms(), &out);
    print_text(&out);
    json_decref(why);
    return CTL_DONE;
}

/* Lines of server-sent events: only "data:" is of interest. */
static bool show_event(const char *line, void *context)
{
    const struct ctl *ctl = context;
    if (strncmp(line, "data:", 5) != 0)
        return true;
    line += 5 + (line[5] == ' ');
    json_t *event = ctl->request.json ? NULL : json_loads(line, 0, NULL);
    struct buffer out = {0};
    if (event)
        text_event(event, &out);
    else
        buffer_format(&out, "%s\n", line);
    json_decref(event);
    print_text(&out);
    return !ferror(stdout);
}

enum ctl_exit ctl_events(struct ctl *ctl)
{
    char *path = ctl->request.after >= 0
                     ? xformat("/events?after=%lld", (long long)ctl->request.after)
                     : xstrdup("/events");
    enum ctl_exit result = http_stream(ctl, path, show_event, ctl);
    free(path);
    return result;
}
