/* What the files of the bus share; nobody else includes it. */
#ifndef ORCH_BUS_INTERNAL_H
#define ORCH_BUS_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include <nng/nng.h>

#include "protocol/bus.h"

/* A message a little over MESSAGE_MAX_BYTES is refused with words; over this nng drops the
 * connection. */
enum { BUS_RECEIVE_MAX = 2 * MESSAGE_MAX_BYTES };

struct bus_node { /* one queued item */
    struct bus_item item;
    struct bus_node *next;
};

struct bus_peer; /* bus_client.c */

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

/* Opens the listening socket of bus->service. 0, or -1 with errno. */
int bus_server_open(struct bus *bus);

#endif
