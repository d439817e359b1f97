/* The schema's versions, forward only, each step only adds. user_version = major * 1000 + minor: a
 * program opens every newer minor of its own major (an image that is rolled back must be able to
 * open what its successor migrated) and refuses another major. */
#ifndef ORCH_MIGRATIONS_H
#define ORCH_MIGRATIONS_H

#include <stddef.h>
#include <sqlite3.h>

enum { SCHEMA_MAJOR = 1000 };

struct migration {
    int version;     /* user_version after it */
    const char *sql; /* from the version before; the first one makes the whole schema */
};

extern const struct migration migrations[];
extern const size_t migration_count;

/* Each step is one transaction with its version. 0, or -1 and a text in fault. */
int migrations_run(sqlite3 *db, const struct migration *steps, size_t count, char *fault,
                   size_t size);

#endif
