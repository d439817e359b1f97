/* The listening half of the bus: contexts ("ears") that wait for a request each.
 *
 * A rep context belongs to its requester until it is answered, so there are more ears than requests
 * that may wait for the main loop: ping and status always find a free one. Ears are made when they
 * are needed, not before: an idle service has a handful. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/transport/ipc/ipc.h>

#include "lib/buffer.h"
#include "lib/log.h"
#include "protocol/address.h"
#include "protocol/bus_internal.h"

enum { EARS_SPARE = 8, EARS_FIRST = 4, EARS_MAX = BUS_QUEUE_MAX + EARS_SPARE };

struct ear {
    struct bus *bus;
    nng_ctx ctx;
    nng_aio *aio;
    bool sending;
    bool held;                   /* a ticket of it is out; under the bus's mutex */
    char id[MESSAGE_ID_MAX + 1]; /* of the request it holds */
};

static void ear_listen(struct ear *ear)
{
    ear->sending = false;
    nng_ctx_recv(ear->ctx, ear->aio);
}

static json_t *answer_fault(const char *id, const char *code, const char *text)
{
    struct message_fault fault = {.field = ""};
    snprintf(fault.code, sizeof fault.code, "%s", code);
    snprintf(fault.text, sizeof fault.text, "%s", text);
    return message_error(id, &fault);
}

/* Takes reply. */
static void ear_answer(struct ear *ear, json_t *reply)
{
    size_t size;
    char *text = message_encode(reply, &size);
    if (size > MESSAGE_MAX_BYTES) {
        log_error("bus", "an answer of %zu bytes to %s is too large", size, ear->id);
        free(text);
        json_decref(reply);
        reply = answer_fault(ear->id, "too-large", "the answer is too large");
        text = message_encode(reply, &size);
    }
    json_decref(reply);
    nng_msg *msg;
    if (nng_msg_alloc(&msg, size) != 0)
        log_abort("memory", "out of memory");
    memcpy(nng_msg_body(msg), text, size);
    free(text);
    ear->sending = true;
    nng_aio_set_msg(ear->aio, msg);
    nng_ctx_send(ear->ctx, ear->aio);
}

static json_t *answer_status(struct bus *bus, const char *id)
{
    pthread_mutex_lock(&bus->mutex);
    json_t *reply = message_new(MESSAGE_status_reply, id, "{s:s,s:s,s:s,s:O,s:s?}", "service",
                                bus->service, "state", bus->state, "doing", bus->doing, "counters",
                                bus->counters, "last_error", bus->last_error);
    /* A copy of its own: counters may be replaced while this is written out. */
    json_t *copy = json_deep_copy(reply);
    json_decref(reply);
    pthread_mutex_unlock(&bus->mutex);
    return copy;
}

static void ears_grow(struct bus *bus);

/* A decoded request: answered at once, or handed to the main loop. Takes message. */
static void ear_request(struct ear *ear, enum message_kind kind, json_t *message)
{
    struct bus *bus = ear->bus;
    snprintf(ear->id, sizeof ear->id, "%s", message_text(message, "id", ""));
    if (kind == MESSAGE_ping || kind == MESSAGE_status) {
        json_decref(message);
        ear_answer(ear, kind == MESSAGE_status
                            ? answer_status(bus, ear->id)
                            : message_new(MESSAGE_pong, ear->id, "{s:s,s:i}", "service",
                                          bus->service, "pid", (int)getpid()));
        return;
    }
    pthread_mutex_lock(&bus->mutex);
    bool full = bus->held >= BUS_QUEUE_MAX;
    if (!full) {
        bus->held++;
        ear->held = true;
    }
    pthread_mutex_unlock(&bus->mutex);
    if (full) {
        json_decref(message);
        ear_answer(ear, answer_fault(ear->id, "busy", "too many requests wait already"));
        return;
    }
    ears_grow(bus);
    bus_push(bus, (struct bus_item){
                      .type = BUS_REQUEST, .kind = kind, .message = message, .ticket = ear});
}

