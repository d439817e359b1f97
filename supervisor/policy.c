/* PURE: no I/O */
#include "supervisor/policy.h"

#include <string.h>

enum { WAVE_LEAST_MS = 300, STOP_LEAST_MS = 100 };

typedef unsigned step_function(struct policy_child *child, const struct policy_settings *settings,
                               const struct policy_event *event, int64_t now);

#define STEP(word)                                                                                 \
    static unsigned on_##word(struct policy_child *child, const struct policy_settings *settings,  \
                              const struct policy_event *event, int64_t now)
#define UNUSED_STEP (void)child, (void)settings, (void)event, (void)now

/* ---- building blocks ---- */

static unsigned start(struct policy_child *child, int64_t now)
{
    child->state = POLICY_STATE_STARTING;
    child->started_at = now;
    child->ready_at = 0;
    child->deadline = 0;
    child->delay = 0;
    child->asked = false;
    child->asked_signal = 0;
    child->term_sent = false;
    return POLICY_SPAWN;
}

static unsigned terminate(struct policy_child *child, const struct policy_event *event, int64_t now)
{
    child->state = POLICY_STATE_STOPPING;
    child->asked = true;
    child->term_sent = true;
    child->deadline = now + event->stop_ms;
    return POLICY_TERM;
}

static unsigned rest(struct policy_child *child)
{
    child->state = POLICY_STATE_DOWN;
    child->deadline = 0;
    child->delay = 0;
    if (child->want == POLICY_WANT_LEAVE) {
        child->want = POLICY_WANT_DOWN;
        return POLICY_LEFT;
    }
    child->want = POLICY_WANT_DOWN;
    return 0;
}

/* A person's "up" is a fresh chance. */
static void forgive(struct policy_child *child)
{
    child->streak = 0;
    child->died = 0;
    child->failed = false;
}

static bool too_many(const struct policy_child *child, const struct policy_settings *settings,
                     int64_t now)
{
    int64_t intensity = settings->intensity;
    if (intensity > POLICY_DEATHS_MAX - 1)
        intensity = POLICY_DEATHS_MAX - 1;
    if (child->died <= intensity)
        return false;
    /* the death `intensity` before this one still inside the period: one too many */
    int64_t oldest = child->deaths[(child->died - 1 - intensity) % POLICY_DEATHS_MAX];
    return now - oldest < settings->period_ms;
}

/* 0 for the first death, then backoff_ms doubled up to the ceiling. */
static int64_t backoff(const struct policy_settings *settings, int64_t streak)
{
    if (streak == 0)
        return 0;
    int64_t delay = settings->backoff_ms;
    for (int64_t i = 1; i < streak && delay < settings->backoff_max_ms; i++)
        delay *= 2;
    return delay < settings->backoff_max_ms ? delay : settings->backoff_max_ms;
}

static unsigned count_death(struct policy_child *child, const struct policy_settings *settings,
                            int64_t now)
{
    unsigned actions = 0;
    if (child->ready_at && now - child->ready_at >= settings->reset_ms)
        child->streak = 0;
    child->delay = backoff(settings, child->lock_held && child->streak == 0 ? 1 : child->streak);
    child->streak++;
    if (child->lock_held) {
        if (child->delay > POLICY_LOCK_HELD_MAX_MS)
            child->delay = POLICY_LOCK_HELD_MAX_MS;
        return 0;
    }
    child->deaths[child->died % POLICY_DEATHS_MAX] = now;
    child->died++;
    if (!child->failed && too_many(child, settings, now)) {
        child->failed = true;
        actions = POLICY_FAILED;
    }
    if (child->failed)
        child->delay = settings->backoff_max_ms;
    return actions;
}

/* No process and no finish is left: where to go from here. */
static unsigned go_on(struct policy_child *child, int64_t now)
{
    child->started_at = 0;
    child->ready_at = 0;
    child->term_sent = false;
    if (child->want != POLICY_WANT_UP)
        return rest(child);
    child->restarts++;
    if (child->asked || child->delay == 0)
        return start(child, now);
    child->state = POLICY_STATE_BACKOFF;
    child->deadline = now + child->delay;
    return 0;
}

/* ---- the words of policy.def ---- */

STEP(nothing)
{
    UNUSED_STEP;
    return 0;
}

STEP(begin)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_UP;
    forgive(child);
    return start(child, now);
}

STEP(begin_once)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_ONCE;
    forgive(child);
    return start(child, now);
}

STEP(spawn)
{
    UNUSED_STEP;
    return start(child, now);
}

STEP(want_up)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_UP;
    return 0;
}

STEP(want_down)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_DOWN;
    return 0;
}

STEP(want_once)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_ONCE;
    return 0;
}

STEP(want_leave)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_LEAVE;
    return 0;
}

STEP(give_up)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_DOWN;
    return rest(child);
}

STEP(left)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_LEAVE;
    return rest(child);
}

STEP(stop)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_DOWN;
    return terminate(child, event, now);
}

