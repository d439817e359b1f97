/* orch-ingress: HTTP in, the inbox, pages out. This file only wires. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <sqlite3.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "protocol/service.h"
#include "services/ingress/doorbell.h"
#include "services/ingress/ingress.h"
#include "services/ingress/token.h"

enum {
    CONNECTIONS_MAX = 2000,
    DESCRIPTORS_SPARE = 256,         /* databases, bus, lingering connections */
    PATIENCE_MS = 15 * 1000,         /* with strangers */
    KEEP_BYTES = 4 * 1024 * 1024,    /* of freed memory, against a system call per body */
    TRUSTED_PATIENCE_MS = 60 * 1000, /* a large page over a slow line */
    READY_LOOK_MS = 2,
    STATUS_MS = 2000,
    FLUSH_MS = 500,
};

/* As many connections as there are descriptors for. */
static unsigned connection_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return 256;
    rlim_t wanted = CONNECTIONS_MAX + DESCRIPTORS_SPARE;
    if (files.rlim_cur < wanted) {
        files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return files.rlim_cur >= wanted ? CONNECTIONS_MAX : (unsigned)(files.rlim_cur / 2);
}

_Noreturn static void refuse_start(struct service *service, const char *fault)
{
    log_error("start", "%s", fault);
    service_end(service, 1);
}

static void start_parts(struct service *service, struct ingress *ingress, int doorbell)
{
    const struct config *config = service->config;
    char fault[300];
    char *folder = config_home_path(config, "db");
    char *inbox_path = config_home_path(config, "db/inbox.db");
    struct http_limits limits = {.guard = {.connections = connection_limit(),
                                           .patience_ms = {PATIENCE_MS, TRUSTED_PATIENCE_MS}},
                                 .body_max = (size_t)config->http_max_body_bytes};
    if (file_make_dirs(folder, 0700) < 0)
        log_error("start", "%s: %s", folder, strerror(errno)); /* the inbox says 503 until it is */
    ingress->config = config;
    ingress->token = token_load(config, fault, sizeof fault);
    if (!ingress->token)
        refuse_start(service, fault);
    ingress->store_path = config_home_path(config, "db/main.db");
    ingress->inbox = inbox_start(inbox_path, ingress->store_path, doorbell);
    ingress->peers = peers_new(config);
    ingress->pages = pages_new(ingress);
    ingress->stream = stream_new(ingress);
    intake_init(ingress);
    ingress->http =
        http_start(ingress, config->http_listen, &intake_handlers, &limits, fault, sizeof fault);
    if (!ingress->http)
        refuse_start(service, fault);
    pages_start(ingress->pages);
    stream_start(ingress->stream);
    log_info("start", "listening on %s (port %u), %u connections at most", config->http_listen,
             http_port(ingress->http), limits.guard.connections);
    free(folder);
    free(inbox_path);
}

/* To whoever asks over the bus, and to our own pages. */
static void tell_status(struct service *service, struct ingress *ingress)
{
    struct inbox_stats inbox;
    inbox_stats(ingress->inbox, &inbox);
    const char *state = !inbox.open ? "starting" : inbox.writable ? "ready" : "degraded";
    const char *doing = inbox.writable ? "accepting events" : "refusing events: see last_error";
    json_t *counters =
        json_pack("{sI sI sI sI sI}", "kept", (json_int_t)inbox.kept, "duplicates",
                  (json_int_t)inbox.duplicates, "failed", (json_int_t)inbox.failed, "refused",
                  (json_int_t)inbox.refused, "batches", (json_int_t)inbox.batches);
    peers_note_self(ingress->peers, state, doing, inbox.error, json_deep_copy(counters));
    bus_set_status(service->bus, state, doing, counters);
    bus_set_error(service->bus, inbox.error);
}

static void take_bus(struct service *service, struct ingress *ingress, struct doorbell *doorbell)
{
    static const struct message_fault nothing = {
        .code = "kind", .field = "kind", .text = "ingress answers ping and status only"};
    struct bus_item item;
    while (bus_next(service->bus, &item)) {
        if (item.type == BUS_REQUEST)
            bus_reply(service->bus, item.ticket, message_error(NULL, &nothing));
        else if (!doorbell_take(doorbell, &item))
            peers_take(ingress->peers, &item);
        bus_item_done(&item);
    }
}

static int sooner(int a, int b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void run(struct service *service, struct ingress *ingress, struct doorbell *doorbell)
{
    bool ready = false;
    int64_t next_status = 0;
    while (!service_stopping(service)) {
        struct inbox_stats inbox;
        int wait = sooner(peers_ask(ingress->peers, service->bus), doorbell_ring(doorbell));
        int64_t now = clock_mono_ms();
        if (!ready) {
            inbox_stats(ingress->inbox, &inbox);
            ready = inbox.open;
            if (ready) {
                service_ready(service);
                next_status = now;
            } else {
                wait = READY_LOOK_MS;
            }
        }
        if (now >= next_status) {
            tell_status(service, ingress);
            next_status = now + STATUS_MS;
        }
        struct pollfd polled[] = {{.fd = service->signal_fd, .events = POLLIN},
                                  {.fd = bus_fd(service->bus), .events = POLLIN},
                                  {.fd = doorbell->fd, .events = POLLIN}};
        poll(polled, 3, wait);
        take_bus(service, ingress, doorbell);
    }
}

/* What was taken is committed and answered, commands at the latest with "pending"; what is open
 * otherwise sees its connection end. */
static void flush(struct ingress *ingress)
{
    struct timespec moment = {.tv_nsec = 10 * 1000000L};
    http_quiesce(ingress->http);
    inbox_stop(ingress->inbox);
    pages_finish(ingress->pages);
    for (int left = FLUSH_MS / 10; left > 0 && !http_is_quiet(ingress->http); left--)
        nanosleep(&moment, NULL);
}

int main(int argc, char **argv)
{
    struct service service;
    struct ingress ingress = {0};
    service_begin(&service, "ingress", argc, argv);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a fault to be answered, not an end */
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    start_parts(&service, &ingress, fd);
    struct doorbell doorbell = {.fd = fd, .inbox = ingress.inbox, .bus = service.bus};
    run(&service, &ingress, &doorbell);
    flush(&ingress);
    service_end(&service, 0);
}
