/* Times as text: RFC 3339, UTC. Reads no clock. */
#ifndef ORCH_CLOCK_TEXT_H
#define ORCH_CLOCK_TEXT_H

#include <stdint.h>

enum { CLOCK_TEXT_SIZE = 25 }; /* "2026-01-31T23:59:59.999Z" and its NUL */

/* With milliseconds; wall_ms: since 1970 UTC. */
void clock_text(int64_t wall_ms, char out[CLOCK_TEXT_SIZE]);

/* The inverse; accepts an offset and 0-9 decimals. Returns -1 on text that is no time. */
int64_t clock_parse(const char *text);

#endif
