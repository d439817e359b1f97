/* PURE: no I/O */
/* The texts and bytes of the supervisor that others parse: runit's status record, the wrapped log
 * line, the one-command run script. */
#ifndef ORCH_SUPERVISOR_TEXT_H
#define ORCH_SUPERVISOR_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STATUS_SIZE = 20, STAT_SIZE = 64 };

/* What `sv` reads of one service. */
struct status_facts {
    int64_t changed_ms; /* wall clock, of the last change of state */
    int pid;            /* of run or finish; 0: none */
    bool paused, want_up, term_sent;
    bool finishing; /* the process is `finish` */
    bool leaving;   /* sv exit */
};

/* supervise/status: TAI64N big-endian, pid little-endian, paused, 'u' or 'd', TERM sent, 0 down 1
 * run 2 finish. */
void status_bytes(const struct status_facts *facts, unsigned char out[STATUS_SIZE]);
/* supervise/stat in runsv's words, with newline. */
void status_text(const struct status_facts *facts, char out[STAT_SIZE]);

/* True where the line (no newline) is one JSON object. */
bool log_is_object(const char *line, size_t size);

/* text as the inside of a JSON string: quotes, backslashes, controls escaped, bytes that are no
 * UTF-8 replaced by '?'. Stops before out would overflow; always NUL-terminated. Returns the
 * length. */
size_t json_escape(const char *text, size_t size, char *out, size_t out_size);

/* {"ts":…,"level":"info","service":…,"event":"stderr","msg":…} and a newline; returns its length.
 * A line too long for out is cut. lost > 0 adds "cut_bytes". ts in RFC 3339 is given. */
size_t log_wrap(const char *service, const char *ts, const char *line, size_t size, size_t lost,
                char *out, size_t out_size);

/* Where script is a #!/bin/sh script whose only command is `exec NAME` or `exec NAME 2>&1`, with no
 * other shell metacharacter and no argument: copies NAME and returns true. Comments and blank lines
 * do not count. */
bool script_execs(const char *script, char *name, size_t name_size);

#endif
