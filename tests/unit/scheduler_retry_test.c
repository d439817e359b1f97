/* What becomes of a job after a run. Each expectation was tried: the mutation named turns it red.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "services/scheduler/retry.h"

static const int64_t now = 1700000000000;
static const struct retry_limits limits = {30000, 1800000, 900000};

static struct retry_job agent_job(void)
{
    return (struct retry_job){.kind = JOB_AGENT,
                              .stage = STAGE_ANALYSIS,
                              .attempt = 1,
                              .max_attempts = 3,
                              .max_transient = 20};
}

static struct retry_decision decide(struct retry_job job, struct retry_result result)
{
    struct retry_decision decision;
    memset(&decision, 0xA5, sizeof decision);
    retry_decide(&job, &result, &limits, now, 1, &decision);
    return decision;
}

static struct retry_result failed(enum failure_class class)
{
    return (struct retry_result){.outcome = RUN_FAILED, .class = class};
}

static struct retry_result succeeded(enum gate_verdict verdict)
{
    return (struct retry_result){.outcome = RUN_SUCCEEDED, .verdict = verdict};
}

/* ---- by hand: what each class does to a fresh job and to one that resumes ---- */

struct expectation {
    enum failure_class class;
    enum retry_action action;
    enum reason reason;
    int attempt, transient, losses;
    int64_t least, most; /* wait in ms */
    bool keep_session;
};

/* Mutations: swap any two columns of failure_classes.def. */
static const struct expectation by_class[FAILURE_CLASS_COUNT] = {
    {FAILURE_CLASS_NONE, RETRY_REQUEUE, REASON_PERMANENT, 2, 0, 0, 0, 0, false},
    {FAILURE_CLASS_TRANSIENT, RETRY_REQUEUE, REASON_TRANSIENT, 1, 1, 0, 15000, 30000, true},
    {FAILURE_CLASS_USAGE_LIMIT, RETRY_REQUEUE, REASON_USAGE_LIMIT, 1, 0, 0, 900000, 900000, true},
    {FAILURE_CLASS_OPERATOR, RETRY_REQUEUE, REASON_OPERATOR, 1, 0, 0, 900000, 900000, true},
    {FAILURE_CLASS_CONFIG, RETRY_REQUEUE, REASON_CONFIG, 1, 0, 0, 900000, 900000, true},
    {FAILURE_CLASS_TASK, RETRY_REQUEUE, REASON_TASK, 2, 0, 0, 0, 0, false},
    {FAILURE_CLASS_INTERRUPTED, RETRY_REQUEUE, REASON_INTERRUPTED, 1, 0, 0, 0, 0, true},
    {FAILURE_CLASS_PERMANENT, RETRY_REQUEUE, REASON_PERMANENT, 2, 0, 0, 0, 0, false},
    {FAILURE_CLASS_BUDGET, RETRY_REQUEUE, REASON_BUDGET_RUN, 1, 0, 0, 0, 0, true},
    {FAILURE_CLASS_LOST, RETRY_REQUEUE, REASON_LOST, 1, 0, 1, 0, 0, true},
};

static void test_every_class_of_a_first_failure(void **state)
{
    (void)state;
    for (int class = 0; class < FAILURE_CLASS_COUNT; class ++) {
        const struct expectation *e = &by_class[class];
        struct retry_decision d = decide(agent_job(), failed(e->class));
        assert_int_equal(e->class, class);
        assert_int_equal(d.action, e->action);
        assert_int_equal(d.reason, e->reason);
        assert_int_equal(d.attempt, e->attempt);
        assert_int_equal(d.transient, e->transient);
        assert_int_equal(d.losses, e->losses);
        assert_int_equal(d.keep_session, e->keep_session);
        if (e->most == 0)
            assert_int_equal(d.not_before_ms, 0);
        else
            assert_in_range(d.not_before_ms - now, e->least, e->most);
    }
}

/* Mutation: > for >= in fail(). */
static void test_attempts_end(void **state)
{
    (void)state;
    struct retry_job job = agent_job();
    job.attempt = 2;
    assert_int_equal(decide(job, failed(FAILURE_CLASS_PERMANENT)).action, RETRY_REQUEUE);
    job.attempt = 3;
    struct retry_decision d = decide(job, failed(FAILURE_CLASS_PERMANENT));
    assert_int_equal(d.action, RETRY_EXHAUSTED);
    assert_int_equal(d.reason, REASON_PERMANENT);
    /* what counts against nobody goes on all the same */
    for (int class = 0; class < FAILURE_CLASS_COUNT; class ++)
        assert_int_equal(decide(job, failed((enum failure_class) class)).action,
                         by_class[class].attempt == 2 ? RETRY_EXHAUSTED : RETRY_REQUEUE);
}

