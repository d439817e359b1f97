#include "services/scheduler/claim_view.h"

#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "services/scheduler/budgets.h"

/* ---- tasks with a running job ---- */

/* Where the task stands, or would stand. */
static size_t place_of(const struct claim_view *view, int64_t task)
{
    size_t low = 0, high = view->running_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (view->running[middle] < task)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool claim_view_runs(const struct claim_view *view, int64_t task)
{
    size_t at = place_of(view, task);
    return at < view->running_count && view->running[at] == task;
}

static void add_running(struct claim_view *view, int64_t task)
{
    size_t at = place_of(view, task);
    view->running = xrealloc(view->running, (view->running_count + 1) * sizeof *view->running);
    memmove(view->running + at + 1, view->running + at,
            (view->running_count - at) * sizeof *view->running);
    view->running[at] = task;
    view->running_count++;
}

/* ---- agents ---- */

int claim_view_agents(const json_t *counts, const char *name)
{
    return (int)json_integer_value(json_object_get(counts, name));
}

static void count_one(json_t *counts, const char *name)
{
    json_object_set_new(counts, name, json_integer(claim_view_agents(counts, name) + 1));
}

void claim_view_add(struct claim_view *view, int64_t task, const char *project, const char *role)
{
    add_running(view, task);
    if (!role)
        return;
    view->agents++;
    count_one(view->projects, project);
    count_one(view->roles, role);
}

/* ---- reading ---- */

static void read_running(struct scheduler *scheduler, struct claim_view *view)
{
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT task, project, role FROM jobs INDEXED BY jobs_running"
                                  " WHERE state = 'running'",
                                  "");
    while (store_row(scheduler->store, row))
        claim_view_add(view, column_int(row, 0), column_text(row, 1), column_text(row, 2));
}

static json_t *read_set(struct scheduler *scheduler, sqlite3_stmt *row)
{
    json_t *set = json_object();
    while (store_row(scheduler->store, row))
        json_object_set_new(set, column_text(row, 0), json_integer(column_int(row, 1)));
    return set;
}

static bool is_set(struct scheduler *scheduler, const char *flag)
{
    return meta_number(scheduler, flag, 0) != 0;
}

void claim_view_read(struct scheduler *scheduler, struct claim_view *view)
{
    struct store *store = scheduler->store;
    *view = (struct claim_view){
        .starting = !scheduler->work.pass_ended,
        .paused = is_set(scheduler, "paused"),
        .draining = is_set(scheduler, "draining"),
        .disk_low = scheduler->low_disk_mb >= 0,
        .projects = json_object(),
        .roles = json_object(),
        .day_usd = -1,
        .over_budget = json_object(),
    };
    read_running(scheduler, view);
    dependents_read(scheduler, &view->dependents);
    view->paused_projects =
        read_set(scheduler, store_ask(store,
                                      "SELECT substr(key, 8), 1 FROM meta WHERE key > 'paused:'"
                                      " AND key < 'paused;' AND value NOT IN ('', '0')",
                                      ""));
    view->frozen = read_set(scheduler, store_ask(store, "SELECT repo, 1 FROM repo_freeze", ""));
    view->leases = read_set(scheduler, store_ask(store, "SELECT repo, task FROM leases", ""));
    view->cleanups =
        read_set(scheduler, store_ask(store,
                                      "SELECT natural_key, id FROM tasks INDEXED BY tasks_cleanup"
                                      " WHERE cleanup_job IS NOT NULL",
                                      ""));
}

void claim_view_free(struct claim_view *view)
{
    json_t *sets[] = {view->projects, view->roles,    view->paused_projects, view->frozen,
                      view->leases,   view->cleanups, view->over_budget};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        json_decref(sets[i]);
    for (size_t i = 0; i < view->known_count; i++)
        free(view->known[i].key);
    for (size_t i = 0; i < view->first_count; i++) {
        free(view->first[i].repo);
        free(view->first[i].key);
        free(view->first[i].words);
    }
    dependents_free(&view->dependents);
    free(view->providers);
    free(view->known);
    free(view->first);
    free(view->running);
    memset(view, 0, sizeof *view);
}

