/* The list of open windows. The scheduler's rows are the truth: what is here is what it handed to
 * this process and has not ended. */
#ifndef ORCH_MONITOR_WINDOWS_H
#define ORCH_MONITOR_WINDOWS_H

#include <stdint.h>
#include <jansson.h>
#include "protocol/worker.h"

enum { WINDOWS_MAX_ITEMS = 64 };

struct windows;

/* Borrows worker for life. */
struct windows *windows_new(struct worker *worker);

/* Items of a work_reply (NULL: none): opens what is new, forgets what has ended, says what is open.
 */
void windows_take(struct windows *windows, const json_t *items);

/* Monotonic time of the next end of a window; INT64_MAX where none is open. */
int64_t windows_due(const struct windows *windows);

#endif
