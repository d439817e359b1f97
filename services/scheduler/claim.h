/* The claim: from a queued job to a running one with its run and its command, in one transaction.
 */
#ifndef ORCH_CLAIM_H
#define ORCH_CLAIM_H

#include "services/scheduler/rows.h"

/* In the open turn: claims what may run and what the runner has room for, in the queue's order
 * (later stage, priority, task), and notes in each other job why it waits. */
void claim_jobs(struct scheduler *scheduler);

#endif
