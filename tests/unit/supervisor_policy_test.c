/* The restart policy against a fake operating system and a fake clock: every pair of state and
 * event, the rules of restarting one by one, and seeded random lives held to what must never
 * happen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "supervisor/policy.h"

enum { STOP_MS = 5000, START = 1000000 };

static const struct policy_settings defaults = {.backoff_ms = 100,
                                                .backoff_max_ms = 10000,
                                                .reset_ms = 10000,
                                                .intensity = 10,
                                                .period_ms = 60000};

static unsigned feed(struct policy_child *child, enum policy_event_kind kind, int64_t now)
{
    struct policy_event event = {.kind = kind, .exit_code = -1, .stop_ms = STOP_MS};
    return policy_step(child, &defaults, &event, now);
}

static unsigned die(struct policy_child *child, int exit_code, int signal, int64_t now)
{
    struct policy_event event = {
        .kind = POLICY_EVENT_GONE, .exit_code = exit_code, .signal = signal, .stop_ms = STOP_MS};
    return policy_step(child, &defaults, &event, now);
}

/* ---- every pair ---- */

/* Shorter names for the table below. */
enum {
    DOWN = POLICY_STATE_DOWN,
    WAIT = POLICY_STATE_WAITING,
    STRT = POLICY_STATE_STARTING,
    UP = POLICY_STATE_UP,
    STOP = POLICY_STATE_STOPPING,
    KILL = POLICY_STATE_KILLING,
    FIN = POLICY_STATE_FINISHING,
    BACK = POLICY_STATE_BACKOFF,
};

enum { SAME = -1 }; /* nothing whatever changes */

/* Written from the rules in policy.h and runsv(8), not from policy.def: where one step leads a
 * child that is wanted up, was ready a while ago and has died once before, and what is done. In the
 * order of POLICY_EVENTS: up down once restart kill leave clear ready gone finished deadline. */
static const struct expected {
    int state;
    unsigned actions;
} table[POLICY_STATE_COUNT][POLICY_EVENT_COUNT] = {
    [DOWN] = {{STRT, POLICY_SPAWN},
              {DOWN, 0},
              {STRT, POLICY_SPAWN},
              {SAME, 0},
              {SAME, 0},
              {DOWN, POLICY_LEFT},
              {SAME, 0},
              {SAME, 0},
              {SAME, 0},
              {SAME, 0},
              {SAME, 0}},
    [WAIT] = {{STRT, POLICY_SPAWN},
              {DOWN, 0},
              {STRT, POLICY_SPAWN},
              {SAME, 0},
              {SAME, 0},
              {DOWN, POLICY_LEFT},
              {STRT, POLICY_SPAWN},
              {SAME, 0},
              {SAME, 0},
              {SAME, 0},
              {SAME, 0}},
    [STRT] = {{SAME, 0},
              {STOP, POLICY_TERM},
              {STRT, 0},
              {STOP, POLICY_TERM},
              {KILL, POLICY_KILL},
              {STOP, POLICY_TERM},
              {SAME, 0},
              {UP, 0},
              {BACK, POLICY_OBITUARY},
              {SAME, 0},
              {SAME, 0}},
    [UP] = {{SAME, 0},
            {STOP, POLICY_TERM},
            {UP, 0},
            {STOP, POLICY_TERM},
            {KILL, POLICY_KILL},
            {STOP, POLICY_TERM},
            {SAME, 0},
            {SAME, 0},
            {BACK, POLICY_OBITUARY},
            {SAME, 0},
            {UP, 0}},
    [STOP] = {{SAME, 0},
              {STOP, 0},
              {STOP, 0},
              {SAME, 0},
              {KILL, POLICY_KILL},
              {STOP, 0},
              {SAME, 0},
              {SAME, 0},
              {STRT, POLICY_OBITUARY | POLICY_SPAWN},
              {SAME, 0},
              {KILL, POLICY_KILL}},
    [KILL] = {{SAME, 0},
              {KILL, 0},
              {KILL, 0},
              {SAME, 0},
              {KILL, POLICY_KILL},
              {KILL, 0},
              {SAME, 0},
              {SAME, 0},
              {STRT, POLICY_OBITUARY | POLICY_SPAWN},
              {SAME, 0},
              {KILL, POLICY_KILL}},
    [FIN] = {{SAME, 0},
             {FIN, 0},
             {FIN, 0},
             {SAME, 0},
             {FIN, POLICY_KILL},
             {FIN, 0},
             {SAME, 0},
             {SAME, 0},
             {SAME, 0},
             {BACK, 0},
             {FIN, POLICY_KILL}},
    [BACK] = {{STRT, POLICY_SPAWN},
              {DOWN, 0},
              {STRT, POLICY_SPAWN},
              {STRT, POLICY_SPAWN},
              {SAME, 0},
              {DOWN, POLICY_LEFT},
              {SAME, 0},
              {SAME, 0},
              {SAME, 0},
              {SAME, 0},
              {STRT, POLICY_SPAWN}},
};

