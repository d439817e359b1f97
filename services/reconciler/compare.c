/* PURE: no I/O */
#include "services/reconciler/compare.h"

#include <stddef.h>
#include <string.h>

const char *const compare_finding_names[] = {
    [FINDING_NONE] = "",   [FINDING_F_1] = "F-1", [FINDING_F_2] = "F-2",
    [FINDING_F_3] = "F-3", [FINDING_F_4] = "F-4", [FINDING_F_5] = "F-5",
};

enum compare_group compare_group_by_name(const char *name)
{
    static const struct {
        const char *name;
        enum compare_group group;
    } groups[] = {
        {"backlog", COMPARE_GROUP_OPEN},        {"unstarted", COMPARE_GROUP_OPEN},
        {"started", COMPARE_GROUP_OPEN},        {"completed", COMPARE_GROUP_COMPLETED},
        {"cancelled", COMPARE_GROUP_CANCELLED},
    };
    for (size_t i = 0; name != NULL && i < sizeof groups / sizeof groups[0]; i++)
        if (strcmp(name, groups[i].name) == 0)
            return groups[i].group;
    return COMPARE_GROUP_UNKNOWN;
}

enum compare_parked compare_parked_by_name(const char *name)
{
    if (name == NULL)
        return COMPARE_PARKED_NONE;
    if (strcmp(name, "approval") == 0)
        return COMPARE_PARKED_APPROVAL;
    return strcmp(name, "confirm") == 0 ? COMPARE_PARKED_CONFIRM : COMPARE_PARKED_OTHER;
}

/* The group decides, not the status: two statuses may share one id. */
static bool closed(const struct compare_issue *issue)
{
    enum compare_group group = issue->group;
    if (group == COMPARE_GROUP_UNKNOWN && issue->status < STATUS_COUNT)
        group = compare_group_by_name(status_table[issue->status].group);
    return group == COMPARE_GROUP_COMPLETED || group == COMPARE_GROUP_CANCELLED;
}

/* A person's move to this status that was not acted on in the task's entry. */
static bool unheard(const struct compare_issue *issue, const struct compare_task *task,
                    enum status command)
{
    return issue->status == command && !issue->status_ours &&
           (task == NULL || !task->done[command]);
}

static bool awaits(const struct compare_task *task, enum compare_parked parked)
{
    return !task->blocked && task->parked == parked && task->display_confirmed;
}

/* The status of a command, or STATUS_COUNT: nothing that the webhook would have brought about. A
 * command that would be refused is none: the refusal would be said again at every pass. */
static enum status missed_command(const struct compare_issue *issue,
                                  const struct compare_task *task)
{
    if (unheard(issue, task, STATUS_STOP))
        return STATUS_STOP;
    /* not confirmed: it is still the move that brought the task where it is */
    if (unheard(issue, task, STATUS_TO_ANALYSE) && task->display_confirmed &&
        (task->blocked || task->stage == STAGE_ANALYSIS))
        return STATUS_TO_ANALYSE;
    bool comment = issue->has_approved_comment && !task->done[STATUS_APPROVED];
    if ((unheard(issue, task, STATUS_APPROVED) || comment) && task->stage == STAGE_ANALYSIS &&
        awaits(task, COMPARE_PARKED_APPROVAL))
        return STATUS_APPROVED;
    if (unheard(issue, task, STATUS_CONFIRM_DEPLOY) && task->stage == STAGE_DEPLOY &&
        awaits(task, COMPARE_PARKED_CONFIRM))
        return STATUS_CONFIRM_DEPLOY;
    return STATUS_COUNT;
}

/* One that means nothing where the task is, or no longer: it is heard all the same where our
 * display waits for that. Approved before the analysis is ready may still come to count. */
