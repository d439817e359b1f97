/* PURE: no I/O */
#include "services/scheduler/reasons.h"

#include <stdio.h>
#include <string.h>
#include "lib/utf8.h"

static const struct {
    const char *code, *text;
} reason_table[REASON_COUNT] = {
#define REASON(id, code, text) [REASON_##id] = {code, text},
#include "services/scheduler/reasons.def"
#undef REASON
};

const char *reason_code(enum reason reason)
{
    return reason < REASON_COUNT ? reason_table[reason].code : reason_table[REASON_INTERNAL].code;
}

const char *reason_text(enum reason reason)
{
    return reason < REASON_COUNT ? reason_table[reason].text : reason_table[REASON_INTERNAL].text;
}

enum reason reason_by_code(const char *text)
{
    if (text == NULL)
        return REASON_COUNT;
    size_t length = strcspn(text, ":");
    for (int reason = 0; reason < REASON_COUNT; reason++) {
        const char *code = reason_table[reason].code;
        if (strlen(code) == length && strncmp(code, text, length) == 0)
            return (enum reason)reason;
    }
    return REASON_COUNT;
}

const char *reason_rest(const char *text)
{
    if (text == NULL || reason_by_code(text) == REASON_COUNT)
        return text;
    const char *rest = strchr(text, ':');
    if (rest == NULL)
        return text;
    rest++;
    while (*rest == ' ')
        rest++;
    return *rest ? rest : text;
}

void reason_format(enum reason reason, const char *text, char *out, size_t size)
{
    int head = snprintf(out, size, "%s: ", reason_code(reason));
    if (head < 0 || (size_t)head >= size)
        return;
    const char *words = text != NULL ? text : reason_text(reason);
    size_t room = size - (size_t)head - 1; /* never half a character */
    snprintf(out + head, room + 1, "%.*s", (int)utf8_cut(words, strlen(words), room), words);
}
