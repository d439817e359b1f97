/* Delivers effects to the trackers, one after the other, each reported until acknowledged. */
#ifndef ORCH_NOTIFIER_DELIVERY_H
#define ORCH_NOTIFIER_DELIVERY_H

#include <stdint.h>
#include <jansson.h>
#include "protocol/worker.h"

enum { DELIVERY_MAX_ITEMS = 32 };

struct delivery {
    struct worker *worker;
    int64_t delivered, retried, dropped, comments, statuses;
};

/* Items of one work_reply, in their order. */
void delivery_take(struct delivery *delivery, const json_t *items);

#endif
