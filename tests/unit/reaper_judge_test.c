/* Three tiers and the lease, as tables. Mutations tried, each turns a test red: `started` not asked
 * for (a run that the runner still prepares is reaped); UNKNOWN taken for FREE or for NONE; the
 * rounds not reset by a round in between; >= made > for each limit; the wall clock alone as the
 * age. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "services/reaper/judge.h"

enum { GRACE = 300000, LONGEST = 7200000, TICK = 30000 };

static const struct judge_limits limits = {
    .dead_ticks = 2, .finalize_grace_ms = GRACE, .max_running_ms = LONGEST};
static const int64_t wall0 = INT64_C(1800000000000);

static struct judge_now at(int64_t ms)
{
    return (struct judge_now){wall0 + ms, 1000 + ms};
}

static struct judge_traces gone(void)
{
    return (struct judge_traces){
        .lock = JUDGE_LOCK_FREE, .started = JUDGE_FILE_THERE, .status = JUDGE_FILE_NONE};
}

static struct judge_traces ended(int64_t ms)
{
    return (struct judge_traces){.lock = JUDGE_LOCK_FREE,
                                 .started = JUDGE_FILE_THERE,
                                 .status = JUDGE_FILE_THERE,
                                 .exit_known = true,
                                 .ended_ms = wall0 + ms};
}

static enum judge_verdict look(struct judge_memory *memory, struct judge_traces traces, int64_t ms)
{
    return judge_run(memory, &traces, wall0, &limits, at(ms));
}

static void twice(const struct judge_traces *traces)
{
    struct judge_memory memory = {0};
    bool gone = traces->accepted && traces->spec == JUDGE_FILE_NONE;
    bool dead = traces->lock == JUDGE_LOCK_FREE && traces->status == JUDGE_FILE_NONE &&
                (traces->started == JUDGE_FILE_THERE || gone);
    assert_int_equal(look(&memory, *traces, TICK), JUDGE_LEAVE);
    assert_int_equal(look(&memory, *traces, 2 * TICK), dead ? JUDGE_DEAD : JUDGE_LEAVE);
}

/* Every combination of traces, twice: with a free lock and no status a run is dead that was
 * started, or that had been accepted and has no directory. */
static void only_a_started_run_without_keeper_and_status_is_dead(void **state)
{
    (void)state;
    for (int lock = 0; lock < 3; lock++)
        for (int started = 0; started < 3; started++)
            for (int status = 0; status < 3; status++)
                for (int spec = 0; spec < 3; spec++)
                    for (int accepted = 0; accepted < 2; accepted++)
                        twice(&(struct judge_traces){.lock = (enum judge_lock)lock,
                                                     .accepted = accepted,
                                                     .spec = (enum judge_file)spec,
                                                     .started = (enum judge_file)started,
                                                     .status = (enum judge_file)status});
}

static void a_round_in_between_begins_the_count_again(void **state)
{
    (void)state;
    struct judge_traces between[3] = {gone(), gone(), gone()};
    between[0].lock = JUDGE_LOCK_HELD;
    between[1].lock = JUDGE_LOCK_UNKNOWN;
    between[2].status = JUDGE_FILE_UNKNOWN;
    for (int i = 0; i < 3; i++) {
        struct judge_memory memory = {0};
        assert_int_equal(look(&memory, gone(), TICK), JUDGE_LEAVE);
        assert_int_equal(look(&memory, between[i], 2 * TICK), JUDGE_LEAVE);
        assert_int_equal(look(&memory, gone(), 3 * TICK), JUDGE_LEAVE);
        assert_int_equal(look(&memory, gone(), 4 * TICK), JUDGE_DEAD);
    }
}

static void an_ended_run_is_left_to_the_runner_for_the_grace(void **state)
{
    (void)state;
    struct judge_memory memory = {0};
    assert_int_equal(look(&memory, ended(0), TICK), JUDGE_LEAVE);
    assert_int_equal(look(&memory, ended(0), GRACE - 1), JUDGE_LEAVE);
    assert_int_equal(look(&memory, ended(0), GRACE), JUDGE_ENDED);
    /* A reaper that comes new to it still wants to see it more than once. */
    struct judge_memory fresh = {0};
    assert_int_equal(look(&fresh, ended(0), 2 * GRACE), JUDGE_LEAVE);
    assert_int_equal(look(&fresh, ended(0), 2 * GRACE + TICK), JUDGE_ENDED);
    /* No exit code, no tier 2. */
    struct judge_memory silent = {0};
    struct judge_traces traces = ended(0);
    traces.exit_known = false;
    assert_int_equal(look(&silent, traces, GRACE), JUDGE_LEAVE);
    assert_int_equal(look(&silent, traces, 2 * GRACE), JUDGE_LEAVE);
}

