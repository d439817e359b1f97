/* Rows of agent_runs. */
#ifndef ORCH_RUN_ROWS_H
#define ORCH_RUN_ROWS_H

#include "services/scheduler/rows.h"
#include "services/scheduler/wording.h"

struct run_row {
    char *id, *role, *state, *stop; /* role NULL: a reserved job; stop: it was told to end */
    int64_t job, task, entry;
    int attempt;
    bool started;
};

/* False where there is none; the caller frees in either case. */
bool run_row_load(struct scheduler *scheduler, const char *id, struct run_row *run);
void run_row_free(struct run_row *run);

/* Ends it by this run_result; false where it had ended. */
bool run_row_end(struct scheduler *scheduler, const struct run_row *run, const json_t *message,
                 const struct wording_usage *usage);

/* An event `run`. Takes detail. */
void run_row_say(struct scheduler *scheduler, const struct task *task, const struct run_row *run,
                 json_t *detail);

/* Of a run_result: usage and cost; tools that were refused, in words (caller frees; NULL: none). */
void run_row_usage(const json_t *message, struct wording_usage *usage);
char *run_row_denied(const json_t *message);

#endif
