/* What the fuzz targets share. A target feeds bytes to functions that read what others wrote, and
 * holds what must be true of every answer; the sanitizers hold the rest. */
#ifndef ORCH_FUZZ_H
#define ORCH_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert: it must hold in every build. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The bytes as a text of their own, so that a read past its end is seen. Caller frees. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    REQUIRE(text);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

/* Takes the first line (without its newline) off the bytes. Caller frees. */
static inline char *fuzz_line(const uint8_t **data, size_t *size)
{
    const uint8_t *end = *size ? memchr(*data, '\n', *size) : NULL;
    size_t used = end ? (size_t)(end - *data) : *size;
    char *line = fuzz_text(*data, used);
    used += end ? 1 : 0;
    *data += used;
    *size -= used;
    return line;
}

#endif
