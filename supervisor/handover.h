/* The supervisor's state as text lines in a memfd: what an upgrade carries over. */
#ifndef ORCH_SUPERVISOR_HANDOVER_H
#define ORCH_SUPERVISOR_HANDOVER_H

#include "supervisor/supervisor.h"

/* Writes everything to fd from its beginning. 0, or -1 with errno (then it is of no use). */
int handover_write(struct supervisor *supervisor, int fd);

/* Reads it back into a supervisor without services: each slot is there again, its definition parsed
 * from its own text, marked removing (whoever is in the new sv/ is unmarked). 0, or -1 where it
 * can't be read. */
int handover_read(struct supervisor *supervisor, int fd);

/* Close-on-exec of every descriptor that the state names: off before the exec, on again after it.
 */
void handover_keep(struct supervisor *supervisor, bool over_exec);

#endif
