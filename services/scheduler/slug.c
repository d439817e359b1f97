/* PURE: no I/O */
#include "services/scheduler/slug.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* U+00C0 .. U+00FF without their marks; "" separates words. */
static const char *const latin[64] = {
    "a", "a", "a", "a", "a", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i",  "i",
    "d", "n", "o", "o", "o", "o", "o",  "",  "o", "u", "u", "u", "u", "y", "th", "ss",
    "a", "a", "a", "a", "a", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i",  "i",
    "d", "n", "o", "o", "o", "o", "o",  "",  "o", "u", "u", "u", "u", "y", "th", "y"};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* The next character of text as lower-case ASCII into out ("" where it separates words); returns
 * the bytes it took. */
static size_t plain_of(const char *text, char out[3])
{
    unsigned char first = (unsigned char)text[0], second = (unsigned char)text[1];
    out[0] = out[1] = out[2] = '\0';
    if (is_lower(text[0]) || is_digit(text[0]))
        out[0] = text[0];
    else if (is_upper(text[0]))
        out[0] = (char)(text[0] - 'A' + 'a');
    if (first != 0xC3 || (second & 0xC0) != 0x80)
        return 1;
    memcpy(out, latin[second & 0x3F], strlen(latin[second & 0x3F]));
    return 2;
}

void slug_of(const char *title, char out[SLUG_MAX + 1])
{
    size_t size = 0, word = 0; /* word: where the last whole word ends */
    bool gap = false, cut = false;
    for (const char *at = title != NULL ? title : ""; *at != '\0' && !cut;) {
        char plain[3];
        at += plain_of(at, plain);
        size_t length = strlen(plain);
        if (length == 0) {
            gap = size > 0;
            continue;
        }
        if (gap)
            word = size;
        cut = size + (gap ? 1 : 0) + length > SLUG_MAX;
        if (cut)
            break;
        if (gap)
            out[size++] = '-';
        gap = false;
        memcpy(out + size, plain, length);
        size += length;
    }
    /* half a word is left out, unless that would be most of the name */
    if (cut && word >= SLUG_MAX / 2)
        size = word;
    out[size] = '\0';
    if (size == 0)
        memcpy(out, "task", sizeof "task");
}

void slug_branch(const char *key, const char *title, char out[BRANCH_SIZE])
{
    enum { KEY_MAX = 64 };
    char safe[KEY_MAX + 1], slug[SLUG_MAX + 1];
    size_t size = 0;
    for (const char *at = key != NULL ? key : ""; *at != '\0' && size < KEY_MAX; at++) {
        bool plain = is_lower(*at) || is_upper(*at) || is_digit(*at) || *at == '_';
        if (plain)
            safe[size++] = *at;
        else if (size > 0 && safe[size - 1] != '-')
            safe[size++] = '-';
    }
    while (size > 0 && safe[size - 1] == '-')
        size--;
    safe[size] = '\0';
    slug_of(title, slug);
    snprintf(out, BRANCH_SIZE, "feature/%s-%s", size > 0 ? safe : "task", slug);
}
