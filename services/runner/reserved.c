/* The job kinds without an agent or a program of the project: merge-gate, merge, finalizer,
 * cleanup. Each may be taken again from its beginning after any kill: what it had done is found
 * outside. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/crash.h"
#include "lib/file.h"
#include "lib/utf8.h"
#include "services/runner/gates.h"
#include "services/runner/hook.h"
#include "services/runner/runner.h"

enum { INTENT_MAX_BYTES = 4096, FINDING_MAX_BYTES = 8000 };

static const struct git_identity bot = {"orchestrator", "orchestrator@orchestrator.invalid"};

/* ---- merge-gate ---- */

/* In force, the gate rebases and tests again, which this runner does not: what is behind is then
 * left undecided, never merged untested. */
static void require_fresh_base(struct run *run)
{
    const struct config *config = run->runner->config;
    const char *verdict = message_text(run->gate, "verdict", "");
    const char *base = message_text(run->detail, "base", NULL);
    struct git_call call = repository_call(&run->repository);
    if (strcmp(verdict, "pass") != 0 || !base || !run->head ||
        !config_feature_applies(config->merge_gate_enabled, config->merge_gate_repos, run->project))
        return;
    if (git_is_ancestor(&call, base, run->head) != 1)
        gate_set(run, "check_branch_mergeable", "unknown",
                 "gate-unknown: behind the default branch, and no rebase with re-test here", NULL);
}

/* After a person had deleted the branch or closed the pull request and asked for more, there may be
 * none: both are made again from what we have. */
static enum step restore_branch(struct run *run, char **fault)
{
    char *theirs = repository_ref(&run->repository, "refs/remotes/origin/%s", run->branch);
    char *ours = repository_ref(&run->repository, "refs/heads/%s", run->branch);
    enum step step = STEP_OK;
    if (!theirs && ours && message_text(run->spec, "head", NULL) == NULL) {
        bool pushed = repository_push(&run->repository, ours, run->branch, fault) == PUSH_DONE;
        step = pushed && repository_fetch(&run->repository, fault) == 0 ? STEP_OK : STEP_AGAIN;
    }
    free(theirs);
    free(ours);
    return step;
}

static enum step merge_gate(struct run *run, char **fault)
{
    if (run_open(run, fault) < 0)
        return STEP_FAILED;
    repository_lock(&run->repository);
    enum step step = STEP_AGAIN;
    if (repository_fetch(&run->repository, fault) == 0)
        step = restore_branch(run, fault);
    if (step == STEP_OK)
        step = gate_branch_mergeable(run, fault);
    if (step == STEP_OK)
        require_fresh_base(run);
    if (step == STEP_OK && strcmp(message_text(run->gate, "verdict", ""), "pass") == 0)
        step = publish_pull_request(run, fault);
    repository_unlock(&run->repository);
    return step;
}

/* ---- merge ---- */

/* The pull request to merge: the one recorded on the task, else the open one of the branch. */
static int find_pull(struct run *run, int64_t *number, char **fault)
{
    *number = message_integer(json_object_get(run->spec, "pull_request"), "number", 0);
    if (*number > 0)
        return 1;
    int found =
        forge_pull_find(run->forge, run->branch, run->project->default_branch, &run->pull, fault);
    *number = run->pull.number;
    return found;
}

/* What will be merged, on the disk before the forge is asked: a successor asks for the same, also
 * where the pull request is no longer among the open ones. 1 given, 0 there is none, -1 and *fault.
 */
static int intend(struct run *run, const char *pinned, int64_t *number, char **fault)
{
    char *path = run_path(run, "merge.json"), *text = file_read(path, INTENT_MAX_BYTES, NULL);
    json_t *intent = text ? json_loads(text, 0, NULL) : NULL;
    int result = 1;
    *number = message_integer(intent, "number", 0);
    if (*number <= 0)
        result = find_pull(run, number, fault);
    if (!intent && result > 0) {
        free(text);
        text = xformat("{\"number\":%lld,\"head\":\"%s\"}\n", (long long)*number, pinned);
        if (file_write_durable(path, text, strlen(text), 0600) < 0) {
            *fault = xformat("%s: %s", path, strerror(errno));
            result = -1;
        }
    }
    json_decref(intent);
    free(text);
    free(path);
    return result;
}

