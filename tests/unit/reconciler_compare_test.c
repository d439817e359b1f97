/* The tracker against the database: what was missed is found, what is in order is silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "services/reconciler/compare.h"

enum { ENTRY = 9 };

static struct compare_issue issue_in(enum status status)
{
    return (struct compare_issue){
        .id = "local-1",
        .key = "SHOP-1",
        .status = status,
        .group = status < STATUS_COUNT ? compare_group_by_name(status_table[status].group)
                                       : COMPARE_GROUP_OPEN,
    };
}

static struct compare_task task_in(enum stage stage)
{
    return (struct compare_task){
        .stage = stage, .entry = ENTRY, .display_confirmed = true, .live_jobs = 1};
}

static struct compare_finding compare(const struct compare_issue *issue,
                                      const struct compare_task *task)
{
    struct compare_finding finding;
    memset(&finding, 0xA5, sizeof finding);
    compare_issue_task(issue, task, NULL, &finding);
    return finding;
}

static void found(struct compare_issue issue, struct compare_task task,
                  enum compare_finding_kind kind, enum status status)
{
    struct compare_finding finding = compare(&issue, &task);
    assert_int_equal(finding.kind, kind);
    assert_int_equal(finding.status, status);
    assert_int_equal(finding.entry, ENTRY);
}

/* cause "": nothing is found. */
static void by_hand(struct compare_issue issue, struct compare_task task,
                    const struct compare_forge *seen, const char *cause)
{
    struct compare_finding finding;
    compare_issue_task(&issue, &task, seen, &finding);
    assert_string_equal(finding.cause, cause);
    assert_int_equal(finding.kind, *cause ? FINDING_F_5 : FINDING_NONE);
    assert_int_equal(finding.status, STATUS_COUNT);
}

static void silent(struct compare_issue issue, struct compare_task task)
{
    struct compare_finding finding = compare(&issue, &task);
    assert_int_equal(finding.kind, FINDING_NONE);
    assert_int_equal(finding.status, STATUS_COUNT);
}

/* Mutation: any status taken for a command; ours too. */
static void test_an_issue_without_a_task(void **state)
{
    (void)state;
    for (int status = 0; status <= STATUS_COUNT; status++)
        for (int ours = 0; ours < 2; ours++) {
            struct compare_issue issue = issue_in((enum status)status);
            issue.status_ours = ours;
            issue.has_approved_comment = true;
            struct compare_finding finding = compare(&issue, NULL);
            bool start = status == STATUS_TO_ANALYSE && !ours;
            assert_int_equal(finding.kind, start ? FINDING_F_1 : FINDING_NONE);
            assert_int_equal(finding.status, start ? STATUS_TO_ANALYSE : STATUS_COUNT);
            assert_int_equal(finding.entry, 0);
        }
}

/* A cancelled task has given its issue up, a done one has not. Mutation: terminal for cancelled. */
static void test_terminal_tasks(void **state)
{
    (void)state;
    struct compare_issue issue = issue_in(STATUS_TO_ANALYSE);
    struct compare_task task = task_in(STAGE_CANCELLED);
    task.done[STATUS_TO_ANALYSE] = true;
    struct compare_finding finding = compare(&issue, &task);
    assert_int_equal(finding.kind, FINDING_F_1);
    assert_int_equal(finding.entry, 0);
    for (int status = 0; status <= STATUS_COUNT; status++) {
        task = task_in(STAGE_DONE);
        task.live_jobs = 0;
        silent(issue_in((enum status)status), task);
    }
}

/* A night of a synchronised board: every stage, every way of waiting, the status that we wrote, or
 * one that a person moved about and that is no command. Mutation: status_ours ignored. */
