/* One JSON object per line on standard error; the supervisor (or runsv's logger) keeps the file.
 * A line is one write(2), so lines of several threads never mix. */
#ifndef ORCH_LOG_H
#define ORCH_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* What a line is about; a NULL string or a zero number is left out of the line. */
struct log_about {
    const char *task; /* key, as SHOP-12 */
    int64_t job;
    const char *run;
};

/* Name of the service and the least level that is written. Borrows service for the process's life.
 * ORCH_LOG_FORMAT=text writes for people instead of JSON. */
void log_init(const char *service, enum log_level least);

/* What each line's text goes through before it is written: it may make it shorter, in place. Called
 * before there are other threads. */
void log_mask_with(size_t (*mask)(char *text));

/* event is a short stable word ("claim", "adopted"); the text is for people. about may be NULL. */
void log_line(enum log_level level, const char *event, const struct log_about *about,
              const char *format, ...) __attribute__((format(printf, 4, 5)));

#define log_debug(event, ...) log_line(LOG_LEVEL_DEBUG, event, 0, __VA_ARGS__)
#define log_info(event, ...)  log_line(LOG_LEVEL_INFO, event, 0, __VA_ARGS__)
#define log_warn(event, ...)  log_line(LOG_LEVEL_WARN, event, 0, __VA_ARGS__)
#define log_error(event, ...) log_line(LOG_LEVEL_ERROR, event, 0, __VA_ARGS__)

/* A broken invariant: writes the line, then abort(). The supervisor is the handler. */
_Noreturn void log_abort(const char *event, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
