/* Labels that waive a person (auto_label): autoApprove for Approved, autoDeploy for Confirm Deploy.
 * They skip the person and nothing else. The tracker is asked while the task waits; any doubt is
 * no, and it is asked again at the reconciler's pace. */
#ifndef ORCH_LABELS_H
#define ORCH_LABELS_H

#include "services/scheduler/rows.h"

/* Pure. Whether one label and no other has this name, case and blanks around it aside. */
bool labels_have(const json_t *labels, const char *name);

/* Asks for the labels of every task that waits for a person where the feature is in force. */
void labels_ask(struct scheduler *scheduler);

/* The message query_result, of such a query. Returns the answer to it (caller's). */
json_t *labels_take(struct scheduler *scheduler, const json_t *message);

/* What the tracker shows of this task's labels is known as of now. */
void labels_known(struct scheduler *scheduler, int64_t id);

#endif
