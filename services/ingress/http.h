/* The HTTP server: reads requests into bounded buffers, hands each whole one to its handler, sends
 * what the handler answers. Only this file and stream.c know the HTTP library.
 *
 * The library runs one thread of its own, in poll mode: its epoll mode (0.9.75) sleeps for ever
 * when 128 or more connections are ready at once. Nothing slow happens on that thread: handlers
 * suspend the request, and answer from another thread. */
#ifndef ORCH_INGRESS_HTTP_H
#define ORCH_INGRESS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "services/ingress/guard.h"
#include "services/ingress/inbox.h"
#include "services/ingress/route.h"

struct ingress;
struct http;
struct MHD_Connection;
struct MHD_Response;

struct http_request {
    struct http *http;
    struct ingress *ingress;
    const struct route *route;
    char key[ROUTE_KEY_MAX + 1];
    char *body; /* NULL where empty */
    size_t size, room;
    int64_t content_length; /* -1: chunked */
    int64_t received_at;
    char path[64], method[8]; /* for the log */

    /* the handler's own */
    struct inbox_event event;
    char *event_body; /* freed with the request */
    int64_t deadline_ms;
    struct http_request *next;

    /* of the server */
    struct MHD_Connection *connection;
    struct guard_connection *guarded;
    bool trusted; /* set by the handler: a right token or signature came with it */
    bool too_large, suspended, answered, queued;
    unsigned status;
    char *answer; /* freed with the request's end */
    size_t answer_size;
    const char *answer_type;
};

/* Called on the server's thread. begin: the head has been read, nothing else; an answer given here
 * refuses the body. whole: the body is there. Either may http_answer at once, or http_suspend and
 * then pass the request to another thread, which answers. */
struct http_handlers {
    void (*begin)(struct http_request *request);
    void (*whole)(struct http_request *request);
};

struct http_limits {
    struct guard_limits guard;
    size_t body_max;
};

/* listen: host:port, the host a numeric address or localhost; port 0 takes any free one. NULL and a
 * text in fault where that is wrong or taken. */
struct http *http_start(struct ingress *ingress, const char *listen,
                        const struct http_handlers *handlers, const struct http_limits *limits,
                        char *fault, size_t size);
unsigned http_port(const struct http *http);

/* Takes no further connections; those that are open go on. */
void http_quiesce(struct http *http);

/* No suspended request is left unanswered. */
bool http_is_quiet(const struct http *http);

/* A header's or a query argument's value, NULL where absent. Server's thread only. Borrowed. */
const char *http_header(const struct http_request *request, const char *name);
const char *http_argument(const struct http_request *request, const char *name);

/* On the server's thread, before the request is passed on. */
void http_suspend(struct http_request *request);

/* Answers, from any thread; once suspended the request must not be touched afterwards. text: takes;
 * type NULL is application/json. 503 and 429 carry Retry-After. */
void http_answer(struct http_request *request, unsigned status, char *text, const char *type);
/* {"error":{"code","field","message"}} */
void http_refuse(struct http_request *request, unsigned status, const char *code, const char *field,
                 const char *message);
/* Answers with a response of the library's (the stream of events). Server's thread only. Takes. */
void http_respond(struct http_request *request, struct MHD_Response *response);

struct http_stats {
    struct guard_stats guard;
    uint64_t answers[6]; /* by hundreds of the status */
    uint64_t refused_401, refused_413;
    size_t body_bytes; /* of bodies held now */
};
void http_stats(struct http *http, struct http_stats *out);

#endif
