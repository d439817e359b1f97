/* A service that answers, and its clients, for the tests of the bus:
 *
 *   bus_echo version                       of the nng in use
 *   bus_echo serve RUN_DIR NAME            inbox_changed: ack (seq < 0: the main loop sleeps -seq
 * ms first); work_request: held for wait_ms; else error bus_echo publish RUN_DIR NAME MS       the
 * same, and an event every MS milliseconds bus_echo service -c FILE               the whole life of
 * a service, named monitor bus_echo ping RUN_DIR NAME MS [COUNT]  prints the pid, or why not (exit
 * 1); COUNT: how much memory the second half of so many pings took, in KiB bus_echo call RUN_DIR
 * NAME SEQ MS      one inbox_changed; prints the answer or errno's name and how long it took in
 * microseconds bus_echo line RUN_DIR NAME             a connection for life: one call per line of
 * standard input bus_echo flood RUN_DIR NAME COUNT MS   COUNT work_requests held for MS at once, a
 * ping in between; prints how they ended bus_echo listen RUN_DIR NAME           what must never
 * happen: a second listener on the path
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/lock.h"
#include "protocol/address.h"
#include "protocol/service.h"

enum { HELD_MAX = 128, CALL_MS = 2000, POLL_MS = 10 };

struct held {
    void *ticket;
    int64_t due;
};

struct echo {
    struct bus *bus;
    struct held held[HELD_MAX];
    size_t count;
    int64_t served;
};

static void answer(struct echo *echo, struct bus_item *item)
{
    json_int_t seq = message_integer(item->message, "seq", 0);
    if (item->kind == MESSAGE_work_request && echo->count < HELD_MAX) {
        int64_t due = clock_mono_ms() + message_integer(item->message, "wait_ms", 0);
        echo->held[echo->count++] = (struct held){item->ticket, due};
        return;
    }
    if (seq < 0)
        usleep((useconds_t)-seq * 1000);
    echo->served++;
    bus_reply(echo->bus, item->ticket,
              item->kind == MESSAGE_inbox_changed
                  ? message_new(MESSAGE_ack, NULL, NULL)
                  : message_new(MESSAGE_error, NULL, "{s:s,s:n,s:s}", "code", "unexpected", "field",
                                "message", "not for me"));
}

static void answer_due(struct echo *echo)
{
    for (size_t i = 0; i < echo->count;) {
        if (echo->held[i].due > clock_mono_ms()) {
            i++;
            continue;
        }
        bus_reply(echo->bus, echo->held[i].ticket,
                  message_new(MESSAGE_work_reply, NULL, "{s:[]}", "items"));
        echo->held[i] = echo->held[--echo->count];
    }
}

static void show(struct echo *echo)
{
    bus_set_status(echo->bus, "ready", "echo",
                   json_pack("{s:I}", "served", (json_int_t)echo->served));
}

static void turn(struct echo *echo)
{
    show(echo);
    struct pollfd ready = {bus_fd(echo->bus), POLLIN, 0};
    struct bus_item item;
    poll(&ready, 1, POLL_MS);
    while (bus_next(echo->bus, &item)) {
        if (item.type == BUS_REQUEST)
            answer(echo, &item);
        bus_item_done(&item);
    }
    answer_due(echo);
}

static void publish(struct bus *bus, json_int_t seq)
{
    char now[CLOCK_TEXT_SIZE];
    clock_text(clock_wall_ms(), now);
    bus_publish(bus, message_new(MESSAGE_event, NULL, "{s:I,s:s,s:s,s:s,s:n,s:n,s:n,s:s,s:{}}",
                                 "seq", seq, "ts", now, "event", "task", "task", "SHOP-1", "stage",
                                 "job", "run", "service", "scheduler", "detail"));
}

static int serve(const char *run_dir, const char *name, int publish_ms)
{
    char *path = xformat("%s/%s.lock", run_dir, name);
    if (lock_take(path, name) < 0)
        return 1;
    free(path);
    struct echo echo = {.bus = bus_open(run_dir, name, false)};
    if (!echo.bus || (publish_ms && bus_publish_open(echo.bus) < 0))
        return 1;
    int64_t next = clock_mono_ms();
    for (json_int_t seq = 1;;) {
        turn(&echo);
        if (publish_ms && clock_mono_ms() >= next) {
            publish(echo.bus, seq++);
            next += publish_ms;
        }
    }
}

static int live(int argc, char **argv)
{
    struct service service;
    service_begin(&service, "monitor", argc, argv);
    service_ready(&service);
    struct echo echo = {.bus = service.bus};
    while (!service_stopping(&service))
        turn(&echo);
    service_end(&service, 0);
}

static long resident_kib(void)
{
    long size = 0, resident = 0;
    char *text = file_read("/proc/self/statm", 4096, NULL);
    if (text && sscanf(text, "%ld %ld", &size, &resident) != 2)
        resident = 0;
    free(text);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static int ping(const char *run_dir, const char *name, int timeout_ms, int count)
{
    int pid = 0;
    long middle = 0;
    for (int i = 0; i < count; i++) {
        if (i == count / 2)
            middle = resident_kib();
        if (bus_ping(run_dir, name, timeout_ms, &pid) < 0) {
            printf("%s\n", strerrorname_np(errno));
            return 1;
        }
    }
    printf("%ld\n", count > 1 ? resident_kib() - middle : (long)pid);
    return 0;
}

static int call(struct bus *bus, const char *name, json_int_t seq, int timeout_ms)
{
    json_t *reply;
    int64_t from = clock_mono_us();
    int result = bus_call(bus, name, message_new(MESSAGE_inbox_changed, NULL, "{s:I}", "seq", seq),
                          timeout_ms, &reply);
    long long took = clock_mono_us() - from;
    printf("%s %lld\n", result < 0 ? strerrorname_np(errno) : message_text(reply, "kind", "?"),
           took);
    fflush(stdout);
    json_decref(reply);
    return result < 0 ? 1 : 0;
}

/* A question that is held for long, as every service has one with the scheduler. */
static void post_long(struct bus *bus, const char *name, int wait_ms)
{
    bus_post(bus, name,
             message_new(MESSAGE_work_request, NULL, "{s:s,s:s,s:i,s:i}", "service", "runner",
                         "boot", "b", "wait_ms", wait_ms, "max", 1),
             wait_ms, 0);
    printf("posted 0\n");
    fflush(stdout);
}

