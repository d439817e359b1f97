/* The stage machine: every (stage, event, flags) against its invariants, and against tables written
 * by hand. Each was tried: the mutation named at a check, made in services/scheduler/stage*.c,
 * turns it red. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "services/scheduler/stage.h"

enum { ENTRY = 7, MAX_ROLLBACKS = 3 };

/* ---- a decision in words ---- */

static const char *const outcome_names[] = {"applied", "refused", "ignored"};
static const char *const parked_names[] = {"none", "approval", "confirm", "ci"};
static const char *const template_names[TEMPLATE_COUNT] = {
#define TEMPLATE(id, name) [TEMPLATE_##id] = name,
#include "services/scheduler/templates.def"
#undef TEMPLATE
};

static void add(char *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(char *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t used = strlen(out);
    vsnprintf(out + used, 1024 - used, format, arguments);
    va_end(arguments);
}

static void render(const struct stage_decision *d, char out[1024])
{
    static const char *const flags[] = {
        "create",   "rollback",         "forget-merge", "findings", "reset",
        "unblock",  "unpark",           "cancel-jobs",  "defer",    "release",
        "remember", "remember-refusal", "tombstone",    "return",   "forget-outside"};
    const bool set[] = {d->create,        d->count_rollback,   d->forget_merge,
                        d->keep_findings, d->reset_counters,   d->unblock,
                        d->unpark,        d->cancel_jobs,      d->request_stop,
                        d->release_lease, d->remember_command, d->remember_refusal,
                        d->tombstone,     d->count_return,     d->forget_outside};
    out[0] = '\0';
    add(out, "%s %s", outcome_names[d->outcome], reason_code(d->reason));
    if (d->move)
        add(out, " >%s", stage_table[d->to].name);
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
        if (set[i])
            add(out, " %s", flags[i]);
    if (d->block)
        add(out, " block:%s", d->counter);
    if (d->park != PARKED_NONE)
        add(out, " park:%s", parked_names[d->park]);
    for (size_t i = 0; i < d->job_count; i++)
        add(out, " job:%s%s%s%s", job_kind_table[d->jobs[i].kind].name,
            d->jobs[i].role[0] ? "/" : "", d->jobs[i].role,
            d->jobs[i].with_findings ? "+findings" : "");
    for (size_t i = 0; i < d->effect_count; i++) {
        const struct effect_order *e = &d->effects[i];
        if (e->kind == EFFECT_STATUS)
            add(out, " show:%s", status_table[e->status].key);
        else
            add(out, " %s:%s@%s", e->kind == EFFECT_ALERT ? "alert" : "say",
                template_names[e->template], e->author);
    }
}

/* ---- the plain case of every (stage, event), by hand ---- */

/* The job that ends in the stage's plain case. */
static const enum job_kind own_job[STAGE_COUNT] = {
    [STAGE_CREATED] = JOB_AGENT,
    [STAGE_ANALYSIS] = JOB_AGENT,
    [STAGE_ARCHITECTURE] = JOB_AGENT,
    [STAGE_DEVELOPMENT] = JOB_AGENT,
    [STAGE_REVIEW] = JOB_AGENT,
    [STAGE_TESTING] = JOB_AGENT,
    [STAGE_DEPLOY_STAGING] = JOB_MERGE_GATE,
    [STAGE_DEPLOY] = JOB_MERGE,
    [STAGE_DONE] = JOB_AGENT,
    [STAGE_CANCELLED] = JOB_CLEANUP,
};

/* Settings as in the living core; a job at work, seen on the board, nothing else. */
static struct stage_facts plain(enum stage stage, enum stage_event_kind kind)
{
    bool ended = kind >= STAGE_EVENT_JOB_SUCCEEDED && kind <= STAGE_EVENT_JOB_MISSING;
    bool live = !ended && stage != STAGE_CREATED && !stage_is_terminal(stage);
    return (struct stage_facts){.exists = true,
                                .stage = stage,
                                .entry = ENTRY,
                                .job_live = live,
                                .agent_running = live && stage <= STAGE_TESTING,
                                .critical_running = live && stage == STAGE_DEPLOY,
                                .lease_held = stage == STAGE_DEPLOY,
                                .display_confirmed = true,
                                .max_rollbacks = MAX_ROLLBACKS,
                                .stop_enabled = true};
}

static enum event_source usual_source(enum stage_event_kind kind)
{
    if (kind == STAGE_EVENT_JOB_MISSING || kind == STAGE_EVENT_MERGED_OUTSIDE ||
        kind == STAGE_EVENT_BY_HAND || kind == STAGE_EVENT_CI)
        return SOURCE_RECONCILER;
    if ((kind >= STAGE_EVENT_JOB_SUCCEEDED && kind <= STAGE_EVENT_CLEANUP_DONE) ||
        kind == STAGE_EVENT_NO_PROGRESS)
        return SOURCE_RUNNER;
    return kind == STAGE_EVENT_RETRY ? SOURCE_OPERATOR : SOURCE_TRACKER;
}

#define NOT_BLOCKED(status)                                                                        \
    "refused not-blocked remember-refusal show:" status " say:refused@stream"
#define WRONG_STAGE(status) "refused wrong-stage show:" status
#define STOPS                                                                                      \
    "applied stopped >cancelled cancel-jobs release remember tombstone job:cleanup "               \
    "show:cancelled say:stopped@stream"
#define BLOCKS        "applied attempts-exhausted block:attempts show:blocked alert:blocked@stream"
#define RESTORES(job) "applied job-restored job:" job

#define BY_HAND(cause)                                                                             \
    "applied " cause " cancel-jobs block:outside show:blocked alert:blocked@stream"
#define NO_PROGRESS                                                                                \
    "applied no-progress cancel-jobs block:progress show:blocked alert:blocked@stream"
#define OTHER_CODE BY_HAND("merged-other")

static const char *const plain_table[STAGE_EVENT_COUNT][STAGE_COUNT] = {
    [STAGE_EVENT_TO_ANALYSE] =
        {
            "applied started >analysis remember job:agent/analyst show:analysis "
            "say:transition@stream",
            "applied follow-up remember job:agent/analyst show:analysis say:resumed@stream",
            NOT_BLOCKED("architecture"),
            NOT_BLOCKED("development"),
            NOT_BLOCKED("code_review"),
            NOT_BLOCKED("testing"),
            NOT_BLOCKED("deploy_staging"),
            NOT_BLOCKED("deploying"),
            NOT_BLOCKED("done"),
            NOT_BLOCKED("cancelled"),
        },
    [STAGE_EVENT_APPROVED] =
        {
            WRONG_STAGE("to_analyse"),
            "refused too-early remember-refusal show:analysis say:refused@stream",
            WRONG_STAGE("architecture"),
            WRONG_STAGE("development"),
            WRONG_STAGE("code_review"),
            WRONG_STAGE("testing"),
            WRONG_STAGE("deploy_staging"),
            WRONG_STAGE("deploying"),
            WRONG_STAGE("done"),
            WRONG_STAGE("cancelled"),
        },
    [STAGE_EVENT_CONFIRM_DEPLOY] =
        {
            WRONG_STAGE("to_analyse"),
            WRONG_STAGE("analysis"),
            WRONG_STAGE("architecture"),
            WRONG_STAGE("development"),
            WRONG_STAGE("code_review"),
            WRONG_STAGE("testing"),
            WRONG_STAGE("deploy_staging"),
            "refused not-parked show:deploying",
            WRONG_STAGE("done"),
            WRONG_STAGE("cancelled"),
        },
    [STAGE_EVENT_STOP] =
        {
            STOPS,
            STOPS,
            STOPS,
            STOPS,
            STOPS,
            STOPS,
            STOPS,
            "applied stop-deferred defer remember say:stop-deferred@stream",
            "refused already-stopped show:done",
            "refused already-stopped show:cancelled",
        },
    [STAGE_EVENT_RETRY] =
        {
            "refused not-blocked",
            "refused not-blocked",
            "refused not-blocked",
            "refused not-blocked",
            "refused not-blocked",
            "refused not-blocked",
            "refused not-blocked",
            "refused not-blocked",
            "refused not-blocked",
            "refused not-blocked",
        },
    [STAGE_EVENT_JOB_SUCCEEDED] =
        {
            "ignored stale",
            "applied gate-passed park:approval show:awaiting_approval say:approval-request@analyst",
            "applied gate-passed >development job:agent/developer show:development "
            "say:transition@stream",
            "applied gate-passed >review job:agent/reviewer show:code_review "
            "say:transition@stream",
            "applied gate-passed >testing job:agent/tester show:testing say:transition@stream",
            "applied staging-off >deploy-staging job:merge-gate show:deploy_staging "
            "say:transition@stream",
            "applied gate-passed >deploy job:merge show:deploying say:transition@stream",
            "applied merged job:finalizer",
            "ignored stale",
            "applied cleaned-up",
        },
    [STAGE_EVENT_JOB_EXHAUSTED] =
        {
            "ignored stale",
            BLOCKS,
            BLOCKS,
            BLOCKS,
            BLOCKS,
            BLOCKS,
            BLOCKS,
            BLOCKS,
            "ignored stale",
            "applied cleanup-failed alert:blocked@stream",
        },
    [STAGE_EVENT_JOB_CANCELLED] =
        {
            "ignored stale",
            "ignored stopped",
            "ignored stopped",
            "ignored stopped",
            "ignored stopped",
            "ignored stopped",
            "ignored stopped",
            "ignored stopped",
            "ignored stale",
            "applied cleaned-up",
        },
    [STAGE_EVENT_CLEANUP_DONE] =
        {
            "ignored stale",
            "ignored stale",
            "ignored stale",
            "ignored stale",
            "ignored stale",
            "ignored stale",
            "ignored stale",
            "ignored stale",
            "ignored stale",
            "applied cleaned-up",
        },
    [STAGE_EVENT_JOB_MISSING] =
        {
            "ignored wrong-stage",
            RESTORES("agent/analyst"),
            RESTORES("agent/architect"),
            RESTORES("agent/developer+findings"),
            RESTORES("agent/reviewer"),
            RESTORES("agent/tester"),
            RESTORES("merge-gate"),
            RESTORES("merge"),
            "ignored already-stopped",
            "ignored already-stopped",
        },
    [STAGE_EVENT_MERGED_OUTSIDE] =
        {
            "ignored wrong-stage",
            OTHER_CODE,
            OTHER_CODE,
            OTHER_CODE,
            OTHER_CODE,
            OTHER_CODE,
            OTHER_CODE,
            "ignored wrong-stage",
            "ignored already-stopped",
            "ignored already-stopped",
        },
    [STAGE_EVENT_BY_HAND] =
        {
            "ignored wrong-stage",
            BY_HAND("pull-closed"),
            BY_HAND("pull-closed"),
            BY_HAND("pull-closed"),
            BY_HAND("pull-closed"),
            BY_HAND("pull-closed"),
            BY_HAND("pull-closed"),
            "ignored wrong-stage",
            "ignored already-stopped",
            "ignored already-stopped",
        },
    [STAGE_EVENT_NO_PROGRESS] =
        {
            "ignored wrong-stage",
            NO_PROGRESS,
            NO_PROGRESS,
            NO_PROGRESS,
            NO_PROGRESS,
            NO_PROGRESS,
            NO_PROGRESS,
            "ignored wrong-stage",
            "ignored already-stopped",
            "ignored already-stopped",
        },
    [STAGE_EVENT_LABEL] =
        {
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored already-stopped",
            "ignored already-stopped",
        },
    [STAGE_EVENT_CI] =
        {
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored not-parked",
            "ignored already-stopped",
            "ignored already-stopped",
        },
    [STAGE_EVENT_COMMENT] =
        {
            "ignored no-command",
            "ignored no-command",
            "ignored no-command",
            "ignored no-command",
            "ignored no-command",
            "ignored no-command",
            "ignored no-command",
            "ignored no-command",
            "ignored no-command",
            "ignored no-command",
        },
};

/* Mutations: swap two rows of stages.def; enqueue the next stage's agent; leave out any effect. */
static void test_plain_case_of_every_stage_and_event(void **state)
{
    (void)state;
    for (int kind = 0; kind < STAGE_EVENT_COUNT; kind++)
        for (int stage = 0; stage < STAGE_COUNT; stage++) {
            assert_non_null(plain_table[kind][stage]);
            struct stage_facts facts = plain((enum stage)stage, (enum stage_event_kind)kind);
            struct stage_event event = {.kind = (enum stage_event_kind)kind,
                                        .source = usual_source((enum stage_event_kind)kind),
                                        .entry = ENTRY,
                                        .job = own_job[stage],
                                        .cause = REASON_PULL_CLOSED,
                                        .verdict =
                                            own_job[stage] == JOB_MERGE ? GATE_NONE : GATE_PASS};
            struct stage_decision decision;
            char words[1024], expected[1024];
            stage_decide(&facts, &event, &decision);
            render(&decision, words);
            snprintf(expected, sizeof expected, "%s", plain_table[kind][stage]);
            if (strcmp(words, expected) != 0)
                fail_msg("%s in %s:\n  got  %s\n  want %s", stage_event_names[kind],
                         stage_table[stage].name, words, expected);
        }
}

/* ---- waiting for CI, by hand in every stage ---- */

#define DOUBT "applied gate-unknown block:attempts show:blocked alert:blocked@stream"

/* What becomes of the verdict `waiting` at the end of the stage's own job. */
static const char *const waiting_table[STAGE_COUNT] = {
    "ignored stale", DOUBT,
    DOUBT,           "applied waiting-ci park:ci",
    DOUBT,           DOUBT,
    DOUBT,           "applied waiting-ci park:ci",
    "ignored stale", "applied cleaned-up",
};

#define TIMES_OUT "applied ci-timeout block: show:blocked alert:blocked@stream"

/* What CI says to a task that is parked for it: pass, fail, waiting, waiting for too long, unknown,
 * unknown for too long. */
static const char *const ci_table[STAGE_COUNT][6] = {
    [STAGE_CREATED] = {"ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage",
                       "ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage"},
    [STAGE_ANALYSIS] = {"ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage",
                        "ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage"},
    [STAGE_ARCHITECTURE] = {"ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage",
                            "ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage"},
    [STAGE_DEVELOPMENT] =
        {("applied gate-passed >review unpark job:agent/reviewer show:code_review "
          "say:transition@stream"),
         ("applied gate-failed >development rollback findings unpark "
          "job:agent/developer+findings show:development say:rollback@stream"),
         "ignored waiting-ci", TIMES_OUT, "ignored waiting-ci", TIMES_OUT},
    [STAGE_REVIEW] = {"ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage",
                      "ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage"},
    [STAGE_TESTING] = {"ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage",
                       "ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage"},
    [STAGE_DEPLOY_STAGING] = {"ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage",
                              "ignored wrong-stage", "ignored wrong-stage", "ignored wrong-stage"},
    [STAGE_DEPLOY] = {"applied gate-passed unpark job:merge",
                      ("applied gate-failed >development rollback findings unpark release "
                       "job:agent/developer+findings show:development say:rollback@stream"),
                      "ignored waiting-ci", TIMES_OUT, "ignored waiting-ci", TIMES_OUT},
    [STAGE_DONE] = {"ignored already-stopped", "ignored already-stopped", "ignored already-stopped",
                    "ignored already-stopped", "ignored already-stopped",
                    "ignored already-stopped"},
    [STAGE_CANCELLED] = {"ignored already-stopped", "ignored already-stopped",
                         "ignored already-stopped", "ignored already-stopped",
                         "ignored already-stopped", "ignored already-stopped"},
};

static void expect(const char *what, enum stage stage, const struct stage_facts *facts,
                   const struct stage_event *event, const char *expected)
{
    struct stage_decision decision;
    char words[1024];
    stage_decide(facts, event, &decision);
    render(&decision, words);
    if (strcmp(words, expected) != 0)
        fail_msg("%s in %s:\n  got  %s\n  want %s", what, stage_table[stage].name, words, expected);
}

/* Mutations: waiting parks in any stage; in none; a timeout counted as a rollback; unknown taken
 * for a pass; the lease released while it waits. */
static void test_waiting_for_ci_in_every_stage(void **state)
{
    (void)state;
    static const struct {
        enum gate_verdict verdict;
        bool timed_out;
    } said[6] = {{GATE_PASS, true},    {GATE_FAIL, true},     {GATE_WAITING, false},
                 {GATE_WAITING, true}, {GATE_UNKNOWN, false}, {GATE_UNKNOWN, true}};
    for (int stage = 0; stage < STAGE_COUNT; stage++) {
        struct stage_facts facts = plain((enum stage)stage, STAGE_EVENT_JOB_SUCCEEDED);
        struct stage_event event = {.kind = STAGE_EVENT_JOB_SUCCEEDED,
                                    .source = SOURCE_RUNNER,
                                    .entry = ENTRY,
                                    .job = own_job[stage],
                                    .verdict = GATE_WAITING};
        expect("waiting", (enum stage)stage, &facts, &event, waiting_table[stage]);
        facts.parked = PARKED_CI;
        for (int i = 0; i < 6; i++) {
            event = (struct stage_event){.kind = STAGE_EVENT_CI,
                                         .source = SOURCE_RECONCILER,
                                         .entry = ENTRY,
                                         .verdict = said[i].verdict,
                                         .timed_out = said[i].timed_out};
            expect("CI", (enum stage)stage, &facts, &event, ci_table[stage][i]);
        }
    }
}

/* ---- the flags that matter, by hand ---- */

struct flag_case {
    const char *name;
    struct stage_facts facts;
    struct stage_event event;
    const char *expected;
};

#define BARE(...)                                                                                  \
    {                                                                                              \
        .exists = true, .entry = ENTRY, .max_rollbacks = MAX_ROLLBACKS, __VA_ARGS__                \
    }
#define FACTS(...)  BARE(.display_confirmed = true, .stop_enabled = true, __VA_ARGS__)
#define UNSEEN(...) BARE(.stop_enabled = true, __VA_ARGS__) /* the display is not confirmed */
#define COMMAND(k, s)                                                                              \
    {                                                                                              \
        .kind = STAGE_EVENT_##k, .source = SOURCE_##s,                                             \
        .entry = SOURCE_##s == SOURCE_RECONCILER ? ENTRY : 0                                       \
    }
#define STRANGER(k)                                                                                \
    {                                                                                              \
        .kind = STAGE_EVENT_##k, .source = SOURCE_TRACKER, .not_approver = true                    \
    }
#define ENDED(k, j, v)                                                                             \
    {                                                                                              \
        .kind = STAGE_EVENT_JOB_##k, .source = SOURCE_RUNNER, .entry = ENTRY, .job = JOB_##j,      \
        .verdict = GATE_##v                                                                        \
    }

#define MERGED_BY_HAND                                                                             \
    {                                                                                              \
        .kind = STAGE_EVENT_MERGED_OUTSIDE, .source = SOURCE_RECONCILER, .entry = ENTRY,           \
        .current_code = true                                                                       \
    }
#define LABELLED(who)                                                                              \
    {                                                                                              \
        .kind = STAGE_EVENT_LABEL, .source = SOURCE_RUNNER, .entry = ENTRY, .waives = PARKED_##who \
    }
#define CI_SAYS(v, late)                                                                           \
    {                                                                                              \
        .kind = STAGE_EVENT_CI, .source = SOURCE_RECONCILER, .entry = ENTRY, .verdict = GATE_##v,  \
        .timed_out = late                                                                          \
    }
#define CLOSED_BY_HAND                                                                             \
    {                                                                                              \
        .kind = STAGE_EVENT_BY_HAND, .source = SOURCE_RECONCILER, .entry = ENTRY,                  \
        .cause = REASON_PULL_CLOSED                                                                \
    }

static const struct flag_case flag_cases[] = {
    {"a new issue",
     {.stop_enabled = true, .max_rollbacks = 3},
     COMMAND(TO_ANALYSE, TRACKER),
     "applied started >analysis create job:agent/analyst show:analysis say:transition@stream"},
    {"found by the reconciler, entry 0 = none",
     {0},
     {.kind = STAGE_EVENT_TO_ANALYSE, .source = SOURCE_RECONCILER},
     "applied started >analysis create job:agent/analyst show:analysis say:transition@stream"},
    {"found with no task, but there is one now",
     FACTS(.stage = STAGE_ANALYSIS),
     {.kind = STAGE_EVENT_TO_ANALYSE, .source = SOURCE_RECONCILER},
     "ignored stale"},
    {"compared with a task that is gone",
     {0},
     {.kind = STAGE_EVENT_TO_ANALYSE, .source = SOURCE_RECONCILER, .entry = ENTRY},
     "ignored stale"},
    {"no task, approved", {0}, COMMAND(APPROVED, TRACKER), "ignored unknown-task"},
    {"no task, operator", {0}, COMMAND(STOP, OPERATOR), "refused unknown-task"},

    /* To Analyse in analysis */
    {"the command that brought it here, again", UNSEEN(.stage = STAGE_ANALYSIS, .job_live = true),
     COMMAND(TO_ANALYSE, TRACKER), "ignored repeated"},
    {"a second follow-up",
     FACTS(.stage = STAGE_ANALYSIS, .job_live = true, .agent_running = true,
           .follow_up_queued = true),
     COMMAND(TO_ANALYSE, TRACKER), "ignored repeated"},
    {"the same To Analyse twice",
     FACTS(.stage = STAGE_ANALYSIS, .job_live = true, .agent_running = true, .command_seen = true),
     COMMAND(TO_ANALYSE, TRACKER), "ignored repeated"},
    {"an end that comes twice", FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL),
     ENDED(SUCCEEDED, AGENT, PASS), "ignored repeated"},
    {"the analyst still waits", FACTS(.stage = STAGE_ANALYSIS, .job_live = true),
     COMMAND(TO_ANALYSE, TRACKER), "applied follow-up remember show:analysis say:resumed@stream"},
    {"while approval is awaited", FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL),
     COMMAND(TO_ANALYSE, TRACKER),
     "applied follow-up >analysis unpark remember job:agent/analyst show:analysis "
     "say:resumed@stream"},
    {"the analyst ends, a follow-up waits",
     FACTS(.stage = STAGE_ANALYSIS, .job_live = true, .follow_up_queued = true),
     ENDED(SUCCEEDED, AGENT, PASS),
     "applied follow-up >analysis cancel-jobs job:agent/analyst show:analysis"},
    {"the analyst gives up, a follow-up waits",
     FACTS(.stage = STAGE_ANALYSIS, .job_live = true, .follow_up_queued = true),
     ENDED(EXHAUSTED, AGENT, NONE),
     "applied follow-up >analysis cancel-jobs job:agent/analyst show:analysis"},

    /* blocked */
    {"resumed in review", FACTS(.stage = STAGE_REVIEW, .blocked = true),
     COMMAND(TO_ANALYSE, TRACKER),
     "applied resumed >review reset unblock remember job:agent/reviewer show:code_review "
     "say:resumed@stream"},
    {"resumed by an operator, display not confirmed",
     UNSEEN(.stage = STAGE_DEVELOPMENT, .blocked = true), COMMAND(RETRY, OPERATOR),
     "applied resumed >development reset unblock remember job:agent/developer+findings "
     "show:development say:resumed@stream"},
    {"To Analyse from before Blocked was shown", UNSEEN(.stage = STAGE_REVIEW, .blocked = true),
     COMMAND(TO_ANALYSE, TRACKER),
     "refused too-early remember-refusal show:blocked say:refused@stream"},
    {"the same, found by the reconciler", UNSEEN(.stage = STAGE_REVIEW, .blocked = true),
     COMMAND(TO_ANALYSE, RECONCILER), "ignored too-early"},
    {"parked again where it was",
     FACTS(.stage = STAGE_ANALYSIS, .blocked = true, .parked = PARKED_APPROVAL),
     COMMAND(RETRY, OPERATOR),
     "applied resumed >analysis reset unblock remember park:approval show:awaiting_approval "
     "say:resumed@stream"},
    {"resumed in deploy, merged", FACTS(.stage = STAGE_DEPLOY, .blocked = true, .merged = true),
     COMMAND(RETRY, OPERATOR),
     "applied resumed >deploy reset unblock remember job:finalizer show:deploying "
     "say:resumed@stream"},
    {"resumed in deploy, lease kept",
     FACTS(.stage = STAGE_DEPLOY, .blocked = true, .lease_held = true), COMMAND(RETRY, OPERATOR),
     "applied resumed >deploy reset unblock remember job:merge show:deploying "
     "say:resumed@stream"},
    {"resumed in deploy, lease lost", FACTS(.stage = STAGE_DEPLOY, .blocked = true),
     COMMAND(RETRY, OPERATOR),
     "applied resumed >deploy-staging reset unblock remember job:merge-gate "
     "show:deploy_staging say:resumed@stream"},
    {"approved while blocked",
     FACTS(.stage = STAGE_ANALYSIS, .blocked = true, .parked = PARKED_APPROVAL),
     COMMAND(APPROVED, TRACKER),
     "refused blocked remember-refusal show:blocked say:refused@stream"},

    /* the human gate */
    {"approved", FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL),
     COMMAND(APPROVED, TRACKER),
     "applied approved >architecture unpark remember job:agent/architect "
     "say:approved@stream show:architecture"},
    {"approved, found by the reconciler", FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL),
     COMMAND(APPROVED, RECONCILER),
     "applied approved >architecture unpark remember job:agent/architect "
     "say:approved@stream show:architecture"},
    {"approved before it was asked for", UNSEEN(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL),
     COMMAND(APPROVED, TRACKER),
     "refused too-early remember-refusal show:awaiting_approval say:refused@stream"},
    {"the same again: said once",
     UNSEEN(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL, .refusal_said = true),
     COMMAND(APPROVED, TRACKER), "refused too-early show:awaiting_approval"},
    {"an operator needs the parked row only",
     UNSEEN(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL), COMMAND(APPROVED, OPERATOR),
     "applied approved >architecture unpark remember job:agent/architect "
     "say:approved@stream show:architecture"},
    {"an operator, nothing parked",
     FACTS(.stage = STAGE_ANALYSIS, .job_live = true, .agent_running = true),
     COMMAND(APPROVED, OPERATOR), "refused not-parked"},
    {"approved twice",
     FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL, .command_seen = true),
     COMMAND(APPROVED, TRACKER), "ignored repeated"},
    /* Mutations: who may not is not asked about (each of the three); it is asked before the stage
     */
    {"approved by one who may not", FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL),
     STRANGER(APPROVED),
     "refused not-approver remember-refusal show:awaiting_approval "
     "say:refused@stream"},
    {"the same again: said once",
     FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL, .refusal_said = true),
     STRANGER(APPROVED), "refused not-approver show:awaiting_approval"},
    {"approved by one who may not, where nobody can",
     FACTS(.stage = STAGE_REVIEW, .job_live = true), STRANGER(APPROVED),
     "refused wrong-stage show:code_review"},
    {"confirmed by one who may not",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CONFIRM, .lease_held = true),
     STRANGER(CONFIRM_DEPLOY),
     "refused not-approver remember-refusal show:awaiting_deploy "
     "say:refused@stream"},
    {"stopped by one who may not", FACTS(.stage = STAGE_DEVELOPMENT, .job_live = true),
     STRANGER(STOP), "refused not-approver remember-refusal show:development say:refused@stream"},
    {"stopped by one who may not, after the end", FACTS(.stage = STAGE_DONE), STRANGER(STOP),
     "refused already-stopped show:done"},
    {"anybody may go on", FACTS(.stage = STAGE_DEVELOPMENT, .blocked = true), STRANGER(TO_ANALYSE),
     "applied resumed >development reset unblock remember "
     "job:agent/developer+findings show:development say:resumed@stream"},
    /* Mutations: a label that waives another person; a blocked one goes on; a confirm without its
     * lease */
    {"the label waives the person", FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL),
     LABELLED(APPROVAL),
     "applied auto-approved >architecture unpark job:agent/architect show:approved "
     "alert:approved@stream show:architecture"},
    {"and no other person", FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL),
     LABELLED(CONFIRM), "ignored not-parked"},
    {"nor a block", FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL, .blocked = true),
     LABELLED(APPROVAL), "ignored blocked"},
    {"the label waives the confirmation",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CONFIRM, .confirm_deploy = true,
           .lease_held = true),
     LABELLED(CONFIRM),
     "applied auto-confirmed unpark job:merge show:deploying alert:confirmed@stream"},
    {"the label, the lease was lost",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CONFIRM, .confirm_deploy = true),
     LABELLED(CONFIRM),
     "applied lease-lost >deploy-staging unpark job:merge-gate show:deploy_staging "
     "say:transition@stream"},
    {"approved on deploy does nothing",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CONFIRM, .lease_held = true),
     COMMAND(APPROVED, OPERATOR), "refused wrong-stage"},

    /* CI. Mutations: parked beside a follow-up of another kind; a blocked one goes on; the merge
     * without its lease; a merge after STOP; the head that was forgotten asked about */
    {"CI of a person's wait", FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CONFIRM),
     CI_SAYS(PASS, false), "ignored not-parked"},
    {"CI, the task is blocked",
     FACTS(.stage = STAGE_DEVELOPMENT, .parked = PARKED_CI, .blocked = true), CI_SAYS(PASS, false),
     "ignored blocked"},
    {"CI, a merge of an earlier entry still runs",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .lease_held = true,
           .critical_running = true),
     CI_SAYS(FAIL, true), "ignored repeated"},
    {"red for the fourth time",
     FACTS(.stage = STAGE_DEVELOPMENT, .parked = PARKED_CI, .rollbacks = 3), CI_SAYS(FAIL, false),
     "applied rollbacks-exhausted findings block:rollbacks show:blocked alert:blocked@stream"},
    {"red for the fourth time, before the merge",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .rollbacks = 3, .lease_held = true),
     CI_SAYS(FAIL, false),
     "applied rollbacks-exhausted findings release block:rollbacks show:blocked "
     "alert:blocked@stream"},
    {"green, the lease was lost", FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI),
     CI_SAYS(PASS, false),
     "applied lease-lost >deploy-staging unpark job:merge-gate show:deploy_staging "
     "say:transition@stream"},
    {"green after a confirmation",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .lease_held = true, .confirm_deploy = true),
     CI_SAYS(PASS, false), "applied gate-passed unpark job:merge"},
    {"green after a STOP that was deferred",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .lease_held = true, .stop_requested = true),
     CI_SAYS(PASS, false),
     "applied stopped >cancelled unpark cancel-jobs release tombstone job:cleanup show:cancelled "
     "say:stopped@stream"},
    {"the merge waits, STOP was deferred",
     FACTS(.stage = STAGE_DEPLOY, .lease_held = true, .stop_requested = true),
     ENDED(SUCCEEDED, MERGE, WAITING),
     "applied stopped >cancelled cancel-jobs release tombstone job:cleanup show:cancelled "
     "say:stopped@stream"},
    {"STOP before the merge, waiting for CI",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .lease_held = true), COMMAND(STOP, TRACKER),
     "applied stopped >cancelled unpark cancel-jobs release remember tombstone job:cleanup "
     "show:cancelled say:stopped@stream"},
    {"Confirm Deploy while it waits for CI",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .lease_held = true, .confirm_deploy = true),
     COMMAND(CONFIRM_DEPLOY, OPERATOR), "refused not-parked"},
    {"parked for CI again", FACTS(.stage = STAGE_DEVELOPMENT, .parked = PARKED_CI, .blocked = true),
     COMMAND(RETRY, OPERATOR),
     "applied resumed >development reset unblock remember park:ci show:development "
     "say:resumed@stream"},
    {"parked for CI again before the merge",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .blocked = true, .lease_held = true),
     COMMAND(TO_ANALYSE, TRACKER),
     "applied resumed >deploy reset unblock remember park:ci show:deploying say:resumed@stream"},
    {"parked for CI, what CI was asked about is gone",
     FACTS(.stage = STAGE_DEVELOPMENT, .parked = PARKED_CI, .blocked = true,
           .blocked_outside = true),
     COMMAND(RETRY, OPERATOR),
     "applied resumed >development reset unblock unpark remember forget-outside "
     "job:agent/developer+findings show:development say:resumed@stream"},
    {"closed by hand while it waits for CI", FACTS(.stage = STAGE_DEVELOPMENT, .parked = PARKED_CI),
     CLOSED_BY_HAND, "applied pull-closed block:outside show:blocked alert:blocked@stream"},
    {"merged by hand while it waits for CI", FACTS(.stage = STAGE_DEVELOPMENT, .parked = PARKED_CI),
     MERGED_BY_HAND,
     "applied merged-outside >done unpark release show:done say:merged-outside@stream "
     "say:summary@deployer"},
    {"nothing is missing where CI is awaited",
     FACTS(.stage = STAGE_DEVELOPMENT, .parked = PARKED_CI), COMMAND(JOB_MISSING, RECONCILER),
     "ignored repeated"},

    /* gates that fail */
    {"changes requested", FACTS(.stage = STAGE_REVIEW, .rollbacks = 2),
     ENDED(SUCCEEDED, AGENT, FAIL),
     "applied gate-failed >development rollback findings job:agent/developer+findings "
     "show:development say:rollback@stream"},
    {"the fourth failure blocks", FACTS(.stage = STAGE_TESTING, .rollbacks = 3),
     ENDED(SUCCEEDED, AGENT, FAIL),
     "applied rollbacks-exhausted findings block:rollbacks show:blocked alert:blocked@stream"},
    {"development's own gate", FACTS(.stage = STAGE_DEVELOPMENT), ENDED(SUCCEEDED, AGENT, FAIL),
     "applied gate-failed >development rollback findings job:agent/developer+findings "
     "show:development say:rollback@stream"},
    {"the merge gate", FACTS(.stage = STAGE_DEPLOY_STAGING, .lease_held = true),
     ENDED(SUCCEEDED, MERGE_GATE, FAIL),
     "applied gate-failed >development rollback findings release "
     "job:agent/developer+findings show:development say:rollback@stream"},
    {"the finalizer, merged", FACTS(.stage = STAGE_DEPLOY, .lease_held = true, .merged = true),
     ENDED(SUCCEEDED, FINALIZER, FAIL),
     "applied gate-failed >development rollback forget-merge findings release "
     "job:agent/developer+findings show:development say:rollback@stream"},
    {"the fourth failure of an edge gate frees the lease",
     FACTS(.stage = STAGE_DEPLOY_STAGING, .rollbacks = 3, .lease_held = true),
     ENDED(SUCCEEDED, MERGE_GATE, FAIL),
     "applied rollbacks-exhausted findings release block:rollbacks show:blocked "
     "alert:blocked@stream"},
    /* code that nobody has reviewed. Mutations: counted as a rollback; sent to development; without
     * the findings; without an end; in a stage before review */
    {"the reviewer's own change", FACTS(.stage = STAGE_REVIEW), ENDED(SUCCEEDED, AGENT, MOVED),
     "applied moved >review findings return job:agent/reviewer+findings show:code_review "
     "say:return@stream"},
    {"pushed during the tests", FACTS(.stage = STAGE_TESTING, .rollbacks = 3),
     ENDED(SUCCEEDED, AGENT, MOVED),
     "applied moved >review findings return job:agent/reviewer+findings show:code_review "
     "say:return@stream"},
    {"found at the edge", FACTS(.stage = STAGE_DEPLOY_STAGING, .lease_held = true),
     ENDED(SUCCEEDED, MERGE_GATE, MOVED),
     "applied moved >review findings release return "
     "job:agent/reviewer+findings show:code_review say:return@stream"},
    {"found by the merge", FACTS(.stage = STAGE_DEPLOY, .lease_held = true),
     ENDED(SUCCEEDED, MERGE, MOVED),
     "applied moved >review findings release return "
     "job:agent/reviewer+findings show:code_review say:return@stream"},
    {"the fifth time is the last", FACTS(.stage = STAGE_TESTING, .returns = 4),
     ENDED(SUCCEEDED, AGENT, MOVED),
     "applied moved >review findings return job:agent/reviewer+findings show:code_review "
     "say:return@stream"},
    {"without end", FACTS(.stage = STAGE_TESTING, .returns = 5), ENDED(SUCCEEDED, AGENT, MOVED),
     "applied moved findings block:returns show:blocked alert:blocked@stream"},
    {"nothing was reviewed yet", FACTS(.stage = STAGE_DEVELOPMENT), ENDED(SUCCEEDED, AGENT, MOVED),
     "applied gate-unknown block:attempts show:blocked alert:blocked@stream"},
    /* by hand. Mutations: another's merge ends a deploy; other code ends the task; a block beside a
     * block; the agent goes on; what is known of the forge is kept */
    {"merged by another at the task's code",
     FACTS(.stage = STAGE_REVIEW, .job_live = true, .agent_running = true), MERGED_BY_HAND,
     "applied merged-outside >done cancel-jobs release show:done say:merged-outside@stream "
     "say:summary@deployer"},
    {"while it waits for its approval", FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL),
     MERGED_BY_HAND,
     "applied merged-outside >done unpark release show:done say:merged-outside@stream "
     "say:summary@deployer"},
    {"a blocked one is merged by hand", FACTS(.stage = STAGE_TESTING, .blocked = true),
     MERGED_BY_HAND,
     "applied merged-outside >done unblock release show:done say:merged-outside@stream "
     "say:summary@deployer"},
    {"never during a deploy", FACTS(.stage = STAGE_DEPLOY, .lease_held = true), MERGED_BY_HAND,
     "ignored wrong-stage"},
    /* Mutations: looked at in deploy only where nothing waits; the lease kept; parked again with
     * what was judged before; a merge by hand that ends it */
    {"nor while it waits there",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CONFIRM, .lease_held = true), MERGED_BY_HAND,
     "ignored wrong-stage"},
    {"closed by hand while it awaits Confirm Deploy",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CONFIRM, .lease_held = true), CLOSED_BY_HAND,
     "applied pull-closed release block:outside show:blocked alert:blocked@stream"},
    {"closed by hand while CI judges the merge",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .lease_held = true), CLOSED_BY_HAND,
     "applied pull-closed release block:outside show:blocked alert:blocked@stream"},
    {"closed by hand while the merge runs",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .critical_running = true), CLOSED_BY_HAND,
     "ignored wrong-stage"},
    {"resumed, the edge gates judge again",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CONFIRM, .blocked = true,
           .blocked_outside = true),
     COMMAND(TO_ANALYSE, TRACKER),
     "applied resumed >deploy-staging reset unblock unpark remember forget-outside job:merge-gate "
     "show:deploy_staging say:resumed@stream"},
    {"resumed although the lease is there",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .blocked = true, .blocked_outside = true,
           .lease_held = true),
     COMMAND(RETRY, OPERATOR),
     "applied resumed >deploy-staging reset unblock unpark remember forget-outside job:merge-gate "
     "show:deploy_staging say:resumed@stream"},
    {"blocked already", FACTS(.stage = STAGE_TESTING, .blocked = true), CLOSED_BY_HAND,
     "ignored blocked"},
    {"parked, closed by hand", FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL),
     CLOSED_BY_HAND, "applied pull-closed block:outside show:blocked alert:blocked@stream"},
    {"resumed, the forge is looked at anew",
     FACTS(.stage = STAGE_TESTING, .blocked = true, .blocked_outside = true),
     COMMAND(TO_ANALYSE, TRACKER),
     "applied resumed >testing reset unblock remember forget-outside job:agent/tester show:testing "
     "say:resumed@stream"},
    {"no verdict is no pass", FACTS(.stage = STAGE_REVIEW), ENDED(SUCCEEDED, AGENT, NONE),
     "applied gate-unknown block:attempts show:blocked alert:blocked@stream"},
    {"doubt is no pass", FACTS(.stage = STAGE_DEPLOY, .merged = true),
     ENDED(SUCCEEDED, FINALIZER, UNKNOWN),
     "applied gate-unknown block:attempts show:blocked alert:blocked@stream"},
    {"another stage's job", FACTS(.stage = STAGE_REVIEW), ENDED(SUCCEEDED, MERGE, PASS),
     "ignored stale"},
    {"an answered query moves nothing", FACTS(.stage = STAGE_REVIEW), ENDED(SUCCEEDED, QUERY, PASS),
     "ignored stale"},

    /* staging and deploy */
    {"staging is on", FACTS(.stage = STAGE_TESTING, .staging_on = true),
     ENDED(SUCCEEDED, AGENT, PASS),
     "applied gate-passed >deploy-staging job:agent/deployer show:deploy_staging "
     "say:transition@stream"},
    {"staging passed", FACTS(.stage = STAGE_DEPLOY_STAGING, .staging_on = true),
     ENDED(SUCCEEDED, AGENT, PASS), "applied gate-passed job:merge-gate"},
    {"delivered", FACTS(.stage = STAGE_DEPLOY, .merged = true, .lease_held = true),
     ENDED(SUCCEEDED, FINALIZER, PASS),
     "applied deployed >done release show:done say:summary@deployer"},
    {"a confirmation is wanted", FACTS(.stage = STAGE_DEPLOY_STAGING, .confirm_deploy = true),
     ENDED(SUCCEEDED, MERGE_GATE, PASS),
     "applied gate-passed >deploy park:confirm show:awaiting_deploy "
     "say:confirm-request@deployer say:transition@stream"},
    {"confirmed",
     FACTS(.stage = STAGE_DEPLOY, .confirm_deploy = true, .parked = PARKED_CONFIRM,
           .lease_held = true),
     COMMAND(CONFIRM_DEPLOY, TRACKER),
     "applied confirmed unpark remember job:merge show:deploying"},
    {"confirmed, the lease was lost",
     FACTS(.stage = STAGE_DEPLOY, .confirm_deploy = true, .parked = PARKED_CONFIRM),
     COMMAND(CONFIRM_DEPLOY, TRACKER),
     "applied lease-lost >deploy-staging unpark remember job:merge-gate show:deploy_staging "
     "say:transition@stream"},
    {"confirmed before it was asked for",
     UNSEEN(.stage = STAGE_DEPLOY, .confirm_deploy = true, .parked = PARKED_CONFIRM,
            .lease_held = true),
     COMMAND(CONFIRM_DEPLOY, TRACKER),
     "refused too-early remember-refusal show:awaiting_deploy say:refused@stream"},

    /* the deploy hook */
    {"staging is on, and there is a hook to build it",
     FACTS(.stage = STAGE_TESTING, .staging_on = true, .deploy_hook = true),
     ENDED(SUCCEEDED, AGENT, PASS),
     "applied gate-passed >deploy-staging job:stage show:deploy_staging say:transition@stream"},
    {"staging is off, whatever hook there is", FACTS(.stage = STAGE_TESTING, .deploy_hook = true),
     ENDED(SUCCEEDED, AGENT, PASS),
     "applied staging-off >deploy-staging job:merge-gate show:deploy_staging "
     "say:transition@stream"},
    {"staging is built",
     FACTS(.stage = STAGE_DEPLOY_STAGING, .staging_on = true, .deploy_hook = true),
     ENDED(SUCCEEDED, STAGE, PASS), "applied gate-passed job:agent/deployer"},
    {"staging is judged",
     FACTS(.stage = STAGE_DEPLOY_STAGING, .staging_on = true, .deploy_hook = true),
     ENDED(SUCCEEDED, AGENT, PASS), "applied gate-passed job:merge-gate"},
    {"staging is red",
     FACTS(.stage = STAGE_DEPLOY_STAGING, .staging_on = true, .deploy_hook = true),
     ENDED(SUCCEEDED, STAGE, FAIL),
     "applied gate-failed >development rollback findings release job:agent/developer+findings "
     "show:development say:rollback@stream"},
    {"staging that is never built",
     FACTS(.stage = STAGE_DEPLOY_STAGING, .staging_on = true, .deploy_hook = true),
     ENDED(EXHAUSTED, STAGE, NONE),
     "applied attempts-exhausted block:attempts show:blocked alert:blocked@stream"},
    {"staging resumed: built again",
     FACTS(.stage = STAGE_DEPLOY_STAGING, .staging_on = true, .deploy_hook = true, .blocked = true),
     COMMAND(RETRY, OPERATOR),
     "applied resumed >deploy-staging reset unblock remember job:stage show:deploy_staging "
     "say:resumed@stream"},
    {"a late staging build", FACTS(.stage = STAGE_DEPLOY, .deploy_hook = true),
     ENDED(SUCCEEDED, STAGE, PASS), "ignored stale"},
    {"STOP while staging is built: at once",
     FACTS(.stage = STAGE_DEPLOY_STAGING, .staging_on = true, .deploy_hook = true,
           .job_live = true),
     COMMAND(STOP, TRACKER), STOPS},
    {"merged, and a hook to call",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true),
     ENDED(SUCCEEDED, MERGE, NONE), "applied merged job:deploy"},
    {"merged, and the hook is for what we are ourselves",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .self_hosting = true),
     ENDED(SUCCEEDED, MERGE, NONE), "applied merged job:finalizer"},
    {"CI passed, merged meanwhile, and a hook to call",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CI, .lease_held = true, .merged = true,
           .deploy_hook = true),
     CI_SAYS(PASS, false), "applied gate-passed unpark job:deploy"},
    {"the hook succeeded",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .deployed = true),
     ENDED(SUCCEEDED, DEPLOY, PASS), "applied gate-passed job:finalizer"},
    {"the hook failed and changed nothing",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true),
     ENDED(SUCCEEDED, DEPLOY, FAIL),
     "applied gate-failed >development rollback forget-merge findings release "
     "job:agent/developer+findings show:development say:rollback@stream"},
    {"once too often",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .rollbacks = MAX_ROLLBACKS),
     ENDED(SUCCEEDED, DEPLOY, FAIL),
     "applied rollbacks-exhausted findings release block:rollbacks show:blocked "
     "alert:blocked@stream"},
    {"the hook needs a person", FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true),
     ENDED(EXHAUSTED, DEPLOY, NONE),
     "applied needs-person block:attempts show:blocked alert:blocked@stream"},
    {"a deploy without a verdict",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true),
     ENDED(SUCCEEDED, DEPLOY, NONE),
     "applied gate-unknown block:attempts show:blocked alert:blocked@stream"},
    {"blocked after the merge: the deploy, never a second merge",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .blocked = true),
     COMMAND(RETRY, OPERATOR),
     "applied resumed >deploy reset unblock remember job:deploy show:deploying say:resumed@stream"},
    {"the same from the tracker, and the confirmation was given before",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .blocked = true,
           .confirm_deploy = true),
     COMMAND(TO_ANALYSE, TRACKER),
     "applied resumed >deploy reset unblock remember job:deploy show:deploying say:resumed@stream"},
    {"blocked after the deploy: what is left of it",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .deployed = true,
           .blocked = true),
     COMMAND(RETRY, OPERATOR),
     "applied resumed >deploy reset unblock remember job:finalizer show:deploying "
     "say:resumed@stream"},
    {"merged, its job is missing",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true),
     COMMAND(JOB_MISSING, RECONCILER), "applied job-restored job:deploy"},
    {"deployed, its job is missing",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .deployed = true),
     COMMAND(JOB_MISSING, RECONCILER), "applied job-restored job:finalizer"},
    {"STOP while the hook works",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .job_live = true,
           .critical_running = true),
     COMMAND(STOP, TRACKER), "applied stop-deferred defer remember say:stop-deferred@stream"},
    {"STOP, merged and the deploy only waits",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .job_live = true),
     COMMAND(STOP, TRACKER), STOPS},
    {"STOP, deployed and the finalizer only waits",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .deployed = true,
           .job_live = true),
     COMMAND(STOP, TRACKER), "applied stop-deferred defer remember say:stop-deferred@stream"},
    {"the same once more",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .deployed = true,
           .job_live = true, .stop_requested = true),
     COMMAND(STOP, TRACKER), "ignored repeated"},
    {"STOP, deployed and then blocked: too late",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .deployed = true,
           .blocked = true),
     COMMAND(STOP, TRACKER),
     "applied deployed >done unblock release remember show:done say:stop-too-late@stream "
     "say:summary@deployer"},
    {"deferred, and the hook succeeded",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .deployed = true,
           .stop_requested = true),
     ENDED(SUCCEEDED, DEPLOY, PASS), "applied gate-passed job:finalizer"},
    {"deferred, and the hook failed",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .stop_requested = true),
     ENDED(SUCCEEDED, DEPLOY, FAIL),
     "applied stopped >cancelled cancel-jobs release tombstone job:cleanup show:cancelled "
     "say:stopped@stream"},
    {"deferred, and the hook left it to a person",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .stop_requested = true),
     ENDED(EXHAUSTED, DEPLOY, NONE),
     "applied stopped >cancelled cancel-jobs release tombstone job:cleanup show:cancelled "
     "alert:stopped@stream"},
    {"deferred, deployed, and the finalizer fails",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .deployed = true,
           .stop_requested = true),
     ENDED(EXHAUSTED, FINALIZER, NONE),
     "applied deployed >done release show:done say:stop-too-late@stream say:summary@deployer"},
    {"deferred, deployed, and its job is missing",
     FACTS(.stage = STAGE_DEPLOY, .merged = true, .deploy_hook = true, .deployed = true,
           .stop_requested = true),
     COMMAND(JOB_MISSING, RECONCILER), "applied job-restored job:finalizer"},

    /* STOP */
    {"awaiting Confirm Deploy is not critical",
     FACTS(.stage = STAGE_DEPLOY, .parked = PARKED_CONFIRM, .lease_held = true,
           .confirm_deploy = true),
     COMMAND(STOP, TRACKER),
     "applied stopped >cancelled unpark cancel-jobs release remember tombstone job:cleanup "
     "show:cancelled say:stopped@stream"},
    {"a blocked task", FACTS(.stage = STAGE_REVIEW, .blocked = true), COMMAND(STOP, OPERATOR),
     "applied stopped >cancelled unblock cancel-jobs release remember tombstone job:cleanup "
     "show:cancelled say:stopped@stream"},
    {"a second STOP announces nothing",
     FACTS(.stage = STAGE_DEPLOY, .critical_running = true, .job_live = true,
           .stop_requested = true),
     COMMAND(STOP, TRACKER), "ignored repeated"},
    {"deferred, and its job only waits now",
     FACTS(.stage = STAGE_DEPLOY, .job_live = true, .stop_requested = true), COMMAND(STOP, RUNNER),
     "applied stopped >cancelled cancel-jobs release remember tombstone job:cleanup "
     "show:cancelled say:stopped@stream"},
    {"deferred, merged without a hook: delivered",
     FACTS(.stage = STAGE_DEPLOY, .stop_requested = true, .lease_held = true),
     ENDED(SUCCEEDED, MERGE, NONE), "applied merged job:finalizer"},
    {"deferred, merged and a hook to come",
     FACTS(.stage = STAGE_DEPLOY, .stop_requested = true, .deploy_hook = true, .merged = true),
     ENDED(SUCCEEDED, MERGE, NONE),
     "applied stopped >cancelled cancel-jobs release tombstone job:cleanup show:cancelled "
     "say:stopped@stream"},
    {"deferred, then deployed: too late",
     FACTS(.stage = STAGE_DEPLOY, .stop_requested = true, .merged = true),
     ENDED(SUCCEEDED, FINALIZER, PASS),
     "applied deployed >done release show:done say:stop-too-late@stream "
     "say:summary@deployer"},
    {"deferred, then failed", FACTS(.stage = STAGE_DEPLOY, .stop_requested = true, .merged = true),
     ENDED(SUCCEEDED, FINALIZER, FAIL),
     "applied stopped >cancelled cancel-jobs release tombstone job:cleanup show:cancelled "
     "say:stopped@stream"},
    {"switched off", BARE(.stage = STAGE_REVIEW), COMMAND(STOP, TRACKER), "ignored disabled"},

    /* F-4 */
    {"nothing is missing where a person is awaited",
     FACTS(.stage = STAGE_ANALYSIS, .parked = PARKED_APPROVAL), COMMAND(JOB_MISSING, RECONCILER),
     "ignored repeated"},
    {"nor where it is blocked", FACTS(.stage = STAGE_REVIEW, .blocked = true),
     COMMAND(JOB_MISSING, RECONCILER), "ignored blocked"},
    {"nor where a job is live", FACTS(.stage = STAGE_REVIEW, .job_live = true),
     COMMAND(JOB_MISSING, RECONCILER), "ignored repeated"},
    {"deploy, merged", FACTS(.stage = STAGE_DEPLOY, .merged = true),
     COMMAND(JOB_MISSING, RECONCILER), "applied job-restored job:finalizer"},
    {"deploy, a confirmation is wanted: asked again",
     FACTS(.stage = STAGE_DEPLOY, .confirm_deploy = true, .lease_held = true),
     COMMAND(JOB_MISSING, RECONCILER),
     "applied job-restored park:confirm show:awaiting_deploy say:confirm-request@deployer"},
    {"deploy, the lease was lost", FACTS(.stage = STAGE_DEPLOY), COMMAND(JOB_MISSING, RECONCILER),
     "applied lease-lost >deploy-staging job:merge-gate show:deploy_staging "
     "say:transition@stream"},
};

