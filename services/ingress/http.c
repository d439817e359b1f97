#include "services/ingress/http.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <jansson.h>
#include <microhttpd.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "services/ingress/listener.h"

enum {
    MEMORY_PER_CONNECTION = 16 * 1024, /* bounds a request's head */
    BODY_FIRST = 4096,
    BODIES_MANY = 64 * 1024 * 1024, /* held in all: from here on who dawdles is shut down */
    BODIES_MAX = 128 * 1024 * 1024, /* and from here on nobody gets room */
    DISCARD_FACTOR = 8,             /* of a chunked body over the limit, before we hang up */
    IDLE_S = 15,
};

struct http {
    struct ingress *ingress;
    struct http_handlers handlers;
    struct http_limits limits;
    struct MHD_Daemon *daemon;
    struct guard *guard;
    int listener;
    unsigned port;
    size_t body_bytes; /* server's thread only */
    atomic_size_t body_bytes_seen;
    atomic_ullong answers[6], refused_401, refused_413;
    atomic_uint suspended;
};

/* ---- requests ---- */

static int64_t announced_length(struct MHD_Connection *connection)
{
    const char *text =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (!text)
        return -1;
    char *end;
    errno = 0;
    long long length = strtoll(text, &end, 10);
    return errno == ERANGE || length < 0 || end == text ? INT64_MAX : length;
}

static struct http_request *request_new(struct http *http, struct MHD_Connection *connection,
                                        const char *path, const char *method)
{
    struct http_request *request = xcalloc(1, sizeof *request);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    request->http = http;
    request->ingress = http->ingress;
    request->connection = connection;
    request->guarded = info->socket_context;
    request->content_length = announced_length(connection);
    request->received_at = clock_wall_ms();
    snprintf(request->path, sizeof request->path, "%s", path);
    snprintf(request->method, sizeof request->method, "%s", method);
    return request;
}

static void request_free(struct http *http, struct http_request *request)
{
    http->body_bytes -= request->room;
    atomic_store_explicit(&http->body_bytes_seen, http->body_bytes, memory_order_relaxed);
    free(request->body);
    free(request->event_body);
    free(request->answer);
    free(request);
}

static bool make_room(struct http *http, struct http_request *request, size_t wanted)
{
    size_t room = request->room ? 2 * request->room : BODY_FIRST;
    if (request->content_length >= 0 && request->content_length <= 4 * BODY_FIRST)
        room = (size_t)request->content_length; /* the usual case: once, and exactly */
    if (room < wanted)
        room = wanted;
    if (http->body_bytes - request->room + room > BODIES_MANY)
        guard_relieve(http->guard);
    if (http->body_bytes - request->room + room > BODIES_MAX)
        return false;
    request->body = xrealloc(request->body, room);
    http->body_bytes += room - request->room;
    request->room = room;
    guard_holds(request->guarded, room);
    atomic_store_explicit(&http->body_bytes_seen, http->body_bytes, memory_order_relaxed);
    return true;
}

/* False: hang up. A body without a length that turns out too large is read a little further and
 * forgotten, so that its sender may see the answer. */
static bool add_body(struct http *http, struct http_request *request, const char *data, size_t size)
{
    if (request->answered)
        return true;
    if (request->too_large || request->size + size > http->limits.body_max) {
        request->too_large = true;
        request->size += size;
        return request->size <= DISCARD_FACTOR * http->limits.body_max;
    }
    if (request->size + size > request->room && !make_room(http, request, request->size + size)) {
        http_refuse(request, 503, "busy", "", "too much is being read already; send it again");
        return true;
    }
    memcpy(request->body + request->size, data, size);
    request->size += size;
    return true;
}

/* ---- answers ---- */

static void count_answer(struct http *http, unsigned status)
{
    if (status / 100 < 6)
        atomic_fetch_add_explicit(&http->answers[status / 100], 1, memory_order_relaxed);
    if (status == 401)
        atomic_fetch_add_explicit(&http->refused_401, 1, memory_order_relaxed);
    if (status == 413)
        atomic_fetch_add_explicit(&http->refused_413, 1, memory_order_relaxed);
}

static enum MHD_Result queue_response(struct http_request *request, struct MHD_Response *response)
{
    count_answer(request->http, request->status);
    request->queued = true;
    enum MHD_Result result = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result queue_answer(struct http_request *request)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        request->answer_size, request->answer, MHD_RESPMEM_MUST_FREE);
    if (!response)
        return MHD_NO;
    request->answer = NULL;
    guard_answering(request->http->guard, request->guarded, request->trusted);
    MHD_add_response_header(response, "Content-Type", request->answer_type);
    if (request->status == 503 || request->status == 429)
        MHD_add_response_header(response, "Retry-After", "1");
    if (request->status == 401 && !(request->route && request->route->open))
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    return queue_response(request, response);
}

void http_answer(struct http_request *request, unsigned status, char *text, const char *type)
{
    request->status = status;
    request->answer = text;
    request->answer_size = strlen(text);
    request->answer_type = type ? type : "application/json";
    request->answered = true;
    if (request->suspended)
        MHD_resume_connection(request->connection);
}

