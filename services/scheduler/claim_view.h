/* What a claim has to look at, read once per turn: all of it is live rows, so it costs the same
 * however long the history is. Claims of the turn are noted in it as they are made. */
#ifndef ORCH_CLAIM_VIEW_H
#define ORCH_CLAIM_VIEW_H

#include "services/scheduler/rows.h"

struct claim_view {
    bool starting, paused, draining, disk_low; /* what holds for the whole queue */
    int agents;                                /* that run now */
    json_t *projects, *roles;                  /* key: agents that run now */
    json_t *paused_projects;                   /* key: true */
    json_t *frozen;                            /* repository: true */
    json_t *leases;                            /* repository: task that holds its merge lease */
    json_t *cleanups; /* key without suffix: the cancelled task that is still being cleaned up */
    json_t *first;    /* repository: its first unfinished task {id, key}; filled as asked */
    int64_t *running; /* tasks with a running job, ascending */
    size_t running_count;
};

void claim_view_read(struct scheduler *scheduler, struct claim_view *view);
void claim_view_free(struct claim_view *view);

/* A job is about to be claimed; role NULL: a reserved one. */
void claim_view_add(struct claim_view *view, int64_t task, const char *project, const char *role);

bool claim_view_runs(const struct claim_view *view, int64_t task);
int claim_view_agents(const json_t *counts, const char *name);
/* Task that holds the repository's merge lease; 0: none does. */
int64_t claim_view_holder(const struct claim_view *view, const char *repo);
/* Whether a cancelled task of the same key is still being cleaned up. */
bool claim_view_is_followed(struct scheduler *scheduler, const struct claim_view *view,
                            int64_t task);
/* The first unfinished task of the repository: 0, or its id and key (borrowed). */
int64_t claim_view_first(struct scheduler *scheduler, struct claim_view *view, const char *repo,
                         const char **key);

#endif