/* Mutation: count a transient failure as an attempt, or forget its own budget. */
static void test_transient_failures_have_a_budget_of_their_own(void **state)
{
    (void)state;
    struct retry_job job = agent_job();
    job.attempt = 3;
    for (job.transient = 0; job.transient < 20; job.transient++) {
        struct retry_decision d = decide(job, failed(FAILURE_CLASS_TRANSIENT));
        assert_int_equal(d.action, RETRY_REQUEUE);
        assert_int_equal(d.attempt, 3);
        assert_int_equal(d.transient, job.transient + 1);
    }
    struct retry_decision d = decide(job, failed(FAILURE_CLASS_TRANSIENT));
    assert_int_equal(d.action, RETRY_EXHAUSTED);
    assert_int_equal(d.reason, REASON_TRANSIENT_EXHAUSTED);
}

/* min(2^n * base, max), the upper half of it jitter. Mutation: n + 1; no ceiling; no jitter. */
static void test_waits_double_up_to_the_ceiling(void **state)
{
    (void)state;
    static const int64_t full[] = {30000, 60000, 120000, 240000, 480000, 960000, 1800000, 1800000};
    for (int n = 0; n < 8; n++) {
        int64_t least = INT64_MAX, most = 0;
        for (uint64_t seed = 0; seed < 500; seed++) {
            struct retry_job job = agent_job();
            struct retry_result result = failed(FAILURE_CLASS_TRANSIENT);
            struct retry_decision d;
            job.transient = n;
            retry_decide(&job, &result, &limits, now, seed, &d);
            int64_t wait = d.not_before_ms - now;
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }
        assert_in_range(least, full[n] / 2, full[n] * 55 / 100);
        assert_in_range(most, full[n] * 95 / 100, full[n]);
    }
    struct retry_job job = agent_job();
    job.transient = INT32_MAX - 1; /* no overflow on the way to the ceiling */
    job.max_transient = INT32_MAX;
    assert_in_range(decide(job, failed(FAILURE_CLASS_TRANSIENT)).not_before_ms - now, 900000,
                    1800000);
}

/* Mutation: the shorter of Retry-After and back-off. */
static void test_what_the_outside_asks_for_is_honoured(void **state)
{
    (void)state;
    struct retry_result result = failed(FAILURE_CLASS_TRANSIENT);
    result.retry_after_ms = 600000;
    assert_in_range(decide(agent_job(), result).not_before_ms - now, 600000, 660000);
    result.retry_after_ms = 3600000; /* longer than our own ceiling */
    assert_int_equal(decide(agent_job(), result).not_before_ms - now, 3600000);
    result.class = FAILURE_CLASS_USAGE_LIMIT;
    result.retry_after_ms = 5 * 3600 * 1000;
    assert_in_range(decide(agent_job(), result).not_before_ms - now, result.retry_after_ms,
                    result.retry_after_ms / 10 * 11);
    result.retry_after_ms = INT64_MAX; /* nonsense is bounded by the class */
    assert_in_range(decide(agent_job(), result).not_before_ms - now, 1,
                    retry_wait_max_ms(FAILURE_CLASS_USAGE_LIMIT, &limits));
}

/* Mutations: the third loss goes on; losses kept over a run that was none; a loss counts. */
static void test_the_third_loss_in_a_row_counts(void **state)
{
    (void)state;
    struct retry_job job = agent_job();
    struct retry_result lost = {.outcome = RUN_LOST, .class = FAILURE_CLASS_LOST};
    for (int loss = 1; loss <= 2; loss++) {
        struct retry_decision d = decide(job, lost);
        assert_int_equal(d.action, RETRY_REQUEUE);
        assert_int_equal(d.losses, loss);
        assert_int_equal(d.attempt, 1);
        assert_true(d.keep_session);
        assert_int_equal(d.not_before_ms, 0);
        job.losses = d.losses;
    }
    struct retry_decision d = decide(job, lost);
    assert_int_equal(d.action, RETRY_REQUEUE);
    assert_int_equal(d.reason, REASON_LOST);
    assert_int_equal(d.attempt, 2);
    assert_int_equal(d.losses, 0);
    assert_false(d.keep_session);
    job.attempt = 3;
    assert_int_equal(decide(job, lost).action, RETRY_EXHAUSTED);
    assert_int_equal(decide(job, failed(FAILURE_CLASS_TRANSIENT)).losses, 0);
    assert_int_equal(decide(job, succeeded(GATE_PASS)).losses, 0);
    assert_int_equal(decide(job, failed(FAILURE_CLASS_INTERRUPTED)).losses, 0);
}

