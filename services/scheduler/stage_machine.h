/* PURE: no I/O */
/* Inside of the stage machine: what its files share. Others include stage.h. */
#ifndef ORCH_STAGE_MACHINE_H
#define ORCH_STAGE_MACHINE_H

#include "services/scheduler/stage.h"

struct machine {
    const struct stage_facts *facts;
    const struct stage_event *event;
    struct stage_decision *decision;
};

extern const char machine_speaker[]; /* whose bot tells of transitions */

/* ---- stage_build.c: building a decision ---- */

void machine_apply(struct machine *m, enum reason reason);
void machine_ignore(struct machine *m, enum reason reason);

/* The display returns to the task's own; say: one comment per entry and command. */
void machine_refuse(struct machine *m, enum reason reason, bool say);
/* The reconciler asks again by itself once the display is confirmed; a person is told. */
void machine_refuse_too_early(struct machine *m);

/* Only who used the tracker sees a wrong display and looks there for the answer; an operator has it
 * in the reply. */
bool machine_seen_in_tracker(const struct machine *m);
/* The command was given by somebody who could see what it answers. */
bool machine_displayed(const struct machine *m);

void machine_order_job(struct machine *m, enum job_kind kind, const char *role, bool with_findings);
/* The one job that waits beside a running one. */
void machine_order_follow_up(struct machine *m);
void machine_order_status(struct machine *m, enum status status);
void machine_order_comment(struct machine *m, enum message_template template, const char *author);
void machine_order_alert(struct machine *m, enum message_template template);

/* A new entry. What still runs or waits for the old one ends; what was parked is over. */
void machine_move(struct machine *m, enum stage to);
void machine_park(struct machine *m, enum parked what);

/* The stage's own first job, and its display where the entry is new. again: the stage is repeated
 * or restored, not reached. */
void machine_start_work(struct machine *m, enum stage stage, bool again);
/* Move and start. */
void machine_enter(struct machine *m, enum stage to);
/* Without the lease nothing may be merged: the edge gates judge again, under a new one. */
bool machine_lease_is_missing(const struct machine *m);
/* The hook has deployed what was merged: nothing that comes later may say that it was not. */
bool machine_is_delivered(const struct stage_facts *facts);
/* What is left of a deploy whose merge is done. */
enum job_kind machine_job_after_merge(const struct stage_facts *facts);
void machine_move_to_edge_gates(struct machine *m);

void machine_block(struct machine *m, enum reason reason, const char *counter);
void machine_roll_back(struct machine *m);
/* Commits came that nobody has reviewed: no rollback, and no fault of the developer. */
void machine_return_to_review(struct machine *m);
void machine_cancel(struct machine *m);
void machine_finish(struct machine *m);
/* The one way out of analysis, for the person's Approved and for the label. */
void machine_approve(struct machine *m, enum reason reason);

/* ---- stage_outside.c ---- */

void machine_on_merged_outside(struct machine *m);
void machine_on_by_hand(struct machine *m);
void machine_on_no_progress(struct machine *m);

/* ---- stage_ci.c ---- */

void machine_on_ci(struct machine *m);

/* ---- stage_commands.c ---- */

void machine_on_to_analyse(struct machine *m);
void machine_on_retry(struct machine *m);
void machine_on_approved(struct machine *m);
void machine_on_confirm_deploy(struct machine *m);
void machine_on_label(struct machine *m);
void machine_on_stop(struct machine *m);

#endif