/* A child in that state by the way it gets there; one death behind it. */
static struct policy_child child_in(int state)
{
    struct policy_child child;
    policy_init(&child, state == WAIT);
    if (state == DOWN || state == WAIT)
        return child;
    feed(&child, POLICY_EVENT_UP, START);
    feed(&child, POLICY_EVENT_READY, START + 1);
    die(&child, 1, 0, START + 2); /* the first: started again at once */
    assert_int_equal(child.state, STRT);
    if (state == UP || state == STOP || state == KILL)
        feed(&child, POLICY_EVENT_READY, START + 3);
    if (state == STOP)
        feed(&child, POLICY_EVENT_RESTART, START + 4);
    if (state == KILL)
        feed(&child, POLICY_EVENT_KILL, START + 4);
    if (state == FIN) {
        struct policy_event gone = {
            .kind = POLICY_EVENT_GONE, .exit_code = 1, .stop_ms = STOP_MS, .has_finish = true};
        assert_int_equal(policy_step(&child, &defaults, &gone, START + 4),
                         POLICY_OBITUARY | POLICY_FINISH);
    }
    if (state == BACK)
        die(&child, 1, 0, START + 4);
    assert_int_equal(child.state, state);
    return child;
}

/* What holds of each state, however it was reached. */
static void check_child(const struct policy_child *child, int64_t now)
{
    bool stops = child->state == POLICY_STATE_STOPPING || child->state == POLICY_STATE_KILLING;
    if (child->state == POLICY_STATE_STARTING || child->state == POLICY_STATE_UP)
        assert_false(child->term_sent);
    if (child->state == POLICY_STATE_STOPPING)
        assert_true(child->term_sent);
    if (child->state == POLICY_STATE_KILLING)
        assert_in_range(child->deadline, now, now + POLICY_KILL_AGAIN_MS);
    assert_int_equal(child->started_at != 0,
                     policy_has_process(child) || child->state == POLICY_STATE_FINISHING);
    if (stops)
        assert_true(child->asked && child->deadline);
}

/* Mutations tried: each word of policy.def exchanged for four others, at random (those that stayed
 * green do the same to a child in that state, as want_down and nothing where down is wanted
 * already); thirty single changes in policy.c. */
static void test_every_pair(void **state)
{
    (void)state;
    for (int from = 0; from < POLICY_STATE_COUNT; from++) {
        for (int kind = 0; kind < POLICY_EVENT_COUNT; kind++) {
            struct policy_child child = child_in(from), before = child;
            int64_t now = START + 10;
            unsigned actions = feed(&child, (enum policy_event_kind)kind, now);
            const struct expected *expected = &table[from][kind];
            bool same = memcmp(&child, &before, sizeof child) == 0;
            bool wrong_state =
                expected->state == SAME ? !same : (int)child.state != expected->state;
            if (wrong_state || actions != expected->actions)
                fail_msg("%s in state %d: state %d, actions %x",
                         policy_event_name((enum policy_event_kind)kind), from, (int)child.state,
                         actions);
            if (child.state != POLICY_STATE_FINISHING)
                check_child(&child, now);
        }
    }
}

