/* PURE: no I/O */
#ifndef ORCH_REASONS_H
#define ORCH_REASONS_H

#include <stddef.h>

enum reason {
#define REASON(id, code, text) REASON_##id,
#include "services/scheduler/reasons.def"
#undef REASON
    REASON_COUNT
};

const char *reason_code(enum reason reason);
const char *reason_text(enum reason reason); /* the default text */
/* From "code" or "code: text"; REASON_COUNT: none of ours. */
enum reason reason_by_code(const char *text);
/* What follows one of our codes and its colon, else the whole text; NULL of NULL. Borrowed. */
const char *reason_rest(const char *text);
/* "code: text" with the default text, or with this one where not NULL. */
void reason_format(enum reason reason, const char *text, char *out, size_t size);

#endif
