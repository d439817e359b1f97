/* The way of a request: who may, what is refused before its body is read, and where it goes. */
#include "services/ingress/ingress.h"

#include <stdio.h>
#include <string.h>
#include "lib/buffer.h"

static const struct {
    const char *source, *signature, *event, *event_type;
} sources[SOURCE_COUNT] = {
    [SOURCE_PLANE] = {"plane", "X-Plane-Signature", "X-Plane-Event", NULL},
    [SOURCE_GITEA] = {"gitea", "X-Gitea-Signature", "X-Gitea-Event", "X-Gitea-Event-Type"},
};

void intake_init(struct ingress *ingress)
{
    webhook_key_init(&ingress->keys[SOURCE_PLANE], ingress->config->plane_webhook_secret);
    webhook_key_init(&ingress->keys[SOURCE_GITEA], ingress->config->gitea_webhook_secret);
}

/* ---- into the inbox ---- */

struct http_request *intake_request(struct inbox_event *event)
{
    return (struct http_request *)((char *)event - offsetof(struct http_request, event));
}

bool intake_answer_failure(struct http_request *request)
{
    if (request->event.kept)
        return false;
    http_refuse(request, 503, "not-durable", "", "the event could not be written; send it again");
    return true;
}

void intake_submit(struct http_request *request, void (*done)(struct inbox_event *event))
{
    request->event.received_at = request->received_at;
    request->event.done = done;
    if (!request->suspended)
        http_suspend(request);
    if (!inbox_submit(request->ingress->inbox, &request->event))
        http_refuse(request, 503, "busy", "", "too much waits already; ask again");
}

/* On the writer's thread: the row is durable, or it is not. */
static void on_kept(struct inbox_event *event)
{
    struct http_request *request = intake_request(event);
    char text[80];
    if (intake_answer_failure(request))
        return;
    snprintf(text, sizeof text, "{\"event_id\":%lld,\"duplicate\":%s}\n", (long long)event->seq,
             event->duplicate ? "true" : "false");
    http_answer(request, 202, xstrdup(text), NULL);
}

/* ---- signed webhooks ---- */

static struct webhook_request judged(const struct http_request *request)
{
    return (struct webhook_request){
        .key = &request->ingress->keys[request->route->source],
        .signature = http_header(request, sources[request->route->source].signature),
        .content_type = http_header(request, "Content-Type"),
        .content_length = request->content_length,
        .max_body = (size_t)request->ingress->config->http_max_body_bytes,
        .body = request->body,
        .size = request->size,
    };
}

static void refuse_webhook(struct http_request *request, enum webhook_verdict verdict)
{
    static const char *const codes[] = {
        [WEBHOOK_ACCEPT] = "accepted",        [WEBHOOK_TOO_LARGE] = "too-large",
        [WEBHOOK_UNAUTHORIZED] = "signature", [WEBHOOK_WRONG_TYPE] = "content-type",
        [WEBHOOK_NO_OBJECT] = "body",
    };
    http_refuse(request, webhook_status(verdict), codes[verdict], "", webhook_text(verdict));
}

/* A header's value goes into the row only where it is a plain word: no escaping, no surprises. */
static const char *plain_word(const char *text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t length = text ? strlen(text) : 0;
    return length > 0 && length <= 48 && strspn(text, allowed) == length ? text : NULL;
}

static void note_headers(struct http_request *request, enum signed_source source)
{
    const char *event = plain_word(http_header(request, sources[source].event));
    const char *type = sources[source].event_type
                           ? plain_word(http_header(request, sources[source].event_type))
                           : NULL;
    char *out = request->event.headers;
    size_t size = sizeof request->event.headers;
    if (event && type)
        snprintf(out, size, "{\"event\":\"%s\",\"event_type\":\"%s\"}", event, type);
    else if (event)
        snprintf(out, size, "{\"event\":\"%s\"}", event);
}

static void whole_webhook(struct http_request *request)
{
    struct webhook_request webhook = judged(request);
    enum webhook_verdict verdict = webhook_judge(&webhook);
    request->trusted = verdict != WEBHOOK_TOO_LARGE && verdict != WEBHOOK_UNAUTHORIZED;
    if (verdict != WEBHOOK_ACCEPT) {
        refuse_webhook(request, verdict);
        return;
    }
    request->event.source = sources[request->route->source].source;
    request->event.body = request->body;
    request->event.size = request->size;
    webhook_digest(request->body, request->size, request->event.delivery);
    note_headers(request, request->route->source);
    intake_submit(request, on_kept);
}

/* ---- the built-in tracker's events ---- */

static void whole_local(struct http_request *request)
{
    struct command_fault fault = {0};
    if (!webhook_type_ok(http_header(request, "Content-Type")))
        refuse_webhook(request, WEBHOOK_WRONG_TYPE);
    else if (!webhook_body_is_object(request->body, request->size))
        refuse_webhook(request, WEBHOOK_NO_OBJECT);
    else if (!local_event_check(request->body, request->size, request->event.delivery, &fault))
        http_refuse(request, 400, "body", fault.field, fault.text);
    else {
        request->event.source = "local";
        request->event.body = request->body;
        request->event.size = request->size;
        intake_submit(request, on_kept);
    }
}

/* ---- every request ---- */

static bool too_large(const struct http_request *request)
{
    return request->too_large ||
           request->content_length > (int64_t)request->ingress->config->http_max_body_bytes;
}

static void begin(struct http_request *request)
{
    if (request->route->kind == ROUTE_SIGNED) {
        struct webhook_request webhook = judged(request);
        enum webhook_verdict verdict = webhook_judge_head(&webhook);
        if (verdict != WEBHOOK_ACCEPT)
            refuse_webhook(request, verdict);
        return;
    }
    request->trusted =
        !request->route->open &&
        webhook_bearer_ok(http_header(request, "Authorization"), request->ingress->token);
    if (too_large(request))
        refuse_webhook(request, WEBHOOK_TOO_LARGE);
    else if (!request->route->open && !request->trusted)
        http_refuse(request, 401, "token", "", "needs Authorization: Bearer <operator token>");
}

static void whole(struct http_request *request)
{
    if (too_large(request)) {
        refuse_webhook(request, WEBHOOK_TOO_LARGE);
        return;
    }
    switch (request->route->kind) {
    case ROUTE_SIGNED:
        whole_webhook(request);
        break;
    case ROUTE_LOCAL:
        whole_local(request);
        break;
    case ROUTE_PAGE:
    case ROUTE_COMMAND:
        pages_submit(request->ingress->pages, request);
        break;
    case ROUTE_EVENTS:
        stream_open(request->ingress->stream, request);
        break;
    }
}

const struct http_handlers intake_handlers = {.begin = begin, .whole = whole};
