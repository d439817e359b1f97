/* One message to another process and its answer back, by our bus and by nng bare: the same library,
 * the same kind of socket, as many bytes. Half a round trip is a hop.
 *
 *   hop nng|ping|request DIR COUNT    prints one JSON object, microseconds per hop
 *
 * nng: two threads that block in nng_recv, nothing else. ping: answered by the bus's own threads.
 * request: answered by a main loop, as every service does its work. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "protocol/bus.h"

enum { WARM = 200, CALL_MS = 5000 };
static const char name[] = "monitor";

static void must(bool well, const char *what)
{
    if (well)
        return;
    fprintf(stderr, "hop: %s\n", what);
    exit(1);
}

/* ---- nng bare ---- */

static char *url_of(const char *dir)
{
    return xformat("ipc://%s/bare.ipc", dir);
}

static void serve_nng(const char *dir)
{
    nng_socket socket;
    char *url = url_of(dir), *data;
    size_t size;
    must(nng_rep0_open(&socket) == 0 && nng_listen(socket, url, NULL, 0) == 0, "cannot listen");
    while (nng_recv(socket, &data, &size, NNG_FLAG_ALLOC) == 0)
        nng_send(socket, data, size, NNG_FLAG_ALLOC);
}

static nng_socket dial_nng(const char *dir)
{
    nng_socket socket;
    char *url = url_of(dir);
    must(nng_req0_open(&socket) == 0, "cannot open");
    nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, 5);
    must(nng_dial(socket, url, NULL, NNG_FLAG_NONBLOCK) == 0, "cannot dial");
    free(url);
    return socket;
}

static void call_nng(nng_socket socket, const char *text, size_t size)
{
    char *data;
    size_t got;
    must(nng_send(socket, (void *)(uintptr_t)text, size, 0) == 0, "not sent");
    must(nng_recv(socket, &data, &got, NNG_FLAG_ALLOC) == 0, "no answer");
    nng_free(data, got);
}

/* ---- our bus ---- */

static void serve_bus(const char *dir)
{
    struct bus *bus = bus_open(dir, name, false);
    must(bus != NULL, "cannot listen");
    for (;;) {
        struct pollfd fd = {bus_fd(bus), POLLIN, 0};
        struct bus_item item;
        poll(&fd, 1, -1);
        while (bus_next(bus, &item)) {
            if (item.type == BUS_REQUEST)
                bus_reply(bus, item.ticket, message_new(MESSAGE_ack, NULL, "{sb}", "duplicate", 0));
            bus_item_done(&item);
        }
    }
}

static json_t *message_of(bool ping)
{
    return ping ? message_new(MESSAGE_ping, NULL, NULL)
                : message_new(MESSAGE_inbox_changed, NULL, "{si}", "seq", 7);
}

static void call_bus(struct bus *bus, bool ping)
{
    json_t *reply = NULL;
    must(bus_call(bus, name, message_of(ping), CALL_MS, &reply) == 0, "no answer");
    json_decref(reply);
}

/* ---- measuring ---- */

static pid_t serve(void (*loop)(const char *dir), const char *dir)
{
    pid_t child = fork(); /* before anybody has touched nng */
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        loop(dir);
        _exit(1);
    }
    return child;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    must(argc == 4, "usage: hop nng|ping|request DIR COUNT");
    bool bare = strcmp(argv[1], "nng") == 0, ping = strcmp(argv[1], "ping") == 0;
    int count = atoi(argv[3]);
    int64_t *times = xcalloc((size_t)count, sizeof *times);
    size_t size;
    log_init("hop", LOG_LEVEL_ERROR);
    pid_t child = serve(bare ? serve_nng : serve_bus, argv[2]);
    char *text = message_encode(message_of(false), &size);
    nng_socket socket = NNG_SOCKET_INITIALIZER;
    struct bus *bus = NULL;
    if (bare)
        socket = dial_nng(argv[2]);
    else
        bus = bus_open(argv[2], NULL, false);
    for (int i = -WARM; i < count; i++) {
        int64_t start = clock_mono_us();
        if (bare)
            call_nng(socket, text, size);
        else
            call_bus(bus, ping);
        if (i >= 0)
            times[i] = clock_mono_us() - start;
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    qsort(times, (size_t)count, sizeof *times, ascending);
    printf("{\"way\": \"%s\", \"hop_p50_us\": %.1f, \"hop_p99_us\": %.1f}\n", argv[1],
           (double)times[count / 2] / 2, (double)times[(int64_t)count * 99 / 100] / 2);
    return 0;
}
