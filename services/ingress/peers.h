/* What the other services last said of themselves. Asked in the background, so that a dead one
 * never delays a page: its last answer stays, with its age. */
#ifndef ORCH_INGRESS_PEERS_H
#define ORCH_INGRESS_PEERS_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "lib/config.h"
#include "protocol/bus.h"

struct peers;

enum { PEERS_TAG = 0x1000 }; /* tags of our posts: PEERS_TAG .. PEERS_TAG + 2 * SERVICE_COUNT */

struct peers *peers_new(const struct config *config);

/* Main loop only: asks whoever is due; returns the milliseconds until it wants to be called again.
 */
int peers_ask(struct peers *peers, struct bus *bus);
/* Main loop only: the end of a post. False where the tag is not ours. */
bool peers_take(struct peers *peers, const struct bus_item *item);

/* Any thread. What this service says of itself. Takes counters. */
void peers_note_self(struct peers *peers, const char *state, const char *doing, const char *error,
                     json_t *counters);

/* Any thread. [{name,state,pid,uptime_s,restarts,age_ms,doing,counters,last_error}] in order of
 * start; caller decrefs. From supervisor.json where there is one, and the last answers. */
json_t *peers_services(struct peers *peers);

/* The last answer came within the time in which three were due. */
bool peers_answers(struct peers *peers, const char *service);

#endif
