/* PURE: no I/O */
/* What happens to one child: (state, event, now) -> next state and actions as data. No clock, no
 * process, no file; the shell (loop.c) performs the actions and feeds the next event.
 *
 * Restart (chapter 01): at once the first time, then backoff_ms doubled up to backoff_max_ms, from
 * the beginning again after reset_ms of ready time. More than `intensity` unasked deaths within
 * period_ms label the child failed: announced, and still tried at the ceiling, without end. Deaths
 * that were asked for (sv, reaper, SIGHUP) and exit 111 (lock held by another) count for nothing.
 *
 * All times are milliseconds of one monotonic clock. */
#ifndef ORCH_SUPERVISOR_POLICY_H
#define ORCH_SUPERVISOR_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* STATE(id, "name in supervisor.json") */
#define POLICY_STATES(STATE)                                                                       \
    STATE(DOWN, "down")           /* no process, none wanted */                                    \
    STATE(WAITING, "waiting")     /* wanted; those it is `after` are not ready yet */              \
    STATE(STARTING, "starting")   /* has a process, not ready */                                   \
    STATE(UP, "ready")            /* ready */                                                      \
    STATE(STOPPING, "stopping")   /* SIGTERM sent */                                               \
    STATE(KILLING, "killing")     /* SIGKILL sent */                                               \
    STATE(FINISHING, "finishing") /* `finish` runs */                                              \
    STATE(BACKOFF, "backoff")     /* wanted, dead, its delay not over */

#define POLICY_EVENTS(EVENT)                                                                       \
    EVENT(UP)       /* sv u */                                                                     \
    EVENT(DOWN)     /* sv d, and the stop of everything */                                         \
    EVENT(ONCE)     /* sv o */                                                                     \
    EVENT(RESTART)  /* sv t, a changed configuration */                                            \
    EVENT(KILL)     /* sv k, the reaper */                                                         \
    EVENT(LEAVE)    /* sv x */                                                                     \
    EVENT(CLEAR)    /* all it is `after` are ready */                                              \
    EVENT(READY)    /* newline on its notification descriptor; at exec where it has none */        \
    EVENT(GONE)     /* its process ended or could not be started */                                \
    EVENT(FINISHED) /* its `finish` ended or could not be started */                               \
    EVENT(DEADLINE) /* child->deadline has come */

enum policy_state {
#define STATE(id, name) POLICY_STATE_##id,
    POLICY_STATES(STATE)
#undef STATE
        POLICY_STATE_COUNT
};

enum policy_event_kind {
#define EVENT(id) POLICY_EVENT_##id,
    POLICY_EVENTS(EVENT)
#undef EVENT
        POLICY_EVENT_COUNT
};

enum policy_want { POLICY_WANT_DOWN, POLICY_WANT_UP, POLICY_WANT_ONCE, POLICY_WANT_LEAVE };

/* Bits; performed in this order. */
enum policy_action {
    POLICY_SPAWN = 1 << 0,    /* start `run`; feed READY at once where it has no descriptor */
    POLICY_TERM = 1 << 1,     /* SIGTERM, then SIGCONT */
    POLICY_KILL = 1 << 2,     /* SIGKILL (of `finish` in FINISHING) */
    POLICY_FINISH = 1 << 3,   /* start `finish`; feed FINISHED where that fails */
    POLICY_OBITUARY = 1 << 4, /* say how it died and when it starts again */
    POLICY_FAILED = 1 << 5,   /* now labelled failed: announce */
    POLICY_SETTLED = 1 << 6,  /* no longer failed: say so */
    POLICY_LEFT = 1 << 7,     /* `sv exit`: close its door; it is taken on anew later */
};

enum {
    POLICY_DEATHS_MAX = 256,     /* of deaths remembered; intensity is clamped to it - 1 */
    POLICY_LOCK_HELD_EXIT = 111, /* chapter 01: "finds its lock held" */
    POLICY_LOCK_HELD_MAX_MS =
        1000, /* its own wait is the pause; a long one of ours only adds to it */
    POLICY_KILL_AGAIN_MS = 1000,
};

struct policy_settings {
    int64_t backoff_ms, backoff_max_ms, reset_ms, intensity, period_ms;
};

struct policy_child {
    enum policy_state state;
    enum policy_want want;
    bool asked;                        /* the death under way was asked for */
    bool last_asked;                   /* the last one was */
    bool term_sent;                    /* SIGTERM to the living process */
    bool failed;                       /* the label */
    bool lock_held;                    /* its last death was exit 111 */
    int asked_signal;                  /* sv i q h a 1 2: dying of exactly this one was asked for */
    int64_t started_at, ready_at;      /* of the living process; 0: none */
    int64_t deadline;                  /* 0: none */
    int64_t delay;                     /* ms until the next start, decided at the last death */
    int64_t streak;                    /* deaths since it was last ready for reset_ms */
    int64_t restarts;                  /* starts after a death, asked or not */
    int64_t died;                      /* unasked deaths ever; index of the next in deaths[] */
    int64_t deaths[POLICY_DEATHS_MAX]; /* times, as a ring */
};

struct policy_event {
    enum policy_event_kind kind;
    int exit_code; /* GONE: -1 where it died of a signal */
    int signal;    /* GONE: 0 where it exited */
    int64_t
        stop_ms; /* DOWN, RESTART, LEAVE, GONE: time between SIGTERM and SIGKILL, and for finish */
    bool has_finish; /* GONE */
};

/* A child that was never started; wanted up (then it waits for CLEAR) or down. */
void policy_init(struct policy_child *child, bool wanted_up);

/* Returns the actions as bits of enum policy_action. Every pair of state and event is defined. */
unsigned policy_step(struct policy_child *child, const struct policy_settings *settings,
                     const struct policy_event *event, int64_t now);

bool policy_has_process(const struct policy_child *child);
/* "failed" where it is so labelled and not ready, else the name of the state. */
const char *policy_state_name(const struct policy_child *child);
const char *policy_event_name(enum policy_event_kind kind);

/* How long a service may take to stop: its own timeout, cut so that what is stopped after it
 * (waves_after further waves) still gets its least share before total_deadline (0: no total). */
int64_t policy_stop_allowance(int64_t own_ms, int64_t now, int64_t total_deadline, int waves_after);

#endif
