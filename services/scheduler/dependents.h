/* Tasks that wait for others (dependencies.h), as one walk over the queue sees them. */
#ifndef ORCH_DEPENDENTS_H
#define ORCH_DEPENDENTS_H

#include "services/scheduler/rows.h"

struct dependent {
    int64_t task;
    enum reason reason; /* DEPENDS_ON, DEPENDENCY_UNKNOWN, DEPENDENCY_CYCLE */
    char *words;        /* "code: text", which names what it waits for */
};

/* Ascending by task; those whose dependencies are all finished are not in it. */
struct dependents {
    struct dependent *rows;
    size_t count;
};

/* The rows of tasks that depend on others and have not begun: few, and found by an index. */
void dependents_read(struct scheduler *scheduler, struct dependents *dependents);
void dependents_free(struct dependents *dependents);
/* NULL: it waits for nobody. */
const struct dependent *dependents_find(const struct dependents *dependents, int64_t task);

/* Says on the issue, once per entry, what nobody but a person can end: a circle, an unknown key. */
void dependents_say(struct scheduler *scheduler, const struct dependents *dependents);

/* Notes what the description asks for, where that has changed. */
void dependents_learn(struct scheduler *scheduler, int64_t task, const char *description);

#endif
