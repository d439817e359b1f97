/* PURE: no I/O */
#include "services/ingress/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <jansson.h>
#include "protocol/vocabulary.h"

__attribute__((format(printf, 3, 4))) static bool refuse(struct command_fault *fault,
                                                         const char *field, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    snprintf(fault->field, sizeof fault->field, "%s", field);
    vsnprintf(fault->text, sizeof fault->text, format, arguments);
    va_end(arguments);
    return false;
}

static json_t *parse_object(const char *body, size_t size, struct command_fault *fault)
{
    json_error_t error;
    json_t *object = json_loadb(body, size, JSON_REJECT_DUPLICATES, &error);
    if (!object)
        refuse(fault, "", "no JSON: %s (line %d)", error.text, error.line);
    else if (!json_is_object(object)) {
        refuse(fault, "", "no JSON object");
        json_decref(object);
        object = NULL;
    }
    return object;
}

/* Absent and null are fine; anything else must be text of bounded length. */
static bool optional_text(const json_t *object, const char *field, const char **out,
                          struct command_fault *fault)
{
    const json_t *value = json_object_get(object, field);
    *out = NULL;
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return refuse(fault, field, "must be a string");
    if (json_string_length(value) > FIELD_MAX_BYTES)
        return refuse(fault, field, "longer than %d bytes", FIELD_MAX_BYTES);
    *out = json_string_value(value);
    return true;
}

static bool required_text(const json_t *object, const char *field, const char **out,
                          struct command_fault *fault)
{
    if (!optional_text(object, field, out, fault))
        return false;
    if (*out && **out)
        return true;
    refuse(fault, field, "is missing or empty");
    return false;
}

static bool check_actor(const char *actor, struct command_fault *fault)
{
    if (actor && role_is_reserved(actor))
        return refuse(fault, "actor", "reserved-actor: an actor may not be named like a role");
    return true;
}

static bool check_labels(const json_t *event, struct command_fault *fault)
{
    const json_t *labels = json_object_get(event, "labels");
    size_t index;
    const json_t *label;
    if (!labels || json_is_null(labels))
        return true;
    if (!json_is_array(labels))
        return refuse(fault, "labels", "must be an array of strings");
    json_array_foreach(labels, index, label)
    {
        if (!json_is_string(label))
            return refuse(fault, "labels", "must be an array of strings");
    }
    return true;
}

/* A key is printed, used in URLs and in names of branches: letters, digits and "_.-" only. */
static bool check_key(const char *key, struct command_fault *fault)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_.-";
    size_t length = strlen(key);
    if (length > 64 || strspn(key, allowed) != length || !strchr(key, '-'))
        return refuse(fault, "issue", "must be an issue key, as SHOP-12");
    return true;
}

static bool check_kind(const json_t *event, const char *kind, struct command_fault *fault)
{
    static const struct {
        const char *kind, *needs;
    } kinds[] = {
        {"issue", "title"}, {"status", "status"}, {"comment", "body"}, {"label", "labels"}};
    const char *ignored;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kind, kinds[i].kind) != 0)
            continue;
        if (strcmp(kinds[i].needs, "labels") != 0)
            return required_text(event, kinds[i].needs, &ignored, fault);
        return json_is_array(json_object_get(event, "labels")) ||
               refuse(fault, "labels", "is missing");
    }
    return refuse(fault, "kind", "must be issue, status, comment or label");
}

static bool check_local(const json_t *event, const char **delivery, struct command_fault *fault)
{
    static const char *const texts[] = {"title", "body", "status"};
    const char *kind, *issue, *actor, *priority, *ignored;
    const json_t *announce = json_object_get(event, "announce");
    if (!required_text(event, "delivery", delivery, fault) ||
        !required_text(event, "kind", &kind, fault) ||
        !required_text(event, "issue", &issue, fault) || !check_key(issue, fault) ||
        !optional_text(event, "actor", &actor, fault) || !check_actor(actor, fault) ||
        !check_labels(event, fault))
        return false;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!optional_text(event, texts[i], &ignored, fault))
            return false;
    }
    if (!optional_text(event, "priority", &priority, fault))
        return false;
    if (priority && priority_rank(priority) < 0)
        return refuse(fault, "priority", "must be urgent, high, medium, low or none");
    if (announce && !json_is_boolean(announce))
        return refuse(fault, "announce", "must be true or false");
    if (strlen(*delivery) > DELIVERY_MAX)
        return refuse(fault, "delivery", "longer than %d bytes", DELIVERY_MAX);
    return check_kind(event, kind, fault);
}

bool local_event_check(const char *body, size_t size, char delivery[DELIVERY_MAX + 1],
                       struct command_fault *fault)
{
    const char *id = NULL;
    json_t *event = parse_object(body, size, fault);
    if (!event)
        return false;
    bool good = check_local(event, &id, fault);
    if (good)
        snprintf(delivery, DELIVERY_MAX + 1, "%s", id);
    json_decref(event);
    return good;
}

static const char *const command_names[COMMAND_COUNT] = {
    [COMMAND_APPROVE] = "approve",
    [COMMAND_CONFIRM_DEPLOY] = "confirm-deploy",
    [COMMAND_STOP] = "stop",
    [COMMAND_RETRY] = "retry",
    [COMMAND_COMMENT] = "comment",
    [COMMAND_FREEZE] = "freeze",
    [COMMAND_UNFREEZE] = "unfreeze",
    [COMMAND_PAUSE] = "pause",
    [COMMAND_RESUME] = "resume",
    [COMMAND_DRAIN] = "drain",
    [COMMAND_DROP_EFFECTS] = "drop-effects",
};

const char *command_name(enum command command)
{
    return command_names[command];
}

struct command_fields {
    const char *actor, *text, *repo, *project, *reason;
};

static bool check_fields(enum command command, const json_t *request, struct command_fields *fields,
                         struct command_fault *fault)
{
    if (!optional_text(request, "actor", &fields->actor, fault) ||
        !check_actor(fields->actor, fault) ||
        !optional_text(request, "text", &fields->text, fault) ||
        !optional_text(request, "repo", &fields->repo, fault) ||
        !optional_text(request, "project", &fields->project, fault) ||
        !optional_text(request, "reason", &fields->reason, fault))
        return false;
    if (!fields->actor || !*fields->actor)
        fields->actor = "operator";
    if ((command == COMMAND_FREEZE || command == COMMAND_UNFREEZE) &&
        !(fields->repo && *fields->repo))
        return refuse(fault, "repo", "is missing or empty");
    if (command == COMMAND_FREEZE) {
        if (!(fields->reason && *fields->reason))
            return refuse(fault, "reason", "is missing or empty");
        fields->text = fields->reason;
    }
    if (command == COMMAND_COMMENT && !(fields->text && *fields->text))
        return refuse(fault, "text", "is missing or empty");
    return true;
}

char *command_body(enum command command, const char *task, const char *body, size_t size,
                   struct command_fault *fault)
{
    struct command_fields fields = {0};
    char *text = NULL;
    json_t *request = size ? parse_object(body, size, fault) : json_object();
    if (!request)
        return NULL;
    if (check_fields(command, request, &fields, fault)) {
        json_t *event = json_pack("{ss ss? ss ss? ss? ss?}", "command", command_names[command],
                                  "task", task, "actor", fields.actor, "text", fields.text, "repo",
                                  fields.repo, "project", fields.project);
        text = json_dumps(event, JSON_COMPACT);
        json_decref(event);
    }
    json_decref(request);
    return text;
}