STEP(stop_leave)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_LEAVE;
    return terminate(child, event, now);
}

STEP(cycle)
{
    UNUSED_STEP;
    return terminate(child, event, now);
}

/* Down again while it already stops: never more time than it had, less if so asked. */
STEP(hurry)
{
    UNUSED_STEP;
    child->want = POLICY_WANT_DOWN;
    if (now + event->stop_ms < child->deadline)
        child->deadline = now + event->stop_ms;
    return 0;
}

STEP(kill)
{
    UNUSED_STEP;
    child->asked = true;
    child->state = POLICY_STATE_KILLING;
    child->deadline = now + POLICY_KILL_AGAIN_MS;
    return POLICY_KILL;
}

STEP(overdue)
{
    UNUSED_STEP;
    child->state = POLICY_STATE_KILLING;
    child->deadline = now + POLICY_KILL_AGAIN_MS;
    return POLICY_KILL;
}

STEP(kill_finish)
{
    UNUSED_STEP;
    child->deadline = now + POLICY_KILL_AGAIN_MS;
    return POLICY_KILL;
}

STEP(ready)
{
    UNUSED_STEP;
    child->state = POLICY_STATE_UP;
    child->ready_at = now;
    child->deadline = now + settings->reset_ms;
    return 0;
}

STEP(settled)
{
    UNUSED_STEP;
    bool was_failed = child->failed;
    child->deadline = 0;
    child->streak = 0;
    child->failed = false;
    return was_failed ? POLICY_SETTLED : 0;
}

STEP(gone)
{
    unsigned actions = POLICY_OBITUARY;
    child->lock_held = event->exit_code == POLICY_LOCK_HELD_EXIT;
    if (event->signal && event->signal == child->asked_signal)
        child->asked = true;
    child->last_asked = child->asked;
    child->delay = 0;
    if (!child->asked && child->want == POLICY_WANT_UP)
        actions |= count_death(child, settings, now);
    if (event->has_finish) {
        child->state = POLICY_STATE_FINISHING;
        child->deadline = now + event->stop_ms;
        return actions | POLICY_FINISH;
    }
    return actions | go_on(child, now);
}

STEP(finished)
{
    UNUSED_STEP;
    return go_on(child, now);
}

/* ---- the table ---- */

#define POLICY_ROW(state, up, down, once, restart, kill, leave, clear, ready, gone, finished,      \
                   deadline)                                                                       \
    [POLICY_STATE_##state] = {on_##up,   on_##down,     on_##once,    on_##restart,                \
                              on_##kill, on_##leave,    on_##clear,   on_##ready,                  \
                              on_##gone, on_##finished, on_##deadline},
static step_function *const table[][POLICY_EVENT_COUNT] = {
#include "supervisor/policy.def"
};
#undef POLICY_ROW

#define POLICY_ROW(...) +1
enum {
    ROWS = 0
#include "supervisor/policy.def"
};
#undef POLICY_ROW
_Static_assert((int)ROWS == (int)POLICY_STATE_COUNT, "policy.def needs one row per state");
_Static_assert(sizeof table / sizeof table[0] == POLICY_STATE_COUNT, "a state's row is missing");
_Static_assert(POLICY_EVENT_COUNT == 11, "policy.def needs one column per event");

void policy_init(struct policy_child *child, bool wanted_up)
{
    memset(child, 0, sizeof *child);
    child->state = wanted_up ? POLICY_STATE_WAITING : POLICY_STATE_DOWN;
    child->want = wanted_up ? POLICY_WANT_UP : POLICY_WANT_DOWN;
}

unsigned policy_step(struct policy_child *child, const struct policy_settings *settings,
                     const struct policy_event *event, int64_t now)
{
    return table[child->state][event->kind](child, settings, event, now);
}

bool policy_has_process(const struct policy_child *child)
{
    return child->state == POLICY_STATE_STARTING || child->state == POLICY_STATE_UP ||
           child->state == POLICY_STATE_STOPPING || child->state == POLICY_STATE_KILLING;
}

const char *policy_state_name(const struct policy_child *child)
{
    static const char *const names[] = {
#define STATE(id, name) name,
        POLICY_STATES(STATE)
#undef STATE
    };
    if (child->failed &&
        (child->state == POLICY_STATE_BACKOFF || child->state == POLICY_STATE_STARTING))
        return "failed";
    return names[child->state];
}

const char *policy_event_name(enum policy_event_kind kind)
{
    static const char *const names[] = {
#define EVENT(id) #id,
        POLICY_EVENTS(EVENT)
#undef EVENT
    };
    return names[kind];
}

int64_t policy_stop_allowance(int64_t own_ms, int64_t now, int64_t total_deadline, int waves_after)
{
    if (!total_deadline)
        return own_ms;
    int64_t left = total_deadline - now - (int64_t)waves_after * WAVE_LEAST_MS;
    if (left < STOP_LEAST_MS)
        left = STOP_LEAST_MS;
    return own_ms < left ? own_ms : left;
}
