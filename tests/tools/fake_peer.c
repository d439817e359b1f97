/* A scheduler made of a script, for tests of one service alone.
 *
 * fake_peer NAME RUN_DIR SCRIPT listens as NAME. SCRIPT is a JSON file, read again at each request:
 * {"work": [[item, ...], ...], "<kind>": answer or [answer, ...]}. The n-th work_request gets the n-th
 * list of items, and is held where there is none. The n-th request of a kind gets the n-th answer, the
 * last one for ever; {"silent": true} is no answer, no entry is {"kind": "ack"}. v and id are added.
 * Each request is one line of JSON on standard output. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/log.h"
#include "protocol/bus.h"

enum { LOOK_MS = 20 };

struct fake {
    struct bus *bus;
    const char *script;
    json_t *counts;  /* kind: how many came */
    void *held;      /* the work_request that waits */
    size_t batch;    /* next one of "work" */
};

static json_t *load(const struct fake *fake)
{
    json_t *script = NULL;
    while (!(script = json_load_file(fake->script, 0, NULL)))
        poll(NULL, 0, LOOK_MS);
    return script;
}

static json_t *finished(json_t *answer)
{
    json_t *copy = json_deep_copy(answer);
    json_object_set_new(copy, "v", json_integer(MESSAGE_VERSION));
    return copy;
}

static void hand_out(struct fake *fake)
{
    if (!fake->held)
        return;
    json_t *script = load(fake);
    json_t *items = json_array_get(json_object_get(script, "work"), fake->batch), *item;
    size_t index;
    if (items) {
        json_t *ready = json_array();
        json_array_foreach(items, index, item)
        {
            json_array_append_new(ready, finished(item));
        }
        fake->batch++;
        bus_reply(fake->bus, fake->held, message_new(MESSAGE_work_reply, NULL, "{s:o}", "items",
                                                     ready));
        fake->held = NULL;
    }
    json_decref(script);
}

static void answer(struct fake *fake, const struct bus_item *item)
{
    const char *kind = message_kind_name(item->kind);
    json_int_t seen = json_integer_value(json_object_get(fake->counts, kind));
    json_object_set_new(fake->counts, kind, json_integer(seen + 1));
    json_dumpf(item->message, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    if (item->kind == MESSAGE_work_request) {
        fake->held = item->ticket; /* an earlier one is forgotten, as by the scheduler */
        return;
    }
    json_t *script = load(fake), *entry = json_object_get(script, kind);
    if (json_is_array(entry)) {
        size_t last = json_array_size(entry) - 1;
        entry = json_array_get(entry, (size_t)seen < last ? (size_t)seen : last);
    }
    if (!entry)
        bus_reply(fake->bus, item->ticket, message_new(MESSAGE_ack, NULL, NULL));
    else if (!json_is_true(json_object_get(entry, "silent")))
        bus_reply(fake->bus, item->ticket, finished(entry));
    json_decref(script);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: fake_peer NAME RUN_DIR SCRIPT\n");
        return 2;
    }
    log_init("fake", LOG_LEVEL_WARN);
    struct fake fake = {.bus = bus_open(argv[2], argv[1], false),
                        .script = argv[3],
                        .counts = json_object()};
    if (!fake.bus)
        return 1;
    bus_set_status(fake.bus, "ready", "answers by its script", NULL);
    for (;;) {
        struct pollfd fd = {bus_fd(fake.bus), POLLIN, 0};
        struct bus_item item;
        poll(&fd, 1, fake.held ? LOOK_MS : 1000);
        while (bus_next(fake.bus, &item)) {
            if (item.type == BUS_REQUEST)
                answer(&fake, &item);
            bus_item_done(&item);
        }
        hand_out(&fake);
    }
}
