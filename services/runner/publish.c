/* What follows a successful agent: commit, push, pull request. Each step is found by its trace (the
 * trailer, ls-remote, an open pull request), so a successor may take all of them again. */
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "services/runner/agent.h"
#include "services/runner/runner.h"

static struct git_identity identity_of(const struct run *run, char email[96])
{
    return (struct git_identity){run->role, agent_email(run->role, email)};
}

/* A merge that the agent left half done is its work: kept in a preserved ref, then aborted. */
static int tidy(struct run *run, char **fault)
{
    struct workspace_state state;
    if (workspace_secure(&run->workspace, fault) < 0 ||
        workspace_look(&run->workspace, &state, fault) < 0)
        return -1;
    bool half_done = state.half_done;
    workspace_state_free(&state);
    if (!half_done)
        return 0;
    char *ref = NULL;
    repository_lock(&run->repository);
    int result = workspace_save(&run->workspace, run->task, run->id, &ref, fault);
    repository_unlock(&run->repository);
    if (result == 0) {
        json_object_set_new(run->detail, "preserved", json_string(ref));
        workspace_abort(&run->workspace);
    }
    free(ref);
    return result;
}

enum step publish_commit(struct run *run, char **fault)
{
    char email[96], *subject = xformat("%s: %s of %s", run->role, run->stage, run->key);
    struct git_identity identity = identity_of(run, email);
    enum step step = STEP_FAILED; /* disk, size: the workspace is kept and a person looks */
    free(run->head);
    run->head = NULL;
    if (tidy(run, fault) == 0 &&
        workspace_commit(&run->workspace, &identity, subject, run->id, &run->head, fault) == 0)
        step = STEP_OK;
    free(subject);
    return step;
}

/* The remote as it was when the agent started; NULL: it had no such branch. */
static const char *remote_at_start(const struct run *run)
{
    return message_text(run->launch, "start_remote", NULL);
}

/* Others pushed meanwhile: our work is saved, then put on top of theirs, once. A history that was
 * rewritten is for a person. */
static enum step rebase_on_theirs(struct run *run, char **fault)
{
    struct git_call own = repository_call(&run->repository);
    char email[96], *theirs = NULL, *ref = NULL;
    struct git_identity identity = identity_of(run, email);
    enum step step = STEP_AGAIN;
    if (repository_fetch(&run->repository, fault) < 0 ||
        workspace_save(&run->workspace, run->task, run->id, &ref, fault) < 0)
        goto done;
    json_object_set_new(run->detail, "preserved", json_string(ref));
    theirs = repository_ref(&run->repository, "refs/remotes/origin/%s", run->branch);
    if (!theirs)
        goto done; /* gone again: the next round pushes */
    const char *before = remote_at_start(run);
    if (before && git_is_ancestor(&own, before, theirs) != 1) {
        run->fault_class = "permanent";
        *fault = xformat("%s was rewritten by another; our work is in %s", run->branch, ref);
        step = STEP_FAILED;
        goto done;
    }
    char *spec =
        xformat("+refs/remotes/origin/%s:refs/remotes/origin/%s", run->branch, run->branch);
    struct git_call work = {.git = run->repository.git,
                            .git_dir = run->workspace.git_dir,
                            .work_tree = run->workspace.dir,
                            .identity = &identity};
    if (git_run(&work, NULL, fault, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
                run->repository.dir, spec, NULL) == 0) {
        if (git_run(&work, NULL, fault, "rebase", "--quiet", theirs, NULL) == 0) {
            step = STEP_OK;
        } else {
            workspace_abort(&run->workspace);
            run->fault_class = "permanent";
            step = STEP_FAILED;
        }
    }
    free(spec);

done:
    free(theirs);
    free(ref);
    return step;
}

/* Under the lock. */
static enum step push_once(struct run *run, enum push_outcome *outcome, char **fault)
{
    if (workspace_collect(&run->workspace, fault) < 0)
        return STEP_AGAIN;
    char *head = repository_ref(&run->repository, "refs/heads/%s", run->branch);
    if (!head) {
        *fault = xformat("no %s in our repository", run->branch);
        return STEP_AGAIN;
    }
    free(run->head);
    run->head = head;
    *outcome = repository_push(&run->repository, head, run->branch, fault);
    return *outcome == PUSH_FAILED ? STEP_AGAIN : STEP_OK;
}

enum step publish_push(struct run *run, char **fault)
{
    enum push_outcome outcome = PUSH_FAILED;
    repository_lock(&run->repository);
    enum step step = push_once(run, &outcome, fault);
    if (step == STEP_OK && outcome == PUSH_REFUSED) {
        free(*fault);
        *fault = NULL;
        step = rebase_on_theirs(run, fault);
        if (step == STEP_OK)
            step = push_once(run, &outcome, fault);
        if (step == STEP_OK && outcome == PUSH_REFUSED)
            step = STEP_AGAIN;
    }
    repository_unlock(&run->repository);
    return step;
}

/* ---- pull request ---- */

static bool is_ours(const struct run *run, const struct pull_request *pull)
{
    return pull->open && strcmp(pull->head, run->branch) == 0 &&
           strcmp(pull->base, run->project->default_branch) == 0;
}

/* 1 found open, 0 none, -1 and *fault. The number that the task knows first. */
static int find_open(struct run *run, char **fault)
{
    int64_t number = message_integer(json_object_get(run->spec, "pull_request"), "number", 0);
    forge_pull_free(&run->pull);
    if (number > 0) {
        int found = forge_pull_get(run->forge, number, &run->pull, fault);
        if (found < 0)
            return -1;
        if (found && is_ours(run, &run->pull))
            return 1;
        forge_pull_free(&run->pull);
    }
    return forge_pull_find(run->forge, run->branch, run->project->default_branch, &run->pull,
                           fault);
}

static int create(struct run *run, char **fault)
{
    char *title = xformat("%s: %s", run->key, message_text(run->spec, "title", ""));
    char *body = xformat("Work on %s.\n\nArtefacts: `docs/work-items/%s/` on the branch `%s`.\n",
                         run->key, run->key, run->branch);
    int result = forge_pull_create(run->forge, title, body, run->branch,
                                   run->project->default_branch, &run->pull, fault);
    free(title);
    free(body);
    return result;
}

enum step publish_pull_request(struct run *run, char **fault)
{
    int found = find_open(run, fault);
    if (found < 0)
        return STEP_AGAIN;
    if (found)
        return forge_pull_sync(run->forge, &run->pull, fault) == 0 ? STEP_OK : STEP_AGAIN;
    struct git_call call = repository_call(&run->repository);
    char *base = repository_ref(&run->repository, "refs/remotes/origin/%s", run->repository.base);
    bool nothing = base && git_is_ancestor(&call, run->head, base) == 1;
    free(base);
    if (nothing)
        return STEP_OK; /* no forge opens one without a commit */
    return create(run, fault) == 0 ? STEP_OK : STEP_AGAIN;
}
