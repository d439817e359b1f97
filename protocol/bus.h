/* Talking to other services: JSON messages over nng req/rep on ipc:// (one request socket each).
 *
 * A bus object listens on this service's own socket and dials others at first use. Incoming
 * requests and the ends of our own posts come to one queue, drained by the service's one main loop;
 * ping and status never enter it: they are answered by the bus's own threads from the snapshot that
 * bus_set_status left, so that a service answers while its main loop is busy.
 *
 * Traps of nng that live here and nowhere else (docs/adr, tests/scenario): the stale path is
 * unlinked by us before listening, RECVMAXSZ is set, RESENDTIME is -1 (a dead peer ends the call at
 * once and the service, not the library, repeats), RECONNMIN/MAXT are 5/100 ms, dialling never
 * blocks, no socket is closed in normal running; one that its peer has stopped answering is left
 * (bus_peer.c).
 */
#ifndef ORCH_BUS_H
#define ORCH_BUS_H

#include <stdint.h>
#include <stdbool.h>
#include <jansson.h>
#include "protocol/message.h"

struct bus;

enum {
    BUS_QUEUE_MAX = 64
}; /* requests waiting for the main loop; over it the answer is error busy */

/* Listens on run_dir/<service>.ipc (mode 0600, or 0660 where group_may). service NULL: a client
 * only (orchctl, tests). Call after the service's lock is held and signals are blocked. NULL and
 * errno. */
struct bus *bus_open(const char *run_dir, const char *service, bool group_may);

/* Readable while bus_next has something: for poll or epoll. */
int bus_fd(struct bus *bus);

enum bus_item_type {
    BUS_REQUEST, /* message to be answered by exactly one bus_reply */
    BUS_REPLY,   /* a post ended with an answer (which may be of kind error) */
    BUS_FAILED,  /* a post ended without: peer dead, or no answer in time */
};

struct bus_item {
    enum bus_item_type type;
    enum message_kind kind;
    json_t *message; /* owned by the item: bus_item_done decrefs. NULL for BUS_FAILED */
    uint64_t tag;    /* BUS_REPLY, BUS_FAILED: as given to bus_post */
    int error;       /* BUS_FAILED: ETIMEDOUT, ECONNRESET or EIO */
    void *ticket;    /* BUS_REQUEST: for bus_reply; may be kept beyond bus_item_done */
};

/* Takes the next item; false where there is none. Never blocks. */
bool bus_next(struct bus *bus, struct bus_item *item);
void bus_item_done(struct bus_item *item);

/* Answers a request, from any thread, at any later time. Takes reply. The ticket is spent. Its "id"
 * is set to the request's. A requester that has gone loses it silently: it will ask again. */
void bus_reply(struct bus *bus, void *ticket, json_t *reply);

/* Sends and waits for the answer in this thread (runs' threads, tools). Takes message; the answer
 * is the caller's. 0, or -1 with errno ETIMEDOUT or ECONNRESET: it may or may not have been
 * handled. */
int bus_call(struct bus *bus, const char *service, json_t *message, int timeout_ms, json_t **reply);

/* Sends and returns at once; the end comes through bus_next with this tag. Takes message. */
void bus_post(struct bus *bus, const char *service, json_t *message, int timeout_ms, uint64_t tag);

/* One round trip of ping on a connection of its own: the only proof of life (a deaf listener lets
 * old connections work). 0 and the pid, or -1 with errno. */
int bus_ping(const char *run_dir, const char *service, int timeout_ms, int *pid);

/* The snapshot that ping and status answer from. Copies. counters: takes. */
void bus_set_status(struct bus *bus, const char *state, const char *doing, json_t *counters);
void bus_set_error(struct bus *bus, const char *text);

/* Publishing of events (the scheduler alone): listens on run_dir/events.ipc. */
int bus_publish_open(struct bus *bus);
/* Takes event (MESSAGE_event). Never blocks; a slow subscriber loses, the journal has it all. */
void bus_publish(struct bus *bus, json_t *event);

#endif
