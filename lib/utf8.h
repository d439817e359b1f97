/* PURE: no I/O */
/* Bytes of the world as text that JSON can carry. */
#ifndef ORCH_UTF8_H
#define ORCH_UTF8_H

#include <stddef.h>

/* How many of a text's first max bytes are whole characters. size: all of its bytes. */
size_t utf8_cut(const char *text, size_t size, size_t max);

/* A copy of at most max bytes, cut at a whole character, with '?' for every NUL and every byte that
 * is no UTF-8. Caller frees. */
char *utf8_text(const char *text, size_t size, size_t max);

#endif
