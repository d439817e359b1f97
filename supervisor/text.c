/* PURE: no I/O */
#include "supervisor/text.h"

#include <stdio.h> /* snprintf */
#include <string.h>

/* ---- runit's status ---- */

static void put_big_endian(unsigned char *out, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        out[i] = (unsigned char)value;
}

void status_bytes(const struct status_facts *facts, unsigned char out[STATUS_SIZE])
{
    int64_t ms = facts->changed_ms;
    put_big_endian(out, (UINT64_C(1) << 62) + 10 + (uint64_t)(ms / 1000), 8);
    put_big_endian(out + 8, (uint64_t)(ms % 1000) * 1000000, 4);
    for (int i = 0; i < 4; i++)
        out[12 + i] = (unsigned char)((unsigned)facts->pid >> (8 * i));
    out[16] = facts->paused;
    out[17] = facts->want_up ? 'u' : 'd';
    out[18] = facts->term_sent;
    out[19] = !facts->pid ? 0 : facts->finishing ? 2 : 1;
}

void status_text(const struct status_facts *facts, char out[STAT_SIZE])
{
    const char *want = !facts->pid || facts->want_up ? "" : ", want down";
    if (facts->pid && facts->leaving)
        want = ", want exit";
    snprintf(out, STAT_SIZE, "%s%s%s%s\n",
             !facts->pid        ? "down"
             : facts->finishing ? "finish"
                                : "run",
             facts->paused ? ", paused" : "", facts->term_sent ? ", got TERM" : "", want);
}

/* ---- JSON, without allocation: a recogniser ---- */

struct scan {
    const unsigned char *at, *end;
    int depth;
};

enum { JSON_DEPTH_MAX = 64 };

static bool scan_value(struct scan *scan);

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->end && strchr(" \t\r\n", *scan->at) && *scan->at)
        scan->at++;
}

static bool take(struct scan *scan, char wanted)
{
    if (scan->at == scan->end || *scan->at != (unsigned char)wanted)
        return false;
    scan->at++;
    return true;
}

static bool take_word(struct scan *scan, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0)
        return false;
    scan->at += size;
    return true;
}

