/* PURE: no I/O */
#include "lib/utf8.h"

#include <stdbool.h>

#include "lib/buffer.h"

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

size_t utf8_cut(const char *text, size_t size, size_t max)
{
    size_t cut = size < max ? size : max;
    while (cut && cut < size && is_tail((unsigned char)text[cut]))
        cut--;
    return cut;
}

size_t utf8_character(const char *bytes, size_t size)
{
    const unsigned char *text = (const unsigned char *)bytes;
    unsigned char first = text[0], low = 0x80, high = 0xbf;
    if (first < 0x80)
        return first ? 1 : 0;
    size_t length = first >= 0xc2 && first < 0xe0 ? 2 : (first & 0xf0) == 0xe0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || length > size)
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if (!is_tail(text[i]))
            return 0;
    }
    return length;
}

char *utf8_text(const char *text, size_t size, size_t max)
{
    size_t cut = utf8_cut(text, size, max), at = 0;
    char *copy = xrealloc(NULL, cut + 1);
    while (at < cut) {
        size_t length = utf8_character(text + at, cut - at);
        if (length == 0)
            copy[at++] = '?';
        for (size_t i = 0; i < length; i++, at++)
            copy[at] = text[at];
    }
    copy[cut] = '\0';
    return copy;
}
