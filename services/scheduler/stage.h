/* PURE: no I/O */
/* The stage machine: one function that decides everything that happens to a task.
 *
 * Given what the database knows of a task and one event, it returns the new stage, the jobs to
 * enqueue and the effects to send, or a reasoned refusal. Webhooks, runs' results, the reconciler's
 * findings and the operator's commands all come through it; there is no second implementation.
 * It allocates nothing and keeps no state: every (stage, event, flags) can be enumerated in a test.
 */
#ifndef ORCH_STAGE_H
#define ORCH_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "protocol/vocabulary.h"
#include "services/scheduler/reasons.h"

enum job_kind {
#define JOB_KIND(id, name, critical) JOB_##id,
#include "services/scheduler/job_kinds.def"
#undef JOB_KIND
    JOB_KIND_COUNT
};

struct job_kind_info {
    const char *name;
    bool critical; /* while it runs, STOP is recorded and applied when it has ended */
};
extern const struct job_kind_info job_kind_table[JOB_KIND_COUNT];
enum job_kind job_kind_by_name(const char *name); /* JOB_KIND_COUNT: unknown */

enum parked { PARKED_NONE, PARKED_APPROVAL, PARKED_CONFIRM, PARKED_CI };
/* MOVED: the code is not the one that the last passed review is bound to. WAITING: the outside (CI)
 * has not answered yet. */
enum gate_verdict { GATE_NONE, GATE_PASS, GATE_FAIL, GATE_UNKNOWN, GATE_MOVED, GATE_WAITING };

/* What the database knows; numbers and flags only. The job whose end the event reports is ended
 * here already: job_live and the three after it do not count it. */
struct stage_facts {
    bool exists; /* false: no living task for this issue; the rest is unset then */
    enum stage stage;
    int64_t entry;
    bool blocked;
    bool blocked_outside;  /* for what people did by hand: what is known of the forge is history */
    enum parked parked;    /* on a blocked task: what it had been parked for */
    bool job_live;         /* a queued or running job of this entry that carries the stage */
    bool agent_running;    /* of which one is an agent now running */
    bool follow_up_queued; /* beside it one more is queued already */
    bool critical_running; /* a merge, deploy or finalizer job runs now */
    bool stop_requested;
    bool display_confirmed; /* the tracker confirmed the status last ordered, in this entry */
    bool command_seen;      /* this command was acted on in this entry before */
    bool refusal_said;      /* a refusal of this command was commented in this entry before */
    bool merged;
    bool deployed;     /* and the deploy hook has succeeded with what was merged */
    bool lease_held;   /* the task holds its repository's merge lease */
    int rollbacks;     /* since a person's last act */
    int max_rollbacks; /* max_developer_retries */
    int returns;       /* to review for code that nobody had reviewed, since a person's last act */
    bool staging_on;   /* settings of the project */
    bool confirm_deploy;
    bool deploy_hook;
    bool self_hosting; /* this repository is ours: no ordinary deploy job calls its hook */
    bool stop_enabled;
};

enum stage_event_kind {
#define STAGE_EVENT(id, name) STAGE_EVENT_##id,
#include "services/scheduler/stage_events.def"
#undef STAGE_EVENT
    STAGE_EVENT_COUNT
};

extern const char *const stage_event_names[STAGE_EVENT_COUNT];

enum event_source { SOURCE_TRACKER, SOURCE_OPERATOR, SOURCE_RECONCILER, SOURCE_RUNNER };

struct stage_event {
    enum stage_event_kind kind;
    enum event_source source;
    int64_t entry;             /* JOB_*, and all of SOURCE_RECONCILER: the entry it was made for or
                                  compared with (0: there was no task); other commands: 0 = current */
    enum job_kind job;         /* JOB_* events */
    enum gate_verdict verdict; /* JOB_SUCCEEDED: of the stage's exit gate; CI: what it says */
    bool timed_out;            /* CI: it was waited for as long as it may be */
    bool current_code;         /* MERGED_OUTSIDE: what was merged is the task's head */
    enum reason cause;         /* BY_HAND: what was done */
    enum parked waives;        /* LABEL: whom it waives; the feature is on */
    bool not_approver;         /* a person who may not approve, confirm or stop (plane.approvers) */
};

