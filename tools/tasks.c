/* Issues of the built-in tracker: written and started. */
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

enum {
    TITLE_MOST = 255, /* characters, as the trackers have it */
    NAME_MOST = 64,
    BODY_MOST = 512 * 1024, /* bytes */
    NUMBERS_MOST = 64 * 1024,
    LOCK_MS = 15000,
    SEND_MS = 10000,
    SHOWN_MS = 5000,
    LOOK_MS = 20,
    RESEND_PAUSE_MS = 200,
};

/* ---- what is given ---- */

static bool check(const char *field, const char *text, size_t most)
{
    char fault[200];
    if (!text ||
        request_check_text(field, text, strlen(text), most, TEXT_LINE, fault, sizeof fault))
        return true;
    complain("%s", fault);
    return false;
}

static bool check_request(const struct ctl_request *request)
{
    bool good =
        check("--title", request->title, TITLE_MOST) && check("--actor", request->actor, NAME_MOST);
    for (size_t i = 0; good && i < request->label_count; i++)
        good = check("--label", request->labels[i], NAME_MOST);
    return good;
}

static char *read_stdin(size_t *size)
{
    struct buffer text = {0};
    char chunk[8192];
    size_t n;
    while (text.size <= BODY_MOST && (n = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        buffer_add(&text, chunk, n);
    *size = text.size;
    if (text.size > BODY_MOST) {
        buffer_free(&text);
        errno = EFBIG;
        return NULL;
    }
    return buffer_take(&text);
}

/* Caller frees; NULL and a complaint. */
static char *read_body(const struct ctl *ctl)
{
    const char *path = ctl->request.body_file;
    char fault[200];
    size_t size = 0;
    if (!path)
        return xstrdup("");
    char *text = strcmp(path, "-") == 0 ? read_stdin(&size) : file_read(path, BODY_MOST, &size);
    if (!text && errno == EFBIG)
        complain("--body-file: %s is longer than %d bytes", path, BODY_MOST);
    else if (!text)
        complain("--body-file: cannot read %s: %s", path, strerror(errno));
    else if (!request_check_text("--body-file", text, size, BODY_MOST, TEXT_BODY, fault,
                                 sizeof fault)) {
        complain("%s of %s", fault, path);
        free(text);
        text = NULL;
    }
    return text;
}

/* ---- the number ---- */

/* Two of us at once must not choose one number: the second issue would replace the first one's
 * title. -1 with EWOULDBLOCK where another holds it for long; any other -1 is an instance whose
 * files are not ours to write (a remote one), where nothing can be locked. */
static int lock_numbers(const struct ctl *ctl)
{
    if (!ctl->config) {
        errno = ENOENT;
        return -1;
    }
    char *path = config_home_path(ctl->config, "lock/orchctl.lock");
    char *holder = xformat("orchctl pid %d", (int)getpid());
    int64_t until = clock_mono_ms() + LOCK_MS;
    int fd;
    while ((fd = lock_take(path, holder)) < 0 && errno == EWOULDBLOCK && clock_mono_ms() < until)
        poll(NULL, 0, LOOK_MS);
    int fault = errno;
    free(holder);
    free(path);
    errno = fault;
    return fd;
}

/* The greatest number given out per project. The pages show an issue only when the scheduler has
 * read of it; while it is down, this file knows more. */
static json_t *read_numbers(const char *path)
{
    size_t size = 0;
    char *text = file_read(path, NUMBERS_MOST, &size);
    json_t *numbers = text ? json_loadb(text, size, 0, NULL) : NULL;
    free(text);
    if (!json_is_object(numbers)) {
        json_decref(numbers);
        numbers = json_object();
    }
    return numbers;
}

/* Written before the issue is sent: a number that was perhaps used is not used again. */
static int64_t reserve_number(const struct ctl *ctl, const char *project, int64_t number)
{
    char *path = config_home_path(ctl->config, "issue_numbers.json");
    json_t *numbers = read_numbers(path);
    int64_t given = json_integer_value(json_object_get(numbers, project));
    if (number <= given)
        number = given + 1;
    json_object_set_new(numbers, project, json_integer(number));
    char *text = json_dumps(numbers, JSON_SORT_KEYS);
    if (file_write_atomic(path, text, strlen(text), 0600) < 0)
        complain("%s: %s", path, strerror(errno));
    free(text);
    json_decref(numbers);
    free(path);
    return number;
}

/* Caller frees; NULL and *result. locked: the file of numbers is ours. */
static char *choose_key(const struct ctl *ctl, bool locked, enum ctl_exit *result)
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
        const char *key = text_field(json_array_get(issues, i), "key");
        keys[i] = key ? key : "";
    }
    int64_t number = request_next_number(project, keys, count);
    if (locked)
        number = reserve_number(ctl, project, number);
    free(keys);
    json_decref(issues);
    return xformat("%s-%lld", project, (long long)number);
}

/* ---- the event ---- */

