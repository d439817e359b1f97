/* What the forge shows of a task, for compare.h. */
#ifndef ORCH_RECONCILER_OUTSIDE_H
#define ORCH_RECONCILER_OUTSIDE_H

#include <stdbool.h>
#include "lib/forge/forge.h"
#include "services/reconciler/compare.h"

/* row: of the message `tasks`. *pull is what was found by the task's number, freed by the caller in
 * any case. False where the forge could not be read (logged): nothing is concluded then. */
bool outside_look(struct forge *forge, const json_t *row, struct compare_forge *seen,
                  struct pull_request *pull);

#endif
