/* PURE: no I/O */
/* The findings of a failed gate: an array of texts, quoted word for word to the next developer and
 * on the issue. What came from a run is bounded here, once, before it is stored or said. */
#ifndef ORCH_FINDINGS_H
#define ORCH_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>
#include "lib/buffer.h"

enum {
    FINDINGS_COUNT_MAX = 100,
    FINDINGS_ONE_MAX = 8 * 1024,  /* bytes of one finding */
    FINDINGS_ALL_MAX = 64 * 1024, /* bytes of all */
};

/* A new array of strings from a gate's `findings` (borrowed; NULL, or no array: empty). What is no
 * text is kept as its JSON; what exceeds the bounds is cut at a character and said so in a last
 * finding. Where the gate failed and left no finding, its reason is the only one (reason may be
 * NULL). Caller decrefs. */
json_t *findings_bounded(const json_t *findings, const char *reason);

/* As stored in tasks.findings. Caller frees. */
char *findings_encode(const json_t *findings);
/* From tasks.findings; unreadable text is one finding of its own. Caller decrefs. */
json_t *findings_decode(const char *text);

/* Markdown: one fenced block per finding, the text untouched (the fence is longer than any in it).
 * At most room bytes are added; what does not fit is counted in a last line. */
void findings_write(const json_t *findings, size_t room, struct buffer *out);

/* One text in a fence of its own; false and nothing added where it does not fit room. */
bool fenced_write(const char *text, size_t room, struct buffer *out);

/* Bytes of text that fit limit without cutting a UTF-8 character. */
size_t text_cut(const char *text, size_t limit);

#endif
