/* No sender may keep others out: every connection has a time by which its request must be whole,
 * and when connections run out the one that has dawdled longest goes first.
 *
 * Also closes gently: a refusal that leaves before the body was read is followed by the unread
 * body; closing at once would reset the connection, and the sender would not see the answer. */
#ifndef ORCH_INGRESS_GUARD_H
#define ORCH_INGRESS_GUARD_H

#include <stdbool.h>
#include <stddef.h>

struct guard;
struct guard_connection;

/* By what its requests have shown: a right token or signature, on this connection. */
enum guard_trust { GUARD_STRANGER, GUARD_TRUSTED, GUARD_TRUSTS };

struct guard_limits {
    unsigned connections;
    /* By trust: from the connection, or the end of the last answer, to the last byte of the next
     * request; and from the first byte of an answer to its last. */
    int patience_ms[GUARD_TRUSTS];
};

/* Starts a thread. */
struct guard *guard_start(const struct guard_limits *limits);

/* A connection was accepted; may shut down the one that has dawdled longest. */
struct guard_connection *guard_opened(struct guard *guard, int fd);
/* Call before the descriptor is closed. */
void guard_closed(struct guard *guard, struct guard_connection *connection);

/* Its request is whole: no clock runs while we work on it (or stream to it). */
void guard_serving(struct guard *guard, struct guard_connection *connection);
/* An answer is on its way: the peer's turn to be quick. trusted: a right token or signature came
 * with the request; the connection stays trusted from then on. */
void guard_answering(struct guard *guard, struct guard_connection *connection, bool trusted);
/* It was answered, or the request ended otherwise. */
void guard_answered(struct guard *guard, struct guard_connection *connection);
/* It is being answered with some of its body unread. */
void guard_linger(struct guard_connection *connection);

/* How many bytes of its request we hold. */
void guard_holds(struct guard_connection *connection, size_t bytes);
/* Memory is short: shuts down the stranger that holds much and has dawdled longest, if there is
 * one.
 */
void guard_relieve(struct guard *guard);

struct guard_stats {
    unsigned open;
    unsigned long long accepted, late, evicted;
};
void guard_stats(struct guard *guard, struct guard_stats *out);

#endif
