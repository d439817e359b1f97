#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "tools/orchctl.h"

void print_json(json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(json);
}

void print_text(struct buffer *text)
{
    if (text->size)
        fwrite(text->data, 1, text->size, stdout);
    fflush(stdout);
    buffer_free(text);
}

void complain(const char *format, ...)
{
    va_list args;
    fputs("orchctl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
