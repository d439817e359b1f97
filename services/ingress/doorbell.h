/* Tells the scheduler that the inbox has grown: at most one message on its way, the newest row in
 * it. Losing one costs a second (the scheduler looks by itself); so nothing is repeated. */
#ifndef ORCH_INGRESS_DOORBELL_H
#define ORCH_INGRESS_DOORBELL_H

#include <stdbool.h>
#include <stdint.h>
#include "protocol/bus.h"
#include "services/ingress/inbox.h"

enum { DOORBELL_TAG = 1 };

struct doorbell {
    int fd; /* eventfd that the inbox writes to */
    struct inbox *inbox;
    struct bus *bus;
    bool outstanding;
    int64_t not_before_ms; /* monotonic; a pace, longer after a failure */
};

/* Main loop: the fd was readable, or time has passed. Returns the milliseconds until it wants to be
 * called again, -1: by the fd alone. */
int doorbell_ring(struct doorbell *doorbell);
/* Main loop: the end of a post. False where the tag is not ours. */
bool doorbell_take(struct doorbell *doorbell, const struct bus_item *item);

#endif
