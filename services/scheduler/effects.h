/* The outbox: what must go out to people, in order per task, each until it is delivered or given
 * up. A task's status is a register: a newer one replaces one that is still waiting. */
#ifndef ORCH_EFFECTS_H
#define ORCH_EFFECTS_H

#include "services/scheduler/rows.h"
#include "services/scheduler/wording.h"

/* A new task of the same key shows its issue from now on: what its predecessors have not shown yet
 * is dropped. In the open turn. */
void effects_succeed(struct scheduler *scheduler, int64_t task, const char *key);

/* In the open turn. facts: for the words; key, title, branch and head are filled in. */
void effects_order(struct scheduler *scheduler, const struct task *task,
                   const struct effect_order *order, struct wording_facts *facts);

/* All that wait, of all tasks, after a restore: the outside is taken as it is. actor: who said so.
 */
void effects_drop_all(struct scheduler *scheduler, const char *actor);

/* A terminal transition: statuses and start comments that nobody has seen yet are not sent. */
void effects_drop(struct scheduler *scheduler, int64_t task);

/* What is due for the notifier's held request. */
void effects_give(struct scheduler *scheduler);

/* The message effect_result. Returns the answer to it (caller's). */
json_t *effects_take(struct scheduler *scheduler, const json_t *message);

/* An alert that belongs to no task. The same key twice is one alert until it is cleared. */
void alert_raise(struct scheduler *scheduler, const char *key, const char *text);
void alert_clear(struct scheduler *scheduler, const char *key);

#endif