/* Mutations: any condition of stage*.c taken out or turned round. */
static void test_flags_that_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof flag_cases / sizeof flag_cases[0]; i++) {
        struct stage_decision decision;
        char words[1024];
        stage_decide(&flag_cases[i].facts, &flag_cases[i].event, &decision);
        render(&decision, words);
        if (strcmp(words, flag_cases[i].expected) != 0)
            fail_msg("%s:\n  got  %s\n  want %s", flag_cases[i].name, words,
                     flag_cases[i].expected);
    }
}

/* ---- invariants ---- */

static const struct stage_facts *now_facts;
static const struct stage_event *now_event;

static void broken(const struct stage_decision *d, const char *what)
{
    char words[1024];
    const struct stage_facts *f = now_facts;
    render(d, words);
    fail_msg("%s\n  stage %s blocked %d parked %s live %d running %d follow-up %d critical %d "
             "stop %d shown %d seen %d said %d merged %d lease %d rollbacks %d staging %d confirm "
             "%d hook %d deployed %d waives %d\n  event %s source %d job %d verdict %d\n  %s",
             what, stage_table[f->stage].name, f->blocked, parked_names[f->parked], f->job_live,
             f->agent_running, f->follow_up_queued, f->critical_running, f->stop_requested,
             f->display_confirmed, f->command_seen, f->refusal_said, f->merged, f->lease_held,
             f->rollbacks, f->staging_on, f->confirm_deploy, f->deploy_hook, f->deployed,
             (int)now_event->waives, stage_event_names[now_event->kind], now_event->source,
             now_event->job, now_event->verdict, words);
}

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            broken(d, #condition);                                                                 \
    } while (0)

