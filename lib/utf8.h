/* PURE: no I/O */
/* Bytes of the world as text that JSON can carry. */
#ifndef ORCH_UTF8_H
#define ORCH_UTF8_H

#include <stddef.h>

/* Bytes of the character at bytes, 0 where there is none: a NUL, an overlong form, a surrogate, what
 * lies beyond U+10FFFF. size: bytes that are there, at least 1. */
size_t utf8_character(const char *bytes, size_t size);

/* How many of a text's first max bytes are whole characters. size: all of its bytes. */
size_t utf8_cut(const char *text, size_t size, size_t max);

/* A copy of at most max bytes, cut at a whole character, with '?' for every NUL and every byte that
 * is no UTF-8. Caller frees. */
char *utf8_text(const char *text, size_t size, size_t max);

#endif
