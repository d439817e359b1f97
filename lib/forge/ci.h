/* CI of a commit, asked and judged: for the runner's gate, for its merge, and for the reconciler's
 * answer to a task that waits, in the same words. */
#ifndef ORCH_CI_H
#define ORCH_CI_H

#include <jansson.h>
#include "lib/forge/ci_judge.h"

struct ci_answer {
    enum ci_verdict verdict;
    char *words;      /* for people; they change only when what CI says has changed */
    json_t *findings; /* strings: each failing context with its description and link */
};
void ci_answer_free(struct ci_answer *answer);

/* pushed_ms: since when the commit has been at the forge, wall clock; 0: unknown, as if it were
 * now. forge may be NULL where the project has no CI. 0, or -1 and *fault where the forge could
 * not be read. */
int ci_look(struct forge *forge, const struct config *config, const struct project *project,
            const char *commit, int64_t pushed_ms, struct ci_answer *answer, char **fault);

#endif