static void test_a_synchronised_board_is_silent(void **state)
{
    (void)state;
    for (int stage = STAGE_ANALYSIS; stage < STAGE_CANCELLED; stage++)
        for (int status = 0; status <= STATUS_COUNT; status++)
            for (int waits = 0; waits < 4; waits++) {
                struct compare_issue issue = issue_in((enum status)status);
                struct compare_task task = task_in((enum stage)stage);
                issue.status_ours = true;
                task.live_jobs = waits == 0;
                task.blocked = waits == 1;
                task.parked = waits == 2   ? COMPARE_PARKED_APPROVAL
                              : waits == 3 ? COMPARE_PARKED_CONFIRM
                                           : COMPARE_PARKED_NONE;
                silent(issue, task);
                issue.status_ours = false;
                bool dragged = issue.group == COMPARE_GROUP_COMPLETED ||
                               issue.group == COMPARE_GROUP_CANCELLED;
                if (status == STATUS_COUNT || (!status_table[status].command && !dragged))
                    silent(issue, task);
            }
}

/* Mutations: each condition of missed_command for To Analyse taken out. */
static void test_missed_to_analyse(void **state)
{
    (void)state;
    struct compare_issue issue = issue_in(STATUS_TO_ANALYSE);
    struct compare_task task = task_in(STAGE_REVIEW);
    task.live_jobs = 0;
    task.blocked = true;
    found(issue, task, FINDING_F_1, STATUS_TO_ANALYSE);
    task.display_confirmed = false; /* Blocked was never shown: nobody answered it */
    silent(issue, task);

    task = task_in(STAGE_ANALYSIS);
    found(issue, task, FINDING_F_1, STATUS_TO_ANALYSE);
    task.parked = COMPARE_PARKED_APPROVAL;
    found(issue, task, FINDING_F_1, STATUS_TO_ANALYSE);
    task.done[STATUS_TO_ANALYSE] = true;
    silent(issue, task);
    task = task_in(STAGE_ANALYSIS);
    task.display_confirmed = false; /* it is the move that began the task */
    silent(issue, task);

    silent(issue, task_in(STAGE_REVIEW)); /* would be refused, at every pass */
    task = task_in(STAGE_REVIEW);
    task.live_jobs = 0;
    found(issue, task, FINDING_F_4, STATUS_COUNT);
}

/* Mutations: each condition for Approved and Confirm Deploy taken out. */
static void test_missed_approval_and_confirmation(void **state)
{
    (void)state;
    static const struct {
        enum status status;
        enum stage stage;
        enum compare_parked parked;
    } rows[] = {{STATUS_APPROVED, STAGE_ANALYSIS, COMPARE_PARKED_APPROVAL},
                {STATUS_CONFIRM_DEPLOY, STAGE_DEPLOY, COMPARE_PARKED_CONFIRM}};
    for (size_t i = 0; i < 2; i++) {
        struct compare_issue issue = issue_in(rows[i].status);
        struct compare_task good = task_in(rows[i].stage), task;
        good.live_jobs = 0;
        good.parked = rows[i].parked;
        found(issue, good, FINDING_F_2, rows[i].status);
        task = good, task.done[rows[i].status] = true;
        silent(issue, task);
        task = good, task.display_confirmed = false;
        silent(issue, task);
        task = good, task.blocked = true;
        silent(issue, task);
        task = good, task.parked = rows[1 - i].parked;
        silent(issue, task);
        task = good, task.parked = COMPARE_PARKED_NONE, task.live_jobs = 1;
        silent(issue, task);
        task = good, task.stage = STAGE_REVIEW;
        silent(issue, task);
        issue.status_ours = true;
        silent(issue, good);
    }
}

/* Mutation: the comment counts for Confirm Deploy, or again after it was acted on. */
static void test_missed_approval_by_comment(void **state)
{
    (void)state;
    struct compare_issue issue = issue_in(STATUS_AWAITING_APPROVAL);
    struct compare_task task = task_in(STAGE_ANALYSIS);
    issue.status_ours = true;
    issue.has_approved_comment = true;
    task.live_jobs = 0;
    task.parked = COMPARE_PARKED_APPROVAL;
    found(issue, task, FINDING_F_2, STATUS_APPROVED);
    task.done[STATUS_APPROVED] = true;
    silent(issue, task);
    task = task_in(STAGE_DEPLOY);
    task.live_jobs = 0;
    task.parked = COMPARE_PARKED_CONFIRM;
    silent(issue, task);
}

