/* What a claim has to look at, read once per turn: all of it is live rows, so it costs the same
 * however long the history is. Claims of the turn are noted in it as they are made. */
#ifndef ORCH_CLAIM_VIEW_H
#define ORCH_CLAIM_VIEW_H

#include "services/scheduler/dependents.h"
#include "services/scheduler/providers.h"
#include "services/scheduler/rows.h"

/* A project as the rows name it, and what holds for all its jobs. */
struct claim_project {
    char *key;
    const struct project *project; /* NULL: it is gone from the configuration */
    bool paused, gated;
};

/* The first unfinished task of a repository, and why others wait for it. */
struct claim_first {
    char *repo, *key;
    char *words; /* NULL until somebody waits for it */
    int64_t id;  /* 0: all are finished */
};

/* What holds for all agents of a provider. */
struct claim_provider {
    char name[PROVIDER_NAME_SIZE];
    struct provider_row row;
};

struct claim_view {
    bool starting, paused, draining, disk_low; /* what holds for the whole queue */
    int agents;                                /* that run now */
    json_t *projects, *roles;                  /* key: agents that run now */
    json_t *paused_projects;                   /* key: 1 */
    json_t *frozen;                            /* repository: 1 */
    json_t *leases;                            /* repository: task that holds its merge lease */
    json_t *cleanups; /* key without suffix: the cancelled task that is still being cleaned up */
    struct claim_project *known; /* as they were asked for */
    size_t known_count;
    struct claim_first *first; /* ascending by repository; as they were asked for */
    size_t first_count;
    struct dependents dependents;     /* who is not "earlier" for anybody either */
    struct claim_provider *providers; /* as they were asked for */
    size_t provider_count;
    double day_usd;        /* spent today; -1: not asked yet */
    char money_words[200]; /* of the last job that waits for money */
    json_t *over_budget;   /* alert key: text */
    int64_t *running;      /* tasks with a running job, ascending */
    size_t running_count;
};

void claim_view_read(struct scheduler *scheduler, struct claim_view *view);
void claim_view_free(struct claim_view *view);

/* A job is about to be claimed; role NULL: a reserved one. */
void claim_view_add(struct claim_view *view, int64_t task, const char *project, const char *role);

bool claim_view_runs(const struct claim_view *view, int64_t task);
int claim_view_agents(const json_t *counts, const char *name);
/* Borrowed until the next call. */
const struct claim_project *claim_view_project(struct scheduler *scheduler, struct claim_view *view,
                                               const char *key);
/* The same. */
struct claim_provider *claim_view_provider(struct scheduler *scheduler, struct claim_view *view,
                                           const struct project *project);
/* What was spent today in US dollars; 0 where it has no limit. */
double claim_view_day(struct scheduler *scheduler, struct claim_view *view);
/* Task that holds the repository's merge lease; 0: none does. */
int64_t claim_view_holder(const struct claim_view *view, const char *repo);
/* Whether a cancelled task of the same key is still being cleaned up. */
bool claim_view_is_followed(struct scheduler *scheduler, const struct claim_view *view,
                            int64_t task);
/* Borrowed until the next call. */
struct claim_first *claim_view_first(struct scheduler *scheduler, struct claim_view *view,
                                     const char *repo);

#endif
