#include "services/reconciler/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/crash.h"
#include "lib/log.h"
#include "lib/tracker/tracker.h"
#include "services/reconciler/facts.h"
#include "services/reconciler/outside.h"

enum { TASKS_PAGE = 200, PAGES_MAX = 10000 };

struct pass_counts {
    int64_t compared, found, failed;
};

void reconciler_publish(struct reconciler *reconciler, const char *doing)
{
    json_t *counters =
        json_pack("{sI sI sI sI sI sI}", "passes", (json_int_t)reconciler->passes, "compared",
                  (json_int_t)reconciler->compared, "found", (json_int_t)reconciler->found,
                  "failed", (json_int_t)reconciler->failed, "queries",
                  (json_int_t)reconciler->queries, "unknown", (json_int_t)reconciler->unknown);
    for (int i = FINDING_F_1; i <= FINDING_F_5; i++) {
        json_object_set_new(counters, compare_finding_names[i],
                            json_integer(reconciler->findings[i]));
    }
    pinger_count(reconciler->pinger, counters);
    bus_set_status(reconciler->worker->service->bus, "ready", doing, counters);
}

/* All pages, or NULL where the tracker could not be read: half a board is no board. */
static json_t *read_issues(const struct tracker *tracker, struct tracker_fault *fault)
{
    json_t *all = json_array();
    int64_t cursor = 0;
    for (int page = 0; page < PAGES_MAX; page++) {
        json_t *issues = NULL;
        if (tracker_issues_page(tracker, &cursor, &issues, fault) != TRACKER_DONE) {
            json_decref(all);
            return NULL;
        }
        json_array_extend(all, issues);
        json_decref(issues);
        if (cursor == 0)
            break;
    }
    return all;
}

static json_t *read_tasks(struct reconciler *reconciler, const char *project)
{
    json_t *all = json_array();
    int64_t after = 0;
    for (;;) {
        json_t *reply, *row;
        size_t index;
        int64_t before = after;
        if (worker_ask(reconciler->worker,
                       message_new(MESSAGE_tasks_get, NULL, "{s:s,s:I,s:i}", "project", project,
                                   "after", (json_int_t)after, "max", TASKS_PAGE),
                       0, &reply) < 0) {
            log_error("pass", "project %s: %s", project, message_text(reply, "message", "refused"));
            json_decref(reply);
            json_decref(all);
            return NULL;
        }
        json_array_foreach(json_object_get(reply, "tasks"), index, row)
        {
            json_array_append(all, row);
            if (message_integer(row, "id", 0) > after)
                after = message_integer(row, "id", 0);
        }
        bool more = message_flag(reply, "more", false) && after > before;
        json_decref(reply);
        if (!more)
            return all;
    }
}

/* One project's outside, as far as it could be reached. */
struct outside {
    const struct project *project;
    struct forge *forge; /* NULL: not reached, nothing is concluded from it */
};

static void tell(struct reconciler *reconciler, const struct compare_finding *finding,
                 json_t *message, struct pass_counts *counts)
{
    const struct log_about about = {.task = message_text(message, "key", "")};
    log_line(LOG_LEVEL_INFO, "finding", &about, "%s %s%s", compare_finding_names[finding->kind],
             message_text(message, "status", ""), finding->cause);
    worker_tell(reconciler->worker, message);
    crash_point(CRASH_FINDING_AFTER_SEND);
    counts->found++;
    reconciler->findings[finding->kind]++;
}

static void compare_one(struct reconciler *reconciler, const struct outside *outside,
                        const json_t *issue, const json_t *task, struct pass_counts *counts)
{
    struct compare_issue left;
    struct compare_task right;
    struct compare_forge seen;
    struct compare_finding finding;
    struct pull_request pull = {0};
    const json_t *approvers = reconciler->worker->service->config->plane_approvers;
    if (task && !facts_task(task, &right))
        return;
    if (issue)
        left = facts_issue(issue, task, approvers);
    bool looked = task && outside->forge && compare_wants_forge(&right) &&
                  outside_look(outside->forge, task, &seen, &pull);
    compare_issue_task(issue ? &left : NULL, task ? &right : NULL, looked ? &seen : NULL, &finding);
    counts->compared++;
    if (finding.kind != FINDING_NONE)
        tell(reconciler, &finding,
             facts_finding(&finding, outside->project->key, issue, task, approvers, &pull), counts);
    forge_pull_free(&pull);
}

