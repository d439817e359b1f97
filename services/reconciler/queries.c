#include "services/reconciler/queries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "lib/forge/ci.h"
#include "lib/log.h"
#include "lib/tracker/tracker.h"

static json_t *part_of(const json_t *issue, const char *field)
{
    json_t *value = json_object_get(issue, field);
    return json_pack("{s:o}", field, json_is_array(value) ? json_incref(value) : json_array());
}

static json_t *answer_issue(struct reconciler *reconciler, const struct project *project,
                            const json_t *query, const char *what)
{
    struct service *service = reconciler->worker->service;
    struct tracker tracker = tracker_of(service->config, project, service->bus);
    struct tracker_fault fault;
    json_t *issue = NULL, *answer;
    if (tracker_issue(&tracker, message_text(query, "issue", ""), &issue, &fault) != TRACKER_DONE) {
        log_warn("query", "%s of %s: %s", what, message_text(query, "key", ""), fault.reason);
        return NULL;
    }
    answer = strcmp(what, "issue") == 0 ? json_incref(issue) : part_of(issue, what);
    json_decref(issue);
    return answer;
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *show_pull(const struct pull_request *pull)
{
    return json_pack("{s:I,s:s,s:b,s:o,s:o,s:o,s:o,s:o}", "number", (json_int_t)pull->number,
                     "state", pull->open ? "open" : "closed", "merged", pull->merged,
                     "merge_commit", text_or_null(pull->merge_commit), "head_sha",
                     text_or_null(pull->head_sha), "head", text_or_null(pull->head), "base",
                     text_or_null(pull->base), "url", text_or_null(pull->url));
}

static struct forge *open_forge(struct reconciler *reconciler, const struct project *project,
                                char **fault)
{
    const struct config *config = reconciler->worker->service->config;
    if (!reconciler->git)
        reconciler->git = git_new(config->home);
    return reconciler->git ? forge_open(config, project, reconciler->git, fault) : NULL;
}

static json_t *answer_pull(struct reconciler *reconciler, const struct project *project,
                           const json_t *query)
{
    int64_t number = message_integer(query, "pull_request", 0);
    struct pull_request pull = {0};
    char *fault = NULL;
    json_t *answer = NULL;
    if (number <= 0)
        return NULL;
    struct forge *forge = open_forge(reconciler, project, &fault);
    if (forge && forge_pull_get(forge, number, &pull, &fault) == 1)
        answer = show_pull(&pull);
    if (!answer)
        log_warn("query", "pull request %lld of %s: %s", (long long)number,
                 message_text(query, "key", ""), fault ? fault : "there is none");
    forge_pull_free(&pull);
    forge_close(forge);
    free(fault);
    return answer;
}

/* Whether it is merged, and how CI of the commit stands; NULL and *fault where the forge could not
 * say. forge: NULL where the project has no CI. */
static json_t *look_at_ci(struct forge *forge, const struct config *config,
                          const struct project *project, const json_t *query, char **fault)
{
    const char *head = message_text(query, "head", "");
    int64_t number = message_integer(query, "pull_request", 0);
    struct ci_answer ci;
    int merged = forge && number > 0 ? forge_merge_is_done(forge, number, head, fault) : 0;
    if (merged < 0 || ci_look(forge, config, project, head,
                              message_integer(query, "head_since_ms", 0), &ci, fault) < 0)
        return NULL;
    json_t *answer =
        json_pack("{s:s,s:s,s:s,s:O,s:b}", "head", head, "verdict", ci_verdict_names[ci.verdict],
                  "reason", ci.words, "findings", ci.findings, "merged", merged > 0);
    ci_answer_free(&ci);
    return answer;
}

static json_t *answer_ci(struct reconciler *reconciler, const struct project *project,
                         const json_t *query)
{
    const struct config *config = reconciler->worker->service->config;
    bool has_ci = ci_setting_by_name(project->ci) != CI_NONE;
    char *fault = NULL;
    struct forge *forge = has_ci ? open_forge(reconciler, project, &fault) : NULL;
    json_t *answer = forge || !has_ci ? look_at_ci(forge, config, project, query, &fault) : NULL;
    if (!answer)
        log_warn("query", "CI of %s: %s", message_text(query, "key", ""),
                 fault ? fault : "git has no home");
    forge_close(forge);
    free(fault);
    return answer;
}

static json_t *find_answer(struct reconciler *reconciler, const json_t *query, const char *what)
{
    const struct config *config = reconciler->worker->service->config;
    const struct project *project = config_project(config, message_text(query, "project", ""));
    if (!project)
        return NULL;
    if (strcmp(what, "issue") == 0 || strcmp(what, "labels") == 0 || strcmp(what, "comments") == 0)
        return answer_issue(reconciler, project, query, what);
    if (strcmp(what, "pr") == 0)
        return answer_pull(reconciler, project, query);
    return strcmp(what, "ci") == 0 ? answer_ci(reconciler, project, query) : NULL;
}

void query_answer(struct reconciler *reconciler, const json_t *query)
{
    const char *what = message_text(query, "what", "");
    json_t *answer = find_answer(reconciler, query, what);
    reconciler->queries++;
    if (!answer) {
        reconciler->unknown++;
        answer = json_null();
    }
    worker_tell(reconciler->worker,
                message_new(MESSAGE_query_result, NULL, "{s:I,s:s,s:o}", "job",
                            message_integer(query, "job", 0), "what", what, "answer", answer));
}
