/* A pass: per project everything that the tracker shows is compared with everything that the
 * scheduler knows, and the differences are sent. */
#ifndef ORCH_RECONCILER_PASS_H
#define ORCH_RECONCILER_PASS_H

#include <stdint.h>
#include "protocol/pinger.h"
#include "protocol/worker.h"

enum { PASS_PERIODIC = -1 };

struct reconciler {
    struct worker *worker;
    struct pinger *pinger;
    struct git *git; /* made at the first question about a pull request, kept for life */
    int64_t passes, compared, found, failed, queries, unknown;
    int64_t findings[6]; /* by number, F-1 ... F-5 */
};

/* Runs one to its end and reports it. pass: the number asked for, or PASS_PERIODIC. Where
 * reconciler.enabled is off nothing is compared, and a pass asked for is reported at once: nothing
 * is claimed before. */
void pass_run(struct reconciler *reconciler, int64_t pass);

/* Status and counters to the bus. */
void reconciler_publish(struct reconciler *reconciler, const char *doing);

#endif