static enum step take_merge(struct run *run, enum merge_outcome outcome,
                            struct merge_report *report, char **fault)
{
    static const char gate[] = "check_branch_mergeable";
    char *clean =
        report->fault ? utf8_text(report->fault, strlen(report->fault), FINDING_MAX_BYTES) : NULL;
    json_t *finding = clean ? json_string(clean) : NULL;
    enum step step = STEP_OK;
    if (outcome == MERGE_DONE) {
        json_object_set_new(run->detail, "merge_commit", json_string(report->commit));
        json_object_set_new(run->detail, "already", json_boolean(report->already));
    } else if (outcome == MERGE_CONFLICT) {
        gate_set(run, gate, "fail", "conflict: does not merge cleanly",
                 finding ? json_pack("[O]", finding) : NULL);
    } else if (outcome == MERGE_MOVED) {
        gate_set(run, gate, "moved", "moved: the branch moved after it was judged",
                 finding ? json_pack("[O]", finding) : NULL);
    } else {
        *fault = xstrdup(report->fault ? report->fault : "the merge failed");
        run->fault_class = outcome == MERGE_CLOSED ? "permanent" : NULL;
        step = outcome == MERGE_CLOSED ? STEP_FAILED : STEP_AGAIN;
    }
    json_decref(finding);
    free(clean);
    free(report->commit);
    free(report->fault);
    return step;
}

static enum step merge(struct run *run, char **fault)
{
    struct merge_report report = {0};
    const char *pinned = message_text(run->spec, "head", NULL);
    int64_t number;
    bool go;
    if (run_open(run, fault) < 0)
        return STEP_FAILED;
    if (!git_is_object_name(pinned)) {
        run->fault_class = "permanent";
        *fault = xstrdup("no judged commit is given: nothing is merged");
        return STEP_FAILED;
    }
    int found = intend(run, pinned, &number, fault);
    if (found < 0)
        return STEP_AGAIN;
    if (!found) {
        run->fault_class = "permanent";
        *fault = xstrdup("the task has no pull request");
        return STEP_FAILED;
    }
    free(run->head);
    run->head = xstrdup(pinned);
    enum step step = gate_ci_before_merge(run, number, &go, fault);
    if (step != STEP_OK || !go)
        return step;
    struct merge_request request = {
        .number = number, .style = run->project->merge_style, .pinned = pinned, .identity = bot};
    crash_point(CRASH_MERGE_BEFORE);
    enum merge_outcome outcome = forge_merge(run->forge, &request, &report);
    crash_point(CRASH_MERGE_AFTER);
    step = take_merge(run, outcome, &report, fault);
    char *ignored = NULL;
    forge_pull_free(&run->pull);
    if (step == STEP_OK && forge_pull_get(run->forge, number, &run->pull, &ignored) < 0)
        free(ignored);
    return step;
}

/* ---- finalizer ---- */

static enum step tell_merged(struct run *run, const char *merge_commit, char **fault)
{
    char *words = xformat("Delivered by its merge as %s: the project has no deploy hook, so no "
                          "deploy job ran.",
                          merge_commit);
    const struct deploy_log log = {.success = true, .revision = merge_commit, .words = words};
    enum step step = deploy_log_write(run, &log, NULL, fault);
    free(words);
    return step;
}

/* What the deploy job reported, if it was of what is merged now. */
static enum step tell_deployed(struct run *run, const char *merge_commit, char **fault)
{
    const json_t *hook = json_object_get(json_object_get(run->spec, "hook"), "hook");
    if (strcmp(message_text(hook, "revision", ""), merge_commit) != 0) {
        gate_set(run, "check_deploy_status", "unknown",
                 "gate-unknown: the project has a deploy hook, and no deploy job ran", NULL);
        return STEP_OK;
    }
    const char *how = message_text(hook, "how", "");
    bool asked = strcmp(how, "health") == 0, spared = strcmp(how, "superseded") == 0;
    int64_t exit_code = message_integer(hook, "exit_code", -1);
    char *words =
        spared
            ? xformat("Revision %s: %s. The deploy hook was not called for it.", merge_commit,
                      message_text(hook, "output", "?"))
            : xformat("Revision %s, %s exit status %lld.%s", merge_commit,
                      asked ? "`--health` of the deploy hook:" : "`--deploy` of the deploy hook:",
                      (long long)exit_code,
                      asked ? " How `--deploy` itself ended is not known: its keeper was lost, "
                              "and production says that it is healthy at this revision."
                            : "");
    const struct deploy_log log = {.success = exit_code == 0,
                                   .revision = merge_commit,
                                   .words = words,
                                   .output = spared ? NULL : message_text(hook, "output", NULL)};
    enum step step = deploy_log_write(run, &log, NULL, fault);
    free(words);
    return step;
}