/* Mutation: resumed ignored, either way. */
static void test_a_conversation_that_is_too_long_begins_anew(void **state)
{
    (void)state;
    struct retry_job job = agent_job();
    job.attempt = 3;
    job.resumed = true;
    struct retry_decision d = decide(job, failed(FAILURE_CLASS_TASK));
    assert_int_equal(d.action, RETRY_REQUEUE);
    assert_int_equal(d.attempt, 3);
    assert_false(d.keep_session);
    assert_int_equal(d.not_before_ms, 0);
    job.resumed = false;
    assert_int_equal(decide(job, failed(FAILURE_CLASS_TASK)).action, RETRY_EXHAUSTED);
}

/* ---- gates ---- */

static const bool has_gate[JOB_KIND_COUNT] = {[JOB_AGENT] = true,
                                              [JOB_STAGE] = true,
                                              [JOB_MERGE_GATE] = true,
                                              [JOB_DEPLOY] = true,
                                              [JOB_FINALIZER] = true};

/* A failed gate goes to the stage machine where it rolls back, and is a failed attempt where the
 * stage stays. Mutations: on_failure turned round; NONE or UNKNOWN taken for a pass. */
static void test_the_gate_decides_over_success(void **state)
{
    (void)state;
    for (int kind = 0; kind < JOB_KIND_COUNT; kind++)
        for (int stage = 0; stage < STAGE_COUNT; stage++) {
            struct retry_job job = agent_job();
            job.kind = (enum job_kind)kind;
            job.stage = (enum stage)stage;
            bool back = stage_table[stage].on_failure == STAGE_FAILURE_ROLLBACK;
            /* a deploy is never done again by itself, below */
            enum retry_action again = kind == JOB_DEPLOY ? RETRY_EXHAUSTED : RETRY_REQUEUE;
            assert_int_equal(decide(job, succeeded(GATE_PASS)).action, RETRY_ACCEPT);
            assert_int_equal(decide(job, succeeded(GATE_UNKNOWN)).action, again);
            assert_int_equal(decide(job, succeeded(GATE_NONE)).action,
                             has_gate[kind] ? again : RETRY_ACCEPT);
            if (!has_gate[kind])
                continue;
            struct retry_decision d = decide(job, succeeded(GATE_FAIL));
            assert_int_equal(d.action, back ? RETRY_ACCEPT : again);
            assert_int_equal(d.reason, REASON_GATE_FAILED);
            assert_int_equal(d.attempt, back || kind == JOB_DEPLOY ? 1 : 2);
            assert_int_equal(d.keep_findings, !back);
        }
    struct retry_job job = agent_job();
    job.attempt = 3;
    struct retry_decision d = decide(job, succeeded(GATE_FAIL));
    assert_int_equal(d.action, RETRY_EXHAUSTED);
    assert_true(d.keep_findings);
    assert_int_equal(decide(job, succeeded(GATE_UNKNOWN)).reason, REASON_GATE_UNKNOWN);
}

/* ---- a deploy ---- */

/* Its hook may have been at work: a person looks before it is called again. What the runner calls
 * an operator's matter, or passing, is of before its start. Mutations: any class taken out of
 * class_of's may_have_run; `stopped` asked before the kind; fail() that counts its attempts. */
static void test_a_deploy_is_never_repeated_by_itself(void **state)
{
    (void)state;
    static const enum retry_action of_class[FAILURE_CLASS_COUNT] = {
        [FAILURE_CLASS_NONE] = RETRY_EXHAUSTED,        [FAILURE_CLASS_TRANSIENT] = RETRY_REQUEUE,
        [FAILURE_CLASS_USAGE_LIMIT] = RETRY_EXHAUSTED, [FAILURE_CLASS_OPERATOR] = RETRY_REQUEUE,
        [FAILURE_CLASS_CONFIG] = RETRY_EXHAUSTED,      [FAILURE_CLASS_TASK] = RETRY_EXHAUSTED,
        [FAILURE_CLASS_INTERRUPTED] = RETRY_EXHAUSTED, [FAILURE_CLASS_PERMANENT] = RETRY_EXHAUSTED,
        [FAILURE_CLASS_BUDGET] = RETRY_EXHAUSTED,      [FAILURE_CLASS_LOST] = RETRY_EXHAUSTED};
    struct retry_job job = agent_job();
    job.kind = JOB_DEPLOY;
    job.stage = STAGE_DEPLOY;
    job.attempt = 1;
    for (int stopped = 0; stopped < 2; stopped++)
        for (int class = 0; class < FAILURE_CLASS_COUNT; class ++) {
            job.stopped = stopped != 0;
            struct retry_result result = failed((enum failure_class) class);
            assert_int_equal(decide(job, result).action, of_class[class]);
            result.outcome = RUN_LOST;
            if (class != FAILURE_CLASS_TRANSIENT && class != FAILURE_CLASS_OPERATOR)
                assert_int_equal(decide(job, result).action, RETRY_EXHAUSTED);
        }
    const struct retry_result cancelled = {.outcome = RUN_CANCELLED, .class = FAILURE_CLASS_NONE};
    assert_int_equal(decide(job, cancelled).action, RETRY_EXHAUSTED);
    /* a staging build is repeatable */
    job.kind = JOB_STAGE;
    job.stopped = false;
    assert_int_equal(decide(job, failed(FAILURE_CLASS_LOST)).action, RETRY_REQUEUE);
    assert_int_equal(decide(job, failed(FAILURE_CLASS_PERMANENT)).action, RETRY_REQUEUE);
}

