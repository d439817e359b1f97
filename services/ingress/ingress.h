/* What the parts of this service share. Filled by main before any thread that reads it starts. */
#ifndef ORCH_INGRESS_H
#define ORCH_INGRESS_H

#include <stdint.h>
#include "lib/config.h"
#include "services/ingress/http.h"
#include "services/ingress/inbox.h"
#include "services/ingress/pages.h"
#include "services/ingress/peers.h"
#include "services/ingress/stream.h"
#include "services/ingress/webhook.h"

struct ingress {
    const struct config *config;
    char *token; /* the operator's, never "" */
    char *store_path;
    struct webhook_key keys[SOURCE_COUNT];
    struct inbox *inbox;
    struct http *http;
    struct pages *pages;
    struct stream *stream;
    struct peers *peers;
};

/* From plane.webhook_secret and gitea.webhook_secret. */
void intake_init(struct ingress *ingress);

/* What http_start is given: every request's way through this service. */
extern const struct http_handlers intake_handlers;

/* Hands the request's event (source, delivery, body set) to the inbox; done as in inbox.h. Answers
 * 503 itself where the inbox has no room. The request is suspended. */
void intake_submit(struct http_request *request, void (*done)(struct inbox_event *event));

/* For done: the event's request, and the answer where it could not be kept (true: answered). */
struct http_request *intake_request(struct inbox_event *event);
bool intake_answer_failure(struct http_request *request);

#endif