static void compare_all(struct reconciler *reconciler, const struct outside *outside,
                        const json_t *issues, const json_t *tasks, struct pass_counts *counts)
{
    json_t *by_issue = facts_by_issue(tasks), *shown = json_object(), *issue, *task;
    size_t index;
    json_array_foreach(issues, index, issue)
    {
        const char *id = message_text(issue, "id", "");
        compare_one(reconciler, outside, issue, json_object_get(by_issue, id), counts);
        json_object_set_new(shown, id, json_true());
    }
    json_array_foreach(tasks, index, task)
    {
        if (!json_object_get(shown, message_text(task, "issue", "")))
            compare_one(reconciler, outside, NULL, task, counts);
    }
    json_decref(by_issue);
    json_decref(shown);
}

static struct forge *open_forge(struct reconciler *reconciler, const struct project *project)
{
    const struct config *config = reconciler->worker->service->config;
    char *fault = NULL;
    if (!reconciler->git)
        reconciler->git = git_new(config->home);
    struct forge *forge =
        reconciler->git ? forge_open(config, project, reconciler->git, &fault) : NULL;
    if (!forge)
        log_warn("forge", "project %s: %s", project->key, fault ? fault : "git has no home");
    free(fault);
    return forge;
}

/* Issues before tasks, tasks before the forge: what a webhook brings in between is then in the
 * tasks, and what a run pushes in between goes on from what they know. */
static void reconcile_project(struct reconciler *reconciler, const struct project *project,
                              struct pass_counts *counts)
{
    struct service *service = reconciler->worker->service;
    struct tracker tracker = tracker_of(service->config, project, service->bus);
    struct tracker_fault fault;
    json_t *issues = read_issues(&tracker, &fault);
    json_t *tasks = issues ? read_tasks(reconciler, project->key) : NULL;
    if (tasks) {
        struct outside outside = {project, open_forge(reconciler, project)};
        compare_all(reconciler, &outside, issues, tasks, counts);
        forge_close(outside.forge);
    } else {
        counts->failed++;
        if (!issues) {
            log_warn("pass", "project %s could not be read: %s", project->key, fault.reason);
            bus_set_error(service->bus, fault.reason);
        }
    }
    json_decref(issues);
    json_decref(tasks);
}

static void report(struct reconciler *reconciler, int64_t pass, const struct pass_counts *counts)
{
    json_t *number = pass == PASS_PERIODIC ? json_null() : json_integer(pass);
    worker_tell(reconciler->worker,
                message_new(MESSAGE_reconcile_done, NULL, "{s:o,s:I,s:I,s:I}", "pass", number,
                            "compared", (json_int_t)counts->compared, "found",
                            (json_int_t)counts->found, "failed", (json_int_t)counts->failed));
}

void pass_run(struct reconciler *reconciler, int64_t pass)
{
    const struct config *config = reconciler->worker->service->config;
    struct pass_counts counts = {0};
    for (size_t i = 0; config->reconciler_enabled && i < config->project_count; i++) {
        char *doing = xformat("comparing project %s", config->projects[i].key);
        reconciler_publish(reconciler, doing);
        free(doing);
        reconcile_project(reconciler, &config->projects[i], &counts);
    }
    reconciler->passes++;
    reconciler->compared += counts.compared;
    reconciler->found += counts.found;
    reconciler->failed += counts.failed;
    if (config->reconciler_enabled || pass != PASS_PERIODIC)
        report(reconciler, pass, &counts);
}
