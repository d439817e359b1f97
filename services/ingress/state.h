/* The one record of what is going on, from which every surface that shows it derives: /queue,
 * /metrics and /health can't drift apart. Made anew for each page; rendering is pure. */
#ifndef ORCH_INGRESS_STATE_H
#define ORCH_INGRESS_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "lib/config.h"
#include "services/ingress/http.h"
#include "services/ingress/inbox.h"
#include "services/scheduler/store_read.h"

struct state {
    char at[32]; /* when it was gathered, RFC 3339 */
    bool store_readable;
    char store_fault[200];
    struct store_state store; /* zero, its arrays NULL, where not readable */
    json_t *services;         /* as peers_services */
    bool scheduler_answers;
    struct inbox_stats inbox;
    struct http_stats http;
    unsigned streams;
};

/* The documents. Caller decrefs or frees. */
json_t *state_queue(const struct state *state, const struct config *config);
/* *status: 200 or 503. */
json_t *state_health(const struct state *state, unsigned *status);
/* Prometheus text. */
char *state_metrics(const struct state *state);

#endif