/* ---- we ended it ---- */

/* Mutations: stopped ignored; a cancelled run that nobody stopped taken for STOP. */
static void test_stopped_is_cancelled_and_interrupted_goes_on(void **state)
{
    (void)state;
    struct retry_job job = agent_job();
    struct retry_result cancelled = {.outcome = RUN_CANCELLED, .class = FAILURE_CLASS_INTERRUPTED};
    assert_int_equal(decide(job, cancelled).action, RETRY_REQUEUE);
    assert_int_equal(decide(job, cancelled).attempt, 1);
    assert_true(decide(job, cancelled).keep_session);
    job.stopped = true;
    assert_int_equal(decide(job, cancelled).action, RETRY_CANCELLED);
    for (int class = 0; class < FAILURE_CLASS_COUNT; class ++)
        assert_int_equal(decide(job, failed((enum failure_class) class)).action, RETRY_CANCELLED);
    /* it had ended well before the order came: the stage machine says what that is worth */
    assert_int_equal(decide(job, succeeded(GATE_PASS)).action, RETRY_ACCEPT);
}

/* Mutation: cleanup like any job. */
static void test_a_cleanup_is_never_given_up_and_said_once(void **state)
{
    (void)state;
    struct retry_job job = agent_job();
    int announced = 0;
    job.kind = JOB_CLEANUP;
    job.stage = STAGE_CANCELLED;
    for (job.attempt = 1; job.attempt < 50; job.attempt++) {
        struct retry_decision d = decide(job, failed(FAILURE_CLASS_PERMANENT));
        assert_int_equal(d.action, RETRY_REQUEUE);
        assert_int_equal(d.attempt, job.attempt + 1);
        assert_in_range(d.not_before_ms - now, 15000, 1800000);
        announced += d.announce;
    }
    assert_int_equal(announced, 1);
    job.transient = 1000;
    assert_int_equal(decide(job, failed(FAILURE_CLASS_TRANSIENT)).action, RETRY_REQUEUE);
}

/* ---- time ---- */

/* No wait that was ordered is taken for a clock that jumped. Mutation: the clamp at max_ms alone.
 */
static void test_ordered_waits_are_never_clamped(void **state)
{
    (void)state;
    static const int64_t asked[] = {0, 1, 60000, 3600000, 86400000, INT64_MAX};
    for (int class = 0; class < FAILURE_CLASS_COUNT; class ++)
        for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
            for (uint64_t seed = 0; seed < 50; seed++) {
                struct retry_job job = agent_job();
                struct retry_result result = failed((enum failure_class) class);
                struct retry_decision d;
                job.transient = (int)(seed % 20);
                result.retry_after_ms = asked[i];
                retry_decide(&job, &result, &limits, now, seed, &d);
                if (d.not_before_ms == 0)
                    continue;
                char reason[128];
                reason_format(d.reason, "as the run said", reason, sizeof reason);
                enum failure_class told = failure_class_of_reason(reason);
                assert_false(retry_due(d.not_before_ms, told, &limits, now));
                assert_true(retry_due(d.not_before_ms, told, &limits, d.not_before_ms));
            }
}

