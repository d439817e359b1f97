/* Time. Inside a process monotonic; over restarts wall clock (milliseconds since 1970, UTC). */
#ifndef ORCH_CLOCK_H
#define ORCH_CLOCK_H

#include <stdint.h>
#include "lib/clock_text.h"

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

#endif
