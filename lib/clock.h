/* Time. Inside a process monotonic; over restarts wall clock (milliseconds since 1970, UTC). */
#ifndef ORCH_CLOCK_H
#define ORCH_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

enum { CLOCK_TEXT_SIZE = 25 }; /* "2026-01-31T23:59:59.999Z" and its NUL */

/* RFC 3339 with milliseconds, UTC. Pure. */
void clock_text(int64_t wall_ms, char out[CLOCK_TEXT_SIZE]);

/* The inverse; accepts an offset and 0-9 decimals. Returns -1 on text that is no time. Pure. */
int64_t clock_parse(const char *text);

#endif