/* What changes nothing changes not what is wanted either. */
static void test_nothing_is_nothing_for_once(void **state)
{
    (void)state;
    for (int from = 0; from < POLICY_STATE_COUNT; from++) {
        for (int kind = POLICY_EVENT_RESTART; kind < POLICY_EVENT_COUNT; kind++) {
            struct policy_child child = child_in(from);
            if (!policy_has_process(&child) || table[from][kind].state != SAME)
                continue;
            feed(&child, POLICY_EVENT_ONCE, START + 9);
            struct policy_child before = child;
            feed(&child, (enum policy_event_kind)kind, START + 10);
            assert_memory_equal(&child, &before, sizeof child);
        }
    }
}

static void expect_want(int from, enum policy_event_kind kind, enum policy_want want)
{
    struct policy_child child = child_in(from);
    feed(&child, kind, START + 10);
    if (child.want != want)
        fail_msg("%s in state %d: wants %d", policy_event_name(kind), from, (int)child.want);
}

static void test_what_is_wanted(void **state)
{
    (void)state;
    static const int with_process[] = {STRT, UP, STOP, KILL, FIN};
    for (int from = 0; from < POLICY_STATE_COUNT; from++) {
        expect_want(from, POLICY_EVENT_UP, POLICY_WANT_UP);
        expect_want(from, POLICY_EVENT_ONCE, POLICY_WANT_ONCE);
        expect_want(from, POLICY_EVENT_DOWN, POLICY_WANT_DOWN);
    }
    for (size_t i = 0; i < 5; i++) {
        expect_want(with_process[i], POLICY_EVENT_LEAVE, POLICY_WANT_LEAVE);
        expect_want(with_process[i], POLICY_EVENT_RESTART, POLICY_WANT_UP);
        expect_want(with_process[i], POLICY_EVENT_KILL, POLICY_WANT_UP);
    }
    /* who is on the way down can be called back */
    for (size_t i = 2; i < 5; i++) {
        struct policy_child child = child_in(with_process[i]);
        feed(&child, POLICY_EVENT_DOWN, START + 10);
        feed(&child, POLICY_EVENT_UP, START + 11);
        assert_int_equal(child.want, POLICY_WANT_UP);
    }
    /* "exit" of one without a process is done with, and is asked once */
    expect_want(DOWN, POLICY_EVENT_LEAVE, POLICY_WANT_DOWN);
    expect_want(BACK, POLICY_EVENT_LEAVE, POLICY_WANT_DOWN);
}

/* Every death by what was wanted and how it came; finish or not. */
static void test_every_death(void **state)
{
    (void)state;
    static const enum policy_event_kind wishes[] = {POLICY_EVENT_UP, POLICY_EVENT_ONCE,
                                                    POLICY_EVENT_DOWN, POLICY_EVENT_LEAVE};
    for (size_t wish = 0; wish < 4; wish++) {
        for (int finish = 0; finish < 2; finish++) {
            for (int exit_code = -1; exit_code < 2; exit_code++) {
                struct policy_child child = child_in(UP);
                feed(&child, wishes[wish], START + 10);
                struct policy_event gone = {.kind = POLICY_EVENT_GONE,
                                            .exit_code = exit_code,
                                            .signal = exit_code < 0 ? 9 : 0,
                                            .stop_ms = STOP_MS,
                                            .has_finish = finish};
                unsigned actions = policy_step(&child, &defaults, &gone, START + 20);
                assert_true(actions & POLICY_OBITUARY);
                assert_int_equal(!!(actions & POLICY_FINISH), finish);
                if (finish) {
                    assert_int_equal(child.state, FIN);
                    assert_false(actions & POLICY_SPAWN);
                    actions |= feed(&child, POLICY_EVENT_FINISHED, START + 30);
                }
                bool wanted = wishes[wish] == POLICY_EVENT_UP;
                assert_int_equal(child.state, wanted ? BACK : DOWN);
                assert_int_equal(!!(actions & POLICY_LEFT), wishes[wish] == POLICY_EVENT_LEAVE);
                assert_int_equal(child.restarts, wanted ? 2 : 1);
            }
        }
    }
}

/* ---- the rules of restarting ---- */

static struct policy_child ready_child(int64_t now)
{
    struct policy_child child;
    policy_init(&child, true);
    assert_int_equal(feed(&child, POLICY_EVENT_CLEAR, now), POLICY_SPAWN);
    feed(&child, POLICY_EVENT_READY, now);
    return child;
}

