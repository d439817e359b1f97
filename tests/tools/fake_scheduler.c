/* A scheduler for the runner's tests: hands out what it reads from standard input (one run_start or
 * run_stop per line), prints every message it gets (one JSON object per line) and acknowledges it.
 * Usage: fake_scheduler RUN_DIRECTORY. Lines "mute" and "unmute": results are not acknowledged.
 * With FAKE_SCHEDULER_STAMPS in the environment every line carries "us", the monotonic clock when it
 * came, and each run_start is printed as it is handed out. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/log.h"
#include "protocol/bus.h"

enum { ITEMS_MAX = 1000 };

struct item {
    json_t *message;
    char boot[40]; /* of the runner that has it; "" nobody */
    bool done;
};

struct fake {
    struct bus *bus;
    struct item items[ITEMS_MAX];
    size_t count;
    void *held; /* the work_request that waits */
    char boot[40];
    bool mute;
    struct buffer line;
};

static void print(const json_t *message)
{
    struct timespec now;
    json_t *line = json_copy((json_t *)(uintptr_t)message);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (getenv("FAKE_SCHEDULER_STAMPS"))
        json_object_set_new(line, "us",
                            json_integer((json_int_t)now.tv_sec * 1000000 + now.tv_nsec / 1000));
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(line);
}

static void hand_out(struct fake *fake)
{
    json_t *items = json_array();
    if (!fake->held)
        return;
    for (size_t i = 0; i < fake->count; i++) {
        struct item *item = &fake->items[i];
        if (item->done || strcmp(item->boot, fake->boot) == 0)
            continue;
        snprintf(item->boot, sizeof item->boot, "%s", fake->boot);
        json_array_append(items, item->message);
        if (getenv("FAKE_SCHEDULER_STAMPS"))
            print(item->message);
    }
    if (json_array_size(items)) {
        bus_reply(fake->bus, fake->held,
                  message_new(MESSAGE_work_reply, NULL, "{sO}", "items", items));
        fake->held = NULL;
    }
    json_decref(items);
}

/* run_accepted is the end of a run_start, run_result of both. */
static void acknowledge(struct fake *fake, enum message_kind kind, const char *run)
{
    for (size_t i = 0; i < fake->count; i++) {
        const json_t *message = fake->items[i].message;
        bool start = strcmp(message_text(message, "kind", ""), "run_start") == 0;
        if (strcmp(message_text(message, "run", ""), run) == 0 &&
            (kind == MESSAGE_run_result || (start && kind == MESSAGE_run_accepted)))
            fake->items[i].done = true;
    }
}

static void take_request(struct fake *fake, struct bus_item *item)
{
    if (item->kind == MESSAGE_work_request) {
        if (fake->held)
            bus_reply(fake->bus, fake->held,
                      message_new(MESSAGE_work_reply, NULL, "{s[]}", "items"));
        fake->held = item->ticket;
        snprintf(fake->boot, sizeof fake->boot, "%s", message_text(item->message, "boot", ""));
        hand_out(fake);
        return;
    }
    print(item->message);
    if (fake->mute && item->kind == MESSAGE_run_result)
        return; /* the runner has to repeat it */
    acknowledge(fake, item->kind, message_text(item->message, "run", ""));
    bus_reply(fake->bus, item->ticket, message_new(MESSAGE_ack, NULL, "{}"));
}

static void take_line(struct fake *fake, const char *line)
{
    if (strcmp(line, "mute") == 0 || strcmp(line, "unmute") == 0) {
        fake->mute = line[0] == 'm';
        return;
    }
    enum message_kind kind;
    struct message_fault fault;
    json_t *message = message_decode(line, strlen(line), &kind, &fault);
    if (!message || fake->count == ITEMS_MAX) {
        fprintf(stderr, "fake_scheduler: %s: %s\n", fault.field, fault.text);
        exit(1);
    }
    fake->items[fake->count++] = (struct item){.message = message};
    hand_out(fake);
}

/* false at the end of input. */
static bool take_input(struct fake *fake)
{
    char chunk[65536];
    ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
    if (n <= 0)
        return false;
    buffer_add(&fake->line, chunk, (size_t)n);
    for (char *end; fake->line.size && (end = memchr(fake->line.data, '\n', fake->line.size));) {
        *end = '\0';
        struct buffer rest = {0};
        size_t used = (size_t)(end - fake->line.data) + 1;
        take_line(fake, fake->line.data);
        if (fake->line.size > used)
            buffer_add(&rest, fake->line.data + used, fake->line.size - used);
        buffer_free(&fake->line);
        fake->line = rest;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct fake fake;
    if (argc != 2)
        return 2;
    log_init("fake_scheduler", LOG_LEVEL_INFO);
    fake.bus = bus_open(argv[1], "scheduler", false);
    if (!fake.bus) {
        perror(argv[1]);
        return 1;
    }
    for (;;) {
        struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {bus_fd(fake.bus), POLLIN, 0}};
        poll(fds, 2, -1);
        if (fds[0].revents && !take_input(&fake))
            _exit(0);
        struct bus_item item;
        while (bus_next(fake.bus, &item)) {
            if (item.type == BUS_REQUEST)
                take_request(&fake, &item);
            bus_item_done(&item);
        }
    }
}
