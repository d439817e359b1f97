/* The service's half of the supervisor's protocol: what every service's main does first and last. */
#ifndef ORCH_SERVICE_H
#define ORCH_SERVICE_H

#include <stdbool.h>
#include "lib/config.h"
#include "protocol/bus.h"

struct service {
    const char *name;
    struct config *config;
    struct bus *bus;
    int signal_fd; /* TERM, INT, HUP; readable = stop (TERM, INT) */
    int lock_fd;   /* home/lock/<name>.lock, held for life, close-on-exec */
};

/* In this order: blocks signals (before nng makes threads), loads the configuration (-c FILE,
 * ORCH_CONFIG, else the installed default; exit 100 and a message on error), log, the lock of
 * home/lock/<name>.lock (held by another: says who, waits lock_wait_s, exit 111), home and run
 * directories, the bus. Does not say ready. Never returns on failure. */
void service_begin(struct service *service, const char *name, int argc, char **argv);

/* Writes a newline to the descriptor in ORCH_NOTIFY_FD (set by the supervisor from service.yaml's
 * notification-fd; absent under plain runit) and closes it; state becomes ready. */
void service_ready(struct service *service);

/* True once TERM or INT came in. Never blocks. */
bool service_stopping(struct service *service);

/* "<name> stopped" in the log; _exit(code) without tearing nng down (its close has traps). */
_Noreturn void service_end(struct service *service, int code);

#endif