static void ear_callback(void *argument)
{
    struct ear *ear = argument;
    int result = nng_aio_result(ear->aio);
    if (result == NNG_ECLOSED || result == NNG_ECANCELED)
        return;
    if (ear->sending) {
        if (result != 0)
            nng_msg_free(nng_aio_get_msg(ear->aio));
        ear_listen(ear);
        return;
    }
    if (result != 0) {
        ear_listen(ear);
        return;
    }
    nng_msg *msg = nng_aio_get_msg(ear->aio);
    enum message_kind kind;
    struct message_fault fault;
    json_t *message = message_decode(nng_msg_body(msg), nng_msg_len(msg), &kind, &fault);
    if (!message)
        message_id_of(nng_msg_body(msg), nng_msg_len(msg), ear->id);
    nng_msg_free(msg);
    if (message)
        ear_request(ear, kind, message);
    else
        ear_answer(ear, message_error(ear->id, &fault));
}

/* Keeps a few more ears open than requests are held. */
static void ears_grow(struct bus *bus)
{
    pthread_mutex_lock(&bus->mutex);
    size_t wanted = bus->held + EARS_FIRST;
    if (wanted > EARS_MAX)
        wanted = EARS_MAX;
    size_t missing = wanted > bus->ear_count ? wanted - bus->ear_count : 0;
    bus->ear_count += missing;
    pthread_mutex_unlock(&bus->mutex);
    for (; missing; missing--) {
        struct ear *ear = xcalloc(1, sizeof *ear);
        ear->bus = bus;
        if (nng_ctx_open(&ear->ctx, bus->rep) != 0 ||
            nng_aio_alloc(&ear->aio, ear_callback, ear) != 0)
            log_abort("bus", "cannot open a context");
        ear_listen(ear);
    }
}

void bus_reply(struct bus *bus, void *ticket, json_t *reply)
{
    struct ear *ear = ticket;
    json_object_set_new(reply, "id", json_string(ear->id));
    pthread_mutex_lock(&bus->mutex);
    bool held = ear->held;
    ear->held = false;
    if (held)
        bus->held--;
    pthread_mutex_unlock(&bus->mutex);
    if (!held)
        log_abort("bus", "a ticket was answered twice");
    ear_answer(ear, reply);
}

/* Listens with this mode on run_dir/<name>.ipc. 0, or -1 with errno. */
static int listen_on(struct bus *bus, nng_socket socket, const char *name)
{
    char url[ADDRESS_SIZE];
    if (address_of(bus->run_dir, name, url) < 0) {
        errno = ENAMETOOLONG;
        return -1;
    }
    /* A stale path is removed by us, who hold the service's lock: nng's own probe connects and
     * closes at once, and that is what deafens a listener of nng 1.5.2 (nanomsg/nng#1518). */
    unlink(url + strlen("ipc://"));
    nng_listener listener;
    int result = nng_listener_create(&listener, socket, url);
    if (result == 0)
        result = nng_listener_set_int(listener, NNG_OPT_IPC_PERMISSIONS, bus->mode);
    if (result == 0)
        result = nng_listener_start(listener, 0);
    if (result != 0) {
        log_error("bus", "cannot listen on %s: %s", url, nng_strerror(result));
        errno = EIO;
        return -1;
    }
    return 0;
}

int bus_server_open(struct bus *bus)
{
    if (nng_rep0_open(&bus->rep) != 0) {
        errno = EIO;
        return -1;
    }
    nng_socket_set_size(bus->rep, NNG_OPT_RECVMAXSZ, BUS_RECEIVE_MAX);
    ears_grow(bus);
    return listen_on(bus, bus->rep, bus->service);
}

int bus_publish_open(struct bus *bus)
{
    if (nng_pub0_open(&bus->pub) != 0) {
        errno = EIO;
        return -1;
    }
    nng_socket_set_int(bus->pub, NNG_OPT_SENDBUF, 1024);
    return listen_on(bus, bus->pub, "events");
}

void bus_publish(struct bus *bus, json_t *event)
{
    size_t size;
    char *text = message_encode(event, &size);
    json_decref(event);
    /* pub never waits for a subscriber; a failure here is memory, and the journal has the row. */
    int result = nng_send(bus->pub, text, size, NNG_FLAG_NONBLOCK);
    if (result != 0)
        log_warn("bus", "an event was not published: %s", nng_strerror(result));
    free(text);
}
