/* Which method and path mean what; one table, from which docs/http-api.md is checked. */
#ifndef ORCH_INGRESS_ROUTE_H
#define ORCH_INGRESS_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include "services/ingress/command.h"

enum route_kind {
    ROUTE_SIGNED,  /* a webhook with a signature: source plane or gitea */
    ROUTE_LOCAL,   /* an event of the built-in tracker */
    ROUTE_PAGE,    /* a document about the state */
    ROUTE_COMMAND, /* an operator's command */
    ROUTE_EVENTS,  /* the stream of events */
};

enum page {
    PAGE_HEALTH,
    PAGE_QUEUE,
    PAGE_TASKS,
    PAGE_TASK,
    PAGE_METRICS,
    PAGE_ISSUES,
    PAGE_ISSUE,
    PAGE_EFFECTS
};
enum signed_source { SOURCE_PLANE, SOURCE_GITEA, SOURCE_COUNT };

struct route {
    const char *method;
    const char *path; /* one segment may be {key} */
    enum route_kind kind;
    bool open; /* needs no operator token */
    union {
        enum page page;
        enum command command;
        enum signed_source source;
    };
};

enum { ROUTE_KEY_MAX = 80, ROUTE_COUNT = 23 };
extern const struct route route_table[ROUTE_COUNT];

/* The route, with what stands for {key} in key ("" where the path has none). NULL where there is
 * none; *path_known then tells 405 from 404. HEAD finds what GET does. */
const struct route *route_find(const char *method, const char *path, char key[ROUTE_KEY_MAX + 1],
                               bool *path_known);

#endif
