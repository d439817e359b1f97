/* What the files of the bus share; nobody else includes it. */
#ifndef ORCH_BUS_INTERNAL_H
#define ORCH_BUS_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include <nng/nng.h>

#include "protocol/bus.h"
#include "protocol/silence.h"

/* A message a little over MESSAGE_MAX_BYTES is refused with words; over this nng drops the
 * connection. */
enum { BUS_RECEIVE_MAX = 2 * MESSAGE_MAX_BYTES };

struct bus_node { /* one queued item */
    struct bus_item item;
    struct bus_node *next;
};

struct question; /* bus_client.c */

struct bus_peer { /* the bus's mutex guards all but name */
    struct bus *bus;
    char *name;
    nng_socket req;
    struct question *idle; /* whose context is one of req */
    struct question *all;  /* ever made; none is freed */
    struct silence silence;
    bool doubted; /* a ping decides now whether req is left */
    struct bus_peer *next;
};

struct bus {
    char *run_dir;
    char *service; /* NULL: a client only */
    int mode;      /* of the socket files */
    nng_socket rep, pub;
    pthread_mutex_t mutex; /* everything below */
    struct bus_node *first, **last;
    int event_fd;
    size_t held;      /* requests queued or kept by the main loop */
    size_t ear_count; /* bus_server.c */
    struct bus_peer *peers;
    char *state, *doing, *last_error;
    json_t *counters;
};

/* Queues an item for bus_next and wakes the main loop. Takes item.message. */
void bus_push(struct bus *bus, struct bus_item item);

/* bus_peer.c, under the mutex. NULL where the peer cannot be dialled at all. */
struct bus_peer *peer_find(struct bus *bus, const char *name);
/* What became of a question over peer->req; one over an earlier socket tells nothing. */
void peer_answered(struct bus_peer *peer);
void peer_missed(struct bus_peer *peer, int64_t asked_ms);

/* bus_client.c, not under the mutex: ends what waits on a socket that was left, with ECONNRESET. */
void questions_abandon(struct bus_peer *peer, nng_socket left);

/* An errno for a result of nng: ETIMEDOUT, ECONNRESET or EIO. */
int bus_error_of(int nng_error);

/* Opens the listening socket of bus->service. 0, or -1 with errno. */
int bus_server_open(struct bus *bus);

#endif
