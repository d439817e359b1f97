/* Questions that stand for as long as a task is parked: one query job, whose row stays. The
 * reconciler is asked again at its pace from memory, so an answer that brings nothing new writes
 * nothing. */
#ifndef ORCH_STANDING_H
#define ORCH_STANDING_H

#include "services/scheduler/rows.h"

/* Asks, where this question of the task does not stand already. why: the row's "code: text". */
void standing_ask(struct scheduler *scheduler, int64_t task, const char *what, const char *why);

/* Ends the questions that are asked for nobody any more: the task was stopped, blocked, resumed, or
 * has gone on. */
void standing_end_needless(struct scheduler *scheduler);

/* An answer came. Whether its question still stands: loads both, which the caller frees whatever
 * the answer is. Until standing_again or standing_end it would be asked again at once. */
bool standing_take(struct scheduler *scheduler, const json_t *message, struct job *job,
                   struct task *task);

/* Asked again at the reconciler's pace, or sooner: within_ms, 0: no such wish. */
void standing_again(struct scheduler *scheduler, int64_t job, int64_t within_ms);

/* state: done | cancelled. */
void standing_end(struct scheduler *scheduler, int64_t job, const char *state);

#endif
