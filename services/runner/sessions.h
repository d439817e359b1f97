/* home/sessions/<session>.json: what a session's runs have reported to have cost and used. An
 * agent's totals may be cumulative over a session, so a run's own share is a difference. */
#ifndef ORCH_SESSIONS_H
#define ORCH_SESSIONS_H

#include <stdbool.h>
#include <jansson.h>

struct session_figures {
    double cost; /* US dollars; -1 unknown */
    json_t
        *usage; /* {input, output, cache_read, cache_creation}; NULL unknown, or not cumulative */
};

/* The share of this run in what it reported, and remembers the report. The same run again gives the
 * same. session may be NULL. resumed: it continued a session. The usage is new; caller decrefs. */
struct session_figures sessions_share(const char *home, const char *session, const char *run,
                                      const struct session_figures *reported, bool resumed);

#endif
