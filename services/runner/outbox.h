/* What is to be told to the scheduler: in order per run, one under way per run, repeated with
 * back-off until it is acknowledged. Used by the main loop; outbox_put from any thread. */
#ifndef ORCH_OUTBOX_H
#define ORCH_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "protocol/bus.h"

struct outbox;

struct outbox *outbox_new(struct bus *bus);

/* Readable when outbox_put was called: then outbox_push is due. */
int outbox_fd(const struct outbox *outbox);

/* Takes message. ack_path: a file to be made when it is acknowledged, or NULL. once: not repeated,
 * and dropped where another of the same kind and run waits. */
void outbox_put(struct outbox *outbox, const char *run, json_t *message, const char *ack_path,
                bool once);

/* Posts what is due. How many milliseconds until more is due; -1: nothing waits for time. */
int outbox_push(struct outbox *outbox);

/* Takes the end of a post; false where the tag is none of ours. */
bool outbox_take(struct outbox *outbox, const struct bus_item *item);

/* How many wait to be acknowledged. */
size_t outbox_size(struct outbox *outbox);

#endif
