#include "services/ingress/stream.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <microhttpd.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "services/ingress/ingress.h"
#include "services/scheduler/store_read.h"

enum {
    LISTENERS_MAX = 64,
    LOOK_MS = 50,
    MORE_MS = 1,              /* for the server's thread to hand on what there is */
    HEARTBEAT_MS = 10 * 1000, /* also how a listener that has gone is noticed */
    BUFFERED_MAX = 64 * 1024, /* of one listener, before it is given more */
    ROWS_AT_ONCE = 50,
};

struct listener {
    struct stream *stream;
    struct MHD_Connection *connection;
    struct listener *next;
    int64_t after; /* -1: from now on, not known yet */
    struct buffer text;
    int64_t spoke_ms;
    bool sleeping; /* the connection is suspended */
    bool gone;     /* the server has dropped it: the stream's thread frees */
};

struct stream {
    struct ingress *ingress;
    struct store_read *store;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct listener *listeners;
    unsigned count;
};

/* ---- the server's side ---- */

static ssize_t read_some(void *context, uint64_t position, char *out, size_t max)
{
    struct listener *listener = context;
    ssize_t size = 0;
    (void)position;
    pthread_mutex_lock(&listener->stream->lock);
    if (listener->text.size == 0) {
        listener->sleeping = true;
        MHD_suspend_connection(listener->connection);
    } else {
        size_t taken = listener->text.size < max ? listener->text.size : max;
        memcpy(out, listener->text.data, taken);
        memmove(listener->text.data, listener->text.data + taken, listener->text.size - taken);
        listener->text.size -= taken;
        size = (ssize_t)taken;
        if (listener->text.size == 0)
            buffer_free(&listener->text); /* what a burst needed is not kept for ever */
    }
    pthread_mutex_unlock(&listener->stream->lock);
    return size;
}

static void on_dropped(void *context)
{
    struct listener *listener = context;
    struct stream *stream = listener->stream;
    pthread_mutex_lock(&stream->lock);
    listener->gone = true;
    stream->count--;
    pthread_cond_signal(&stream->work);
    pthread_mutex_unlock(&stream->lock);
}

static int64_t wanted_after(const struct http_request *request)
{
    const char *text = http_header(request, "Last-Event-ID");
    if (!text)
        text = http_argument(request, "after");
    if (!text || !*text)
        return -1;
    char *end;
    long long after = strtoll(text, &end, 10);
    return *end || after < 0 ? -1 : after;
}

void stream_open(struct stream *stream, struct http_request *request)
{
    pthread_mutex_lock(&stream->lock);
    bool room = stream->count < LISTENERS_MAX;
    if (room)
        stream->count++;
    pthread_mutex_unlock(&stream->lock);
    if (!room) {
        http_refuse(request, 503, "busy", "", "too many listeners; ask again");
        return;
    }
    struct listener *listener = xcalloc(1, sizeof *listener);
    listener->stream = stream;
    listener->connection = request->connection;
    listener->after = wanted_after(request);
    listener->spoke_ms = clock_mono_ms();
    buffer_text(&listener->text, ": the journal\n\n");
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 8192, read_some, listener, on_dropped);
    if (!response)
        log_abort("http", "no response for a stream");
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    pthread_mutex_lock(&stream->lock);
    listener->next = stream->listeners;
    stream->listeners = listener;
    pthread_cond_signal(&stream->work);
    pthread_mutex_unlock(&stream->lock);
    http_respond(request, response);
}

unsigned stream_count(struct stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    unsigned count = stream->count;
    pthread_mutex_unlock(&stream->lock);
    return count;
}

/* ---- the thread ---- */

/* With the lock held. */
static void wake_listener(struct listener *listener)
{
    listener->spoke_ms = clock_mono_ms();
    if (listener->sleeping) {
        listener->sleeping = false;
        MHD_resume_connection(listener->connection);
    }
}

static void append_row(struct buffer *text, json_t *row)
{
    int64_t seq = json_integer_value(json_object_get(row, "seq"));
    char *line = json_dumps(row, JSON_COMPACT);
    if (line)
        buffer_format(text, "id: %lld\ndata: %s\n\n", (long long)seq, line);
    free(line);
}

/* The rows after a place, as text; the last ones are kept for the listeners that stand at the same
 * place, in ordinary times all of them. */