static bool changes_nothing(const struct stage_decision *d)
{
    return !d->create && !d->move && !d->count_rollback && !d->forget_merge && !d->keep_findings &&
           !d->reset_counters && !d->block && !d->unblock && d->park == PARKED_NONE && !d->unpark &&
           !d->cancel_jobs && !d->request_stop && !d->release_lease && !d->remember_command &&
           !d->tombstone && d->job_count == 0;
}

static struct stage_facts after(const struct stage_facts *f, const struct stage_decision *d)
{
    struct stage_facts next = *f;
    next.exists = f->exists || d->create;
    next.stage = d->move ? d->to : f->stage;
    next.blocked = (f->blocked || d->block) && !d->unblock;
    if (d->unpark)
        next.parked = PARKED_NONE;
    if (d->park != PARKED_NONE)
        next.parked = d->park;
    next.job_live = d->job_count > 0 || (f->job_live && !d->cancel_jobs);
    return next;
}

static void check_orders(const struct stage_decision *d, const struct stage_facts *next)
{
    MUST(d->job_count <= 1 && d->effect_count <= DECISION_EFFECTS_MAX);
    const struct stage_facts *f = now_facts;
    for (size_t i = 0; i < d->job_count; i++) {
        const struct job_order *job = &d->jobs[i];
        bool agent = job->kind == JOB_AGENT;
        MUST(job->kind < JOB_KIND_COUNT && job->kind != JOB_QUERY);
        MUST(strcmp(job->role, agent ? stage_table[next->stage].role : "") == 0);
        MUST(!agent || job->role[0] != '\0');
        MUST(job->kind != JOB_MERGE_GATE || next->stage == STAGE_DEPLOY_STAGING);
        MUST((job->kind != JOB_MERGE && job->kind != JOB_FINALIZER) || next->stage == STAGE_DEPLOY);
        MUST(job->kind != JOB_STAGE ||
             (next->stage == STAGE_DEPLOY_STAGING && f->staging_on && f->deploy_hook));
        /* a hook is called for what is merged and was not deployed; never a second merge */
        bool merge_done = f->merged || (now_event->job == JOB_MERGE &&
                                        now_event->kind == STAGE_EVENT_JOB_SUCCEEDED);
        MUST(job->kind != JOB_DEPLOY || (next->stage == STAGE_DEPLOY && f->deploy_hook &&
                                         !f->self_hosting && !f->deployed && merge_done));
        MUST(job->kind != JOB_MERGE || !f->merged || d->to == STAGE_DEPLOY);
        MUST((job->kind == JOB_CLEANUP) == (next->stage == STAGE_CANCELLED));
        /* never two beside each other, but for the one follow-up behind the running analyst */
        bool follow_up = now_event->kind == STAGE_EVENT_TO_ANALYSE && f->stage == STAGE_ANALYSIS &&
                         f->agent_running && !f->follow_up_queued && !d->move;
        MUST(d->cancel_jobs || !f->job_live || follow_up);
        /* a merge that wants a confirmation is ordered by the confirmation and by nothing else */
        MUST(job->kind != JOB_MERGE || !f->confirm_deploy ||
             now_event->kind == STAGE_EVENT_CONFIRM_DEPLOY ||
             (now_event->kind == STAGE_EVENT_LABEL && now_event->waives == PARKED_CONFIRM) ||
             (now_event->kind == STAGE_EVENT_CI && f->parked == PARKED_CI)); /* it was confirmed */
    }
    enum status shown = STATUS_COUNT;
    for (size_t i = 0; i < d->effect_count; i++) {
        const struct effect_order *effect = &d->effects[i];
        MUST(strcmp(effect->author, "stream") == 0 || role_is_reserved(effect->author));
        if (effect->kind == EFFECT_STATUS)
            MUST((shown = effect->status) < STATUS_COUNT);
        else
            MUST(effect->template <TEMPLATE_COUNT && !effect->droppable);
    }
    /* what people see is what is: the last status ordered is the one of the task afterwards */
    bool silent = (d->park == PARKED_CI || f->parked == PARKED_CI) && !d->move && !d->block;
    if (silent) /* the wait for CI has no status of its own */
        MUST(stage_display(f) == stage_display(next));
    else if (d->create || d->move || d->block || d->unblock || d->unpark || d->park != PARKED_NONE)
        MUST(shown == stage_display(next));
    MUST(shown == STATUS_COUNT || shown == stage_display(next));
}

