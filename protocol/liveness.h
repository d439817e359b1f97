/* PURE: no I/O */
/* Hung is dead: what follows from one ping of a service and from what its supervisor says of it. */
#ifndef ORCH_LIVENESS_H
#define ORCH_LIVENESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LIVENESS_RECORD_SIZE = 20, /* supervise/status, runit's format */
    LIVENESS_SETTLE_MS = 3000, /* a process younger than this is starting */
};

/* What the supervisor (ours or runsv) says. */
struct liveness_record {
    bool known;         /* supervise/status could be read */
    bool runs;          /* its process is `run`, not `finish`, not paused by sv */
    int pid;            /* 0: none */
    int64_t changed_ms; /* wall clock, of the last change */
};

/* supervise/status as bytes; known is false where the size is wrong. */
struct liveness_record liveness_record_read(const unsigned char *bytes, size_t size);

/* What our own supervisor says besides (supervisor.json); NULL where it is not our supervisor. */
enum liveness_label {
    LIVENESS_LABEL_NONE,     /* no label: plain runit */
    LIVENESS_LABEL_READY,    /* may be judged */
    LIVENESS_LABEL_STARTING, /* starting, waiting, stopping, down, ...: not ours to judge */
    LIVENESS_LABEL_FAILED,
};
enum liveness_label liveness_label_by_name(const char *state);

enum liveness_ping { LIVENESS_ANSWERED, LIVENESS_MISSED, LIVENESS_NOT_TOLD };

/* One look at a service. before and after: the record around the ping; a miss counts only where
 * both name one process, else it may have been the gap of a restart. */
struct liveness_look {
    struct liveness_record before, after;
    enum liveness_label label;
    enum liveness_ping ping;
    int64_t wall_ms;
};

struct liveness {
    int misses; /* in a row, of the process pid */
    int pid;
    bool said_failed, said_hung;
};

enum liveness_verdict {
    LIVENESS_NOTHING,
    LIVENESS_KILL,      /* hung: to be killed and announced */
    LIVENESS_FAILED,    /* labelled failed: to be announced, once */
    LIVENESS_RECOVERED, /* what was announced is over */
};

/* True where a ping would tell something: a process runs and is no longer starting. */
bool liveness_may_ping(const struct liveness_record *record, enum liveness_label label,
                       int64_t wall_ms);

enum liveness_verdict liveness_judge(struct liveness *liveness, const struct liveness_look *look,
                                     int misses_allowed);

#endif
