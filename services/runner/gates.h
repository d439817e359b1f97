/* The exit gates that a run's end evaluates: at the commit that was pushed, read from our own
 * repository, never from a workspace. docs: chapter 02. */
#ifndef ORCH_GATES_H
#define ORCH_GATES_H

#include "services/runner/runner.h"

/* The gate of the stage that an agent worked in, into run->gate; nothing where the stage has none.
 * STEP_AGAIN and *fault where it cannot be read just now. */
enum step gate_of_stage(struct run *run, char **fault);

/* Whether the code at head is another than the one that a review's verdict is bound to: anything
 * but the task's artefacts counts. Sets run->gate to the verdict "moved", whose findings name the
 * commits, where it is. STEP_AGAIN and *fault where git could not be asked. */
enum step gate_bound(struct run *run, const char *gate, const char *reviewed, const char *head,
                     bool *moved, char **fault);

/* merge-gate without rebase: the branch's remote head holds the reviewed code and merges cleanly.
 * Under the repository's lock, freshly fetched. Fills run->gate and run->detail
 * {old_head,new_head,base}.
 */
enum step gate_branch_mergeable(struct run *run, char **fault);

/* Whether CI is green for run->head, into run->gate: pass, fail with each failing context as a
 * finding, or waiting. pushed_ms as of ci_look. STEP_AGAIN and *fault where the forge could not be
 * read. */
enum step gate_ci_green(struct run *run, int64_t pushed_ms, char **fault);

/* The same of what is to be merged. *go: nothing stands against it, and there is no gate; else the
 * gate says what does. What is merged already is not asked about: it is never undone. */
enum step gate_ci_before_merge(struct run *run, int64_t number, bool *go, char **fault);

/* Makes run->gate. findings: takes, NULL: none. reason: "code: text". */
void gate_set(struct run *run, const char *gate, const char *verdict, const char *reason,
              json_t *findings);

#endif