static void check_moves(const struct stage_decision *d)
{
    const struct stage_facts *f = now_facts;
    const struct stage_event *e = now_event;
    bool commanded = e->kind == STAGE_EVENT_TO_ANALYSE || e->kind == STAGE_EVENT_RETRY;
    bool passed = e->kind == STAGE_EVENT_JOB_SUCCEEDED && e->verdict == GATE_PASS;
    MUST(!stage_is_terminal(f->stage) || !f->exists || (!d->move && d->job_count == 0));
    MUST(d->move == (d->to != STAGE_COUNT));
    MUST((d->to == STAGE_CANCELLED) == d->tombstone);
    MUST(!d->tombstone || e->kind == STAGE_EVENT_STOP || f->stop_requested);
    MUST(!d->tombstone || (d->cancel_jobs && d->release_lease));
    MUST(d->to != STAGE_CREATED);
    MUST(!d->move || d->cancel_jobs || !f->job_live); /* no job of an earlier entry lives on */
    bool stopped = e->kind == STAGE_EVENT_STOP || f->stop_requested;
    bool by_hook = f->deployed || (e->job == JOB_DEPLOY && passed);
    if (d->to == STAGE_DONE)
        MUST(d->release_lease && ((f->stage == STAGE_DEPLOY && e->job == JOB_FINALIZER && passed) ||
                                  (f->stage == STAGE_DEPLOY && by_hook && stopped) ||
                                  (f->stage < STAGE_DEPLOY &&
                                   e->kind == STAGE_EVENT_MERGED_OUTSIDE && e->current_code)));
    /* nobody is told that nothing was deployed where something was */
    MUST(!d->tombstone || f->stage != STAGE_DEPLOY || !by_hook);
    if (d->forget_outside)
        MUST(f->blocked_outside && d->unblock);
    if (d->to == STAGE_DEPLOY)
        MUST((f->stage == STAGE_DEPLOY_STAGING && e->job == JOB_MERGE_GATE && passed) ||
             (f->stage == STAGE_DEPLOY && f->blocked && commanded));
    if (d->to == STAGE_ARCHITECTURE && f->stage == STAGE_ANALYSIS) {
        bool person =
            e->kind == STAGE_EVENT_APPROVED && f->parked == PARKED_APPROVAL && !f->command_seen &&
            (f->display_confirmed || e->source == SOURCE_OPERATOR || e->source == SOURCE_RUNNER);
        MUST(person || (e->kind == STAGE_EVENT_LABEL && e->waives == PARKED_APPROVAL &&
                        f->parked == PARKED_APPROVAL));
    }
    if (d->count_rollback)
        MUST(d->to == STAGE_DEVELOPMENT && d->keep_findings && f->rollbacks < f->max_rollbacks &&
             d->job_count == 1 && d->jobs[0].with_findings);
    if (e->kind == STAGE_EVENT_JOB_SUCCEEDED && e->verdict == GATE_FAIL && d->move &&
        !f->stop_requested && d->reason != REASON_FOLLOW_UP)
        MUST(d->count_rollback);
    if (e->kind == STAGE_EVENT_CI) /* green goes on, red goes back, nothing else moves */
        MUST(!d->move || f->stop_requested || (d->to == STAGE_DEVELOPMENT) == d->count_rollback);
    if (e->kind == STAGE_EVENT_CI && e->verdict != GATE_PASS)
        MUST(!d->move || f->stop_requested || d->count_rollback);
    if (d->park == PARKED_CI)
        MUST(commanded || (e->kind == STAGE_EVENT_JOB_SUCCEEDED && e->verdict == GATE_WAITING &&
                           (f->stage == STAGE_DEVELOPMENT || f->stage == STAGE_DEPLOY)));
    if (d->count_return)
        MUST(d->to == STAGE_REVIEW && d->keep_findings && !d->count_rollback &&
             f->returns < STAGE_RETURNS_MAX && d->job_count == 1 && d->jobs[0].with_findings &&
             f->stage >= STAGE_REVIEW);
    if (d->to == STAGE_REVIEW && f->stage > STAGE_REVIEW)
        MUST(d->count_return);
    if (e->kind == STAGE_EVENT_STOP && f->critical_running)
        MUST(!d->move && d->job_count == 0);
    if (d->reset_counters)
        MUST(commanded && f->blocked);
}

