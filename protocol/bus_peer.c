/* The peers that questions go to: one req socket each, and another one where that one is lost.
 *
 * With nng 1.5.2 a req socket may stay without answers for ever although its peer answers everybody
 * else (seen after some hundred failed sends of a peer that was killed each time). Nothing but
 * silence tells that, so silence is doubted: the peer is pinged over a fresh connection, and where
 * it answers there, later questions go over a new socket and what waits on the old one ends. That
 * is not closed: its contexts may be in use, and closing is where nng's traps are. A peer that
 * answers nobody is hung or down, which is the reaper's and the supervisor's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "protocol/address.h"
#include "protocol/bus_internal.h"

/* nng waits a random part of a time that doubles at each refusal: a long maximum is a long tail of
 * the time to the first answer of a restarted peer (measured: worst 330 ms with 10/500, of a median
 * of 9). */
enum { RECONNECT_MIN_MS = 5, RECONNECT_MAX_MS = 100, DOUBT_PING_MS = 1000 };

static int open_req(const char *run_dir, const char *name, nng_socket *socket)
{
    char url[ADDRESS_SIZE];
    if (address_of(run_dir, name, url) < 0)
        return ENAMETOOLONG;
    if (nng_req0_open(socket) != 0)
        return EIO;
    nng_socket_set_ms(*socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    nng_socket_set_ms(*socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    nng_socket_set_ms(*socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
    nng_socket_set_size(*socket, NNG_OPT_RECVMAXSZ, BUS_RECEIVE_MAX);
    return nng_dial(*socket, url, NULL, NNG_FLAG_NONBLOCK) == 0 ? 0 : EIO;
}

int bus_error_of(int nng_error)
{
    switch (nng_error) {
    case NNG_ETIMEDOUT:
        return ETIMEDOUT;
    case NNG_ECONNRESET:
    case NNG_ECLOSED:
    case NNG_ECANCELED:
        return ECONNRESET;
    default:
        return EIO;
    }
}

struct bus_peer *peer_find(struct bus *bus, const char *name)
{
    struct bus_peer *peer = bus->peers;
    while (peer && strcmp(peer->name, name) != 0)
        peer = peer->next;
    if (peer)
        return peer;
    peer = xcalloc(1, sizeof *peer);
    int error = open_req(bus->run_dir, name, &peer->req);
    if (error) {
        log_error("bus", "cannot dial %s: %s", name, strerror(error));
        free(peer);
        return NULL;
    }
    peer->bus = bus;
    peer->name = xstrdup(name);
    peer->next = bus->peers;
    bus->peers = peer;
    return peer;
}

/* In a thread of its own: a ping may take its whole time. */
static void *doubt(void *argument)
{
    struct bus_peer *peer = argument;
    struct bus *bus = peer->bus;
    nng_socket fresh = NNG_SOCKET_INITIALIZER;
    bool renewed = bus_ping(bus->run_dir, peer->name, DOUBT_PING_MS, NULL) == 0 &&
                   open_req(bus->run_dir, peer->name, &fresh) == 0;
    pthread_mutex_lock(&bus->mutex);
    nng_socket left = peer->req;
    if (renewed) {
        peer->req = fresh;
        peer->idle = NULL; /* they go with their socket */
        silence_renewed(&peer->silence);
    }
    peer->doubted = false;
    int count = peer->silence.doubts;
    pthread_mutex_unlock(&bus->mutex);
    if (!renewed)
        return NULL;
    questions_abandon(peer, left);
    log_warn("bus", "%s was silent and answers a fresh connection: new socket number %d",
             peer->name, count);
    return NULL;
}

void peer_answered(struct bus_peer *peer)
{
    silence_answered(&peer->silence);
}

void peer_missed(struct bus_peer *peer, int64_t asked_ms)
{
    pthread_t thread;
    if (!silence_missed(&peer->silence, asked_ms, clock_mono_ms()) || peer->doubted)
        return;
    peer->doubted = pthread_create(&thread, NULL, doubt, peer) == 0;
    if (peer->doubted)
        pthread_detach(thread);
}
