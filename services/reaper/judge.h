/* PURE: no I/O */
/* What has become of a running job, from the traces of its run; and of a merge lease.
 *
 * Three tiers: 1 the keeper is gone without a status, seen so for dead_ticks rounds in a row; 2 an
 * exit code is known and nobody has finished the job for finalize_grace; 3 it runs too long. What
 * cannot be told counts for nothing. */
#ifndef ORCH_REAPER_JUDGE_H
#define ORCH_REAPER_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

enum judge_lock { JUDGE_LOCK_FREE, JUDGE_LOCK_HELD, JUDGE_LOCK_UNKNOWN };
enum judge_file { JUDGE_FILE_NONE, JUDGE_FILE_THERE, JUDGE_FILE_UNKNOWN };

/* One round's look at home/runs/<run>/. The lock is asked before the status is read: a keeper that
 * ends in between has then written its status. */
struct judge_traces {
    enum judge_lock lock;
    bool accepted; /* the scheduler knows that its spec.json was on the disk */
    enum judge_file
        spec; /* none of an accepted run: its directory went, with a disk or a restore */
    enum judge_file started; /* no `started`: the runner may still spawn it, freely */
    enum judge_file status;
    bool exit_known; /* the status names an exit code */
    int exit_code;
    int64_t ended_ms; /* wall clock; 0: unknown */
};

struct judge_limits {
    int dead_ticks;
    int64_t finalize_grace_ms, max_running_ms;
};

/* A span of time: how old it was by the wall clock when first seen, and monotonic from there. So a
 * wall clock that is set while we look ages nothing. */
struct judge_age {
    bool known;
    int64_t before_ms; /* at the first look; 0 where the wall clock says it is still to come */
    int64_t mono_ms;   /* of the first look */
};

/* What earlier rounds saw of the run; zeroed at its first. */
struct judge_memory {
    int dead, ended; /* rounds in a row */
    struct judge_age running, over;
};

struct judge_now {
    int64_t wall_ms, mono_ms;
};

enum judge_verdict {
    JUDGE_LEAVE = 0,
    JUDGE_DEAD = 1, /* the numbers are the tiers */
    JUDGE_ENDED = 2,
    JUDGE_OVERDUE = 3,
};

/* since_ms: wall clock at which the job was claimed. */
enum judge_verdict judge_run(struct judge_memory *memory, const struct judge_traces *traces,
                             int64_t since_ms, const struct judge_limits *limits,
                             struct judge_now now);

struct judge_lease {
    const char *stage; /* of its holder */
    bool terminal;     /* its holder is done or cancelled */
    bool used;         /* a job uses it now */
    bool user_runs;    /* that job is among the running ones and its keeper is not judged dead */
    bool wanted;       /* another task waits for it */
    int64_t since_ms;
};

/* Why it is to be reclaimed ("code: text"), or NULL. unused: rounds in a row (kept by the caller,
 * zeroed at first) that its user was seen gone. */
const char *judge_lease(const struct judge_lease *lease, int *unused, int dead_ticks,
                        int64_t ttl_ms, int64_t wall_ms);

#endif