static void check(const struct stage_facts *facts, const struct stage_event *event)
{
    struct stage_decision decision, *d = &decision;
    memset(d, 0xA5, sizeof *d); /* whatever is not set shows */
    now_facts = facts;
    now_event = event;
    stage_decide(facts, event, d);
    MUST(d->outcome <= DECISION_IGNORED && d->reason < REASON_COUNT && d->counter != NULL);
    struct stage_facts next = after(facts, d);
    check_orders(d, &next);
    if (d->outcome == DECISION_IGNORED)
        MUST(changes_nothing(d) && d->effect_count == 0 && !d->remember_refusal);
    if (d->outcome == DECISION_REFUSED)
        MUST(changes_nothing(d) && (d->effect_count == 0 || event->source != SOURCE_OPERATOR));
    if (d->outcome != DECISION_APPLIED)
        return;
    MUST(d->reason != REASON_OK && !d->remember_refusal);
    check_moves(d);
    MUST(!(d->block && (d->unblock || d->move || d->job_count > 0)));
    MUST(d->park == PARKED_NONE || d->job_count == 0);
    bool act = event->kind <= STAGE_EVENT_RETRY || facts->stop_requested;
    /* nothing is spent on a blocked task until a person acts */
    MUST(!facts->blocked || !facts->exists || act || d->job_count == 0);
    MUST(!facts->blocked || d->unblock || d->job_count == 0 || !facts->exists);
    /* nobody is left waiting for nothing: who is not at the end has a job, a person or a flag */
    MUST(stage_is_terminal(next.stage) || next.blocked || next.parked != PARKED_NONE ||
         next.job_live || facts->critical_running);
}