/* STOP needs no display and beats whatever else is found. Mutation: the order of missed_command. */
static void test_missed_stop(void **state)
{
    (void)state;
    for (int stage = STAGE_CREATED; stage < STAGE_DONE; stage++) {
        struct compare_issue issue = issue_in(STATUS_STOP);
        struct compare_task task = task_in((enum stage)stage);
        task.live_jobs = 0;
        task.blocked = stage % 2;
        task.display_confirmed = false;
        issue.has_approved_comment = true;
        found(issue, task, FINDING_F_2, STATUS_STOP);
        issue.status_ours = true;
        task.blocked = true;
        silent(issue, task);
        issue.status_ours = false;
        task.done[STATUS_STOP] = true; /* deferred: recorded already */
        silent(issue, task);
    }
}

/* Mutations: each condition of lacks_job taken out; the group ignored. */
/* A command that means nothing where the task is: heard only where our display waits for that. */
static void test_a_kept_command(void **state)
{
    (void)state;
    static const enum status commands[] = {STATUS_TO_ANALYSE, STATUS_APPROVED,
                                           STATUS_CONFIRM_DEPLOY};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct compare_issue issue = issue_in(commands[i]);
        silent(issue, task_in(STAGE_TESTING));
        silent(issue, task_in(STAGE_DONE));
        issue.status_kept = true;
        enum compare_finding_kind kind = i ? FINDING_F_2 : FINDING_F_1;
        found(issue, task_in(STAGE_TESTING), kind, commands[i]);
        found(issue, task_in(STAGE_DONE), kind, commands[i]);
        struct compare_task task = task_in(STAGE_TESTING);
        task.display_confirmed = false; /* our display is under way */
        silent(issue, task);
        issue.status_ours = true;
        silent(issue, task_in(STAGE_TESTING));
    }
    struct compare_issue early = issue_in(STATUS_APPROVED);
    early.status_kept = true;
    silent(early, task_in(STAGE_ANALYSIS)); /* it may come to count */
    struct compare_issue other = issue_in(STATUS_TESTING);
    other.status_kept = true;
    silent(other, task_in(STAGE_TESTING));
}

static void test_a_stage_without_a_job(void **state)
{
    (void)state;
    for (int stage = STAGE_ANALYSIS; stage < STAGE_DONE; stage++) {
        struct compare_issue issue = issue_in(STATUS_DEVELOPMENT);
        struct compare_task good = task_in((enum stage)stage), task;
        good.live_jobs = 0;
        issue.status_ours = true;
        found(issue, good, FINDING_F_4, STATUS_COUNT);
        task = good, task.live_jobs = 1;
        silent(issue, task);
        task = good, task.blocked = true;
        silent(issue, task);
        task = good, task.parked = COMPARE_PARKED_OTHER;
        silent(issue, task);
        struct compare_finding finding = compare(NULL, &good); /* the issue is not shown */
        assert_int_equal(finding.kind, FINDING_F_4);
        assert_int_equal(finding.entry, ENTRY);
    }
    struct compare_task created = task_in(STAGE_CREATED);
    created.live_jobs = 0;
    silent(issue_in(STATUS_COUNT), created); /* waits for To Analyse */
}

