/* PURE: no I/O */
/* What orchctl judges itself, before and after it asks. */
#include "tools/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/utf8.h"

static bool is_refused(const char *c, size_t length, enum text_kind kind)
{
    unsigned char first = (unsigned char)c[0];
    if (length == 0 || kind == TEXT_BODY)
        return length == 0;
    if (length == 1)
        return (first < 0x20 && !(kind == TEXT_LINES && strchr("\n\r\t", first))) || first == 0x7f;
    return length == 2 && first == 0xc2 && (unsigned char)c[1] < 0xa0;
}

bool request_check_text(const char *field, const char *text, size_t size, size_t most,
                        enum text_kind kind, char *fault, size_t fault_size)
{
    size_t count = 0;
    for (size_t at = 0, length; at < size; at += length, count++) {
        length = utf8_character(text + at, size - at);
        if (is_refused(text + at, length, kind)) {
            snprintf(fault, fault_size, "%s: %s at byte %zu", field,
                     length             ? "a control character"
                     : text[at] == '\0' ? "a NUL"
                                        : "not UTF-8",
                     at + 1);
            return false;
        }
    }
    if (count > most)
        snprintf(fault, fault_size, "%s: %zu characters, %zu at most", field, count, most);
    return count <= most;
}

bool request_repo_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    if (name[0] == '/')
        return name[1] != '\0';
    for (;;) { /* each part begins with something else than a dot or a dash */
        size_t length = strspn(name, allowed);
        if (length == 0 || name[0] == '.' || name[0] == '-' || length > 100)
            return false;
        if (name[length] != '/')
            return name[length] == '\0';
        name += length + 1;
    }
}

enum ctl_exit request_exit(long http_status)
{
    if (http_status >= 200 && http_status < 300)
        return CTL_DONE;
    if (http_status == 404)
        return CTL_NOT_FOUND;
    if (http_status == 0 || http_status >= 500)
        return CTL_NOT_REACHABLE;
    return CTL_REFUSED;
}

static bool read_number(const char *text, int64_t *out)
{
    char *end;
    *out = strtoll(text, &end, 10);
    return *text && !*end && *out >= 0;
}

int64_t request_next_number(const char *project, const char *const *keys, size_t count)
{
    size_t length = strlen(project);
    int64_t greatest = 0, number;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(keys[i], project, length) == 0 && keys[i][length] == '-' &&
            read_number(keys[i] + length + 1, &number) && number > greatest)
            greatest = number;
    }
    return greatest + 1;
}
