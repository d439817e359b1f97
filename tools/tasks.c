/* New tasks, and the operator's commands on them. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/lock.h"
#include "protocol/vocabulary.h"
#include "tools/orchctl.h"

enum { BODY_MAX = 512 * 1024, LOCK_MS = 10000, SHOWN_MS = 5000, LOOK_MS = 20 };

/* The person at the keyboard; a name that is a role's is no person's. */
static const char *actor_of(const struct ctl *ctl)
{
    const char *actor = ctl->request.actor ? ctl->request.actor : getenv("USER");
    if (!actor || !*actor || (!ctl->request.actor && role_is_reserved(actor)))
        return NULL;
    return actor;
}

enum ctl_exit ctl_act(struct ctl *ctl, const char *command)
{
    struct http_answer answer;
    char *key = http_escape(ctl->request.argument);
    char *path = xformat("/tasks/%s/%s", key, command);
    json_t *body = json_pack("{s:s*,s:s*}", "actor", actor_of(ctl), "text", ctl->request.text);
    http_call(ctl, "POST", path, body, &answer);
    json_decref(body);
    free(path);
    free(key);
    const char *result = json_string_value(json_object_get(answer.json, "result"));
    const char *reason = json_string_value(json_object_get(answer.json, "reason"));
    enum ctl_exit code = request_exit(answer.status);
    if (!result)
        code = http_judge(ctl, &answer);
    if (answer.json && ctl->request.json)
        print_json(json_incref(answer.json));
    else if (result)
        printf("%s: %s\n", result, reason ? reason : "");
    http_answer_free(&answer);
    return code;
}

/* ---- a new issue ---- */

static char *read_stdin(void)
{
    struct buffer text = {0};
    char chunk[8192];
    size_t n;
    while (text.size <= BODY_MAX && (n = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        buffer_add(&text, chunk, n);
    return buffer_take(&text);
}

/* Caller frees; NULL and a complaint. */
static char *read_body(const struct ctl *ctl)
{
    const char *path = ctl->request.body_file;
    if (!path)
        return xstrdup("");
    char *text = strcmp(path, "-") == 0 ? read_stdin() : file_read(path, BODY_MAX, NULL);
    if (!text)
        complain("cannot read %s: %s", path, strerror(errno));
    return text;
}

/* Two of us at once must not choose one number; across machines the second would replace the
 * first's title. -1: none could be taken (a remote instance), which is no fault. */
static int lock_numbers(const struct ctl *ctl)
{
    if (!ctl->config)
        return -1;
    char *path = config_home_path(ctl->config, "lock/orchctl.lock");
    char *holder = xformat("orchctl pid %d", (int)getpid());
    int64_t until = clock_mono_ms() + LOCK_MS;
    int fd;
    while ((fd = lock_take(path, holder)) < 0 && errno == EWOULDBLOCK && clock_mono_ms() < until)
        poll(NULL, 0, LOOK_MS);
    free(holder);
    free(path);
    return fd;
}

/* Caller frees; NULL and *result. */
static char *choose_key(const struct ctl *ctl, enum ctl_exit *result)
{
    const char *project = ctl->request.argument;
    char *escaped = http_escape(project);
    char *path = xformat("/local/issues?project=%s", escaped);
    json_t *issues = http_page(ctl, path, result);
    free(path);
    free(escaped);
    if (!issues)
        return NULL;
    size_t count = json_array_size(issues);
    const char **keys = xcalloc(count + 1, sizeof *keys);
    for (size_t i = 0; i < count; i++) {
        const char *key = json_string_value(json_object_get(json_array_get(issues, i), "key"));
        keys[i] = key ? key : "";
    }
    char *key = xformat("%s-%lld", project, (long long)request_next_number(project, keys, count));
    free(keys);
    json_decref(issues);
    return key;
}

static void make_delivery(char out[33])
{
    unsigned char bytes[16] = {0};
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        complain("no random bytes: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static json_t *issue_event(const struct ctl *ctl, const char *key, const char *body)
{
    const struct ctl_request *request = &ctl->request;
    char delivery[33];
    json_t *labels = json_array();
    make_delivery(delivery);
    for (size_t i = 0; i < request->label_count; i++)
        json_array_append_new(labels, json_string(request->labels[i]));
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:s*}", "delivery", delivery, "kind", "issue",
                     "issue", key, "title", request->title, "body", body, "status",
                     request->no_start ? "Backlog" : status_table[STATUS_TO_ANALYSE].name, "labels",
                     labels, "actor", actor_of(ctl));
}

/* Until it is shown, the next one of us would choose the same number. */
static bool wait_until_shown(const struct ctl *ctl, const char *key)
{
    char *path = xformat("/local/issues/%s", key);
    int64_t until = clock_mono_ms() + SHOWN_MS;
    bool shown = false;
    while (!shown && clock_mono_ms() < until) {
        struct http_answer answer;
        http_call(ctl, "GET", path, NULL, &answer);
        shown = answer.status == 200;
        http_answer_free(&answer);
        if (!shown)
            poll(NULL, 0, LOOK_MS);
    }
    free(path);
    return shown;
}

static enum ctl_exit post_issue(struct ctl *ctl, const char *key, const char *body)
{
    struct http_answer answer;
    json_t *event = issue_event(ctl, key, body);
    if (!event) {
        complain("title, description and labels must be UTF-8");
        return CTL_USAGE;
    }
    http_call(ctl, "POST", "/webhook/local", event, &answer);
    json_decref(event);
    enum ctl_exit result = http_judge(ctl, &answer);
    json_int_t event_id = json_integer_value(json_object_get(answer.json, "event_id"));
    http_answer_free(&answer);
    if (result != CTL_DONE)
        return result;
    if (!wait_until_shown(ctl, key))
        complain("accepted, and not shown yet: the scheduler does not answer");
    if (ctl->request.json)
        print_json(json_pack("{s:s,s:I}", "key", key, "event_id", event_id));
    else
        printf("%s\n", key);
    return CTL_DONE;
}

enum ctl_exit ctl_task_new(struct ctl *ctl)
{
    enum ctl_exit result = CTL_NOT_FOUND;
    const struct project *project =
        ctl->config ? config_project(ctl->config, ctl->request.argument) : NULL;
    if (ctl->config && !project) {
        complain("no project %s in %s", ctl->request.argument, ctl->config->file);
        return CTL_NOT_FOUND;
    }
    if (project && strcmp(project->tracker, "local") != 0) {
        complain("project %s has its issues in %s: write it there", project->key, project->tracker);
        return CTL_REFUSED;
    }
    char *body = read_body(ctl);
    if (!body)
        return CTL_USAGE;
    int lock = lock_numbers(ctl);
    char *key = choose_key(ctl, &result);
    if (key)
        result = post_issue(ctl, key, body);
    if (lock >= 0)
        close(lock);
    free(key);
    free(body);
    return result;
}
