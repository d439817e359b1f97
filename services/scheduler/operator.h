/* Operators' commands out of the inbox: {command, task, actor, text, repo, project}. */
#ifndef ORCH_OPERATOR_H
#define ORCH_OPERATOR_H

#include "services/scheduler/perform.h"

/* task: zeroed; loaded where the command names one (caller frees). */
void operator_take(struct scheduler *scheduler, const json_t *event, struct task *task,
                   struct performed *performed);

#endif