/* Mutation: backoff() without its case for the first death. */
static void test_first_restart_never_pauses(void **state)
{
    (void)state;
    static const int64_t lived[] = {0, 1, 200, 999, 5000, 100000};
    for (size_t i = 0; i < sizeof lived / sizeof *lived; i++) {
        struct policy_child child = ready_child(START);
        assert_true(die(&child, -1, 9, START + lived[i]) & POLICY_SPAWN);
    }
    struct policy_child unready;
    policy_init(&unready, true);
    feed(&unready, POLICY_EVENT_CLEAR, START);
    assert_true(die(&unready, 1, 0, START) & POLICY_SPAWN);
}

/* Mutations: += for *= in backoff(); the ceiling left out. */
static void test_backoff_doubles_to_the_ceiling(void **state)
{
    (void)state;
    static const int64_t delays[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    struct policy_child child = ready_child(START);
    int64_t now = START;
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        die(&child, 1, 0, now);
        if (delays[i]) {
            assert_int_equal(child.state, BACK);
            assert_int_equal(child.deadline, now + delays[i]);
            now += delays[i];
            assert_int_equal(feed(&child, POLICY_EVENT_DEADLINE, now), POLICY_SPAWN);
        }
        assert_int_equal(child.state, STRT);
        feed(&child, POLICY_EVENT_READY, now);
    }
}

/* Mutation: reset_ms counted from the start instead of readiness. */
static void test_reset_after_ready_time(void **state)
{
    (void)state;
    struct policy_child child = ready_child(START);
    int64_t now = START;
    die(&child, 1, 0, now);
    feed(&child, POLICY_EVENT_READY, now + 50000); /* slow to start */
    now += 50000 + 9999;
    assert_false(die(&child, 1, 0, now) & POLICY_SPAWN); /* not ready for long enough */
    now += 100;
    feed(&child, POLICY_EVENT_DEADLINE, now);
    feed(&child, POLICY_EVENT_READY, now);
    now += 10000;
    assert_true(die(&child, 1, 0, now) & POLICY_SPAWN);
}

static unsigned crash(struct policy_child *child, int64_t now)
{
    unsigned actions = die(child, 1, 0, now);
    if (child->state == POLICY_STATE_BACKOFF)
        actions |= feed(child, POLICY_EVENT_DEADLINE, now);
    return actions;
}

/* Mutations: <= for < in too_many(); the label never taken back; a failed one that is given up. */
static void test_intensity_labels_and_goes_on(void **state)
{
    (void)state;
    struct policy_child child = ready_child(START);
    int64_t now = START;
    for (int i = 0; i < 10; i++)
        assert_false(crash(&child, now += 10) & POLICY_FAILED);
    assert_true(die(&child, 1, 0, now += 10) & POLICY_FAILED);
    assert_true(child.failed);
    assert_string_equal(policy_state_name(&child), "failed");
    for (int i = 0; i < 50; i++) { /* without end, at the ceiling, announced once */
        assert_int_equal(child.state, BACK);
        assert_int_equal(child.deadline, now + 10000);
        assert_int_equal(feed(&child, POLICY_EVENT_DEADLINE, now += 10000), POLICY_SPAWN);
        assert_string_equal(policy_state_name(&child), "failed");
        assert_false(die(&child, 1, 0, now) & POLICY_FAILED);
    }
    feed(&child, POLICY_EVENT_DEADLINE, now += 10000);
    feed(&child, POLICY_EVENT_READY, now);
    assert_string_equal(policy_state_name(&child), "ready");
    assert_true(child.failed); /* until it has held out */
    assert_int_equal(child.deadline, now + 10000);
    assert_int_equal(feed(&child, POLICY_EVENT_DEADLINE, now += 10000), POLICY_SETTLED);
    assert_false(child.failed);
    assert_true(die(&child, 1, 0, now) & POLICY_SPAWN);
}

static void test_deaths_outside_the_period_do_not_count(void **state)
{
    (void)state;
    struct policy_child child = ready_child(START);
    int64_t now = START;
    for (int i = 0; i < 100; i++)
        assert_false(crash(&child, now += 6000) & POLICY_FAILED); /* 11 in exactly 60 s */
    assert_false(child.failed);
}

