/* PURE: no I/O */
/* What a person does about a blocked task: one table (blocks.def) for orchctl and for the comment.
 */
#ifndef ORCH_BLOCKS_H
#define ORCH_BLOCKS_H

#include <stddef.h>

struct block_words {
    const char *code;  /* of a reason */
    const char *first; /* what a person does before it goes on; no end mark */
    const char *then;  /* what going on does; no end mark */
};

/* reason: "code" or "code: text"; may be NULL. NULL: the table has no words for it. */
const struct block_words *block_words_of(const char *reason);

#endif
