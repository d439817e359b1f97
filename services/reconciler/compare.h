/* PURE: no I/O */
/* What the webhooks missed: one issue of the tracker against what the database knows of its task.
 */
#ifndef ORCH_COMPARE_H
#define ORCH_COMPARE_H

#include <stdbool.h>
#include <stdint.h>
#include "protocol/vocabulary.h"

enum compare_group {
    COMPARE_GROUP_UNKNOWN, /* the status' own default group decides */
    COMPARE_GROUP_OPEN,    /* backlog, unstarted, started */
    COMPARE_GROUP_COMPLETED,
    COMPARE_GROUP_CANCELLED,
};
/* "backlog" "unstarted" "started" "completed" "cancelled"; anything else, NULL too: unknown. */
enum compare_group compare_group_by_name(const char *name);

struct compare_issue {
    const char *id; /* the tracker's own id */
    const char *key;
    enum status status; /* STATUS_COUNT: none of ours (Backlog, ...) */
    enum compare_group group;
    bool status_ours; /* we wrote it last: never a command */
    bool status_kept; /* the tracker shows nothing of ours before this was heard */
    int64_t updated_ms;
    bool has_approved_comment; /* a person's, with the word, since the task was parked */
};

enum compare_parked {
    COMPARE_PARKED_NONE,
    COMPARE_PARKED_APPROVAL,
    COMPARE_PARKED_CONFIRM,
    COMPARE_PARKED_OTHER,
};
/* parked of `tasks`: "approval" "confirm", other text, NULL for none. */
enum compare_parked compare_parked_by_name(const char *name);

/* A task of the message `tasks`. */
struct compare_task {
    enum stage stage;
    int64_t entry;
    bool blocked;
    enum compare_parked parked;
    bool display_confirmed;
    int live_jobs;           /* queued or running, of its entry */
    bool done[STATUS_COUNT]; /* commands_done: acted on in this entry */
};

/* What the forge shows of the task's pull request (by its number) and branch. */
struct compare_forge {
    enum { COMPARE_PULL_UNKNOWN, COMPARE_PULL_OPEN, COMPARE_PULL_CLOSED, COMPARE_PULL_MERGED } pull;
    enum {
        COMPARE_BRANCH_UNKNOWN,
        COMPARE_BRANCH_FOLLOWS, /* it holds the head that the task knows */
        COMPARE_BRANCH_GONE,
        COMPARE_BRANCH_REWRITTEN,
    } branch;
};

/* Whether the forge is to be looked at for a task: it is between analysis and its merge, and no job
 * merges now. */
bool compare_wants_forge(const struct compare_task *task);

enum compare_finding_kind {
    FINDING_NONE,
    FINDING_F_1,
    FINDING_F_2,
    FINDING_F_3,
    FINDING_F_4,
    FINDING_F_5
};
extern const char *const compare_finding_names[]; /* "" "F-1" ... */

struct compare_finding {
    enum compare_finding_kind kind;
    int64_t entry;      /* of the task it was compared with; 0: there is none (message: null) */
    enum status status; /* the command found; STATUS_COUNT: none (message: null) */
    const char *cause;  /* F-5: what was done, a reason's code; "" */
};

/* forge NULL: not looked at, or it could not be read. issue NULL: the tracker does not show it (a
 * task without an issue can still lack its job). task NULL: there is none. Not both. Total; silent
 * on a synchronised board. */
void compare_issue_task(const struct compare_issue *issue, const struct compare_task *task,
                        const struct compare_forge *forge, struct compare_finding *finding);

#endif
