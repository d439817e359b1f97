/* PURE: no I/O */
/* `Depends-On: KEY[, KEY]` in an issue's description: keys of other tasks that have to be finished
 * before this one begins. */
#ifndef ORCH_DEPENDENCIES_H
#define ORCH_DEPENDENCIES_H

#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

enum { DEPENDENCIES_MAX = 50, DEPENDENCY_KEY_MAX = 80 };

/* The keys of every such line, each once, in their order: the line begins with the words, whatever
 * their case and whatever list mark stands before them. A new array, NULL where there is none. */
json_t *dependencies_parse(const char *description);

/* A task that waits for others. */
struct dependency_node {
    int64_t task;
    const char *key;       /* without the suffix of a cancelled one */
    const json_t *depends; /* array of keys */
};

/* The way from node back to itself, "A → B → A"; caller frees. NULL where there is none: then it
 * waits, at most behind a circle that is not its own. */
char *dependencies_circle(const struct dependency_node *nodes, size_t count, size_t node);

#endif