/* Length of the UTF-8 sequence at `at`; 0 where it is none. */
static size_t utf8_length(const unsigned char *at, const unsigned char *end)
{
    unsigned char first = *at;
    size_t length = first < 0x80                    ? 1
                    : first >= 0xc2 && first < 0xe0 ? 2
                    : first >= 0xe0 && first < 0xf0 ? 3
                    : first >= 0xf0 && first < 0xf5 ? 4
                                                    : 0;
    if (!length || (size_t)(end - at) < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] > 0x9f) ||
        (first == 0xf0 && at[1] < 0x90) || (first == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

static bool is_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool scan_escape(struct scan *scan)
{
    if (scan->at == scan->end)
        return false;
    unsigned char kind = *scan->at++;
    if (kind != 'u')
        return kind && strchr("\"\\/bfnrt", kind);
    for (int i = 0; i < 4; i++)
        if (scan->at == scan->end || !is_hex(*scan->at++))
            return false;
    return true;
}

static bool scan_string(struct scan *scan)
{
    if (!take(scan, '"'))
        return false;
    while (scan->at < scan->end && *scan->at != '"') {
        if (*scan->at < 0x20)
            return false;
        if (*scan->at == '\\') {
            scan->at++;
            if (!scan_escape(scan))
                return false;
            continue;
        }
        size_t length = utf8_length(scan->at, scan->end);
        if (!length)
            return false;
        scan->at += length;
    }
    return take(scan, '"');
}

static bool scan_digits(struct scan *scan)
{
    const unsigned char *from = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > from;
}

static bool scan_number(struct scan *scan)
{
    take(scan, '-');
    if (!take(scan, '0') && !scan_digits(scan))
        return false;
    if (take(scan, '.') && !scan_digits(scan))
        return false;
    if (take(scan, 'e') || take(scan, 'E')) {
        if (!take(scan, '+'))
            take(scan, '-');
        return scan_digits(scan);
    }
    return true;
}

static bool scan_members(struct scan *scan, char close, bool named)
{
    scan->at++;
    skip_space(scan);
    if (take(scan, close))
        return true;
    do {
        skip_space(scan);
        if (named) {
            if (!scan_string(scan))
                return false;
            skip_space(scan);
            if (!take(scan, ':'))
                return false;
        }
        if (!scan_value(scan))
            return false;
    } while (take(scan, ','));
    return take(scan, close);
}

static bool scan_value(struct scan *scan)
{
    bool good;
    skip_space(scan);
    if (scan->at == scan->end)
        return false;
    unsigned char first = *scan->at;
    if (first == '{' || first == '[') {
        if (scan->depth == JSON_DEPTH_MAX)
            return false;
        scan->depth++;
        good = scan_members(scan, first == '{' ? '}' : ']', first == '{');
        scan->depth--;
    } else if (first == '"') {
        good = scan_string(scan);
    } else if (first == '-' || (first >= '0' && first <= '9')) {
        good = scan_number(scan);
    } else {
        good = take_word(scan, "true") || take_word(scan, "false") || take_word(scan, "null");
    }
    skip_space(scan);
    return good;
}

bool log_is_object(const char *line, size_t size)
{
    struct scan scan = {(const unsigned char *)line, (const unsigned char *)line + size, 0};
    if (!size || *line != '{')
        return false;
    return scan_value(&scan) && scan.at == scan.end;
}

/* ---- the wrapped line ---- */

size_t json_escape(const char *text, size_t size, char *out, size_t out_size)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + size;
    size_t used = 0;
    while (at < end) {
        char piece[8];
        size_t length = utf8_length(at, end), taken = length ? length : 1;
        if (!length) {
            piece[0] = '?';
            length = 1;
        } else if (*at == '"' || *at == '\\') {
            piece[0] = '\\';
            piece[1] = (char)*at;
            length = 2;
        } else if (*at == '\t') {
            memcpy(piece, "\\t", length = 2);
        } else if (*at < 0x20 || *at == 0x7f) {
            length = (size_t)snprintf(piece, sizeof piece, "\\u%04x", *at);
        } else {
            memcpy(piece, at, length);
        }
        if (used + length >= out_size)
            break;
        memcpy(out + used, piece, length);
        used += length;
        at += taken;
    }
    if (out_size)
        out[used] = '\0';
    return used;
}

size_t log_wrap(const char *service, const char *ts, const char *line, size_t size, size_t lost,
                char *out, size_t out_size)
{
    enum { TAIL_SIZE = 48 }; /* "\"," + cut_bytes + "}\n" */
    char tail[TAIL_SIZE];
    size_t tail_size = lost ? (size_t)snprintf(tail, sizeof tail, "\",\"cut_bytes\":%zu}\n", lost)
                            : (size_t)snprintf(tail, sizeof tail, "\"}\n");
    size_t used = (size_t)snprintf(
        out, out_size,
        "{\"ts\":\"%s\",\"level\":\"info\",\"service\":\"%s\",\"event\":\"stderr\",\"msg\":\"", ts,
        service);
    if (used + tail_size >= out_size)
        return 0;
    used += json_escape(line, size, out + used, out_size - used - tail_size);
    memcpy(out + used, tail, tail_size);
    return used + tail_size;
}

/* ---- run scripts ---- */

static const char *skip_blank(const char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

bool script_execs(const char *script, char *name, size_t name_size)
{
    bool found = false;
    const char *line = script;
    if (strncmp(script, "#!/bin/sh\n", 10) != 0)
        return false;
    for (line += 10; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *at = skip_blank(line);
        if (*at == '#' || *at == '\n' || !*at)
            continue;
        if (found || strncmp(at, "exec", 4) != 0 || (at[4] != ' ' && at[4] != '\t'))
            return false;
        at = skip_blank(at + 4);
        /* A name, or a path to it: nothing that the shell would expand, split or redirect. */
        size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789-_./+@");
        const char *after = skip_blank(at + length);
        /* for runsv's logger; under our supervisor both are the same pipe anyway */
        if (after > at + length && strncmp(after, "2>&1", 4) == 0)
            after = skip_blank(after + 4);
        if (!length || length >= name_size || *at == '-' || (*after && *after != '\n'))
            return false;
        memcpy(name, at, length);
        name[length] = '\0';
        found = true;
    }
    return found;
}