static enum step finalizer(struct run *run, char **fault)
{
    int64_t number = message_integer(json_object_get(run->spec, "pull_request"), "number", 0);
    if (run_open(run, fault) < 0)
        return STEP_FAILED;
    forge_pull_free(&run->pull);
    int found = number > 0 ? forge_pull_get(run->forge, number, &run->pull, fault) : 0;
    if (found < 0)
        return STEP_AGAIN;
    free(run->head);
    run->head = run->pull.head_sha ? xstrdup(run->pull.head_sha) : NULL;
    if (!found || !run->pull.merged || !run->pull.merge_commit) {
        gate_set(run, "check_deploy_status", "fail", "gate-failed: the pull request is not merged",
                 NULL);
        return STEP_OK;
    }
    return *run->project->deploy_hook ? tell_deployed(run, run->pull.merge_commit, fault)
                                      : tell_merged(run, run->pull.merge_commit, fault);
}

/* ---- cleanup ---- */

/* Other runs of the task end first. */
static void end_other_runs(struct run *run)
{
    struct runner *runner = run->runner;
    pthread_mutex_lock(&runner->mutex);
    for (bool waiting = true; waiting && !atomic_load(&runner->quitting);) {
        waiting = false;
        for (struct run *other = runner->runs; other; other = other->next) {
            if (other == run || other->task != run->task)
                continue;
            uint64_t one = 1;
            atomic_store(&other->stopping, true);
            waiting = write(other->called_fd, &one, sizeof one) == sizeof one || waiting;
        }
        pthread_cond_broadcast(&runner->ended); /* for one that waits for the workspace */
        if (waiting)
            pthread_cond_wait(&runner->ended, &runner->mutex);
    }
    pthread_mutex_unlock(&runner->mutex);
}

/* One that is no repository any more holds nothing that git could save; one that cannot be looked
 * at may hold anything. *ref stays NULL where nothing was saved. */
static int save_workspace(struct run *run, char **ref, char **fault)
{
    int is = workspace_is_repository(&run->workspace);
    if (is > 0)
        return workspace_save(&run->workspace, run->id, ref, fault);
    if (is < 0)
        *fault = xformat("%s: %s", run->workspace.dir, strerror(errno));
    else
        log_warn("cleanup", "%s is no git repository", run->workspace.dir);
    return is;
}

/* What the workspace holds and, where the remote's branch has other commits, those too. */
static int save_all(struct run *run, const char *remote_head, char **fault)
{
    struct git_call call = repository_call(&run->repository);
    char *ref = NULL, *saved = NULL;
    int result = 0;
    if (workspace_exists(&run->workspace))
        result = save_workspace(run, &ref, fault);
    if (!ref)
        ref = xformat("refs/orchestrator/preserved/%lld/%s", (long long)run->task, run->id);
    saved = repository_ref(&run->repository, "%s", ref);
    if (result == 0 && remote_head && (!saved || git_is_ancestor(&call, remote_head, saved) != 1)) {
        char *beside = saved ? xformat("%s-remote", ref) : xstrdup(ref);
        result = git_run(&call, NULL, fault, "update-ref", beside, remote_head, NULL) == 0 ? 0 : -1;
        free(beside);
    }
    if (saved || remote_head)
        json_object_set_new(run->detail, "preserved", json_string(ref));
    free(saved);
    free(ref);
    return result;
}

