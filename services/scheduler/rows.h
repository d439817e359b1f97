/* Rows of main.db as structs, and what the stage machine wants to know of them. */
#ifndef ORCH_ROWS_H
#define ORCH_ROWS_H

#include "services/scheduler/scheduler.h"
#include "services/scheduler/stage.h"

struct task {
    bool exists; /* false: the rest is unset */
    int64_t id, entry, display_confirmed, pr_number, priority;
    char *project, *repo, *issue, *key, *branch, *natural_key, *title, *description;
    char *blocked_reason, *findings, *display, *pr_url, *pr_head, *head, *merged_commit;
    char *blocked_counter;
    char *reviewed_commit; /* on which the run of the last passed review started */
    enum stage stage;
    bool terminal, stop_requested;
    enum parked parked;
    int rollbacks, returns;
};

/* Each gives false where there is none; the caller frees what was loaded. */
bool task_load(struct scheduler *scheduler, int64_t id, struct task *task);
/* The living task of a tracker's issue, or its finished one (a cancelled one has given it up). */
bool task_load_by_issue(struct scheduler *scheduler, const char *issue, struct task *task);
/* By its key, else the newest one that ever had it. */
bool task_load_by_key(struct scheduler *scheduler, const char *key, struct task *task);
void task_free(struct task *task);

/* A natural key's text without the suffix of a cancelled task, in a buffer of the caller. */
const char *natural_text(const struct task *task, const char *text, char *out, size_t size);

struct job {
    int64_t id, task, entry;
    enum job_kind kind;
    enum stage stage;
    char *role; /* NULL: a reserved job */
    char *state, *run, *session, *input;
    int attempt, transient, losses;
    int runs; /* so far */
};

bool job_load(struct scheduler *scheduler, int64_t id, struct job *job);
void job_free(struct job *job);

/* command: a stage event's kind, for what was seen of it before in this entry. */
void task_facts(struct scheduler *scheduler, const struct task *task, enum stage_event_kind command,
                struct stage_facts *facts);

const struct project *scheduler_project(const struct scheduler *scheduler, const char *key);
/* By the issue's priority (a name; unknown or NULL: it stays), in the jobs that wait too. Its rank.
 */
int64_t task_set_priority(struct scheduler *scheduler, int64_t task, const char *name);
const char *parked_name(enum parked parked); /* NULL for none */
/* The commit that the project's hook deployed last; caller frees, NULL: none is known. */
char *project_deployed(struct scheduler *scheduler, const char *project);
void project_set_deployed(struct scheduler *scheduler, const char *project, const char *commit);
/* Single facts kept in meta. */
int64_t meta_number(struct scheduler *scheduler, const char *key, int64_t none);
void meta_set(struct scheduler *scheduler, const char *key, int64_t value);

#endif
