/* PURE: no I/O */
/* What a task waits for, since when, who can act, and what happens next. */
#ifndef ORCH_CTL_WHY_H
#define ORCH_CTL_WHY_H

#include <stdbool.h>
#include <jansson.h>
#include "lib/buffer.h"
#include "tools/text.h"

/* task: of /tasks/{key}; queue: of /queue, NULL where unknown. The answer (caller decrefs):
 * {key, stage, waits_for, reason, since, who, next}; unknown is null. */
json_t *why_task(const json_t *task, const json_t *queue);

/* The same for an issue of the built-in tracker that is no task yet. */
json_t *why_issue(const json_t *issue);

/* Whether a queued job's reason of this code has words of its own. */
bool why_knows(const char *code);

void why_text(const json_t *why, const struct view *view, struct buffer *out);

#endif