/* Where the forge takes them; else they are safe here. */
static void push_saved(struct run *run)
{
    struct git_call call = repository_call(&run->repository);
    char *fault = NULL, *spec = xformat("refs/orchestrator/preserved/%lld/*:refs/orchestrator/"
                                        "preserved/%lld/*",
                                        (long long)run->task, (long long)run->task);
    if (git_run(&call, NULL, &fault, "push", "--quiet", "--no-verify", run->repository.remote, spec,
                NULL) != 0)
        log_warn("cleanup", "preserved refs of %s stay here only: %s", run->key,
                 fault ? fault : "?");
    free(fault);
    free(spec);
}

static int close_pull(struct run *run, char **fault)
{
    int64_t number;
    int found = find_pull(run, &number, fault);
    return found > 0 ? forge_pull_close(run->forge, number, fault) : found;
}

static int remove_workspace(struct run *run, char **fault)
{
    int result = verdict_file_forget(run) == 0 ? workspace_remove(&run->workspace) : -1;
    if (result < 0)
        *fault = xformat("%s: %s", run->workspace.dir, strerror(errno));
    return result;
}

/* Order: save, close the pull request, delete the branch, remove the workspace. */
static enum step clean_up_locked(struct run *run, char **fault)
{
    struct git_call call = repository_call(&run->repository);
    char *there = NULL, *ref = xformat("refs/heads/%s", run->branch);
    enum step step = STEP_AGAIN;
    if (repository_fetch(&run->repository, fault) < 0)
        goto done;
    there = repository_ref(&run->repository, "refs/remotes/origin/%s", run->branch);
    if (save_all(run, there, fault) < 0)
        goto done;
    push_saved(run);
    crash_point(CRASH_CLEANUP_AFTER_SAVE);
    if (close_pull(run, fault) < 0)
        goto done;
    crash_point(CRASH_CLEANUP_AFTER_CLOSE);
    if (there && repository_delete_branch(&run->repository, run->branch, there, fault) != PUSH_DONE)
        goto done;
    git_run(&call, NULL, NULL, "update-ref", "-d", ref, NULL);
    crash_point(CRASH_CLEANUP_AFTER_BRANCH);
    if (remove_workspace(run, fault) == 0)
        step = STEP_OK;

done:
    free(there);
    free(ref);
    return step;
}

static enum step cleanup(struct run *run, char **fault)
{
    if (run_open(run, fault) < 0)
        return STEP_FAILED;
    if (strcmp(run->branch, run->project->default_branch) == 0) {
        run->fault_class = "permanent";
        *fault = xstrdup("the task's branch is the default branch: nothing is deleted");
        return STEP_FAILED;
    }
    end_other_runs(run);
    if (run_stopped(run))
        return STEP_STOPPED;
    run->executor->end_leftovers(run->dir, NULL, run->workspace.dir, run->runner->agents);
    repository_lock(&run->repository);
    enum step step = clean_up_locked(run, fault);
    repository_unlock(&run->repository);
    return step;
}

/* ---- all ---- */

static const struct {
    const char *kind, *doing;
    enum step (*work)(struct run *run, char **fault);
} table[] = {{"merge-gate", "judging whether a branch merges", merge_gate},
             {"merge", "merging", merge},
             {"finalizer", "finishing a deploy", finalizer},
             {"cleanup", "cleaning up after a stopped task", cleanup}};

void reserved_run(struct run *run)
{
    char *fault = NULL, *reason = NULL;
    runner_wait_on_disk(run);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].kind, run->job_kind) != 0)
            continue;
        enum step step = run_repeat(run, table[i].doing, table[i].work, &fault);
        if (step == STEP_OK) {
            run_finish(run, "succeeded", "none", "ok: done");
        } else if (step == STEP_FAILED) {
            reason = xformat("%s: %s", run->fault_class ? run->fault_class : "operator",
                             fault ? fault : "failed");
            run_finish(run, "failed", run->fault_class ? run->fault_class : "operator", reason);
        } else if (atomic_load(&run->stopping)) {
            run_finish(run, "cancelled", "none", "stopped: stopped by a person");
        } /* else we quit: the next runner does it again */
        free(fault);
        free(reason);
        return;
    }
    reason = xformat("permanent: no job kind %s", run->job_kind);
    run_finish(run, "failed", "permanent", reason);
    free(reason);
}
