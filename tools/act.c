/* The operator's commands on a task, on the claims and on a repository. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "protocol/vocabulary.h"
#include "tools/orchctl.h"

enum { ACTOR_MOST = 64, TEXT_MOST = 16000 };

const char *ctl_actor(const struct ctl *ctl)
{
    if (ctl->request.actor)
        return *ctl->request.actor ? ctl->request.actor : NULL;
    const char *user = getenv("USER");
    const struct passwd *self = user && *user ? NULL : getpwuid(getuid());
    if (self)
        user = self->pw_name;
    return user && *user && !role_is_reserved(user) ? user : NULL;
}

/* Where a command is posted, and the field that its first and second argument are. */
struct order {
    const char *path, *first, *second; /* first NULL: it is the key in the path */
};

static struct order order_of(enum ctl_command command)
{
    switch (command) {
    case CTL_PAUSE:
        return (struct order){"/pause", "project", NULL};
    case CTL_DRAIN:
        return (struct order){"/drain", "project", NULL};
    case CTL_RESUME:
        return (struct order){"/resume", "project", NULL};
    case CTL_EFFECTS_DROP:
        return (struct order){"/effects/drop", NULL, NULL};
    case CTL_FREEZE:
        return (struct order){"/serial-gate/freeze", "repo", "reason"};
    case CTL_UNFREEZE:
        return (struct order){"/serial-gate/unfreeze", "repo", NULL};
    case CTL_COMMENT:
        return (struct order){NULL, NULL, "text"};
    default:
        return (struct order){NULL, NULL, NULL};
    }
}

static char *path_of(const struct ctl *ctl, const struct order *order)
{
    if (order->path)
        return xstrdup(order->path);
    char *key = http_escape(ctl->request.argument);
    char *path = xformat("/tasks/%s/%s", key, ctl_commands[ctl->request.command].words);
    free(key);
    return path;
}

static json_t *body_of(const struct ctl *ctl, const struct order *order)
{
    json_t *body = json_object();
    const char *actor = ctl_actor(ctl);
    if (actor)
        json_object_set_new(body, "actor", json_string(actor));
    if (ctl->request.text)
        json_object_set_new(body, "text", json_string(ctl->request.text));
    if (order->first && ctl->request.argument)
        json_object_set_new(body, order->first, json_string(ctl->request.argument));
    if (order->second)
        json_object_set_new(body, order->second, json_string(ctl->request.second));
    return body;
}

static bool check(const struct ctl *ctl)
{
    const struct ctl_request *request = &ctl->request;
    const struct {
        const char *field, *text;
        size_t most;
        enum text_kind kind;
    } texts[] = {{ctl_commands[request->command].arguments, request->argument, 200, TEXT_LINE},
                 {ctl_commands[request->command].arguments, request->second, TEXT_MOST, TEXT_LINES},
                 {"--text", request->text, TEXT_MOST, TEXT_LINES},
                 {"--actor", request->actor, ACTOR_MOST, TEXT_LINE}};
    char fault[200];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].text &&
            !request_check_text(texts[i].field, texts[i].text, strlen(texts[i].text), texts[i].most,
                                texts[i].kind, fault, sizeof fault)) {
            complain("%s", fault);
            return false;
        }
    }
    return true;
}

/* "KEY: the analysis is approved"; a refusal goes where complaints go. */
static void say(const struct ctl *ctl, const struct http_answer *answer)
{
    const char *reason = text_reason(text_field(answer->json, "reason"));
    const char *subject = ctl->request.argument ? ctl->request.argument : "";
    const char *colon = *subject ? ": " : "";
    const struct view view = output_view();
    struct buffer out = {0};
    if (answer->status == 409) {
        complain("%s%srefused: %s", subject, colon, reason ? reason : "?");
        return;
    }
    text_clean(&out, subject);
    buffer_text(&out, colon);
    if (answer->status == 202)
        buffer_text(&out, "accepted and kept, not decided yet");
    else
        text_paint(&out, &view, STYLE_GOOD, reason ? reason : "done");
    buffer_text(&out, "\n");
    print_text(&out);
}

static bool is_unknown(const struct http_answer *answer)
{
    const char *reason = text_field(answer->json, "reason");
    return answer->status == 409 && reason && strncmp(reason, "unknown-", 8) == 0;
}

/* A freeze of a name that nobody has would freeze nothing and say it did. */
static bool is_repository(const struct ctl *ctl)
{
    const struct config *config = ctl->config;
    if (ctl->request.command != CTL_FREEZE || !config)
        return true;
    for (size_t i = 0; i < config->project_count; i++) {
        if (strcmp(config->projects[i].repo, ctl->request.argument) == 0)
            return true;
    }
    complain("no project in %s has repo: %s", config->file, ctl->request.argument);
    return false;
}

enum ctl_exit ctl_act(struct ctl *ctl)
{
    struct http_answer answer;
    struct order order = order_of(ctl->request.command);
    if (!check(ctl))
        return CTL_USAGE;
    if (!is_repository(ctl))
        return CTL_NOT_FOUND;
    char *path = path_of(ctl, &order);
    json_t *body = body_of(ctl, &order);
    http_call(ctl, "POST", path, body, &answer);
    json_decref(body);
    free(path);
    enum ctl_exit code = is_unknown(&answer) ? CTL_NOT_FOUND : request_exit(answer.status);
    if (!text_field(answer.json, "result"))
        code = http_judge(ctl, &answer);
    else if (ctl->request.json)
        print_json(json_incref(answer.json));
    else
        say(ctl, &answer);
    http_answer_free(&answer);
    return code;
}