/* An intensity beyond what is remembered is cut, not read from beyond the ring. */
static void test_intensity_larger_than_the_memory(void **state)
{
    (void)state;
    struct policy_settings settings = defaults;
    settings.intensity = 100000;
    struct policy_child child = ready_child(START);
    struct policy_event gone = {.kind = POLICY_EVENT_GONE, .exit_code = 1};
    int deaths = 0;
    unsigned actions = 0;
    while (!(actions & POLICY_FAILED) && deaths < 10000) {
        actions = policy_step(&child, &settings, &gone, START);
        deaths++;
        if (child.state == POLICY_STATE_BACKOFF)
            feed(&child, POLICY_EVENT_DEADLINE, START);
    }
    assert_int_equal(deaths, POLICY_DEATHS_MAX);
}

/* Mutation: count_death() called for asked deaths as well. */
static void test_asked_restarts_count_for_nothing(void **state)
{
    (void)state;
    static const enum policy_event_kind how[] = {POLICY_EVENT_RESTART, POLICY_EVENT_KILL};
    struct policy_child child = ready_child(START);
    int64_t now = START;
    for (int i = 0; i < 1000; i++) {
        feed(&child, how[i % 2], now++);
        unsigned actions = die(&child, -1, i % 2 ? 9 : 15, now++);
        assert_true(actions & POLICY_SPAWN);
        assert_false(actions & POLICY_FAILED);
        assert_true(child.last_asked);
        feed(&child, POLICY_EVENT_READY, now++);
    }
    assert_int_equal(child.died, 0);
    assert_int_equal(child.restarts, 1000);
    assert_true(die(&child, 1, 0, now) & POLICY_SPAWN); /* the first of its own is still at once */
}

/* A signal by `sv` asks for the death of exactly this signal; of another it is a crash. */
static void test_asked_signal(void **state)
{
    (void)state;
    struct policy_child child = ready_child(START);
    child.asked_signal = 2;
    die(&child, -1, 2, START + 1);
    assert_true(child.last_asked);
    assert_int_equal(child.died, 0);
    feed(&child, POLICY_EVENT_READY, START + 1);
    assert_int_equal(child.asked_signal, 0);
    child.asked_signal = 2;
    die(&child, -1, 11, START + 2);
    assert_false(child.last_asked);
    assert_int_equal(child.died, 1);
}

/* Mutation: exit 111 counted like another. */
static void test_a_held_lock_is_no_fault(void **state)
{
    (void)state;
    struct policy_child child = ready_child(START);
    int64_t now = START;
    for (int i = 0; i < 200; i++) {
        assert_false(die(&child, POLICY_LOCK_HELD_EXIT, 0, now) & POLICY_FAILED);
        assert_int_equal(child.state, BACK);
        assert_in_range(child.deadline - now, 100, POLICY_LOCK_HELD_MAX_MS);
        now = child.deadline;
        feed(&child, POLICY_EVENT_DEADLINE, now);
    }
    assert_false(child.failed);
    assert_int_equal(child.died, 0);
}

static void test_up_is_a_fresh_chance(void **state)
{
    (void)state;
    struct policy_child child = ready_child(START);
    for (int i = 0; i < 11; i++)
        crash(&child, START + i);
    assert_true(child.failed);
    die(&child, 1, 0, START + 20);
    assert_int_equal(feed(&child, POLICY_EVENT_UP, START + 30), POLICY_SPAWN);
    assert_false(child.failed);
    assert_true(die(&child, 1, 0, START + 40) & POLICY_SPAWN);
}

static void test_stop_is_term_then_kill(void **state)
{
    (void)state;
    struct policy_child child = ready_child(START);
    assert_int_equal(feed(&child, POLICY_EVENT_DOWN, START), POLICY_TERM);
    assert_int_equal(child.deadline, START + STOP_MS);
    /* asked again with less time: hurried, never with more */
    struct policy_event again = {.kind = POLICY_EVENT_DOWN, .exit_code = -1, .stop_ms = 1000};
    policy_step(&child, &defaults, &again, START + 10);
    assert_int_equal(child.deadline, START + 1010);
    again.stop_ms = 90000;
    policy_step(&child, &defaults, &again, START + 20);
    assert_int_equal(child.deadline, START + 1010);
    assert_int_equal(feed(&child, POLICY_EVENT_DEADLINE, START + 1010), POLICY_KILL);
    assert_int_equal(feed(&child, POLICY_EVENT_DEADLINE, child.deadline),
                     POLICY_KILL); /* and again */
    assert_int_equal(die(&child, -1, 9, START + 3000), POLICY_OBITUARY);
    assert_int_equal(child.state, DOWN);
}

