/* From an event to rows: the stage machine is asked once, and what it decides is carried out in the
 * open turn. There is no other way to change a task's stage. */
#ifndef ORCH_PERFORM_H
#define ORCH_PERFORM_H

#include "services/scheduler/rows.h"

/* What happened to a task. Texts are borrowed; NULL and 0 where they do not apply. */
struct occurrence {
    struct stage_event event;
    const char *actor;       /* person, role, or the service that found it */
    const char *reason_text; /* more exact than the decision's default words */
    const json_t *findings;  /* of the gate, bounded */
    const char *log_tail;    /* of the run that ended */
    /* a task that does not exist yet */
    const char *project, *issue, *key, *title, *description, *priority;
    const json_t *labels;
};

struct performed {
    enum decision_outcome outcome;
    enum reason reason;
    char words[400]; /* "code: text" */
};

/* task: as loaded (exists false: none); reloaded where it changed. */
void perform(struct scheduler *scheduler, struct task *task, const struct occurrence *occurrence,
             struct performed *performed);

/* What was decided without the stage machine. text: more exact than the default; may be NULL. */
void performed_set(struct performed *performed, enum decision_outcome outcome, enum reason reason,
                   const char *text);

const char *outcome_name(enum decision_outcome outcome); /* applied refused ignored */

/* Queues a job of the task's stage and entry, in the journal too. Its id. */
int64_t job_add(struct scheduler *scheduler, const struct task *task,
                const struct job_order *order);

#endif
