#include "services/ingress/doorbell.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/log.h"

/* PACE_MS: a turn of the scheduler costs an fsync of its own beside ours. Under load one turn takes
 * what came in ten milliseconds: a fifth more events a second (tests/bench/ingress.py). */
enum { ANSWER_MS = 2000, PAUSE_MS = 200, PACE_MS = 10 };

int doorbell_ring(struct doorbell *doorbell)
{
    uint64_t rings;
    if (read(doorbell->fd, &rings, sizeof rings) < 0 && errno != EAGAIN)
        log_abort("inbox", "doorbell: %s", strerror(errno));
    if (doorbell->outstanding)
        return -1;
    int64_t left = doorbell->not_before_ms - clock_mono_ms();
    if (left > 0)
        return (int)left;
    int64_t seq = inbox_take_news(doorbell->inbox);
    if (seq > 0) {
        doorbell->outstanding = true;
        bus_post(doorbell->bus, "scheduler",
                 message_new(MESSAGE_inbox_changed, NULL, "{sI}", "seq", (json_int_t)seq),
                 ANSWER_MS, DOORBELL_TAG);
    }
    return -1;
}

bool doorbell_take(struct doorbell *doorbell, const struct bus_item *item)
{
    if (item->tag != DOORBELL_TAG)
        return false;
    doorbell->outstanding = false;
    doorbell->not_before_ms = clock_mono_ms() + (item->type == BUS_FAILED ? PAUSE_MS : PACE_MS);
    return true;
}