static void test_stop_allowance(void **state)
{
    (void)state;
    assert_int_equal(policy_stop_allowance(5000, 100, 0, 3), 5000); /* no budget */
    assert_int_equal(policy_stop_allowance(5000, 1000, 8000, 0), 5000);
    assert_int_equal(policy_stop_allowance(20000, 1000, 8000, 0), 7000);
    assert_int_equal(policy_stop_allowance(20000, 1000, 8000, 2), 6400); /* two waves come after */
    assert_int_equal(policy_stop_allowance(5000, 9000, 8000, 1), 100);   /* over time: the least */
    assert_int_equal(policy_stop_allowance(50, 9000, 8000, 1), 50);
}

/* ---- random lives ---- */

struct world {
    struct policy_child child;
    struct policy_settings settings;
    uint64_t seed;
    int64_t now;
    bool lives, is_finish, deaf, killed; /* the fake process; deaf: ignores SIGTERM */
    bool has_finish;
    int64_t stop_asked;    /* 0: not */
    int64_t at_once[4096]; /* unasked restarts without a pause since the last fresh chance */
    int at_once_count;
};

static uint64_t roll(struct world *world)
{
    world->seed ^= world->seed << 13;
    world->seed ^= world->seed >> 7;
    world->seed ^= world->seed << 17;
    return world->seed;
}

static void act(struct world *world, enum policy_event_kind kind, enum policy_state before,
                unsigned actions)
{
    if (actions & POLICY_SPAWN) {
        if (world->lives)
            fail_msg("two processes at once (%s)", policy_event_name(kind));
        world->lives = true;
        world->is_finish = world->killed = false;
        world->deaf = roll(world) % 4 == 0;
        bool death = kind == POLICY_EVENT_GONE || kind == POLICY_EVENT_FINISHED;
        if (death && !world->child.last_asked && world->at_once_count < 4096)
            world->at_once[world->at_once_count++] = world->now;
    }
    if (actions & (POLICY_TERM | POLICY_KILL))
        assert_true(world->lives);
    if (actions & POLICY_KILL)
        world->killed = true;
    if (actions & POLICY_FINISH) {
        assert_false(world->lives);
        world->lives = world->is_finish = true;
        world->killed = false;
        world->deaf = roll(world) % 4 == 0;
    }
    /* who is wanted up anew starts from nothing */
    bool chance =
        kind == POLICY_EVENT_UP || kind == POLICY_EVENT_ONCE || kind == POLICY_EVENT_RESTART;
    if (chance && (before == POLICY_STATE_DOWN || before == POLICY_STATE_WAITING ||
                   before == POLICY_STATE_BACKOFF))
        world->at_once_count = 0;
}

static void tell(struct world *world, enum policy_event_kind kind, int exit_code, int signal)
{
    struct policy_event event = {.kind = kind,
                                 .exit_code = exit_code,
                                 .signal = signal,
                                 .stop_ms = 2000,
                                 .has_finish = world->has_finish};
    enum policy_state before = world->child.state;
    unsigned actions = policy_step(&world->child, &world->settings, &event, world->now);
    act(world, kind, before, actions);
    bool has_process =
        policy_has_process(&world->child) || world->child.state == POLICY_STATE_FINISHING;
    assert_int_equal(has_process, world->lives);
    if (world->child.state == POLICY_STATE_BACKOFF)
        assert_true(world->child.deadline > 0);
}

static void end_process(struct world *world)
{
    bool finish = world->is_finish;
    static const int codes[] = {0, 1, 2, 111, -1};
    int code = codes[roll(world) % 5];
    world->lives = false;
    tell(world, finish ? POLICY_EVENT_FINISHED : POLICY_EVENT_GONE, code, code < 0 ? 9 : 0);
}