static void what_runs_too_long_is_over(void **state)
{
    (void)state;
    struct judge_memory memory = {0};
    struct judge_traces traces = {.lock = JUDGE_LOCK_HELD, .started = JUDGE_FILE_THERE};
    assert_int_equal(look(&memory, traces, TICK), JUDGE_LEAVE);
    assert_int_equal(look(&memory, traces, LONGEST - 1), JUDGE_LEAVE);
    assert_int_equal(look(&memory, traces, LONGEST), JUDGE_OVERDUE);
    /* A restarted reaper knows the age by the wall clock. */
    struct judge_memory fresh = {0};
    assert_int_equal(look(&fresh, traces, LONGEST), JUDGE_OVERDUE);
}

static void a_wall_clock_that_jumps_ages_nothing(void **state)
{
    (void)state;
    struct judge_memory memory = {0};
    struct judge_traces traces = {.lock = JUDGE_LOCK_HELD, .started = JUDGE_FILE_THERE};
    assert_int_equal(look(&memory, traces, TICK), JUDGE_LEAVE);
    struct judge_now jumped = at(2 * TICK);
    jumped.wall_ms += 100 * INT64_C(86400000);
    assert_int_equal(judge_run(&memory, &traces, wall0, &limits, jumped), JUDGE_LEAVE);
    struct judge_traces over = ended(0);
    struct judge_memory finished = {0};
    assert_int_equal(look(&finished, over, TICK), JUDGE_LEAVE);
    assert_int_equal(judge_run(&finished, &over, wall0, &limits, jumped), JUDGE_LEAVE);
    /* Set back: it still gets old. */
    struct judge_memory early = {0};
    struct judge_now back = at(0);
    back.wall_ms -= INT64_C(86400000);
    assert_int_equal(judge_run(&early, &traces, wall0, &limits, back), JUDGE_LEAVE);
    back.mono_ms += LONGEST;
    assert_int_equal(judge_run(&early, &traces, wall0, &limits, back), JUDGE_OVERDUE);
}

static const char *lease(const char *stage, bool terminal, bool used, bool user_runs, bool wanted,
                         int64_t age, int *unused)
{
    struct judge_lease facts = {.stage = stage,
                                .terminal = terminal,
                                .used = used,
                                .user_runs = user_runs,
                                .wanted = wanted,
                                .since_ms = wall0 - age};
    return judge_lease(&facts, unused, 2, 3600000, wall0);
}

static void a_lease_goes_when_nobody_has_a_right_to_it(void **state)
{
    (void)state;
    int unused = 0;
    assert_null(lease("deploy", false, true, true, true, 1, &unused));
    assert_null(lease("deploy-staging", false, false, false, true, 3599999, &unused));
    assert_null(lease("deploy", false, false, false, false, 99999999, &unused)); /* nobody waits */
    assert_null(lease("deploy", false, true, true, true, 99999999, &unused));    /* it is used */
    assert_non_null(lease("deploy", false, false, false, true, 3600000, &unused));
    assert_non_null(lease("done", true, false, false, false, 1, &unused));
    assert_non_null(lease("development", false, false, false, false, 1, &unused));
    assert_non_null(lease("nonsense", false, false, false, false, 1, &unused));
    assert_null(lease("deploy", false, true, false, false, 1, &unused));
    assert_null(lease("deploy", false, true, true, false, 1, &unused)); /* begins again */
    assert_null(lease("deploy", false, true, false, false, 1, &unused));
    assert_non_null(lease("deploy", false, true, false, false, 1, &unused));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_started_run_without_keeper_and_status_is_dead),
        cmocka_unit_test(a_round_in_between_begins_the_count_again),
        cmocka_unit_test(an_ended_run_is_left_to_the_runner_for_the_grace),
        cmocka_unit_test(what_runs_too_long_is_over),
        cmocka_unit_test(a_wall_clock_that_jumps_ages_nothing),
        cmocka_unit_test(a_lease_goes_when_nobody_has_a_right_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