/* What a person closed gets no job; the group says so, whatever the status is called. */
/* Red with a condition taken out: ours, unconfirmed, blocked, a command's own group. */
static void test_a_closed_issue_is_told_once_and_gets_no_job(void **state)
{
    (void)state;
    struct compare_task task = task_in(STAGE_REVIEW);
    struct compare_issue issue = issue_in(STATUS_TESTING);
    task.live_jobs = 0;
    issue.group = COMPARE_GROUP_COMPLETED;
    by_hand(issue, task, NULL, "issue-closed");
    issue.group = COMPARE_GROUP_CANCELLED;
    by_hand(issue, task, NULL, "issue-closed");
    task.display_confirmed = false; /* our own status is on its way there */
    silent(issue, task);
    task.display_confirmed = true;
    task.blocked = true;
    silent(issue, task);
    task.blocked = false;
    issue.status_ours = true; /* a fallback of ours may lie there */
    found(issue, task, FINDING_F_4, STATUS_COUNT);
    issue = issue_in(STATUS_DONE);
    issue.group = COMPARE_GROUP_UNKNOWN;
    by_hand(issue, task, NULL, "issue-closed");
    for (int stage = STAGE_DEPLOY; stage < STAGE_CANCELLED; stage++) {
        struct compare_task late = task_in((enum stage)stage);
        silent(issue, late);
        late.parked = COMPARE_PARKED_CONFIRM;
        if (stage == STAGE_DEPLOY)
            by_hand(issue, late, NULL, "issue-closed");
        else
            silent(issue, late);
    }
    issue.group = COMPARE_GROUP_OPEN;
    found(issue, task, FINDING_F_4, STATUS_COUNT);
    issue = issue_in(STATUS_COUNT);
    issue.group = COMPARE_GROUP_UNKNOWN;
    found(issue, task, FINDING_F_4, STATUS_COUNT);
}

/* What the forge shows. Mutations: the branch before the pull request; looked at in deploy while
 * jobs work there, or not while it waits; a block beside a block; a merge that is told after the
 * end, or ends a task in deploy, or whose branch is missed. */