static enum status kept_command(const struct compare_issue *issue, const struct compare_task *task)
{
    if (!issue || !issue->status_kept || issue->status_ours || issue->status >= STATUS_COUNT ||
        !status_table[issue->status].command || !task->display_confirmed)
        return STATUS_COUNT;
    bool may_come = issue->status == STATUS_APPROVED && task->stage == STAGE_ANALYSIS;
    return may_come && !task->blocked ? STATUS_COUNT : issue->status;
}

static bool lacks_job(const struct compare_task *task)
{
    return task->stage != STAGE_CREATED && !task->blocked && task->parked == COMPARE_PARKED_NONE &&
           task->live_jobs == 0;
}

/* In deploy a job merges and deploys, but not while the task waits for a person or for CI. */
bool compare_wants_forge(const struct compare_task *task)
{
    bool waits = task->stage == STAGE_DEPLOY && task->parked != COMPARE_PARKED_NONE;
    return (task->stage > STAGE_CREATED && task->stage < STAGE_DEPLOY) || waits;
}

/* A merge is not a deployment: in deploy it ends nothing. */
static bool ended_by_merge(const struct compare_task *task, const struct compare_forge *forge)
{
    return forge && forge->pull == COMPARE_PULL_MERGED && task->stage > STAGE_CREATED &&
           task->stage < STAGE_DEPLOY;
}

/* Dragged by a person to a closed status that is no command; "" where it was not. */
static const char *closed_by_hand(const struct compare_issue *issue,
                                  const struct compare_task *task)
{
    bool command = issue && issue->status < STATUS_COUNT && status_table[issue->status].command;
    return issue && closed(issue) && !issue->status_ours && !command && task->display_confirmed
               ? "issue-closed"
               : "";
}

static const char *done_by_hand(const struct compare_issue *issue, const struct compare_task *task,
                                const struct compare_forge *forge)
{
    bool merged = forge && forge->pull == COMPARE_PULL_MERGED; /* its branch is of no use then */
    if (task->blocked || !compare_wants_forge(task))
        return "";
    if (forge && forge->pull == COMPARE_PULL_CLOSED)
        return "pull-closed";
    if (forge && !merged && forge->branch == COMPARE_BRANCH_GONE)
        return "branch-gone";
    if (forge && !merged && forge->branch == COMPARE_BRANCH_REWRITTEN)
        return "branch-rewritten";
    return closed_by_hand(issue, task);
}

void compare_issue_task(const struct compare_issue *issue, const struct compare_task *task,
                        const struct compare_forge *forge, struct compare_finding *finding)
{
    *finding =
        (struct compare_finding){FINDING_NONE, task != NULL ? task->entry : 0, STATUS_COUNT, ""};
    if (task == NULL || task->stage == STAGE_CANCELLED) {
        /* a cancelled task has given its keys up: the issue starts afresh */
        if (issue != NULL && unheard(issue, NULL, STATUS_TO_ANALYSE))
            *finding = (struct compare_finding){FINDING_F_1, 0, STATUS_TO_ANALYSE, ""};
        return;
    }
    bool ended = stage_is_terminal(task->stage);
    enum status command = issue != NULL && !ended ? missed_command(issue, task) : STATUS_COUNT;
    if (command == STATUS_COUNT)
        command = kept_command(issue, task);
    if (ended && command == STATUS_COUNT)
        return;
    finding->cause = done_by_hand(issue, task, forge);
    if (command != STATUS_COUNT) {
        finding->kind = command == STATUS_TO_ANALYSE ? FINDING_F_1 : FINDING_F_2;
        finding->status = command;
        finding->cause = "";
    } else if (ended_by_merge(task, forge)) {
        finding->kind = FINDING_F_3;
        finding->cause = "";
    } else if (*finding->cause) {
        finding->kind = FINDING_F_5;
    } else if (lacks_job(task) && (issue == NULL || !closed(issue) || issue->status_ours)) {
        /* closed by hand: nothing is spent on it */
        finding->kind = FINDING_F_4;
    }
}
