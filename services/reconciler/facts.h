/* PURE: no I/O */
/* From the JSON of tracker and scheduler to what compare.h compares, and from its finding to the
 * message. */
#ifndef ORCH_RECONCILER_FACTS_H
#define ORCH_RECONCILER_FACTS_H

#include <stdbool.h>
#include <jansson.h>
#include "lib/forge/forge.h"
#include "services/reconciler/compare.h"

/* issue: as lib/tracker shows it; task: its row of the message `tasks` (no comment counts as an
 * approval where it is NULL or not parked); approvers: plane.approvers. Texts are borrowed. */
struct compare_issue facts_issue(const json_t *issue, const json_t *task, const json_t *approvers);

/* row: of the message `tasks`. False where its stage is none of ours: it is left alone. */
bool facts_task(const json_t *row, struct compare_task *task);

/* The message `finding`; issue may be NULL, and pull where it is no F-3. Caller decrefs. */
json_t *facts_finding(const struct compare_finding *finding, const char *project,
                      const json_t *issue, const json_t *task, const json_t *approvers,
                      const struct pull_request *pull);

/* Tasks by their issue's id: {issue: row}, the newest one where an issue has several. tasks: an
 * array of rows. Caller decrefs. */
json_t *facts_by_issue(const json_t *tasks);

#endif
