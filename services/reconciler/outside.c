#include "services/reconciler/outside.h"

#include <stdlib.h>
#include "lib/log.h"
#include "protocol/message.h"

static bool failed(const json_t *row, char *fault)
{
    const struct log_about about = {.task = message_text(row, "key", "")};
    log_line(LOG_LEVEL_WARN, "forge", &about, "%s", fault ? fault : "cannot be read");
    free(fault);
    return false;
}

/* By its number, never by branch: another of the same branch is none of the task's. */
static bool look_at_pull(struct forge *forge, const json_t *row, struct compare_forge *seen,
                         struct pull_request *pull)
{
    int64_t number = message_integer(json_object_get(row, "pull_request"), "number", 0);
    char *fault = NULL;
    int found = number > 0 ? forge_pull_get(forge, number, pull, &fault) : 0;
    if (found < 0)
        return failed(row, fault);
    if (found)
        seen->pull = pull->merged ? COMPARE_PULL_MERGED
                     : pull->open ? COMPARE_PULL_OPEN
                                  : COMPARE_PULL_CLOSED;
    return true;
}

static bool look_at_branch(struct forge *forge, const json_t *row, struct compare_forge *seen)
{
    const char *head = message_text(row, "head", NULL), *branch = message_text(row, "branch", "");
    char *fault = NULL;
    if (!head)
        return true; /* nothing of it was pushed yet, as far as is known */
    switch (forge_branch_look(forge, branch, head, &fault)) {
    case FORGE_BRANCH_FOLLOWS:
        seen->branch = COMPARE_BRANCH_FOLLOWS;
        return true;
    case FORGE_BRANCH_GONE:
        seen->branch = COMPARE_BRANCH_GONE;
        return true;
    case FORGE_BRANCH_REWRITTEN:
        seen->branch = COMPARE_BRANCH_REWRITTEN;
        return true;
    case FORGE_BRANCH_FAILED:
        break;
    }
    return failed(row, fault);
}

bool outside_look(struct forge *forge, const json_t *row, struct compare_forge *seen,
                  struct pull_request *pull)
{
    *seen = (struct compare_forge){COMPARE_PULL_UNKNOWN, COMPARE_BRANCH_UNKNOWN};
    *pull = (struct pull_request){0};
    return look_at_pull(forge, row, seen, pull) && look_at_branch(forge, row, seen);
}