static void test_what_people_did_in_the_forge(void **state)
{
    (void)state;
    static const struct {
        struct compare_forge seen;
        const char *cause;
    } table[] = {
        {{COMPARE_PULL_OPEN, COMPARE_BRANCH_FOLLOWS}, ""},
        {{COMPARE_PULL_UNKNOWN, COMPARE_BRANCH_UNKNOWN}, ""},
        {{COMPARE_PULL_CLOSED, COMPARE_BRANCH_FOLLOWS}, "pull-closed"},
        {{COMPARE_PULL_CLOSED, COMPARE_BRANCH_GONE}, "pull-closed"},
        {{COMPARE_PULL_OPEN, COMPARE_BRANCH_GONE}, "branch-gone"},
        {{COMPARE_PULL_UNKNOWN, COMPARE_BRANCH_REWRITTEN}, "branch-rewritten"},
        {{COMPARE_PULL_OPEN, COMPARE_BRANCH_REWRITTEN}, "branch-rewritten"},
        {{COMPARE_PULL_UNKNOWN, COMPARE_BRANCH_GONE}, "branch-gone"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int stage = STAGE_CREATED; stage < STAGE_COUNT; stage++) {
            struct compare_task task = task_in((enum stage)stage);
            task.parked = i % 2 ? COMPARE_PARKED_CONFIRM : COMPARE_PARKED_NONE;
            bool waits = stage == STAGE_DEPLOY && task.parked != COMPARE_PARKED_NONE;
            bool ours = (stage > STAGE_CREATED && stage < STAGE_DEPLOY) || waits;
            assert_int_equal(compare_wants_forge(&task), ours);
            by_hand(issue_in(STATUS_TESTING), task, &table[i].seen, ours ? table[i].cause : "");
            task.blocked = true;
            by_hand(issue_in(STATUS_TESTING), task, &table[i].seen, "");
        }
    const struct compare_forge merged = {COMPARE_PULL_MERGED, COMPARE_BRANCH_GONE};
    struct compare_issue issue = issue_in(STATUS_TESTING);
    for (int stage = STAGE_CREATED; stage < STAGE_COUNT; stage++)
        for (int bits = 0; bits < 4; bits++) {
            struct compare_task task = task_in((enum stage)stage);
            struct compare_finding finding;
            bool ends = stage > STAGE_CREATED && stage < STAGE_DEPLOY;
            task.blocked = bits & 1;
            task.parked = bits & 2 ? COMPARE_PARKED_CONFIRM : COMPARE_PARKED_NONE;
            compare_issue_task(&issue, &task, &merged, &finding);
            assert_int_equal(finding.kind, ends ? FINDING_F_3 : FINDING_NONE);
        }
    struct compare_finding stop;
    struct compare_task task = task_in(STAGE_TESTING);
    issue = issue_in(STATUS_STOP);
    compare_issue_task(&issue, &task, &merged, &stop);
    assert_int_equal(stop.kind, FINDING_F_2); /* a person's word comes first */
}

/* All of it: no command without its status or comment, at most what the state allows. */
static void test_no_finding_without_a_ground(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 1u << 7; bits++)
        for (int stage = 0; stage < STAGE_COUNT; stage++)
            for (int status = 0; status <= STATUS_COUNT; status++)
                for (int parked = 0; parked <= COMPARE_PARKED_OTHER; parked++) {
                    struct compare_issue issue = issue_in((enum status)status);
                    struct compare_task task = task_in((enum stage)stage);
                    issue.status_ours = bits & 1;
                    issue.has_approved_comment = bits & 2;
                    task.blocked = bits & 4;
                    task.display_confirmed = bits & 8;
                    task.live_jobs = bits & 16 ? 1 : 0;
                    task.parked = (enum compare_parked)parked;
                    for (int i = 0; i < STATUS_COUNT; i++)
                        task.done[i] = bits & 32;
                    struct compare_finding f = compare(&issue, &task);
                    if (f.kind == FINDING_NONE)
                        continue;
                    if (f.kind == FINDING_F_5) {
                        assert_string_equal(f.cause, "issue-closed");
                        assert_true(!issue.status_ours && !task.blocked && task.display_confirmed);
                        continue;
                    }
                    if (f.status == STATUS_APPROVED && issue.has_approved_comment) {
                        assert_int_equal(stage, STAGE_ANALYSIS);
                    } else if (f.kind != FINDING_F_4) {
                        assert_int_equal(f.status, status);
                        assert_true(status_table[status].command && !issue.status_ours);
                    }
                    assert_true(f.kind == FINDING_F_1 || f.kind == FINDING_F_2 ||
                                f.kind == FINDING_F_4);
                    assert_true(f.kind == FINDING_F_4 || stage == STAGE_CANCELLED ||
                                !task.done[f.status]);
                    if (f.kind == FINDING_F_4)
                        assert_true(!task.blocked && task.live_jobs == 0 && parked == 0);
                }
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(compare_finding_names[FINDING_F_1], "F-1");
    assert_string_equal(compare_finding_names[FINDING_F_5], "F-5");
    assert_int_equal(compare_group_by_name("completed"), COMPARE_GROUP_COMPLETED);
    assert_int_equal(compare_group_by_name("cancelled"), COMPARE_GROUP_CANCELLED);
    assert_int_equal(compare_group_by_name("backlog"), COMPARE_GROUP_OPEN);
    assert_int_equal(compare_group_by_name("triage"), COMPARE_GROUP_UNKNOWN);
    assert_int_equal(compare_group_by_name(NULL), COMPARE_GROUP_UNKNOWN);
    for (int i = 0; i < STATUS_COUNT; i++)
        assert_int_not_equal(compare_group_by_name(status_table[i].group), COMPARE_GROUP_UNKNOWN);
    assert_int_equal(compare_parked_by_name("approval"), COMPARE_PARKED_APPROVAL);
    assert_int_equal(compare_parked_by_name("confirm"), COMPARE_PARKED_CONFIRM);
    assert_int_equal(compare_parked_by_name("ci"), COMPARE_PARKED_OTHER);
    assert_int_equal(compare_parked_by_name(NULL), COMPARE_PARKED_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_issue_without_a_task),
        cmocka_unit_test(test_terminal_tasks),
        cmocka_unit_test(test_a_synchronised_board_is_silent),
        cmocka_unit_test(test_missed_to_analyse),
        cmocka_unit_test(test_missed_approval_and_confirmation),
        cmocka_unit_test(test_missed_approval_by_comment),
        cmocka_unit_test(test_missed_stop),
        cmocka_unit_test(test_a_kept_command),
        cmocka_unit_test(test_a_stage_without_a_job),
        cmocka_unit_test(test_a_closed_issue_is_told_once_and_gets_no_job),
        cmocka_unit_test(test_what_people_did_in_the_forge),
        cmocka_unit_test(test_no_finding_without_a_ground),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
