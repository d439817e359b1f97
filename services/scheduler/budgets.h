/* Money: what a job of an agent may still spend, and whether what is spent brings its task further.
 * Reserved jobs (merge, deploy) are never asked. */
#ifndef ORCH_BUDGETS_H
#define ORCH_BUDGETS_H

#include "services/scheduler/rows.h"

/* All in US dollars; a limit of 0 is none. */
struct budget_facts {
    double over_run_usd; /* the limit that the job's last run went over; negative: it did not */
    double task_usd, day_usd;
};

/* REASON_OK, or the budget that the job waits for. Pure. */
enum reason budget_judge(const struct config *config, const struct budget_facts *facts);

/* Whether so many runs and dollars since the last new stage are too many. Pure. */
bool budget_is_idle(const struct config *config, int64_t runs, double usd);

/* What is spent; known 0 where nobody told. The day is that of UTC. */
double budget_spent_on(struct scheduler *scheduler, int64_t task);
double budget_spent_today(struct scheduler *scheduler);
/* Wall clock in ms of the next midnight, UTC. Pure. */
int64_t budget_next_day(int64_t now_ms);

/* The reason with its figures, in words. */
void budget_explain(const struct config *config, enum reason reason,
                    const struct budget_facts *facts, char *words, size_t size);

/* What waits for money is said once, and no more once it does not. wanted: key -> text, of the jobs
 * that were looked at; complete: all were. */
void budgets_say(struct scheduler *scheduler, const json_t *wanted, bool complete);

/* A run of the task has ended; counts: it was an attempt of its own. */
void budget_count(struct scheduler *scheduler, const struct task *task, bool counts, double usd);
/* Whether it was one too many; the figures are written into words. */
bool budget_is_spent_idly(struct scheduler *scheduler, const struct task *task, char *words,
                          size_t size);
/* A person acted: spend is counted from here, and a run that was too dear goes on. */
void budget_forgive(struct scheduler *scheduler, const struct task *task);

#endif
