/* The commands that show a page. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/clock.h"
#include "tools/orchctl.h"
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
        const struct view view = output_view();
        text_status(health.json, shown ? queue.json : NULL, &view, &out);
        print_text(&out);
    }
    enum ctl_exit result = health.status == 200 ? CTL_DONE : CTL_NOT_REACHABLE;
    http_answer_free(&health);
    http_answer_free(&queue);
    return result;
}

/* Decrefs page. */
static enum ctl_exit show(struct ctl *ctl, json_t *page,
                          void (*text)(const json_t *, const struct view *, struct buffer *))
{
    if (ctl->request.json) {
        print_json(page);
        return CTL_DONE;
    }
    const struct view view = output_view();
    struct buffer out = {0};
    text(page, &view, &out);
    print_text(&out);
    json_decref(page);
    return CTL_DONE;
}

enum ctl_exit ctl_queue(struct ctl *ctl)
{
    enum ctl_exit result;
    json_t *page = http_page(ctl, "/queue", &result);
    return page ? show(ctl, page, text_queue) : result;
}

enum ctl_exit ctl_effects_list(struct ctl *ctl)
{
    enum ctl_exit result;
    json_t *page = http_page(ctl, "/effects", &result);
    return page ? show(ctl, page, text_effects) : result;
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
    enum ctl_exit result;
    const char *project = ctl->request.argument;
    if (project && ctl->config && !config_project(ctl->config, project)) {
        complain("there is no project %s in %s", project, ctl->config->file);
        return CTL_NOT_FOUND;
    }
    char *path = project ? path_of("/tasks?project=", project) : xstrdup("/tasks");
    json_t *page = http_page(ctl, path, &result);
    free(path);
    return page ? show(ctl, page, text_tasks) : result;
}

/* The task, else (*is_issue) the issue of the built-in tracker that nobody started; NULL, *result
 * and a complaint where there is neither. Caller decrefs. */
static json_t *find_task(struct ctl *ctl, bool *is_issue, enum ctl_exit *result)
{
    struct http_answer answer;
    char *path = path_of("/tasks/", ctl->request.argument);
    http_call(ctl, "GET", path, NULL, &answer);
    free(path);
    *is_issue = answer.status == 404;
    if (*is_issue) {
        http_answer_free(&answer);
        path = path_of("/local/issues/", ctl->request.argument);
        http_call(ctl, "GET", path, NULL, &answer);
        free(path);
    }
    *result = http_judge(ctl, &answer);
    json_t *page = *result == CTL_DONE ? json_incref(answer.json) : NULL;
    if (*result == CTL_DONE && !page)
        *result = CTL_NOT_REACHABLE;
    http_answer_free(&answer);
    return page;
}

enum ctl_exit ctl_task_show(struct ctl *ctl)
{
    enum ctl_exit result;
    bool is_issue;
    json_t *page = find_task(ctl, &is_issue, &result);
    return page ? show(ctl, page, is_issue ? text_issue : text_task) : result;
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
    enum ctl_exit result;
    bool is_issue;
    json_t *found = find_task(ctl, &is_issue, &result);
    if (!found)
        return result;
    json_t *why = is_issue ? why_issue(found) : explain_task(ctl, found);
    json_decref(found);
    return show(ctl, why, why_text);
}

/* ---- events ---- */

enum { AT_FIRST_MS = 1000, AWAY_MS = 30000, AWAY_PAUSE_MS = 100 };

struct listening {
    const struct ctl *ctl;
    int64_t after; /* number of the latest one; -1: none yet */
    int64_t heard_ms;
};

/* Lines of server-sent events: only "data:" is of interest. */
static bool show_event(const char *line, void *context)
{
    struct listening *listening = context;
    listening->heard_ms = clock_mono_ms();
    if (strncmp(line, "data:", 5) != 0)
        return true;
    line += 5 + (line[5] == ' ');
    json_t *event = json_loads(line, 0, NULL);
    const json_t *number = json_object_get(event, "seq");
    if (json_is_integer(number))
        listening->after = json_integer_value(number);
    if (listening->ctl->request.json || !event) {
        print_json_line(line);
    } else {
        const struct view view = output_view();
        struct buffer out = {0};
        text_event(event, listening->ctl->request.all, &view, &out);
        print_text(&out);
    }
    json_decref(event);
    return !ferror(stdout);
}

/* Ingress may be restarted meanwhile: then on from the latest number, so that none is missed. */
enum ctl_exit ctl_events(struct ctl *ctl)
{
    enum ctl_exit result = CTL_NOT_REACHABLE;
    struct listening listening = {
        .ctl = ctl, .after = ctl->request.after, .heard_ms = clock_mono_ms()};
    enum stream_end how;
    bool heard = false;
    for (;;) {
        char *path = listening.after >= 0
                         ? xformat("/events?after=%lld", (long long)listening.after)
                         : xstrdup("/events");
        how = http_stream(ctl, path, show_event, &listening, &result);
        free(path);
        if (how == STREAM_TAKEN || how == STREAM_REFUSED)
            break;
        heard = heard || how == STREAM_BROKEN;
        if (how == STREAM_BROKEN)
            listening.heard_ms = clock_mono_ms();
        else if (clock_mono_ms() - listening.heard_ms > (heard ? AWAY_MS : AT_FIRST_MS))
            break;
        poll(NULL, 0, AWAY_PAUSE_MS);
    }
    if (how == STREAM_ABSENT)
        complain("nobody answers at %s%s", ctl->url, heard ? " any more" : "");
    return how == STREAM_TAKEN ? CTL_DONE : result;
}
