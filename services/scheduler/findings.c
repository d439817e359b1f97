/* PURE: no I/O */
#include "services/scheduler/findings.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

size_t text_cut(const char *text, size_t limit)
{
    size_t size = strnlen(text, limit + 1);
    if (size <= limit)
        return size;
    size = limit;
    while (size > 0 && ((unsigned char)text[size] & 0xC0) == 0x80)
        size--;
    return size;
}

static void append_text(json_t *array, const char *text, size_t size)
{
    json_array_append_new(array, json_stringn_nocheck(text, size));
}

static void append_left_out(json_t *array, size_t count)
{
    char *note = xformat("(%zu more findings left out)", count);
    json_array_append_new(array, json_string(note));
    free(note);
}

/* As much of this text as the bounds leave; false: nothing fits any more. */
static bool append_bounded(json_t *array, const char *text, size_t *all)
{
    if (json_array_size(array) >= FINDINGS_COUNT_MAX || *all >= FINDINGS_ALL_MAX)
        return false;
    size_t room = FINDINGS_ALL_MAX - *all;
    size_t kept = text_cut(text, room < FINDINGS_ONE_MAX ? room : FINDINGS_ONE_MAX);
    size_t left = strlen(text) - kept;
    *all += kept;
    if (left == 0) {
        append_text(array, text, kept);
        return true;
    }
    char *cut = xformat("%.*s\n(%zu more bytes left out)", (int)kept, text, left);
    json_array_append_new(array, json_string_nocheck(cut));
    free(cut);
    return true;
}

json_t *findings_bounded(const json_t *findings, const char *reason)
{
    json_t *bounded = json_array();
    size_t all = 0, index, count = json_array_size(findings);
    for (index = 0; index < count; index++) {
        const json_t *finding = json_array_get(findings, index);
        char *dumped =
            json_is_string(finding) ? NULL : json_dumps(finding, JSON_COMPACT | JSON_ENCODE_ANY);
        const char *text = dumped != NULL ? dumped : json_string_value(finding);
        bool fits = append_bounded(bounded, text != NULL ? text : "", &all);
        free(dumped);
        if (!fits)
            break;
    }
    if (index < count)
        append_left_out(bounded, count - index);
    if (count == 0 && reason != NULL && reason[0] != '\0')
        append_bounded(bounded, reason, &all);
    return bounded;
}

char *findings_encode(const json_t *findings)
{
    char *text = findings != NULL ? json_dumps(findings, JSON_COMPACT) : NULL;
    return text != NULL ? text : xstrdup("[]");
}

json_t *findings_decode(const char *text)
{
    json_t *findings = text != NULL ? json_loads(text, 0, NULL) : NULL;
    if (json_is_array(findings))
        return findings;
    json_decref(findings);
    return text == NULL || text[0] == '\0' ? json_array()
                                           : json_pack("[s]", "(the findings cannot be read)");
}

/* ---- Markdown ---- */

enum { FENCE_LEAST = 3 };

static size_t fence_for(const char *text)
{
    size_t longest = 0, run = 0;
    for (; *text != '\0'; text++) {
        run = *text == '`' ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest < FENCE_LEAST ? FENCE_LEAST : longest + 1;
}

static void add_fence(struct buffer *out, size_t length)
{
    while (length-- > 0)
        buffer_add(out, "`", 1);
    buffer_add(out, "\n", 1);
}

bool fenced_write(const char *text, size_t room, struct buffer *out)
{
    size_t size = strlen(text), fence = fence_for(text);
    bool newline = size > 0 && text[size - 1] == '\n';
    if (size + 2 * (fence + 1) + (newline ? 0 : 1) > room)
        return false;
    add_fence(out, fence);
    buffer_add(out, text, size);
    if (!newline)
        buffer_add(out, "\n", 1);
    add_fence(out, fence);
    return true;
}

void findings_write(const json_t *findings, size_t room, struct buffer *out)
{
    enum { NOTE_SIZE = 64 };
    size_t start = out->size, index, count = json_array_size(findings);
    for (index = 0; index < count; index++) {
        const char *text = json_string_value(json_array_get(findings, index));
        size_t used = out->size - start;
        if (used + NOTE_SIZE > room ||
            !fenced_write(text != NULL ? text : "", room - used - NOTE_SIZE, out))
            break;
    }
    if (index < count && room >= NOTE_SIZE)
        buffer_format(out, "(%zu more findings: see the task)\n", count - index);
}