static void test_a_clock_that_jumped_back_makes_it_due(void **state)
{
    (void)state;
    assert_true(retry_due(0, FAILURE_CLASS_NONE, &limits, now));
    assert_true(retry_due(now, FAILURE_CLASS_TRANSIENT, &limits, now));
    assert_false(retry_due(now + 1, FAILURE_CLASS_TRANSIENT, &limits, now));
    for (int class = 0; class < FAILURE_CLASS_COUNT; class ++) {
        int64_t most = retry_wait_max_ms((enum failure_class) class, &limits);
        assert_true(most >= limits.max_ms || most >= limits.probe_ms);
        assert_false(retry_due(now + most, (enum failure_class) class, &limits, now));
        assert_true(retry_due(now + most + 1, (enum failure_class) class, &limits, now));
    }
    assert_true(retry_due(INT64_MAX, FAILURE_CLASS_USAGE_LIMIT, &limits, now));
}

/* ---- names ---- */

static void test_names_of_the_messages(void **state)
{
    (void)state;
    for (int class = 0; class < FAILURE_CLASS_COUNT; class ++)
        assert_int_equal(failure_class_by_name(failure_class_name((enum failure_class) class)),
                         class);
    assert_int_equal(failure_class_by_name("news"), FAILURE_CLASS_PERMANENT);
    assert_int_equal(failure_class_by_name(NULL), FAILURE_CLASS_PERMANENT);
    assert_int_equal(failure_class_of_reason("transient: 529"), FAILURE_CLASS_TRANSIENT);
    assert_int_equal(failure_class_of_reason("usage-limit: until 5"), FAILURE_CLASS_USAGE_LIMIT);
    assert_int_equal(failure_class_of_reason("gate-failed: 06"), FAILURE_CLASS_NONE);
    assert_int_equal(failure_class_of_reason(""), FAILURE_CLASS_NONE);
    assert_int_equal(failure_class_of_reason(NULL), FAILURE_CLASS_NONE);
    assert_int_equal(run_outcome_by_name("succeeded"), RUN_SUCCEEDED);
    assert_int_equal(run_outcome_by_name("failed"), RUN_FAILED);
    assert_int_equal(run_outcome_by_name("lost"), RUN_LOST);
    assert_int_equal(run_outcome_by_name("cancelled"), RUN_CANCELLED);
    assert_int_equal(run_outcome_by_name("splendid"), RUN_FAILED);
    assert_int_equal(gate_verdict_by_name("pass"), GATE_PASS);
    assert_int_equal(gate_verdict_by_name("fail"), GATE_FAIL);
    assert_int_equal(gate_verdict_by_name("PASS"), GATE_UNKNOWN);
    assert_int_equal(gate_verdict_by_name(NULL), GATE_NONE);
}

/* Who waits for CI hands on; of any other it is doubt. Mutations: accepted of every job; of none.
 */
static void test_waiting_is_handed_on_where_ci_is_asked(void **state)
{
    (void)state;
    static const struct {
        enum job_kind kind;
        enum stage stage;
        enum retry_action action;
    } cases[] = {
        {JOB_AGENT, STAGE_DEVELOPMENT, RETRY_ACCEPT},
        {JOB_MERGE, STAGE_DEPLOY, RETRY_ACCEPT},
        {JOB_AGENT, STAGE_REVIEW, RETRY_REQUEUE},
        {JOB_AGENT, STAGE_ANALYSIS, RETRY_REQUEUE},
        {JOB_MERGE_GATE, STAGE_DEPLOY_STAGING, RETRY_REQUEUE},
        {JOB_FINALIZER, STAGE_DEPLOY, RETRY_REQUEUE},
    };
    assert_int_equal(gate_verdict_by_name("waiting"), GATE_WAITING);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct retry_job job = agent_job();
        job.kind = cases[i].kind;
        job.stage = cases[i].stage;
        assert_int_equal(decide(job, succeeded(GATE_WAITING)).action, cases[i].action);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiting_is_handed_on_where_ci_is_asked),
        cmocka_unit_test(test_every_class_of_a_first_failure),
        cmocka_unit_test(test_attempts_end),
        cmocka_unit_test(test_transient_failures_have_a_budget_of_their_own),
        cmocka_unit_test(test_waits_double_up_to_the_ceiling),
        cmocka_unit_test(test_what_the_outside_asks_for_is_honoured),
        cmocka_unit_test(test_the_third_loss_in_a_row_counts),
        cmocka_unit_test(test_a_conversation_that_is_too_long_begins_anew),
        cmocka_unit_test(test_the_gate_decides_over_success),
        cmocka_unit_test(test_a_deploy_is_never_repeated_by_itself),
        cmocka_unit_test(test_stopped_is_cancelled_and_interrupted_goes_on),
        cmocka_unit_test(test_a_cleanup_is_never_given_up_and_said_once),
        cmocka_unit_test(test_ordered_waits_are_never_clamped),
        cmocka_unit_test(test_a_clock_that_jumped_back_makes_it_due),
        cmocka_unit_test(test_names_of_the_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
