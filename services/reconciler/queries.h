/* Facts from outside, asked for by the scheduler. No answer is the answer unknown (null). */
#ifndef ORCH_RECONCILER_QUERIES_H
#define ORCH_RECONCILER_QUERIES_H

#include "services/reconciler/pass.h"

/* Answers one checked message `query`, until it is acknowledged.
 *   issue     the issue as lib/tracker shows it
 *   labels    {labels[]}
 *   comments  {comments[{author, body, at_ms}]}
 *   ci        {head, verdict: pass|fail|waiting, reason, findings[], merged}: of the commit asked
 * about pr        {number, state: open|closed, merged, merge_commit, head_sha, head, base, url} */
void query_answer(struct reconciler *reconciler, const json_t *query);

#endif
