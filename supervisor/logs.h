/* Output of the services: one pipe each, whose both ends the supervisor holds over restarts (what a
 * dying service wrote last is not lost), into home/log/<service>/current, bounded in size and
 * count. Older ones are current.<number>, the highest the youngest. Nothing here blocks: what
 * cannot be written is dropped and counted, and the count is written as soon as that is possible.
 */
#ifndef ORCH_SUPERVISOR_LOGS_H
#define ORCH_SUPERVISOR_LOGS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "supervisor/definitions.h"

enum {
    LOG_LINE_MAX = 16 * 1024, /* longer ones are cut and wrapped, never joined */
    LOG_LAST_SIZE = 256,
    CONSOLE_SIZE = 64 * 1024,
};

struct logs_settings {
    int64_t max_bytes, keep;
    bool text; /* for people: lines pass as they are */
};

/* Standard output of PID 1; fd -1 elsewhere. */
struct console {
    int fd;
    size_t used;
    uint64_t dropped;
    char data[CONSOLE_SIZE];
};

struct service_log {
    char service[SERVICE_NAME_SIZE];
    char folder[PATH_MAX];
    int read_fd, write_fd; /* the pipe; -1: none yet */
    int file_fd;           /* current; -1: could not be opened, tried again */
    int64_t file_size;
    int64_t first, last; /* numbers of the older files; last 0: none */
    uint64_t dropped;    /* lines lost since the last that was written */
    size_t used, lost;   /* of line; bytes beyond LOG_LINE_MAX */
    char line[LOG_LINE_MAX];
    char said[LOG_LAST_SIZE]; /* the last whole line, for the obituary */
};

void console_open(struct console *console);
void console_flush(struct console *console);

/* Opens home/log/<service>/current and the pipe (kept where read_fd is one already: upgrade).
 * 0, or -1 with errno. */
int logs_open(struct service_log *log, const char *home, const char *service);
void logs_close(struct service_log *log, const struct logs_settings *settings,
                struct console *console);

/* Takes what is in the pipe, a bounded part of it. True where there may be more. */
bool logs_read(struct service_log *log, const struct logs_settings *settings,
               struct console *console);

/* Bytes in the pipe. Asked between a death and the next start, it says where the words of the one
 * end and those of the other begin. */
size_t logs_pending(const struct service_log *log);

/* Takes so many bytes, and ends the line that their writer left unfinished. */
void logs_read_last(struct service_log *log, const struct logs_settings *settings,
                    struct console *console, size_t pending);

/* Ends a line that its writer left unfinished (it died). */
void logs_flush(struct service_log *log, const struct logs_settings *settings,
                struct console *console);

/* The supervisor's own log: descriptor 2 becomes home/log/supervisor/current. 0, or -1 with errno.
 */
int logs_own_open(struct service_log *log, const char *home);
/* Copies what was logged since to the console and rotates. */
void logs_own_tick(struct service_log *log, const struct logs_settings *settings,
                   struct console *console);

#endif