/* How it ended, within the time of one call. */
static void await_long(struct bus *bus)
{
    struct pollfd ready = {bus_fd(bus), POLLIN, 0};
    struct bus_item item = {.type = BUS_REQUEST};
    int64_t from = clock_mono_ms();
    bool ended = poll(&ready, 1, CALL_MS) > 0 && bus_next(bus, &item);
    printf("%s %lld\n",
           !ended                    ? "waits"
           : item.type == BUS_FAILED ? strerrorname_np(item.error)
                                     : "reply",
           (long long)(clock_mono_ms() - from) * 1000);
    fflush(stdout);
    if (ended)
        bus_item_done(&item);
}

/* A line is a call with that number; "post MS": a long question, "await": its end. */
static int call_lines(struct bus *bus, const char *name)
{
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        if (strncmp(line, "post", 4) == 0)
            post_long(bus, name, atoi(line + 4));
        else if (strncmp(line, "await", 5) == 0)
            await_long(bus);
        else
            call(bus, name, atoll(line), CALL_MS);
    }
    return 0;
}

static int flood(struct bus *bus, const char *run_dir, const char *name, int count, int wait_ms)
{
    int replies = 0, busy = 0, failed = 0;
    for (int i = 0; i < count; i++)
        bus_post(bus, name,
                 message_new(MESSAGE_work_request, NULL, "{s:s,s:s,s:i,s:i}", "service", "runner",
                             "boot", "b", "wait_ms", wait_ms, "max", 1),
                 wait_ms + CALL_MS, (uint64_t)i);
    usleep(200 * 1000); /* all of them are held by now, or refused */
    int alive = bus_ping(run_dir, name, 500, NULL);
    for (int ended = 0; ended < count;) {
        struct pollfd ready = {bus_fd(bus), POLLIN, 0};
        struct bus_item item;
        if (poll(&ready, 1, wait_ms + 2 * CALL_MS) <= 0)
            break;
        for (; bus_next(bus, &item); ended++) {
            if (item.type == BUS_FAILED)
                failed++;
            else if (item.kind == MESSAGE_work_reply)
                replies++;
            else if (strcmp(message_text(item.message, "code", ""), "busy") == 0)
                busy++;
            bus_item_done(&item);
        }
    }
    printf("replies %d busy %d failed %d ping %s\n", replies, busy, failed,
           alive == 0 ? "pong" : "none");
    return 0;
}

static int listen_again(const char *run_dir, const char *name)
{
    char url[ADDRESS_SIZE];
    nng_socket socket;
    if (address_of(run_dir, name, url) < 0 || nng_rep0_open(&socket) != 0)
        return 2;
    int result = nng_listen(socket, url, NULL, 0);
    printf("%s\n", nng_strerror(result));
    return result == 0 ? 0 : 1;
}

static int run_client(int argc, char **argv)
{
    struct bus *bus = bus_open(argv[2], NULL, false);
    if (!bus)
        return 2;
    if (strcmp(argv[1], "call") == 0 && argc == 6)
        return call(bus, argv[3], atoll(argv[4]), atoi(argv[5]));
    if (strcmp(argv[1], "line") == 0)
        return call_lines(bus, argv[3]);
    if (strcmp(argv[1], "flood") == 0 && argc == 6)
        return flood(bus, argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
    return 2;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int result = 2;
    if (strcmp(what, "version") == 0)
        result = puts(nng_version()) < 0;
    else if (strcmp(what, "service") == 0)
        result = live(argc - 1, argv + 1);
    else if (argc < 4)
        fprintf(stderr, "usage: see the head of tests/tools/bus_echo.c\n");
    else if (strcmp(what, "serve") == 0)
        result = serve(argv[2], argv[3], 0);
    else if (strcmp(what, "publish") == 0 && argc == 5)
        result = serve(argv[2], argv[3], atoi(argv[4]));
    else if (strcmp(what, "ping") == 0 && argc >= 5)
        result = ping(argv[2], argv[3], atoi(argv[4]), argc > 5 ? atoi(argv[5]) : 1);
    else if (strcmp(what, "listen") == 0)
        result = listen_again(argv[2], argv[3]);
    else
        result = run_client(argc, argv);
    /* As our services do: nng is not torn down. */
    fflush(stdout);
    _exit(result);
}
