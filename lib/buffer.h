/* A growing text. A failed allocation aborts the service. */
#ifndef ORCH_BUFFER_H
#define ORCH_BUFFER_H

#include <stddef.h>

struct buffer {
    char *data; /* NUL-terminated once anything was added, else NULL */
    size_t size;
    size_t room;
};

void buffer_add(struct buffer *buffer, const void *data, size_t size);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Frees the content and empties it; NULL content is fine. */
void buffer_free(struct buffer *buffer);
/* Caller frees; "" where nothing was added. The buffer is empty afterwards. */
char *buffer_take(struct buffer *buffer);

/* malloc family that aborts: the supervisor is the handler of exhausted memory. */
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *data, size_t size);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t size);
/* Caller frees. */
char *xformat(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
