/* run_dir/sv/<name>/: where a service runs and where `sv` finds it, made from sv/<name>/ by links,
 * so that two instances of one tree share no state. */
#ifndef ORCH_SUPERVISOR_INSTANCE_H
#define ORCH_SUPERVISOR_INSTANCE_H

#include <limits.h>
#include "supervisor/definitions.h"

struct instance {
    char folder[PATH_MAX];  /* run_dir/sv/<name> */
    char program[PATH_MAX]; /* what is executed */
    char argv0[PATH_MAX];
    char finish[PATH_MAX];
};

/* Makes or renews the folder and finds the program. path is the services' PATH.
 * 0, or -1 with a message. */
int instance_make(struct instance *instance, const struct definition *definition,
                  const char *run_dir, const char *path, char *fault, size_t size);

/* Finds the program again (after an exec failed: a new one may stand elsewhere by now). */
void instance_resolve(struct instance *instance, const struct definition *definition,
                      const char *path);

#endif
