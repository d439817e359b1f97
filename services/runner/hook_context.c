/* What a hook builds from. */
#include "services/runner/hook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/file.h"

char *hook_context_path(const struct run *run)
{
    return run_path(run, "context");
}

static bool is_known(const struct git_call *call, const char *sha)
{
    char *commit = xformat("%s^{commit}", sha);
    bool known = git_run(call, NULL, NULL, "cat-file", "-e", commit, NULL) == 0;
    free(commit);
    return known;
}

/* Under no lock but the fetch's: the commit is on a branch of the remote, so no collection takes
 * it. */
static enum step check_out(struct run *run, const char *sha, const char *into, char **fault)
{
    char *index = xformat("%s.index", into);
    struct git_call call = repository_call(&run->repository);
    bool known = is_known(&call, sha);
    if (!known) {
        repository_lock(&run->repository);
        known = repository_fetch(&run->repository, fault) == 0;
        repository_unlock(&run->repository);
    }
    enum step step = STEP_AGAIN;
    call.work_tree = into;
    call.index = index;
    if (known && git_run(&call, NULL, fault, "read-tree", sha, NULL) == 0 &&
        git_run(&call, NULL, fault, "checkout-index", "--all", "--force", "--quiet", NULL) == 0)
        step = STEP_OK;
    if (file_remove_tree(index) < 0)
        log_warn("hook", "%s: %s", index, strerror(errno));
    free(index);
    return step;
}

enum step hook_context_make(struct run *run, const char *sha, char **fault)
{
    char *path = hook_context_path(run), *half = xformat("%s.new", path);
    enum step step = STEP_OK;
    if (file_exists(path))
        goto done;
    if (run_open(run, fault) < 0) {
        step = STEP_FAILED;
        goto done;
    }
    step = STEP_AGAIN;
    if (file_remove_tree(half) < 0 || file_make_dirs(half, 0755) < 0) {
        *fault = xformat("%s: %s", half, strerror(errno));
    } else if (check_out(run, sha, half, fault) == STEP_OK) {
        if (rename(half, path) == 0)
            step = STEP_OK;
        else
            *fault = xformat("%s: %s", path, strerror(errno));
    }

done:
    free(half);
    free(path);
    return step;
}

/* What a hook left there that is not ours to remove goes with the run's directory, or stays. */
void hook_context_remove(const struct run *run)
{
    static const char *const names[] = {"context", "context.new", "context.new.index"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = run_path(run, names[i]);
        if (file_remove_tree(path) < 0)
            log_warn("hook", "%s: %s", path, strerror(errno));
        free(path);
    }
}