static void make_delivery(char out[33])
{
    unsigned char bytes[16] = {0};
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        complain("no random bytes: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static json_t *event_of(const struct ctl *ctl, const char *kind, const char *key)
{
    char delivery[33];
    make_delivery(delivery);
    return json_pack("{s:s,s:s,s:s,s:s*}", "delivery", delivery, "kind", kind, "issue", key,
                     "actor", ctl_actor(ctl));
}

static json_t *issue_event(const struct ctl *ctl, const char *key, const char *body)
{
    const struct ctl_request *request = &ctl->request;
    json_t *event = event_of(ctl, "issue", key), *labels = json_array();
    for (size_t i = 0; i < request->label_count; i++)
        json_array_append_new(labels, json_string(request->labels[i]));
    json_object_set_new(event, "title", json_string(request->title));
    json_object_set_new(event, "body", json_string(body));
    json_object_set_new(event, "labels", labels);
    if (request->priority)
        json_object_set_new(event, "priority", json_string(request->priority));
    json_object_set_new(
        event, "status",
        json_string(request->no_start ? "Backlog" : status_table[STATUS_TO_ANALYSE].name));
    return event;
}

/* The delivery's id makes a repetition harmless, so it is repeated until somebody has it. Decrefs;
 * *event_id where it was accepted. */
static enum ctl_exit send_event(struct ctl *ctl, json_t *event, json_int_t *event_id)
{
    struct http_answer answer;
    int64_t until = clock_mono_ms() + SEND_MS;
    for (;;) {
        http_call(ctl, "POST", "/webhook/local", event, &answer);
        if ((answer.status != 0 && answer.status != 503) || clock_mono_ms() > until)
            break;
        http_answer_free(&answer);
        poll(NULL, 0, RESEND_PAUSE_MS);
    }
    enum ctl_exit result = http_judge(ctl, &answer);
    *event_id = json_integer_value(json_object_get(answer.json, "event_id"));
    http_answer_free(&answer);
    json_decref(event);
    return result;
}

/* 404 until the scheduler has read of it. */
static bool wait_until_shown(const struct ctl *ctl, const char *page, const char *key)
{
    char *path = xformat("%s%s", page, key);
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
    json_int_t event_id;
    enum ctl_exit result = send_event(ctl, issue_event(ctl, key, body), &event_id);
    if (result != CTL_DONE)
        return result;
    if (!wait_until_shown(ctl, "/local/issues/", key))
        complain("%s is accepted and kept, but not shown yet: the scheduler does not answer", key);
    if (ctl->request.json)
        print_json(json_pack("{s:s,s:I}", "key", key, "event_id", event_id));
    else
        printf("%s\n", key);
    return CTL_DONE;
}

static enum ctl_exit check_project(const struct ctl *ctl)
{
    const struct project *project =
        ctl->config ? config_project(ctl->config, ctl->request.argument) : NULL;
    if (ctl->config && !project) {
        complain("there is no project %s in %s", ctl->request.argument, ctl->config->file);
        return CTL_NOT_FOUND;
    }
    if (project && strcmp(project->tracker, "local") != 0) {
        complain("project %s has its issues in %s: write it there", project->key, project->tracker);
        return CTL_REFUSED;
    }
    return CTL_DONE;
}

enum ctl_exit ctl_task_new(struct ctl *ctl)
{
    enum ctl_exit result = check_project(ctl);
    if (result != CTL_DONE)
        return result;
    char *body = check_request(&ctl->request) ? read_body(ctl) : NULL;
    if (!body)
        return CTL_USAGE;
    int lock = lock_numbers(ctl);
    bool busy = lock < 0 && errno == EWOULDBLOCK;
    if (busy)
        complain("another orchctl has been choosing a number for %d s", LOCK_MS / 1000);
    char *key = busy ? NULL : choose_key(ctl, lock >= 0, &result);
    if (key)
        result = post_issue(ctl, key, body);
    if (lock >= 0)
        close(lock);
    free(key);
    free(body);
    return busy ? CTL_REFUSED : result;
}

/* ---- start ---- */

/* A living task is not started again: that would be a command of its own (retry). */
static enum ctl_exit check_startable(struct ctl *ctl, const char *key)
{
    struct http_answer answer;
    char *path = xformat("/tasks/%s", key);
    http_call(ctl, "GET", path, NULL, &answer);
    const char *stage = text_field(answer.json, "stage");
    enum ctl_exit result = answer.status == 404 ? CTL_DONE : http_judge(ctl, &answer);
    if (answer.status == 200 && !(stage && strcmp(stage, stage_table[STAGE_CANCELLED].name) == 0)) {
        complain("%s is a task already, in %s (orchctl why %s)", ctl->request.argument,
                 stage ? stage : "?", ctl->request.argument);
        result = CTL_REFUSED;
    }
    http_answer_free(&answer);
    free(path);
    return result;
}

static enum ctl_exit start(struct ctl *ctl, const char *key)
{
    json_int_t event_id;
    json_t *event = event_of(ctl, "status", ctl->request.argument);
    json_object_set_new(event, "status", json_string(status_table[STATUS_TO_ANALYSE].name));
    enum ctl_exit result = send_event(ctl, event, &event_id);
    if (result != CTL_DONE)
        return result;
    bool shown = wait_until_shown(ctl, "/tasks/", key);
    if (!shown)
        complain("accepted and kept, but not begun yet: the scheduler does not answer");
    if (ctl->request.json)
        print_json(json_pack("{s:s,s:I}", "key", ctl->request.argument, "event_id", event_id));
    else if (shown)
        printf("%s: started\n", ctl->request.argument);
    return CTL_DONE;
}

enum ctl_exit ctl_task_start(struct ctl *ctl)
{
    char *key = http_escape(ctl->request.argument);
    char *path = xformat("/local/issues/%s", key);
    enum ctl_exit result = CTL_USAGE;
    json_t *issue =
        check("--actor", ctl->request.actor, NAME_MOST) ? http_page(ctl, path, &result) : NULL;
    if (issue)
        result = check_startable(ctl, key);
    if (issue && result == CTL_DONE)
        result = start(ctl, key);
    json_decref(issue);
    free(path);
    free(key);
    return result;
}
