/* Moves committed pages from the inbox's write-ahead log to its file, on a thread and a connection
 * of its own, so that no sender waits for it. */
#ifndef ORCH_INBOX_CHECKPOINT_H
#define ORCH_INBOX_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

struct checkpointer;

/* Opens nothing before the first wish. path is copied. */
struct checkpointer *checkpointer_start(const char *path);

/* Any thread: the log has grown. Returns at once. */
void checkpointer_want(struct checkpointer *checkpointer);

/* The writer, between two batches: true once after each pass that left few pages. Moving those is
 * the writer's: only while nobody writes can the log be found wholly moved, and only then does the
 * next transaction start it over. */
bool checkpointer_left_few(struct checkpointer *checkpointer);

/* How many passes there were. */
uint64_t checkpointer_passes(struct checkpointer *checkpointer);

/* Ends the thread after the pass that it is at. */
void checkpointer_stop(struct checkpointer *checkpointer);
void checkpointer_free(struct checkpointer *checkpointer);

#endif