/* What a comment or alert says; worded by wording.c from the facts of the row. */
enum message_template {
#define TEMPLATE(id, name) TEMPLATE_##id,
#include "services/scheduler/templates.def"
#undef TEMPLATE
    TEMPLATE_COUNT
};

enum decision_outcome { DECISION_APPLIED, DECISION_REFUSED, DECISION_IGNORED };

struct job_order {
    enum job_kind kind;
    const char *role;   /* static, "" for reserved jobs */
    bool with_findings; /* the brief quotes the task's findings */
};

struct effect_order {
    /* ALERT is the row, its event and the comment by author; no COMMENT goes beside it */
    enum { EFFECT_STATUS, EFFECT_COMMENT, EFFECT_ALERT } kind;
    enum status status;             /* EFFECT_STATUS; clears what display_confirmed is read from */
    enum message_template template; /* the others */
    const char *author;             /* static: role or stream */
    bool droppable; /* a terminal transition drops it undelivered; a status that is not droppable
                       is not replaced by a newer one either, it goes out before it */
};

/* Returns to review are not counted as rollbacks; a reviewer who changes the code at each of its
 * runs would be sent back for ever all the same. */
enum { STAGE_RETURNS_MAX = 5 };

enum { DECISION_JOBS_MAX = 4, DECISION_EFFECTS_MAX = 8 };

/* To be carried out in one transaction in the order of the fields: cancel_jobs comes before the new
 * jobs, which belong to the entry after the move. A refusal may carry effects (the one comment, the
 * display returning to the stage's status); an ignored event carries nothing. */
struct stage_decision {
    enum decision_outcome outcome;
    enum reason reason;
    bool create; /* make the task first, then the rest applies to it */
    bool move;   /* a transition to `to`, which is a new entry even if to == stage */
    enum stage to;
    bool count_rollback;
    bool count_return;
    bool forget_merge;   /* what was merged and its pull request are history: a new one is opened */
    bool forget_outside; /* likewise the branch's head and the pull request, without a merge */
    bool keep_findings;  /* store the event's findings with the task */
    bool reset_counters; /* a person acted */
    bool block, unblock; /* a block leaves the parked row as it is, for the resuming */
    const char *counter; /* block: what a resuming resets: "rollbacks" "returns" "attempts"
                            "outside" or "" */
    enum parked park;    /* PARKED_NONE: leave */
    bool unpark;
    bool cancel_jobs;  /* every queued job cancelled, running ones ordered to stop */
    bool request_stop; /* record a deferred STOP */
    bool release_lease;
    bool remember_command; /* for the entry that the event found */
    bool remember_refusal; /* likewise: refusal_said from now on */
    bool tombstone;        /* cancelled: natural keys get the suffix, cleanup gates the successor */
    size_t job_count, effect_count;
    struct job_order jobs[DECISION_JOBS_MAX];
    struct effect_order effects[DECISION_EFFECTS_MAX];
};

/* Total: every input gives a decision. */
void stage_decide(const struct stage_facts *facts, const struct stage_event *event,
                  struct stage_decision *decision);

/* Whether what this job in this stage hands on waits for CI: a GATE_WAITING of any other is doubt.
 */
bool stage_waits_for_ci(enum job_kind job, enum stage stage);

/* The status that shows where this task is: blocked, awaiting ..., or the stage's own. */
enum status stage_display(const struct stage_facts *facts);

/* Two obligations of the caller that the machine relies on:
 * - a claim takes no job of a task that has a running one (a follow-up waits for the run before
 * it);
 * - where retry.c requeues a job of a task with stop_requested, the event STOP is raised again in
 * the same transaction (its job only waits now, so the deferred STOP applies). */

#endif
