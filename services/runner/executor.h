/* Where an agent runs. `local` (executor_local.c: a keeper per run) is one; another place can come
 * in a file of its own. Nothing above this header knows a pid or a lock. */
#ifndef ORCH_EXECUTOR_H
#define ORCH_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "lib/identity.h"

enum run_state {
    RUN_STATE_NEW,      /* never started: may be started any number of times */
    RUN_STATE_STARTING, /* being started; not yet executed */
    RUN_STATE_RUNNING,
    RUN_STATE_ENDED, /* collect tells how */
    RUN_STATE_LOST,  /* started, and nobody can say how it ended */
    RUN_STATE_UNKNOWN,
};

struct run_warm; /* of an executor */
struct run_watch;

struct run_launch {
    json_t *argv, *env; /* borrowed arrays of strings */
    const char *cwd, *prompt;
    const struct identity *as; /* the agent's user; NULL: ours */
    bool trusted;   /* the owner's own program, no agent: it may gain rights by what it starts */
    json_t *cage;   /* borrowed {read, write}: lists of paths (cage.h); NULL: none */
    json_t *limits; /* borrowed agent.limits; NULL: none */
    int64_t timeout_ms, grace_ms, stall_ms, log_max_bytes;
    json_t *extra; /* borrowed object: kept beside in launch.json for whoever adopts the run */
};

/* How the agent ended, from `status`. */
struct run_status {
    bool executed; /* false: stopped before, the agent never ran */
    int exit_code; /* -9 for a timeout, 128 + n for a signal */
    int signal;    /* 0: none */
    bool timed_out, stalled, cancelled;
    bool swept;                   /* nothing of it is left; false: end_leftovers is due */
    int64_t started_ms, ended_ms; /* wall clock */
    char error[128];              /* why the program could not be executed; "" */
};

/* What happened while waiting. */
enum run_wake {
    RUN_WAKE_END,     /* the state changed, observe again */
    RUN_WAKE_OUTPUT,  /* the agent said something */
    RUN_WAKE_CALLED,  /* somebody wrote to the descriptor */
    RUN_WAKE_TIMEOUT, /* the time is over */
};

struct executor {
    const char *name;
    /* Writes what the start needs into the run's directory. 0, or -1 with errno. A repetition
     * before the start is fine. */
    int (*prepare)(const char *dir, const struct run_launch *launch);
    /* Takes back an earlier prepare. From then on a start that an earlier caller began and that is
     * still under way comes to nothing, unless observe says that it came through before. 0, or -1
     * with errno. */
    int (*withdraw)(const char *dir);
    /* Does of a start what can be done beside its preparation. NULL where nothing is. One that is
     * not started is abandoned; one whose owner dies comes to nothing. */
    struct run_warm *(*warm_up)(const char *dir);
    void (*abandon)(struct run_warm *warm);
    /* Starts the run. Takes warm (may be NULL). 0: it is started, or was before; -1 with errno: try
     * again. */
    int (*start)(const char *dir, struct run_warm *warm);
    enum run_state (*observe)(const char *dir);
    /* Looks out for what the run does from now on, one for all of its waits; unwatch frees it, and
     * may take a while. */
    struct run_watch *(*watch)(const char *dir);
    void (*unwatch)(struct run_watch *watch);
    /* Sleeps until the run ends, says something (only where output is wanted) or called_fd is
     * readable; at most wait_ms (-1: for ever). */
    enum run_wake (*wait)(struct run_watch *watch, int called_fd, bool output, int wait_ms);
    /* Who it is (a number for people) and since when, of one that is or was running. 0 or -1. */
    int (*started)(const char *dir, int64_t *id, int64_t *started_ms);
    /* Orders the graceful end. Before the start: it will never be started. grace_ms: no longer
     * than that, 0: its own; a repetition may shorten it. Returns at once. */
    int (*end)(const char *dir, int64_t grace_ms);
    /* Ends what a lost run left, and waits for it. workspace: nothing may live in it either.
     * as: whose processes they may be beside ours; NULL: nobody else's. */
    void (*end_leftovers)(const char *dir, const char *run, const char *workspace,
                          const struct identity *as);
    /* Reads how it ended. 0, or -1 with errno. */
    int (*collect)(const char *dir, struct run_status *status);
};

extern const struct executor executor_local;

#endif
