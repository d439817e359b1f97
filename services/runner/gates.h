/* The exit gates that a run's end evaluates: at the commit that was pushed, read from our own
 * repository, never from a workspace. docs: chapter 02. */
#ifndef ORCH_GATES_H
#define ORCH_GATES_H

#include "services/runner/runner.h"

/* The gate of the stage that an agent worked in, into run->gate; nothing where the stage has none.
 * STEP_AGAIN and *fault where it cannot be read just now. */
enum step gate_of_stage(struct run *run, char **fault);

/* merge-gate without rebase: the branch's remote head is the pinned one and merges cleanly. Under
 * the repository's lock, freshly fetched. Fills run->gate and run->detail {old_head,new_head,base}.
 */
enum step gate_branch_mergeable(struct run *run, char **fault);

/* Makes run->gate. findings: takes, NULL: none. reason: "code: text". */
void gate_set(struct run *run, const char *gate, const char *verdict, const char *reason,
              json_t *findings);

#endif