/* Whatever it does, one that is killed ends; one that hears SIGTERM ends soon. */
static void live_on(struct world *world)
{
    struct policy_child *child = &world->child;
    bool asked = child->state == POLICY_STATE_STOPPING;
    world->now += (int64_t)(roll(world) % 400);
    if (child->deadline && child->deadline <= world->now)
        tell(world, POLICY_EVENT_DEADLINE, -1, 0);
    if (!world->lives)
        return;
    if (world->killed || (asked && !world->deaf && roll(world) % 3 == 0) ||
        (world->is_finish && !world->deaf) || roll(world) % 16 == 0)
        end_process(world);
    else if (roll(world) % 2)
        tell(world, POLICY_EVENT_READY, -1, 0);
}

/* "spawns bounded by intensity outside back-off" */
static void check_rate(const struct world *world)
{
    for (int i = 0; i < world->at_once_count; i++) {
        int count = 0;
        for (int j = i; j < world->at_once_count; j++)
            count += world->at_once[j] - world->at_once[i] < world->settings.period_ms;
        assert_true(count <= world->settings.intensity + 1);
    }
}

/* Down within: what it has to stop, the kill's repetitions, a finish and its kill. */
static void check_that_it_stops(struct world *world)
{
    int64_t asked = world->now;
    int steps = 0;
    tell(world, POLICY_EVENT_DOWN, -1, 0);
    while (world->child.state != POLICY_STATE_DOWN && steps++ < 1000)
        live_on(world);
    assert_int_equal(world->child.state, POLICY_STATE_DOWN);
    assert_false(world->lives);
    assert_true(world->now - asked <= 2 * (2000 + 2 * POLICY_KILL_AGAIN_MS));
}

static void one_life(uint64_t seed)
{
    static struct world world;
    static const enum policy_event_kind letters[] = {
        POLICY_EVENT_UP,   POLICY_EVENT_DOWN,  POLICY_EVENT_ONCE,  POLICY_EVENT_RESTART,
        POLICY_EVENT_KILL, POLICY_EVENT_LEAVE, POLICY_EVENT_CLEAR,
    };
    memset(&world, 0, sizeof world);
    world.seed = seed * 2654435761u + 88172645463325252u;
    world.now = START;
    world.has_finish = roll(&world) % 2;
    world.settings = (struct policy_settings){.backoff_ms = 1 + (int64_t)(roll(&world) % 200),
                                              .backoff_max_ms = 1 + (int64_t)(roll(&world) % 5000),
                                              .reset_ms = 1 + (int64_t)(roll(&world) % 3000),
                                              .intensity = 1 + (int64_t)(roll(&world) % 20),
                                              .period_ms = 1000 + (int64_t)(roll(&world) % 60000)};
    policy_init(&world.child, roll(&world) % 2);
    unsigned letter_rate = 4 + (unsigned)(roll(&world) % 200);
    for (int i = 0; i < 600; i++) {
        if (roll(&world) % letter_rate == 0)
            tell(&world, letters[roll(&world) % 7], -1, 0);
        live_on(&world);
    }
    check_rate(&world);
    check_that_it_stops(&world);
}

/* Mutations, each red: start() in on_ready's place of on_want_up for a living child (two
 * processes); overdue without KILL (never ends); count_death without its label (too many spawns).
 */
static void test_random_lives(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++)
        one_life(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_nothing_is_nothing_for_once),
        cmocka_unit_test(test_what_is_wanted),
        cmocka_unit_test(test_every_death),
        cmocka_unit_test(test_first_restart_never_pauses),
        cmocka_unit_test(test_backoff_doubles_to_the_ceiling),
        cmocka_unit_test(test_reset_after_ready_time),
        cmocka_unit_test(test_intensity_labels_and_goes_on),
        cmocka_unit_test(test_deaths_outside_the_period_do_not_count),
        cmocka_unit_test(test_intensity_larger_than_the_memory),
        cmocka_unit_test(test_asked_restarts_count_for_nothing),
        cmocka_unit_test(test_asked_signal),
        cmocka_unit_test(test_a_held_lock_is_no_fault),
        cmocka_unit_test(test_up_is_a_fresh_chance),
        cmocka_unit_test(test_stop_is_term_then_kill),
        cmocka_unit_test(test_stop_allowance),
        cmocka_unit_test(test_random_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
