/* The job kinds deploy and stage: what is done with a project's own programs. Whatever a killed
 * runner had begun is found in the run's directory; a deploy that was begun is never begun again.
 */
#include "services/runner/hook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "services/runner/gates.h"

enum { EXIT_FAILED_CLEANLY = 1, EXIT_NEEDS_PERSON = 2 };

/* ---- what both have in common ---- */

static json_t *report_of(const struct hook_call *call, const struct hook_result *result,
                         const char *how)
{
    return json_pack("{ss si ss ss ss sI sI}", "verb", call->verb ? call->verb : "", "exit_code",
                     result->exit_code, "revision", call->sha, "how", how, "output", result->output,
                     "started_ms", (json_int_t)result->started_ms, "ended_ms",
                     (json_int_t)result->ended_ms);
}

static char *name_of(const struct hook_call *call)
{
    return call->verb ? xformat("The deploy hook's `%s`", call->verb)
                      : xstrdup("The staging check");
}

/* "The deploy hook's `--deploy` of <sha> failed (exit status 1)". Caller frees. */
static char *say_failed(const struct hook_call *call, const struct hook_result *result)
{
    char *who = name_of(call), *text;
    if (result->timed_out)
        text = xformat("%s of %s ran longer than it may and was ended", who, call->sha);
    else
        text = xformat("%s of %s failed (exit status %d)", who, call->sha, result->exit_code);
    free(who);
    return text;
}

/* For whoever mends it, word for word; what a program says need not be for its tracker's eyes, so
 * it is bounded (hook_call.c), and its environment held nothing of ours. */
static json_t *finding_of(const struct hook_call *call, const struct hook_result *result)
{
    char *what = say_failed(call, result);
    json_t *finding = *result->output
                          ? json_sprintf("%s. The last lines of its log:\n%s", what, result->output)
                          : json_sprintf("%s and said nothing.", what);
    free(what);
    return json_pack("[o]", finding);
}

static void keep_tail(struct run *run, const struct hook_result *result)
{
    free(run->log_tail);
    run->log_tail = xstrdup(result->output ? result->output : "");
}

/* The end of the job. What was built from is of no use any more. */
static void finish(struct run *run, const char *outcome, const char *class, const char *reason)
{
    hook_context_remove(run);
    run_finish(run, outcome, class, reason);
}

static void finish_succeeded(struct run *run, const char *sha)
{
    json_object_set_new(run->gate, "judged_commit", json_string(sha));
    finish(run, "succeeded", "none", "ok: done");
}

/* what: the code's text. */
static void finish_failed(struct run *run, const char *class, const char *what)
{
    char *reason = xformat("%s: %s", class, what);
    finish(run, "failed", class, reason);
    free(reason);
}

/* A call that did not come to an end of its own. */
static void finish_not_run(struct run *run, const struct hook_call *call,
                           const struct hook_result *result)
{
    char *who = name_of(call);
    char *what = xformat("%s was not run: %s", who, result->fault ? result->fault : "no reason");
    finish_failed(run, "operator", what);
    free(what);
    free(who);
}

static void finish_stopped(struct run *run)
{
    finish(run, "cancelled", "none", "stopped: stopped by a person");
}

static enum step make_context(struct run *run, char **fault)
{
    return hook_context_make(run, message_text(run->spec, "head", ""), fault);
}

/* False: the run came to its end, or we quit. */
static bool prepare(struct run *run)
{
    char *fault = NULL;
    enum step step = run_repeat(run, "checking out what a hook builds from", make_context, &fault);
    if (step == STEP_FAILED)
        finish_failed(run, "operator", fault ? fault : "failed");
    else if (step == STEP_STOPPED && atomic_load(&run->stopping))
        finish_stopped(run);
    free(fault);
    return step == STEP_OK;
}

/* ---- deploy ---- */

static void pass_deploy(struct run *run, const struct hook_call *call,
                        const struct hook_result *result, const char *how, const char *reason)
{
    json_object_set_new(run->detail, "hook", report_of(call, result, how));
    gate_set(run, "check_deploy_status", "pass", reason, NULL);
    finish_succeeded(run, call->sha);
}

/* Recorded for people, as far as it can be: what counts is the exit status. */
static void record_failure(struct run *run, const struct hook_call *call,
                           const struct hook_result *result, json_t *findings)
{
    char *words = say_failed(call, result), *fault = NULL;
    const struct deploy_log log = {
        .success = false, .revision = call->sha, .words = words, .output = result->output};
    json_object_set_new(run->detail, "hook", report_of(call, result, "exit"));
    if (deploy_log_write(run, &log, findings, &fault) != STEP_OK)
        log_warn("hook", "%s", fault);
    free(fault);
    free(words);
}

