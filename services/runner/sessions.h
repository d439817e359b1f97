/* home/sessions/<session>.json: what a session's runs have reported to have cost. The CLI's total
 * is cumulative over a session, so a run's own cost is a difference. */
#ifndef ORCH_SESSIONS_H
#define ORCH_SESSIONS_H

#include <stdbool.h>

/* The cost of this run in US dollars, -1 unknown, and remembers its total. The same run again gives
 * the same. total: as reported, -1 none; session may be NULL. resumed: it continued a session. */
double sessions_cost(const char *home, const char *session, const char *run, double total,
                     bool resumed);

#endif