void http_refuse(struct http_request *request, unsigned status, const char *code, const char *field,
                 const char *message)
{
    json_t *text_of = json_string(message); /* a cut-off message may end within a character */
    json_t *fault =
        json_pack("{s{ss ss? so}}", "error", "code", code, "field", field && *field ? field : NULL,
                  "message", text_of ? text_of : json_string("refused"));
    char *text = json_dumps(fault, JSON_COMPACT);
    json_decref(fault);
    http_answer(request, status, text ? text : xstrdup("{}"), NULL);
}

void http_respond(struct http_request *request, struct MHD_Response *response)
{
    request->status = 200;
    request->answered = true;
    if (queue_response(request, response) != MHD_YES)
        log_warn("http", "an answer could not be queued");
}

void http_suspend(struct http_request *request)
{
    request->suspended = true;
    atomic_fetch_add(&request->http->suspended, 1);
    MHD_suspend_connection(request->connection);
}

const char *http_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_argument(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* ---- the library's calls ---- */

static struct http_request *begin(struct http *http, struct MHD_Connection *connection,
                                  const char *path, const char *method)
{
    struct http_request *request = request_new(http, connection, path, method);
    bool path_known;
    request->route = route_find(method, path, request->key, &path_known);
    if (!request->route && path_known)
        http_refuse(request, 405, "method", "", "the method means nothing here");
    else if (!request->route)
        http_refuse(request, 404, "unknown-path", "", "no such path");
    else
        http->handlers.begin(request);
    return request;
}

/* A refusal that leaves before the body: the connection ends with it. */
static enum MHD_Result refuse_early(struct http_request *request)
{
    if (request->content_length != 0)
        guard_linger(request->guarded);
    return queue_answer(request);
}

static bool has_body(const struct http_request *request)
{
    return strcmp(request->method, "POST") == 0 || strcmp(request->method, "PUT") == 0 ||
           request->content_length > 0;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *data, size_t *size, void **of_connection)
{
    struct http *http = context;
    struct http_request *request = *of_connection;
    (void)version;
    if (!request) {
        *of_connection = request = begin(http, connection, path, method);
        return request->answered && has_body(request) ? refuse_early(request) : MHD_YES;
    }
    if (*size) {
        bool good = add_body(http, request, data, *size);
        *size = 0;
        return good ? MHD_YES : MHD_NO;
    }
    if (!request->answered && !request->suspended) {
        guard_serving(http->guard, request->guarded);
        http->handlers.whole(request);
        if (request->suspended)
            return MHD_YES; /* perhaps answered by now: not ours to look at any more */
    }
    return request->queued ? MHD_YES : queue_answer(request);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **of_connection,
                         enum MHD_RequestTerminationCode code)
{
    struct http *http = context;
    struct http_request *request = *of_connection;
    (void)connection;
    (void)code;
    if (!request)
        return;
    guard_answered(http->guard, request->guarded);
    if (request->suspended)
        atomic_fetch_sub(&http->suspended, 1);
    request_free(http, request);
    *of_connection = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **of_socket,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        guard_closed(http->guard, *of_socket);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *of_socket = guard_opened(http->guard, info->connect_fd);
}

/* A path is handed to us as a string: one with a NUL in it would be taken for its beginning, so
 * that stays as it came and is found nowhere. */
static size_t unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

/* ---- start ---- */

struct http *http_start(struct ingress *ingress, const char *listen,
                        const struct http_handlers *handlers, const struct http_limits *limits,
                        char *fault, size_t size)
{
    int fd = listener_open(listen, fault, size);
    if (fd < 0)
        return NULL;
    struct http *http = xcalloc(1, sizeof *http);
    http->ingress = ingress;
    http->handlers = *handlers;
    http->limits = *limits;
    http->listener = fd;
    http->port = listener_port(fd);
    http->guard = guard_start(&limits->guard);
    http->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_ALLOW_SUSPEND_RESUME |
            MHD_USE_SUPPRESS_DATE_NO_CLOCK,
        0, NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        limits->guard.connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_PER_CONNECTION,
        MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
    if (!http->daemon)
        log_abort("http", "the HTTP library does not start");
    return http;
}

unsigned http_port(const struct http *http)
{
    return http->port;
}

void http_quiesce(struct http *http)
{
    int fd = MHD_quiesce_daemon(http->daemon);
    if (fd >= 0)
        close(fd);
}

bool http_is_quiet(const struct http *http)
{
    return atomic_load(&http->suspended) == 0;
}

void http_stats(struct http *http, struct http_stats *out)
{
    guard_stats(http->guard, &out->guard);
    for (int i = 0; i < 6; i++)
        out->answers[i] = atomic_load_explicit(&http->answers[i], memory_order_relaxed);
    out->refused_401 = atomic_load_explicit(&http->refused_401, memory_order_relaxed);
    out->refused_413 = atomic_load_explicit(&http->refused_413, memory_order_relaxed);
    out->body_bytes = atomic_load_explicit(&http->body_bytes_seen, memory_order_relaxed);
}
