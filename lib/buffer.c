#include "lib/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

static void *checked(void *data)
{
    if (!data)
        log_abort("memory", "out of memory");
    return data;
}

void *xcalloc(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *data, size_t size)
{
    return checked(realloc(data, size ? size : 1));
}

char *xstrdup(const char *text)
{
    return checked(strdup(text));
}

char *xstrndup(const char *text, size_t size)
{
    return checked(strndup(text, size));
}

void buffer_add(struct buffer *buffer, const void *data, size_t size)
{
    if (size >= buffer->room - buffer->size || !buffer->data) {
        size_t room = buffer->room ? buffer->room : 128;
        while (room - buffer->size <= size)
            room *= 2;
        buffer->data = xrealloc(buffer->data, room);
        buffer->room = room;
    }
    if (size)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_add(buffer, text, strlen(text));
}

static char *format_args(const char *format, va_list args, int *size)
    __attribute__((format(printf, 1, 0)));

static char *format_args(const char *format, va_list args, int *size)
{
    char *text = NULL;
    *size = vasprintf(&text, format, args);
    if (*size < 0)
        log_abort("memory", "out of memory");
    return text;
}

void buffer_format(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    int size;
    va_start(args, format);
    char *text = format_args(format, args, &size);
    va_end(args);
    buffer_add(buffer, text, (size_t)size);
    free(text);
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}

char *buffer_take(struct buffer *buffer)
{
    char *text = buffer->data ? buffer->data : xstrdup("");
    memset(buffer, 0, sizeof *buffer);
    return text;
}

char *xformat(const char *format, ...)
{
    va_list args;
    int size;
    va_start(args, format);
    char *text = format_args(format, args, &size);
    va_end(args);
    return text;
}