struct rows {
    int64_t after, last; /* after: -1, nothing read */
    struct buffer text;
};

/* Without the lock, under which the server's thread would wait for the disk. */
static void read_rows(struct stream *stream, int64_t after, struct rows *rows)
{
    if (rows->after == after)
        return;
    buffer_free(&rows->text);
    rows->after = rows->last = after;
    json_t *found = store_read_journal(stream->store, after, ROWS_AT_ONCE);
    size_t index;
    json_t *row;
    json_array_foreach(found, index, row)
    {
        append_row(&rows->text, row);
        rows->last = json_integer_value(json_object_get(row, "seq"));
    }
    json_decref(found);
}

/* A slow one is given no more until it has taken what it has. */
static bool is_hungry(struct stream *stream, struct listener *listener)
{
    pthread_mutex_lock(&stream->lock);
    bool hungry = !listener->gone && listener->text.size <= BUFFERED_MAX;
    pthread_mutex_unlock(&stream->lock);
    return hungry;
}

/* True where there is more that it could take at once. */
static bool feed(struct stream *stream, struct listener *listener, int64_t newest,
                 struct rows *rows)
{
    if (listener->after < 0 || listener->after > newest)
        listener->after = newest; /* also a number from before a restored database */
    if (listener->after == newest || !is_hungry(stream, listener))
        return false;
    read_rows(stream, listener->after, rows);
    listener->after = rows->last;
    pthread_mutex_lock(&stream->lock);
    if (rows->text.size && !listener->gone) {
        buffer_add(&listener->text, rows->text.data, rows->text.size);
        wake_listener(listener);
    }
    pthread_mutex_unlock(&stream->lock);
    return rows->text.size && listener->after < newest;
}

/* With the lock held. */
static void beat(struct listener *listener)
{
    if (listener->gone || listener->text.size ||
        clock_mono_ms() - listener->spoke_ms < HEARTBEAT_MS)
        return;
    buffer_text(&listener->text, ": still here\n\n");
    wake_listener(listener);
}

static void free_gone(struct stream *stream)
{
    for (struct listener **link = &stream->listeners; *link;) {
        struct listener *listener = *link;
        if (!listener->gone) {
            link = &listener->next;
            continue;
        }
        *link = listener->next;
        buffer_free(&listener->text);
        free(listener);
    }
}

/* Without the lock: listeners join at the head of the list, and only this thread takes one out. */
static bool look(struct stream *stream, struct listener *listeners)
{
    char fault[200];
    bool more = false;
    struct rows rows = {.after = -1};
    if (store_read_begin(stream->store, fault, sizeof fault) == 0) {
        int64_t newest = store_read_journal_last(stream->store);
        for (struct listener *listener = listeners; listener; listener = listener->next)
            more |= feed(stream, listener, newest, &rows);
        if (store_read_end(stream->store, fault, sizeof fault) < 0) {
            log_warn("events", "%s", fault);
            more = false;
        }
    }
    buffer_free(&rows.text);
    pthread_mutex_lock(&stream->lock);
    for (struct listener *listener = listeners; listener; listener = listener->next)
        beat(listener);
    pthread_mutex_unlock(&stream->lock);
    return more;
}

static void *run(void *context)
{
    struct stream *stream = context;
    pthread_mutex_lock(&stream->lock);
    for (;;) {
        free_gone(stream);
        struct listener *listeners = stream->listeners;
        if (!listeners) {
            pthread_cond_wait(&stream->work, &stream->lock);
            continue;
        }
        pthread_mutex_unlock(&stream->lock);
        bool more = look(stream, listeners);
        nanosleep(&(struct timespec){.tv_nsec = (more ? MORE_MS : LOOK_MS) * 1000000L}, NULL);
        pthread_mutex_lock(&stream->lock);
    }
    return NULL;
}

struct stream *stream_new(struct ingress *ingress)
{
    struct stream *stream = xcalloc(1, sizeof *stream);
    stream->ingress = ingress;
    stream->store = store_read_new(ingress->store_path);
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->work, NULL);
    return stream;
}

void stream_start(struct stream *stream)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, stream) != 0)
        log_abort("events", "cannot start a thread");
    pthread_detach(thread);
}
