/* PURE: no I/O */
/* Why a queued job is not claimed now. One table of rules, in the order in which a person would
 * want to hear of them. */
#ifndef ORCH_CLAIM_RULES_H
#define ORCH_CLAIM_RULES_H

#include <stdbool.h>
#include "services/scheduler/stage.h"

struct claim_facts {
    enum job_kind kind;
    enum stage stage;
    bool due; /* not_before has come */
    /* of the whole */
    bool starting; /* the first look at the outside has not ended */
    bool paused, draining, disk_low;
    /* of the project */
    bool project_known, project_paused;
    /* of the task */
    bool task_runs;           /* another job of it runs */
    bool predecessor_cleaned; /* no cancelled task of the same key is still being cleaned up */
    bool is_gated;            /* an earlier task of its gated repository is unfinished */
    bool is_frozen;
    enum reason dependency; /* REASON_OK: what it depends on is finished */
    bool lease_busy;        /* another task holds the repository's merge lease */
    bool lease_held;        /* this one does */
    /* of an agent's job: REASON_OK, or what it waits for */
    enum reason provider, budget;
    /* agents that run now, and the limits */
    int agents, agents_max;
    int project_agents, project_agents_max;
    int role_agents, role_agents_max; /* max 0: none */
};

/* Whether it is a task's first job, which alone waits for other tasks: the facts
 * predecessor_cleaned, dependency, is_gated and is_frozen are read of no other. */
bool claim_begins_task(enum job_kind kind, enum stage stage);

/* REASON_OK: it may run. REASON_COUNT: it waits for its time, the reason that it has says why. */
enum reason claim_judge(const struct claim_facts *facts);

#endif
