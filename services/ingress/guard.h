/* No sender may keep others out: every connection has a time by which its request must be whole,
 * and when connections run out the one that has dawdled longest goes first.
 *
 * Also closes gently: a refusal that leaves before the body was read is followed by the unread
 * body; closing at once would reset the connection, and the sender would not see the answer. */
#ifndef ORCH_INGRESS_GUARD_H
#define ORCH_INGRESS_GUARD_H

#include <stddef.h>

struct guard;
struct guard_connection;

/* limit: connections in all. request_ms: from the connection, or the end of the last request, to
 * the last byte of the next. Starts a thread. */
struct guard *guard_start(unsigned limit, int request_ms);

/* A connection was accepted; may shut down the one that has been reading longest. */
struct guard_connection *guard_opened(struct guard *guard, int fd);
/* Call before the descriptor is closed. */
void guard_closed(struct guard *guard, struct guard_connection *connection);

/* Its request is whole: no clock runs while we work on it. */
void guard_serving(struct guard *guard, struct guard_connection *connection);
/* It was answered, well (such a sender is the last to be shut down) or not. */
void guard_answered(struct guard *guard, struct guard_connection *connection, int well);
/* It is being answered with some of its body unread. */
void guard_linger(struct guard_connection *connection);

struct guard_stats {
    unsigned open;
    unsigned long long accepted, late, evicted;
};
void guard_stats(struct guard *guard, struct guard_stats *out);

#endif
