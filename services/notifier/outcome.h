/* PURE: no I/O */
/* What becomes of an effect, from what the tracker said of it. */
#ifndef ORCH_NOTIFIER_OUTCOME_H
#define ORCH_NOTIFIER_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include "lib/tracker/tracker.h"

/* How an effect is to be delivered. */
enum outcome_way {
    OUTCOME_STATUS,
    OUTCOME_COMMENT, /* alerts too: where there is no chat they are comments by stream */
    OUTCOME_NOWHERE, /* nothing can be done with it: dropped, reason says why */
};

struct outcome_plan {
    enum outcome_way way;
    struct tracker_write write; /* borrows from the effect */
    char reason[256];           /* OUTCOME_NOWHERE */
};

/* effect: a checked message of this kind. known_project: the configuration has its project. */
struct outcome_plan outcome_plan(const json_t *effect, bool known_project);

enum { OUTCOME_PARKED_MAX = 32 };

/* Order per task: once an effect of a task has to wait, those after it in one hand-over wait as
 * well. Cleared for each hand-over. */
struct outcome_parked {
    const char *keys[OUTCOME_PARKED_MAX]; /* borrowed from the effects */
    size_t count;
};
bool outcome_is_parked(const struct outcome_parked *parked, const char *key);
/* More tasks than fit cannot be: a hand-over is no longer than that. */
void outcome_park(struct outcome_parked *parked, const char *key);

/* The message effect_result: delivered, retry or dropped. Caller decrefs. */
json_t *outcome_message(const json_t *effect, enum tracker_result result,
                        const struct tracker_fault *fault);

#endif
