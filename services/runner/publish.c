/* What follows a successful agent: commit, push, pull request. Each step is found by its trace (the
 * trailer, ls-remote, an open pull request), so a successor may take all of them again. */
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/mask.h"
#include "services/runner/agent.h"
#include "services/runner/runner.h"

static struct git_identity identity_of(const struct run *run, char email[96])
{
    return (struct git_identity){run->role, agent_email(run->role, email)};
}

static int look(struct run *run, struct workspace_state *state, char **fault)
{
    if (workspace_secure(&run->workspace, fault) < 0)
        return -1;
    if (workspace_look(&run->workspace, state, fault) == 0)
        return 0;
    free(*fault);
    *fault = NULL;
    if (workspace_mend_index(&run->workspace, fault) < 0)
        return -1;
    return workspace_look(&run->workspace, state, fault);
}

/* The workspace as it stands goes to a preserved ref, which the result names. */
static int save(struct run *run, char **fault)
{
    char *ref = NULL;
    int result = workspace_save(&run->workspace, run->id, &ref, fault);
    if (result == 0)
        json_object_set_new(run->detail, "preserved", json_string(ref));
    free(ref);
    return result;
}

static int save_locked(struct run *run, char **fault)
{
    repository_lock(&run->repository);
    int result = save(run, fault);
    repository_unlock(&run->repository);
    return result;
}

/* A merge that the agent left half done is its work: kept in a preserved ref, then aborted. */
static int end_half_done(struct run *run, struct workspace_state *state, char **fault)
{
    if (!state->half_done)
        return 0;
    if (save_locked(run, fault) < 0)
        return -1;
    workspace_abort(&run->workspace);
    workspace_state_free(state);
    return workspace_look(&run->workspace, state, fault);
}

/* What the agent did to its workspace is its fault and nobody else's: no operator is called. */
static enum step not_usable(struct run *run)
{
    run->fault_class = "permanent";
    return STEP_FAILED;
}

enum step publish_commit(struct run *run, char **fault)
{
    char email[96], *subject = xformat("%s: %s of %s", run->role, run->stage, run->key);
    struct git_identity identity = identity_of(run, email);
    struct workspace_state state = {0};
    enum step step = STEP_FAILED; /* disk, size: the workspace is kept and a person looks */
    free(run->head);
    run->head = NULL;
    if (look(run, &state, fault) < 0) {
        step = not_usable(run);
        goto done;
    }
    if (end_half_done(run, &state, fault) < 0)
        goto done;
    if (!workspace_on_branch(&run->workspace, &state)) {
        if (workspace_return(&run->workspace, &state, fault) < 0) {
            step = not_usable(run);
            goto done;
        }
        workspace_state_free(&state);
        if (workspace_look(&run->workspace, &state, fault) < 0)
            goto done;
    }
    if (workspace_commit(&run->workspace, &state, &identity, subject, run->id,
                         message_text(run->launch, "start_head", NULL), &run->head, fault) == 0)
        step = STEP_OK;
    run->head_is_local = true;

done:
    workspace_state_free(&state);
    free(subject);
    return step;
}

/* ---- push ---- */

/* Under the lock. */
static enum step push_once(struct run *run, enum push_outcome *outcome, char **fault)
{
    if (workspace_collect(&run->workspace, fault) < 0)
        return STEP_AGAIN;
    *outcome = repository_push(&run->repository, run->head, run->branch, fault);
    if (*outcome == PUSH_FAILED)
        forge_mend(run->forge);
    return *outcome == PUSH_FAILED ? STEP_AGAIN : STEP_OK;
}

/* Whether it is the agent that rewrote what had been pushed: the remote stands where it stood when
 * the agent started, and the agent started on top of that. Another who rewrites leaves a remote
 * without the commit that was there. */
static const char *who_rewrote(struct run *run, const struct git_call *work, const char *theirs)
{
    const char *before = message_text(run->launch, "start_remote", NULL);
    const char *start = message_text(run->launch, "start_head", NULL);
    if (!before)
        return NULL; /* the remote had no such branch */
    if (strcmp(before, theirs) == 0)
        return start && git_is_ancestor(work, before, start) == 1 ? "the agent" : NULL;
    return git_is_ancestor(work, before, theirs) == 1 ? NULL : "another hand";
}

/* Others pushed meanwhile: our work is saved, then put on top of theirs, once. A history that was
 * rewritten is for a person. */
static enum step rebase_on_theirs(struct run *run, char **fault)
{
    struct git_call work = workspace_call(&run->workspace);
    char email[96], *theirs = NULL;
    struct git_identity identity = identity_of(run, email);
    char *ref = xformat("refs/remotes/origin/%s", run->branch), *spec = xformat("+%s:%s", ref, ref);
    enum step step = STEP_AGAIN;
    work.identity = &identity;
    if (repository_fetch(&run->repository, fault) < 0 || save(run, fault) < 0)
        goto done;
    theirs = repository_ref(&run->repository, "%s", ref);
    if (!theirs)
        goto done; /* gone again: the next round pushes */
    if (workspace_fetch(&run->workspace, (const char *const[]){spec, NULL}, fault) < 0)
        goto done;
    const char *who = who_rewrote(run, &work, theirs);
    if (who) {
        *fault =
            xformat("history of %s that had been pushed was rewritten by %s; our work is in "
                    "%s",
                    run->branch, who, json_string_value(json_object_get(run->detail, "preserved")));
        step = not_usable(run);
    } else if (git_run(&work, NULL, fault, "rebase", "--quiet", theirs, NULL) == 0) {
        char *head = xformat("refs/heads/%s", run->branch);
        free(run->head);
        run->head = git_resolve(&work, head);
        free(head);
        step = run->head ? STEP_OK : STEP_AGAIN;
    } else {
        workspace_abort(&run->workspace);
        step = not_usable(run);
    }

done:
    free(theirs);
    free(spec);
    free(ref);
    return step;
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
    if (step == STEP_OK)
        run->head_is_local = false;
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
    mask_text(title);
    mask_text(body);
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