/* Every event in its meaningful shapes; a bound one with its own entry. */
static size_t event_shapes(struct stage_event shapes[512])
{
    size_t count = 0;
    for (int kind = 0; kind < STAGE_EVENT_COUNT; kind++) {
        bool ends = kind == STAGE_EVENT_JOB_SUCCEEDED || kind == STAGE_EVENT_JOB_EXHAUSTED ||
                    kind == STAGE_EVENT_JOB_CANCELLED;
        int sources = kind <= STAGE_EVENT_RETRY || kind == STAGE_EVENT_COMMENT ? 4 : 1;
        bool two = kind == STAGE_EVENT_MERGED_OUTSIDE || kind == STAGE_EVENT_LABEL ||
                   kind == STAGE_EVENT_CI;
        bool judged = kind == STAGE_EVENT_JOB_SUCCEEDED || kind == STAGE_EVENT_CI;
        int jobs = ends ? JOB_KIND_COUNT : two ? 2 : 1;
        for (int source = 0; source < sources; source++)
            for (int job = 0; job < jobs; job++)
                for (int verdict = 0; verdict < (judged ? 6 : 1); verdict++)
                    shapes[count++] = (struct stage_event){
                        .kind = (enum stage_event_kind)kind,
                        .source = sources == 1 ? SOURCE_RUNNER : (enum event_source)source,
                        .entry = ENTRY,
                        .job = (enum job_kind)job,
                        .cause = REASON_BRANCH_GONE,
                        .current_code = job % 2 == 1,
                        .timed_out = job % 2 == 1,
                        .waives = job % 2 ? PARKED_CONFIRM : PARKED_APPROVAL,
                        .verdict = (enum gate_verdict)verdict};
    }
    return count;
}

