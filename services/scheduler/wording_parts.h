/* PURE: no I/O */
/* Pieces of which wording.c makes its sentences. */
#ifndef ORCH_WORDING_PARTS_H
#define ORCH_WORDING_PARTS_H

#include <stdbool.h>
#include "services/scheduler/wording.h"

enum { PART_LINE_MAX = 512 }; /* bytes of a one-line text from outside: title, name, reason */

bool part_given(const char *text);

/* Text from outside, kept to one line and without meaning as Markdown or HTML. */
void part_line(const char *text, struct buffer *out);

/* As code: commits, refs, branches. */
void part_code(const char *text, struct buffer *out);

/* "developer" -> "Developer" */
void part_name(const char *name, struct buffer *out);

/* A row per role and their sum over all runs of agents; nothing where there were none. */
void part_table(const struct wording_run *runs, size_t count, struct buffer *out);

#endif