static void fail_deploy(struct run *run, const struct hook_call *call,
                        const struct hook_result *result)
{
    json_t *findings = finding_of(call, result);
    char *what = say_failed(call, result);
    record_failure(run, call, result, findings);
    keep_tail(run, result);
    if (result->exit_code == EXIT_FAILED_CLEANLY && !result->timed_out) {
        char *reason = xformat("gate-failed: %s", what);
        gate_set(run, "check_deploy_status", "fail", reason, findings);
        finish_succeeded(run, call->sha);
        free(reason);
    } else {
        json_decref(findings);
        json_decref(run->gate);
        run->gate = NULL;
        char *person = xformat("%s: it needs a person", what);
        finish_failed(run, "permanent", person);
        free(person);
    }
    free(what);
}

/* It was begun, and nobody can say how it ended: production is asked, and nothing done twice. */
static void ask_production(struct run *run, const struct hook_call *deploy,
                           const struct hook_result *lost)
{
    struct hook_call question = *deploy;
    struct hook_result answer;
    char *fault = NULL;
    question.verb = "--health";
    if (hook_context_make(run, deploy->sha, &fault) != STEP_OK)
        log_warn("hook", "no build context for --health: %s", fault ? fault : "?");
    free(fault);
    run_set_doing(run, "asking production whether a lost deploy is there");
    hook_ask(run, &question, &answer);
    if (answer.end == HOOK_ENDED && answer.exit_code == 0) {
        pass_deploy(run, &question, &answer, "health",
                    "gate-passed: the hook's keeper was lost; production is healthy at the target");
    } else {
        char *health = answer.fault ? xstrdup(answer.fault) : say_failed(&question, &answer);
        char *what =
            xformat("the keeper of the deploy hook was lost while it deployed %s, and it is "
                    "not begun again by itself. %s: it needs a person",
                    deploy->sha, health);
        free(run->log_tail);
        run->log_tail = xformat("%s%s", lost->output, answer.output);
        finish_failed(run, "permanent", what);
        free(what);
        free(health);
    }
    hook_result_free(&answer);
}

static void end_deploy(struct run *run, const struct hook_call *call,
                       const struct hook_result *result)
{
    switch (result->end) {
    case HOOK_ENDED:
        if (result->exit_code == 0)
            pass_deploy(run, call, result, "exit", "gate-passed: the deploy hook succeeded");
        else
            fail_deploy(run, call, result);
        break;
    case HOOK_REFUSED:
        finish_not_run(run, call, result);
        break;
    case HOOK_STOPPED: /* the backstop's order: a person's STOP waits for its end */
        keep_tail(run, result);
        finish_failed(run, "permanent", "the deploy hook was ended by us: it needs a person");
        break;
    case HOOK_LOST:
        ask_production(run, call, result);
        break;
    case HOOK_LEFT:
        break;
    }
}

static int find_commit(const struct git_call *call, const char *sha)
{
    char *commit;
    int there = git_find(call, sha, &commit);
    free(commit);
    return there;
}

/* Whether what was deployed since contains what we are to deploy: a task that was blocked, and lost
 * its lease, comes after a later one. Where that cannot be told, nothing is deployed either. */
static enum step look_for_later(struct run *run, char **fault)
{
    const char *sha = message_text(run->spec, "head", ""),
               *deployed = message_text(run->spec, "deployed", "");
    if (!git_is_object_name(deployed) || strcmp(deployed, sha) == 0)
        return STEP_OK;
    if (run_open(run, fault) < 0) /* an earlier runner may have made the context */
        return STEP_FAILED;
    struct git_call call = repository_call(&run->repository);
    int there = find_commit(&call, deployed);
    if (there == 0) {
        repository_lock(&run->repository);
        int fetched = repository_fetch(&run->repository, fault);
        repository_unlock(&run->repository);
        if (fetched < 0)
            return STEP_AGAIN;
        there = find_commit(&call, deployed);
    }
    /* not there: of a history that is no more */
    int contained = there == 1 ? git_is_ancestor(&call, sha, deployed) : there;
    if (contained < 0) {
        *fault = xformat("git cannot tell whether %s contains %s", deployed, sha);
        return STEP_AGAIN;
    }
    run->superseded = contained;
    return STEP_OK;
}