/* ---- asked for a row that needs it ---- */

int64_t claim_view_holder(const struct claim_view *view, const char *repo)
{
    return json_integer_value(json_object_get(view->leases, repo));
}

bool claim_view_is_followed(struct scheduler *scheduler, const struct claim_view *view,
                            int64_t task)
{
    if (!json_object_size(view->cleanups))
        return false;
    char *key =
        store_text(scheduler->store, "SELECT natural_key FROM tasks WHERE id = ?1", "i", task);
    bool followed = key && json_object_get(view->cleanups, key) != NULL;
    free(key);
    return followed;
}

static void learn_project(struct scheduler *scheduler, struct claim_view *view, const char *key)
{
    const struct config *config = scheduler->config;
    const struct project *project = scheduler_project(scheduler, key);
    view->known = xrealloc(view->known, (view->known_count + 1) * sizeof *view->known);
    view->known[view->known_count++] = (struct claim_project){
        .key = xstrdup(key),
        .project = project,
        .paused = json_object_get(view->paused_projects, key) != NULL,
        .gated = project && config_feature_applies(config->serial_gate_enabled,
                                                   config->serial_gate_repos, project),
    };
}

const struct claim_project *claim_view_project(struct scheduler *scheduler, struct claim_view *view,
                                               const char *key)
{
    size_t i = 0;
    while (i < view->known_count && strcmp(view->known[i].key, key) != 0)
        i++;
    if (i == view->known_count)
        learn_project(scheduler, view, key);
    return &view->known[i];
}

struct claim_provider *claim_view_provider(struct scheduler *scheduler, struct claim_view *view,
                                           const struct project *project)
{
    char name[PROVIDER_NAME_SIZE];
    size_t i = 0;
    provider_name(project, name);
    while (i < view->provider_count && strcmp(view->providers[i].name, name) != 0)
        i++;
    if (i == view->provider_count) {
        view->providers = xrealloc(view->providers, (i + 1) * sizeof *view->providers);
        strcpy(view->providers[i].name, name);
        provider_read(scheduler, name, &view->providers[i].row);
        view->provider_count++;
    }
    return &view->providers[i];
}

double claim_view_day(struct scheduler *scheduler, struct claim_view *view)
{
    if (view->day_usd < 0)
        view->day_usd = scheduler->config->budget_day_usd > 0 ? budget_spent_today(scheduler) : 0;
    return view->day_usd;
}

/* Where the repository stands, or would stand. */
static size_t first_place(const struct claim_view *view, const char *repo)
{
    size_t low = 0, high = view->first_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(view->first[middle].repo, repo) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* One that never began because of its own dependencies is earlier than nobody: else a task that
 * depends on a later one of its repository would wait for it, and it for the first. */
static struct claim_first ask_first(struct scheduler *scheduler, const struct claim_view *view,
                                    const char *repo)
{
    struct claim_first first = {.repo = xstrdup(repo)};
    sqlite3_stmt *row =
        store_ask(scheduler->store,
                  "SELECT id, key FROM tasks INDEXED BY tasks_live WHERE repo = ?1"
                  " AND terminal = 0 AND (?2 = 0 OR (blocked_reason IS NULL AND parked_for IS"
                  " NULL)) ORDER BY id",
                  "si", repo, (int64_t)scheduler->config->serial_gate_skip_blocked);
    while (!first.id && store_row(scheduler->store, row)) {
        if (dependents_find(&view->dependents, column_int(row, 0)))
            continue;
        first.id = column_int(row, 0);
        first.key = column_copy(row, 1);
    }
    store_done(row);
    return first;
}

struct claim_first *claim_view_first(struct scheduler *scheduler, struct claim_view *view,
                                     const char *repo)
{
    size_t at = first_place(view, repo);
    if (at == view->first_count || strcmp(view->first[at].repo, repo) != 0) {
        view->first = xrealloc(view->first, (view->first_count + 1) * sizeof *view->first);
        memmove(view->first + at + 1, view->first + at,
                (view->first_count - at) * sizeof *view->first);
        view->first[at] = ask_first(scheduler, view, repo);
        view->first_count++;
    }
    return &view->first[at];
}