/* One bit after the other of a number that counts through the combinations. */
static unsigned take(uint64_t *bits, unsigned values)
{
    unsigned value = (unsigned)(*bits % values);
    *bits /= values;
    return value;
}

/* Jobs of a task: none, waiting, running, running with a follow-up, a critical one running. */
static void set_live(struct stage_facts *facts, unsigned live)
{
    facts->job_live = live > 0;
    facts->agent_running = live == 2 || live == 3;
    facts->follow_up_queued = live == 3;
    facts->critical_running = live == 4;
}

/* The flags that any event reads; the settings that only some do are set by the caller. */
static struct stage_facts facts_of(uint64_t bits, enum stage stage)
{
    struct stage_facts facts = {
        .exists = true, .stage = stage, .entry = ENTRY, .max_rollbacks = MAX_ROLLBACKS};
    facts.blocked = take(&bits, 2);
    facts.parked = (enum parked)take(&bits, 4);
    set_live(&facts, take(&bits, 5));
    facts.stop_requested = take(&bits, 2);
    facts.merged = take(&bits, 2);
    facts.lease_held = take(&bits, 2);
    facts.confirm_deploy = take(&bits, 2);
    facts.staging_on = take(&bits, 2);
    facts.display_confirmed = take(&bits, 2);
    facts.command_seen = take(&bits, 2);
    facts.refusal_said = take(&bits, 2);
    facts.stop_enabled = take(&bits, 2);
    facts.deploy_hook = take(&bits, 2);
    facts.rollbacks = take(&bits, 2) ? MAX_ROLLBACKS : MAX_ROLLBACKS - 1;
    facts.blocked_outside = facts.blocked && facts.merged; /* one bit for both */
    facts.returns = take(&bits, 2) ? STAGE_RETURNS_MAX : 0;
    facts.deployed = facts.merged && stage == STAGE_DEPLOY && take(&bits, 2);
    facts.self_hosting = take(&bits, 2);
    return facts;
}

