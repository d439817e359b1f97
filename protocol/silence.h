/* PURE: no I/O */
/* When a connection to a peer is doubted: questions on it ran into their time-outs, one after
 * another and without an answer in between, or one that was long enough to tell by itself. The bus
 * then asks the peer over a fresh connection, and takes a new socket if it answers there
 * (bus_peer.c). */
#ifndef ORCH_SILENCE_H
#define ORCH_SILENCE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SILENCE_MISSES = 2,          /* one answer may have been lost with the connection it was on;
                                  * who asked for the whole patience and more need not ask again:
                                  * a service that has but one long question would take twice that
                                  * to find out */
    SILENCE_FIRST_MS = 4000,     /* silent for so long before the first doubt, */
    SILENCE_LONGEST_MS = 600000, /* twice as long before each further one, up to this: a socket
                                  * that was left is not closed, so a peer that is merely slow
                                  * must not cost one every few seconds */
};

/* All zero at the start. */
struct silence {
    int misses;       /* in a row */
    int64_t since_ms; /* the first of them was asked then */
    int doubts;       /* that led to a new socket, in this process' life */
};

void silence_answered(struct silence *silence);

/* A question asked at asked_ms ran into its time-out at now_ms (one clock, monotonic). True where
 * the connection is to be doubted; it is again at each further miss until one of the two below. */
bool silence_missed(struct silence *silence, int64_t asked_ms, int64_t now_ms);

/* There is a new socket. */
void silence_renewed(struct silence *silence);

#endif