/* True: the run came to its end, or we quit. */
static bool is_superseded(struct run *run, const struct hook_call *call)
{
    char *fault = NULL;
    enum step step = run_repeat(run, "looking for a later deploy", look_for_later, &fault);
    if (step == STEP_FAILED)
        finish_failed(run, "operator", fault ? fault : "failed");
    else if (step == STEP_STOPPED && atomic_load(&run->stopping))
        finish_stopped(run);
    free(fault);
    if (step != STEP_OK)
        return true;
    if (!run->superseded)
        return false;
    struct hook_result none = {.output = xformat("contained in %s, which was deployed since",
                                                 message_text(run->spec, "deployed", ""))};
    pass_deploy(run, call, &none, "superseded",
                "gate-passed: a later deploy contains it, so the hook is not called");
    hook_result_free(&none);
    return true;
}

static void deploy(struct run *run)
{
    const char *sha = message_text(run->spec, "head", NULL);
    struct hook_call call = {.folder = "hook",
                             .program = run->project->deploy_hook,
                             .verb = "--deploy",
                             .sha = sha,
                             .production = true};
    struct hook_result result;
    if (!git_is_object_name(sha)) {
        finish_failed(run, "permanent", "no merge commit is given: nothing is deployed");
        return;
    }
    bool begun = hook_call_begun(run, &call);
    if (!begun && !*call.program) {
        gate_set(run, "check_deploy_status", "pass",
                 "gate-passed: the project has no deploy hook any more", NULL);
        finish_succeeded(run, sha);
        return;
    }
    if (!begun && (!prepare(run) || is_superseded(run, &call)))
        return;
    hook_call_run(run, &call, &result);
    end_deploy(run, &call, &result);
    hook_result_free(&result);
}

/* ---- stage ---- */

/* False: the run came to its end, or we quit. */
static bool stage_call(struct run *run, const struct hook_call *call)
{
    struct hook_result result;
    bool good = false;
    hook_call_run(run, call, &result);
    if (result.end == HOOK_ENDED && result.exit_code == 0) {
        json_object_set_new(run->detail, call->folder, report_of(call, &result, "exit"));
        good = true;
    } else if (result.end == HOOK_ENDED && call->verb && result.exit_code == EXIT_NEEDS_PERSON) {
        char *what = say_failed(call, &result);
        char *person = xformat("%s: it needs a person", what);
        keep_tail(run, &result);
        finish_failed(run, "permanent", person);
        free(person);
        free(what);
    } else if (result.end == HOOK_ENDED) {
        char *what = say_failed(call, &result), *reason = xformat("gate-failed: %s", what);
        gate_set(run, "check_staging_status", "fail", reason, finding_of(call, &result));
        finish_succeeded(run, call->sha);
        free(reason);
        free(what);
    } else if (result.end == HOOK_REFUSED) {
        finish_not_run(run, call, &result);
    } else if (result.end == HOOK_STOPPED) {
        finish_stopped(run);
    } else if (result.end == HOOK_LOST) { /* built once more: nothing of production was touched */
        keep_tail(run, &result);
        finish(run, "lost", "lost", "lost: the keeper of a staging build is gone without a status");
    }
    hook_result_free(&result);
    return good;
}

static void stage(struct run *run)
{
    const struct project *project = run->project;
    const char *sha = message_text(run->spec, "head", NULL);
    struct hook_call build = {
        .folder = "hook", .program = project->deploy_hook, .verb = "--build-staging", .sha = sha};
    struct hook_call check = {.folder = "check", .program = project->staging_check, .sha = sha};
    if (!git_is_object_name(sha)) {
        finish_failed(run, "permanent", "no validated commit is given: nothing is built");
        return;
    }
    bool begun = hook_call_begun(run, &build);
    if (!begun && *build.program && !prepare(run))
        return;
    if (((begun || *build.program) && !stage_call(run, &build)) ||
        (*check.program && !stage_call(run, &check)))
        return;
    gate_set(run, "check_staging_status", "pass",
             *check.program ? "gate-passed: built, and the staging check passed"
                            : "gate-passed: built",
             NULL);
    finish_succeeded(run, sha);
}

/* ---- all ---- */

bool hook_job_run(struct run *run)
{
    bool deploys = strcmp(run->job_kind, "deploy") == 0;
    if (!deploys && strcmp(run->job_kind, "stage") != 0)
        return false;
    runner_wait_on_disk(run);
    if (deploys)
        deploy(run);
    else
        stage(run);
    return true;
}
