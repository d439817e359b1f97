/* The asking half of the bus: one context of the peer's req socket per question under way.
 *
 * A context and its aio are kept for the next question (an aio can't be freed in its own callback,
 * and sockets stay open for life). RESENDTIME is off: a peer that dies ends the question at once
 * with NNG_ECONNRESET and the service decides whether to repeat. The receive starts only after the
 * send has ended, so it is never cancelled while its send is pending (nanomsg/nng#1702). */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "protocol/address.h"
#include "protocol/bus_internal.h"

struct question {
    struct bus *bus;
    struct bus_peer *peer;
    nng_socket over; /* whose context it is */
    nng_ctx ctx;
    nng_aio *aio;
    atomic_bool receiving;
    int64_t asked, deadline; /* monotonic, ms */
    uint64_t tag;
    /* bus_call: the thread that waits; else the end goes to the queue. */
    bool waited_for, ended;
    pthread_cond_t end;
    json_t *reply;
    int error;
    struct question *next;  /* idle */
    struct question *older; /* of the peer's, guarded by nothing: set once */
};

/* Under the mutex: what its end tells of the peer, and back to the idle ones; one of a socket that
 * was left stays with it. */
static void question_rest(struct question *question, int error)
{
    struct bus_peer *peer = question->peer;
    if (nng_socket_id(question->over) != nng_socket_id(peer->req))
        return;
    if (error == 0)
        peer_answered(peer);
    else if (error == ETIMEDOUT)
        peer_missed(peer, question->asked);
    question->next = peer->idle;
    peer->idle = question;
}

/* The question is over: to the thread that waits, or to the queue and back to the idle ones. */
static void question_end(struct question *question, enum message_kind kind, json_t *reply,
                         int error)
{
    struct bus *bus = question->bus;
    uint64_t tag = question->tag;
    pthread_mutex_lock(&bus->mutex);
    bool waited_for = question->waited_for;
    if (waited_for) {
        question->reply = reply;
        question->error = error;
        question->ended = true;
        pthread_cond_signal(&question->end);
    } else {
        question_rest(question, error);
    }
    pthread_mutex_unlock(&bus->mutex);
    if (waited_for)
        return;
    bus_push(bus, (struct bus_item){.type = reply ? BUS_REPLY : BUS_FAILED,
                                    .kind = kind,
                                    .message = reply,
                                    .tag = tag,
                                    .error = error});
}

static void set_time_left(struct question *question)
{
    int64_t left = question->deadline - clock_mono_ms();
    nng_aio_set_timeout(question->aio, left > 1 ? (nng_duration)left : 1);
}

static void question_callback(void *argument)
{
    struct question *question = argument;
    int result = nng_aio_result(question->aio);
    if (!question->receiving) {
        if (result != 0) {
            nng_msg_free(nng_aio_get_msg(question->aio));
            question_end(question, 0, NULL, bus_error_of(result));
            return;
        }
        question->receiving = true; /* from now on it may be abandoned */
        set_time_left(question);
        nng_ctx_recv(question->ctx, question->aio);
        return;
    }
    if (result != 0) {
        question_end(question, 0, NULL, bus_error_of(result));
        return;
    }
    nng_msg *msg = nng_aio_get_msg(question->aio);
    enum message_kind kind;
    struct message_fault fault;
    json_t *reply = message_decode(nng_msg_body(msg), nng_msg_len(msg), &kind, &fault);
    nng_msg_free(msg);
    if (!reply)
        log_warn("bus", "unreadable answer from %s: %s", question->peer->name, fault.text);
    question_end(question, kind, reply, reply ? 0 : EIO);
}

/* Under the mutex. */
static struct question *question_take(struct bus *bus, struct bus_peer *peer)
{
    struct question *question = peer->idle;
    if (question) {
        peer->idle = question->next;
        question->next = NULL;
        return question;
    }
    question = xcalloc(1, sizeof *question);
    question->bus = bus;
    question->peer = peer;
    question->over = peer->req;
    pthread_cond_init(&question->end, NULL);
    if (nng_ctx_open(&question->ctx, peer->req) != 0 ||
        nng_aio_alloc(&question->aio, question_callback, question) != 0)
        log_abort("bus", "cannot open a context");
    question->older = peer->all;
    peer->all = question;
    return question;
}

/* One whose send is under way ends by its own time: it must not be cancelled (see above). */
void questions_abandon(struct bus_peer *peer, nng_socket left)
{
    pthread_mutex_lock(&peer->bus->mutex);
    struct question *first = peer->all;
    pthread_mutex_unlock(&peer->bus->mutex);
    for (struct question *question = first; question; question = question->older) {
        if (nng_socket_id(question->over) == nng_socket_id(left) && question->receiving)
            nng_aio_abort(question->aio, NNG_ECONNRESET);
    }
}

/* Takes message. NULL where it cannot be asked: too large, or the peer cannot be dialled. */
static struct question *question_start(struct bus *bus, const char *service, json_t *message,
                                       int timeout_ms, uint64_t tag, bool waited_for)
{
    size_t size;
    char *text = message_encode(message, &size);
    json_decref(message);
    if (size > MESSAGE_MAX_BYTES) {
        log_error("bus", "a message of %zu bytes to %s is too large", size, service);
        free(text);
        return NULL;
    }
    pthread_mutex_lock(&bus->mutex);
    struct bus_peer *peer = peer_find(bus, service);
    struct question *question = peer ? question_take(bus, peer) : NULL;
    if (question) {
        question->tag = tag;
        question->waited_for = waited_for;
        question->ended = false;
        question->receiving = false;
        question->reply = NULL;
        question->error = 0;
        question->asked = clock_mono_ms();
        question->deadline = question->asked + timeout_ms;
    }
    pthread_mutex_unlock(&bus->mutex);
    if (question) {
        nng_msg *msg;
        if (nng_msg_alloc(&msg, size) != 0)
            log_abort("memory", "out of memory");
        memcpy(nng_msg_body(msg), text, size);
        nng_aio_set_msg(question->aio, msg);
        set_time_left(question);
        nng_ctx_send(question->ctx, question->aio);
    }
    free(text);
    return question;
}

int bus_call(struct bus *bus, const char *service, json_t *message, int timeout_ms, json_t **reply)
{
    *reply = NULL;
    struct question *question = question_start(bus, service, message, timeout_ms, 0, true);
    if (!question) {
        errno = EIO;
        return -1;
    }
    pthread_mutex_lock(&bus->mutex);
    while (!question->ended)
        pthread_cond_wait(&question->end, &bus->mutex);
    *reply = question->reply;
    int error = question->error;
    question_rest(question, error);
    pthread_mutex_unlock(&bus->mutex);
    errno = error;
    return *reply ? 0 : -1;
}

void bus_post(struct bus *bus, const char *service, json_t *message, int timeout_ms, uint64_t tag)
{
    if (!question_start(bus, service, message, timeout_ms, tag, false))
        bus_push(bus, (struct bus_item){.type = BUS_FAILED, .tag = tag, .error = EIO});
}