enum {
    FLAGS_COMMON = 2 * 4 * 5 * 2 * 2 * 2 * 2 * 2, /* the first eight of facts_of */
    FLAGS_COMMAND = FLAGS_COMMON * 16,            /* and the four that commands read */
    FLAGS_ALL = FLAGS_COMMAND * 32,
};

/* Commands do not read deploy_hook, rollbacks, returns and deployed, the ends of jobs not the
 * four before them: they are held fast here, and the random run below has them all. Mutations:
 * cancel_jobs left out of machine_move; park without a status; on_job_end without the check of
 * blocked; resume without a job; a merge restored although a confirmation is wanted. */
static void test_invariants_over_all_combinations(void **state)
{
    (void)state;
    struct stage_event shapes[512];
    size_t count = event_shapes(shapes);
    for (size_t i = 0; i < count; i++) {
        bool command = shapes[i].kind <= STAGE_EVENT_RETRY || shapes[i].kind == STAGE_EVENT_COMMENT;
        for (int stage = 0; stage < STAGE_COUNT; stage++)
            for (uint64_t bits = 0; bits < FLAGS_COMMON * 16; bits++) {
                uint64_t common = bits % FLAGS_COMMON, rest = bits / FLAGS_COMMON;
                uint64_t all = command ? bits : common + FLAGS_COMMAND * rest;
                struct stage_facts facts = facts_of(all, (enum stage)stage);
                check(&facts, &shapes[i]);
            }
    }
}

static void test_invariants_over_random_combinations(void **state)
{
    (void)state;
    struct stage_event shapes[512];
    size_t count = event_shapes(shapes);
    uint64_t seed = 1;
    for (int i = 0; i < 2000000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t draw = seed >> 20;
        enum stage stage = (enum stage)(draw % STAGE_COUNT);
        struct stage_event event = shapes[(draw / STAGE_COUNT) % count];
        struct stage_facts facts = facts_of((seed >> 12) % FLAGS_ALL, stage);
        check(&facts, &event);
    }
}

/* Mutation: stale() that lets entry 0 of a job's end pass, or that forgets the reconciler. */
static void test_another_entry_is_never_acted_on(void **state)
{
    (void)state;
    struct stage_event shapes[512];
    size_t count = event_shapes(shapes);
    for (size_t i = 0; i < count; i++)
        for (int stage = 0; stage < STAGE_COUNT; stage++)
            for (uint64_t bits = 0; bits < FLAGS_COMMON; bits++)
                for (int entry = 0; entry < 2; entry++) {
                    struct stage_facts facts = facts_of(bits, (enum stage)stage);
                    struct stage_event event = shapes[i];
                    struct stage_decision decision;
                    bool bound = (event.kind >= STAGE_EVENT_JOB_SUCCEEDED &&
                                  event.kind <= STAGE_EVENT_JOB_MISSING) ||
                                 event.kind == STAGE_EVENT_CI;
                    event.entry = entry == 0 ? 0 : ENTRY + 1;
                    if (entry == 0 && !bound && event.source != SOURCE_RECONCILER)
                        continue;
                    stage_decide(&facts, &event, &decision);
                    assert_int_equal(decision.outcome, DECISION_IGNORED);
                    assert_int_equal(decision.reason, REASON_STALE);
                }
}

/* Nonsense is answered too. */
static void test_out_of_range_is_ignored(void **state)
{
    (void)state;
    struct stage_facts facts = FACTS(.stage = STAGE_COUNT);
    struct stage_event event = {.kind = STAGE_EVENT_STOP, .source = SOURCE_OPERATOR};
    struct stage_decision decision;
    stage_decide(&facts, &event, &decision);
    assert_int_equal(decision.reason, REASON_INTERNAL);
    facts.stage = STAGE_REVIEW;
    event.kind = STAGE_EVENT_COUNT;
    stage_decide(&facts, &event, &decision);
    assert_int_equal(decision.reason, REASON_INTERNAL);
    event = (struct stage_event)ENDED(SUCCEEDED, KIND_COUNT, PASS);
    stage_decide(&facts, &event, &decision);
    assert_int_equal(decision.outcome, DECISION_IGNORED);
}

/* Every map over stages has every stage: display statuses exist, the way from created ends in done
 * and passes each working stage once. Mutation: a misspelt status in stages.def. */
static void test_maps_over_stages_are_complete(void **state)
{
    (void)state;
    bool passed[STAGE_COUNT] = {false};
    enum stage stage = STAGE_CREATED;
    for (int steps = 0; !stage_is_terminal(stage); steps++) {
        assert_true(steps < STAGE_COUNT);
        assert_false(passed[stage]);
        passed[stage] = true;
        stage = stage_table[stage].next;
    }
    assert_int_equal(stage, STAGE_DONE);
    for (int i = 0; i < STAGE_COUNT; i++) {
        struct stage_facts facts = {.exists = true, .stage = (enum stage)i};
        assert_true(passed[i] || stage_is_terminal((enum stage)i));
        assert_int_not_equal(stage_display(&facts), STATUS_COUNT);
        assert_string_equal(status_table[stage_display(&facts)].key, stage_table[i].status);
        assert_int_equal(stage_by_name(stage_table[i].name), i);
        assert_true(stage_table[i].label[0] != '\0');
    }
    for (int i = 0; i < JOB_KIND_COUNT; i++)
        assert_int_equal(job_kind_by_name(job_kind_table[i].name), i);
    assert_int_equal(job_kind_by_name("unheard of"), JOB_KIND_COUNT);
    assert_int_equal(job_kind_by_name(NULL), JOB_KIND_COUNT);
}

/* Codes are unique: a code is what a message is recognised by. */
static void test_reasons_are_found_by_their_codes(void **state)
{
    (void)state;
    char text[128];
    for (int i = 0; i < REASON_COUNT; i++) {
        reason_format((enum reason)i, "for people: of course", text, sizeof text);
        assert_int_equal(reason_by_code(text), i);
        assert_int_equal(reason_by_code(reason_code((enum reason)i)), i);
        assert_true(reason_text((enum reason)i)[0] != '\0');
    }
    assert_int_equal(reason_by_code("no such"), REASON_COUNT);
    assert_int_equal(reason_by_code(NULL), REASON_COUNT);
    reason_format(REASON_STALE, NULL, text, sizeof text);
    assert_string_equal(text, "stale: made for an earlier entry of the stage");
    /* cut at a whole character, or the page that shows it is no JSON. Mutation: snprintf alone */
    reason_format(REASON_OK, "\xc3\xa4\xc3\xa4", text, 8);
    assert_string_equal(text, "ok: \xc3\xa4");
    reason_format(REASON_OK, "\xc3\xa4\xc3\xa4", text, 3);
    assert_string_equal(text, "ok");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_case_of_every_stage_and_event),
        cmocka_unit_test(test_waiting_for_ci_in_every_stage),
        cmocka_unit_test(test_flags_that_matter),
        cmocka_unit_test(test_invariants_over_all_combinations),
        cmocka_unit_test(test_invariants_over_random_combinations),
        cmocka_unit_test(test_another_entry_is_never_acted_on),
        cmocka_unit_test(test_out_of_range_is_ignored),
        cmocka_unit_test(test_maps_over_stages_are_complete),
        cmocka_unit_test(test_reasons_are_found_by_their_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
