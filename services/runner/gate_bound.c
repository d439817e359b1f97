/* A verdict counts for the code that it was given on, and for no other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/utf8.h"
#include "services/runner/gates.h"
#include "services/runner/prompt.h"

enum { COMMITS_MAX_BYTES = 4000 };

/* The commits between, but those that touch the artefacts alone. Where the history was rewritten
 * there may be none that is new. */
static json_t *foreign_commits(const struct git_call *call, const char *reviewed, const char *head,
                               const char *exclude)
{
    char *range = xformat("%s..%s", reviewed, head), *out = NULL;
    git_run(call, &out, NULL, "log", "--max-count=50", "--no-show-signature", "--format=%h %an: %s",
            range, "--", ".", exclude, NULL);
    const char *list = out && *out ? out : "(none: the history of the branch was rewritten)";
    char *clean = utf8_text(list, strlen(list), COMMITS_MAX_BYTES);
    json_t *finding =
        json_sprintf("The code changed after commit %s, on which the review is based. "
                     "Nobody has reviewed:\n%s",
                     reviewed, clean);
    free(clean);
    free(out);
    free(range);
    return json_pack("[o]", finding);
}

static bool is_gone(const struct git_call *call, const char *commit)
{
    char *there;
    int found = git_find(call, commit, &there);
    free(there);
    return found == 0;
}

enum step gate_bound(struct run *run, const char *gate, const char *reviewed, const char *head,
                     bool *moved, char **fault)
{
    struct git_call call = repository_call(&run->repository);
    *moved = false;
    if (!reviewed || !head || strcmp(reviewed, head) == 0)
        return STEP_OK;
    char *dir = prompt_artefact_dir(run->key), *exclude = xformat(":(exclude,top)%s", dir);
    int code = git_run(&call, NULL, fault, "diff", "--quiet", "--no-ext-diff", "--no-textconv",
                       reviewed, head, "--", ".", exclude, NULL);
    /* it goes with a history that was rewritten */
    *moved = code == 1 || (code > 1 && is_gone(&call, reviewed));
    if (code == 0 || *moved) {
        free(*fault);
        *fault = NULL;
    }
    if (*moved)
        gate_set(run, gate, "moved", "moved: the code is not what was reviewed",
                 foreign_commits(&call, reviewed, head, exclude));
    free(exclude);
    free(dir);
    return code == 0 || *moved ? STEP_OK : STEP_AGAIN;
}
