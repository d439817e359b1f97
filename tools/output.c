#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/utf8.h"
#include "tools/orchctl.h"

enum { REAL_DIGITS = 15, LINE_MOST = 1024 * 1024 };

/* With --json a complaint is part of the answer; it waits for the exit code. */
static struct {
    bool json, answered;
    struct buffer complaints;
} output;

void output_begin(bool json)
{
    output.json = json;
}

static const char *code_of(enum ctl_exit code)
{
    switch (code) {
    case CTL_USAGE:
        return "usage";
    case CTL_NOT_REACHABLE:
        return "not-reachable";
    case CTL_NOT_FOUND:
        return "not-found";
    case CTL_DONE:
    case CTL_REFUSED:
        break;
    }
    return "refused";
}

void output_end(enum ctl_exit code)
{
    struct buffer *said = &output.complaints;
    if (!said->size)
        return;
    if (code != CTL_DONE && !output.answered) {
        char *words = utf8_text(said->data, said->size - 1, said->size); /* less the newline */
        print_json(json_pack("{s:{s:s,s:s}}", "error", "code", code_of(code), "message", words));
        free(words);
    } else {
        fwrite(said->data, 1, said->size, stderr);
    }
    buffer_free(said);
}

struct view output_view(void)
{
    const char *term = getenv("TERM"), *none = getenv("NO_COLOR");
    int64_t now = clock_wall_ms();
    time_t second = (time_t)(now / 1000);
    struct tm local = {0};
    localtime_r(&second, &local);
    return (struct view){
        .now_ms = now,
        .zone_ms = (int64_t)local.tm_gmtoff * 1000,
        .colour = isatty(STDOUT_FILENO) && !(none && *none) && term && strcmp(term, "dumb") != 0,
    };
}

/* Written as it is where that is harmless on a terminal, else in ASCII. Caller frees. */
static char *json_text(const json_t *json, size_t flags)
{
    flags |= JSON_ENCODE_ANY | JSON_REAL_PRECISION(REAL_DIGITS);
    char *text = json_dumps(json, flags);
    struct buffer clean = {0};
    if (text)
        text_clean_lines(&clean, "", text);
    bool harmless = clean.size && strncmp(clean.data, text, clean.size - 1) == 0;
    buffer_free(&clean);
    if (harmless)
        return text;
    free(text);
    text = json_dumps(json, flags | JSON_ENSURE_ASCII);
    return text ? text : xstrdup("null");
}

void print_json(json_t *json)
{
    char *text = json_text(json, JSON_INDENT(2));
    puts(text);
    fflush(stdout);
    output.answered = true;
    free(text);
    json_decref(json);
}

void print_json_line(const char *line)
{
    json_t *json = json_loads(line, JSON_DECODE_ANY, NULL);
    if (!json) {
        char *text = utf8_text(line, strlen(line), LINE_MOST);
        json = json_pack("{s:s}", "line", text);
        free(text);
    }
    char *text = json_text(json, JSON_COMPACT);
    puts(text);
    fflush(stdout);
    output.answered = true;
    free(text);
    json_decref(json);
}

void print_text(struct buffer *text)
{
    if (text->size)
        fwrite(text->data, 1, text->size, stdout);
    fflush(stdout);
    buffer_free(text);
}

void complain(const char *format, ...)
{
    va_list args;
    char *text = NULL;
    struct buffer clean = {0};
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0)
        abort();
    if (!output.json)
        buffer_text(&clean, "orchctl: ");
    text_clean_lines(&clean, "", *text ? text : "?");
    if (output.json)
        buffer_add(&output.complaints, clean.data, clean.size);
    else
        fwrite(clean.data, 1, clean.size, stderr);
    buffer_free(&clean);
    free(text);
}
