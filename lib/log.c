#include "lib/log.h"

#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"

/* No longer than PIPE_BUF: only so far is one write(2) to a pipe never mixed with another's. */
enum { LINE_MAX_BYTES = PIPE_BUF, TEXT_MAX_BYTES = PIPE_BUF, FULL_PIPE_WAIT_MS = 50 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* Set once by log_init before any thread starts. */
static struct {
    const char *service;
    enum log_level least;
    bool text;
    size_t (*mask)(char *text);
} setup = {"-", LOG_LEVEL_INFO, false, NULL};

void log_mask_with(size_t (*mask)(char *text))
{
    setup.mask = mask;
}

void log_init(const char *service, enum log_level least)
{
    const char *format = getenv("ORCH_LOG_FORMAT");
    setup.service = service;
    setup.least = least;
    setup.text = format && strcmp(format, "text") == 0;
}

struct line {
    char data[LINE_MAX_BYTES];
    size_t size;
};

static void line_raw(struct line *line, const char *text, size_t size)
{
    size_t room = sizeof line->data - 8 - line->size; /* 8: what closes the object always fits */
    if (size > room)
        size = room;
    memcpy(line->data + line->size, text, size);
    line->size += size;
}

static void line_text(struct line *line, const char *text)
{
    line_raw(line, text, strlen(text));
}

/* Bytes of the UTF-8 sequence at text; 0 where there is none. What other programs said is quoted in
 * log lines, and one stray byte would make the whole line no JSON. */
static size_t utf8_size(const unsigned char *text)
{
    unsigned char c = text[0];
    size_t size = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (c == 0xe0 && text[1] < 0xa0) || (c == 0xf0 && text[1] < 0x90);
    bool beyond = (c == 0xed && text[1] > 0x9f) || (c == 0xf4 && text[1] > 0x8f);
    return overlong || beyond ? 0 : size;
}

/* Bytes of a JSON string's inside; what is no UTF-8 becomes a question mark. */
static void line_escaped(struct line *line, const char *text)
{
    while (*text && line->size < sizeof line->data - 24) {
        unsigned char c = (unsigned char)*text;
        size_t size = utf8_size((const unsigned char *)text);
        char escape[8] = "";
        if (c == '"' || c == '\\')
            line_raw(line, (char[]){'\\', (char)c}, 2);
        else if (c == '\n')
            line_raw(line, "\\n", 2);
        else if (c < 0x20)
            line_raw(line, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
        else if (size)
            line_raw(line, text, size);
        else
            line_raw(line, "?", 1);
        text += size ? size : 1;
    }
}

static void line_member(struct line *line, const char *name, const char *value)
{
    line_text(line, ",\"");
    line_text(line, name);
    line_text(line, "\":\"");
    line_escaped(line, value);
    line_text(line, "\"");
}

static void line_number(struct line *line, const char *name, long long value)
{
    char text[64];
    snprintf(text, sizeof text, ",\"%s\":%lld", name, value);
    line_text(line, text);
}

static void build_json(struct line *line, enum log_level level, const char *event,
                       const struct log_about *about, const char *text)
{
    char now[CLOCK_TEXT_SIZE];
    clock_text(clock_wall_ms(), now);
    line_text(line, "{\"ts\":\"");
    line_text(line, now);
    line_text(line, "\"");
    line_member(line, "level", level_names[level]);
    line_member(line, "service", setup.service);
    line_number(line, "pid", getpid());
    line_member(line, "event", event);
    if (about && about->task)
        line_member(line, "task", about->task);
    if (about && about->job)
        line_number(line, "job", about->job);
    if (about && about->run)
        line_member(line, "run", about->run);
    line_member(line, "msg", text);
    line->data[line->size++] = '}';
    line->data[line->size++] = '\n';
}

static void build_text(struct line *line, enum log_level level, const char *event,
                       const struct log_about *about, const char *text)
{
    char now[CLOCK_TEXT_SIZE], head[160];
    clock_text(clock_wall_ms(), now);
    snprintf(head, sizeof head, "%s %-5s %s[%d] %s", now, level_names[level], setup.service,
             (int)getpid(), event);
    line_text(line, head);
    if (about && about->task) {
        line_text(line, " ");
        line_text(line, about->task);
    }
    if (about && about->run) {
        line_text(line, " ");
        line_text(line, about->run);
    }
    line_text(line, ": ");
    line_text(line, text);
    line->data[line->size++] = '\n';
}

static void write_line(enum log_level level, const char *event, const struct log_about *about,
                       const char *format, va_list args) __attribute__((format(printf, 4, 0)));

static void write_line(enum log_level level, const char *event, const struct log_about *about,
                       const char *format, va_list args)
{
    char text[TEXT_MAX_BYTES];
    vsnprintf(text, sizeof text, format, args);
    if (setup.mask)
        setup.mask(text);
    struct line line;
    line.size = 0;
    if (setup.text)
        build_text(&line, level, event, about, text);
    else
        build_json(&line, level, event, about, text);
    /* A pipe that stays full, or is closed, loses the line: a log must never stop its service. */
    struct pollfd out = {STDERR_FILENO, POLLOUT, 0};
    if (poll(&out, 1, FULL_PIPE_WAIT_MS) == 0)
        return;
    ssize_t written = write(STDERR_FILENO, line.data, line.size);
    (void)written;
}

void log_line(enum log_level level, const char *event, const struct log_about *about,
              const char *format, ...)
{
    if (level < setup.least)
        return;
    va_list args;
    va_start(args, format);
    write_line(level, event, about, format, args);
    va_end(args);
}

void log_abort(const char *event, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(LOG_LEVEL_ERROR, event, NULL, format, args);
    va_end(args);
    abort();
}
