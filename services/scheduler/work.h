/* Work for the services that ask for it (docs/adr/0002).
 *
 * A peer's request is held until there is something for it. What is handed out is looked up inside
 * the transaction that makes it so (work_fill) and leaves after its commit (work_answer). It stays
 * a row until its own acknowledgement; this memory only says what the present process of the peer
 * has already got, so that nobody is handed the same thing at every turn. */
#ifndef ORCH_WORK_H
#define ORCH_WORK_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "protocol/bus.h"

struct scheduler;

enum { WORK_KEY_SIZE = 24 }; /* of a row's number as a key */

enum work_peer_id { WORK_RUNNER, WORK_NOTIFIER, WORK_RECONCILER, WORK_MONITOR, WORK_PEER_COUNT };

struct work_peer {
    void *ticket;     /* of the held work_request; NULL: nothing is asked */
    int64_t until_ms; /* monotonic: answered empty then */
    int max;
    char boot[40];
    int64_t asked_ms; /* monotonic, of the last request; 0: never */
    json_t *handed;   /* key: monotonic ms of the hand-over, to this boot */
    json_t *items;    /* found in the open turn, to leave after its commit */
    size_t bytes;     /* of the items, as work_give was told */
};

struct work {
    struct work_peer peers[WORK_PEER_COUNT];
    int64_t pass;    /* number of the pass that this start waits for; 0: not numbered yet */
    bool pass_new;   /* numbered in the open turn */
    bool pass_ended; /* until then nothing is claimed */
    int64_t due_ms;  /* monotonic: something waits for this time; INT64_MAX: nothing does */
};

void work_init(struct work *work);
void work_free(struct work *work);

/* Takes the ticket. False where no such service asks for work (the ticket is not taken). */
bool work_ask(struct scheduler *scheduler, const json_t *request, void *ticket);
/* How many items more this peer's held request takes; 0 where none is held, and where the answer is
 * large enough already. */
size_t work_room(const struct scheduler *scheduler, enum work_peer_id id);
/* Whether the peer has asked within this time. */
bool work_is_alive(const struct scheduler *scheduler, enum work_peer_id id, int64_t within_ms);

/* key: what an item is acknowledged by. False where it is with the peer already. */
bool work_wants(struct scheduler *scheduler, enum work_peer_id id, const char *key);
/* In the open turn. Takes item. size: of its text in bytes, roughly (0: it is small). */
void work_give(struct scheduler *scheduler, enum work_peer_id id, const char *key, json_t *item,
               size_t size);
/* The acknowledgement came. */
void work_forget(struct scheduler *scheduler, enum work_peer_id id, const char *key);
/* The answer came, and the same is wanted again after this long. */
void work_again_in(struct scheduler *scheduler, enum work_peer_id id, const char *key, int64_t ms);
/* Something becomes due by the wall clock: the loop looks again then. */
void work_wake_at(struct scheduler *scheduler, int64_t wall_ms);
/* The same by the monotonic clock; INT64_MAX: never. */
void work_wake_at_mono(struct scheduler *scheduler, int64_t mono_ms);

/* In the open turn, last: claims, and everything else that is there for a held request. */
void work_fill(struct scheduler *scheduler);
/* After the commit: the answers leave; requests that waited long enough are answered empty. */
void work_answer(struct scheduler *scheduler);
/* After the commit, before anything leaves; after a rollback. */
void work_keep(struct scheduler *scheduler);
void work_drop(struct scheduler *scheduler);
/* The database is another one than we knew: everything is handed out again, and nothing is claimed
 * before a new look at the outside. */
void work_begin_anew(struct scheduler *scheduler);
/* Milliseconds until a request's time is over or something is due; -1: never. */
int64_t work_wait_ms(const struct scheduler *scheduler);

#endif
