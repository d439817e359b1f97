#include "supervisor/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/file.h"
#include "lib/log.h"

enum { STATE_MAX = 16 * 1024 * 1024, WORD_SIZE = 64 };

/* ---- writing ---- */

static int put(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int put(int fd, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int written = vdprintf(fd, format, args);
    va_end(args);
    return written < 0 ? -1 : 0;
}

static int put_text(int fd, const char *name, const char *text, size_t size)
{
    if (put(fd, "%s %zu\n", name, size))
        return -1;
    ssize_t written = write(fd, text, size);
    if (written != (ssize_t)size || write(fd, "\n", 1) != 1) {
        errno = ENOSPC;
        return -1;
    }
    return 0;
}

static int put_slot(const struct slot *slot, int fd)
{
    if (put(fd, "slot %s\n", slot->definition.name))
        return -1;
#define OWN_NUMBER(field)
#define OWN_FD(field)
#define SLOT_NUMBER(field)                                                                         \
    if (put(fd, #field " %lld\n", (long long)slot->field))                                         \
        return -1;
#define SLOT_FD(field) SLOT_NUMBER(field)
#define SLOT_TEXT(field)                                                                           \
    if (put_text(fd, #field, slot->field, strlen(slot->field)))                                    \
        return -1;
#include "supervisor/handover.def"
#undef SLOT_NUMBER
#undef SLOT_FD
#undef SLOT_TEXT
#undef OWN_NUMBER
#undef OWN_FD
    int64_t kept = slot->policy.died < POLICY_DEATHS_MAX ? slot->policy.died : POLICY_DEATHS_MAX;
    for (int64_t i = 0; i < kept; i++)
        if (put(fd, "policy.deaths.%lld %lld\n", (long long)i, (long long)slot->policy.deaths[i]))
            return -1;
    return put_text(fd, "log.line", slot->log.line, slot->log.used);
}

int handover_write(struct supervisor *supervisor, int fd)
{
    if (put(fd, "orchestrator-state %d\n", STATE_VERSION))
        return -1;
#define OWN_NUMBER(field)                                                                          \
    if (put(fd, #field " %lld\n", (long long)supervisor->field))                                   \
        return -1;
#define OWN_FD(field) OWN_NUMBER(field)
#define SLOT_NUMBER(field)
#define SLOT_FD(field)
#define SLOT_TEXT(field)
#include "supervisor/handover.def"
#undef SLOT_NUMBER
#undef SLOT_FD
#undef SLOT_TEXT
#undef OWN_NUMBER
#undef OWN_FD
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (put_slot(slot, fd))
            return -1;
    }
    return put(fd, "end\n");
}

/* ---- reading ---- */

struct reading {
    char *at, *end;
    char word[WORD_SIZE]; /* of the line under way */
    const char *rest;     /* what follows it, up to the newline */
};

static bool next_line(struct reading *reading)
{
    char *newline = memchr(reading->at, '\n', (size_t)(reading->end - reading->at));
    if (!newline)
        return false;
    *newline = '\0';
    size_t size = strcspn(reading->at, " ");
    if (size >= WORD_SIZE)
        return false;
    memcpy(reading->word, reading->at, size);
    reading->word[size] = '\0';
    reading->rest = reading->at + size + (reading->at[size] == ' ');
    reading->at = newline + 1;
    return true;
}

static bool is_word(const struct reading *reading, const char *word)
{
    return strcmp(reading->word, word) == 0;
}

static long long number(const struct reading *reading)
{
    return strtoll(reading->rest, NULL, 10);
}

/* The bytes after "name size"; false where the size is none. */
static bool take_bytes(struct reading *reading, char *out, size_t out_size, size_t *taken)
{
    char *end;
    unsigned long long size = strtoull(reading->rest, &end, 10);
    if (*end || size >= (size_t)(reading->end - reading->at) || size > out_size)
        return false;
    memcpy(out, reading->at, size);
    *taken = (size_t)size;
    reading->at += size + 1;
    return true;
}

static bool take_text(struct reading *reading, char *out, size_t out_size)
{
    size_t size = 0;
    if (!take_bytes(reading, out, out_size - 1, &size))
        return false;
    out[size] = '\0';
    return true;
}

static void read_own(struct supervisor *supervisor, const struct reading *reading)
{
#define OWN_NUMBER(field)                                                                          \
    if (is_word(reading, #field))                                                                  \
        supervisor->field = (__typeof__(supervisor->field))number(reading);
#define OWN_FD(field) OWN_NUMBER(field)
#define SLOT_NUMBER(field)
#define SLOT_FD(field)
#define SLOT_TEXT(field)
#include "supervisor/handover.def"
#undef SLOT_NUMBER
#undef SLOT_FD
#undef SLOT_TEXT
#undef OWN_NUMBER
#undef OWN_FD
}

/* False where the line cannot be what it says. */
static bool read_field(struct slot *slot, struct reading *reading)
{
    static const char deaths[] = "policy.deaths.";
#define OWN_NUMBER(field)
#define OWN_FD(field)
#define SLOT_NUMBER(field)                                                                         \
    if (is_word(reading, #field)) {                                                                \
        slot->field = (__typeof__(slot->field))number(reading);                                    \
        return true;                                                                               \
    }
#define SLOT_FD(field) SLOT_NUMBER(field)
#define SLOT_TEXT(field)                                                                           \
    if (is_word(reading, #field))                                                                  \
        return take_text(reading, slot->field, sizeof slot->field);
#include "supervisor/handover.def"
#undef SLOT_NUMBER
#undef SLOT_FD
#undef SLOT_TEXT
#undef OWN_NUMBER
#undef OWN_FD
    if (is_word(reading, "log.line"))
        return take_bytes(reading, slot->log.line, sizeof slot->log.line, &slot->log.used);
    if (strncmp(reading->word, deaths, sizeof deaths - 1) == 0) {
        unsigned long index = strtoul(reading->word + sizeof deaths - 1, NULL, 10);
        if (index < POLICY_DEATHS_MAX)
            slot->policy.deaths[index] = number(reading);
    }
    return true;
}

static struct slot *begin_slot(struct supervisor *supervisor, const char *name)
{
    static struct definition definition;
    memset(&definition, 0, sizeof definition);
    definition.notify_fd = -1;
    snprintf(definition.name, sizeof definition.name, "%s", name);
    if (snprintf(definition.folder, sizeof definition.folder, "%s/%s", supervisor->sv_dir, name) >=
        PATH_MAX)
        return NULL;
    struct slot *slot = setup_add(supervisor, &definition);
    if (slot)
        slot->removing = true;
    return slot;
}

static void end_slot(struct slot *slot)
{
    char fault[512];
    if (slot && definition_parse(&slot->definition, slot->definition.yaml, fault, sizeof fault))
        log_warn("upgrade", "%s", fault);
}

static int read_all(struct supervisor *supervisor, struct reading *reading)
{
    struct slot *slot = NULL;
    if (!next_line(reading) || !is_word(reading, "orchestrator-state") ||
        number(reading) != STATE_VERSION)
        return -1;
    while (next_line(reading)) {
        if (is_word(reading, "slot") || is_word(reading, "end"))
            end_slot(slot);
        if (is_word(reading, "end"))
            return 0;
        if (is_word(reading, "slot")) {
            slot = begin_slot(supervisor, reading->rest);
            if (!slot)
                return -1;
        } else if (!slot) {
            read_own(supervisor, reading);
        } else if (!read_field(slot, reading)) {
            return -1;
        }
    }
    return -1;
}

int handover_read(struct supervisor *supervisor, int fd)
{
    char path[40];
    size_t size = 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    char *text = file_read(path, STATE_MAX, &size);
    if (!text)
        return -1;
    struct reading reading = {.at = text, .end = text + size};
    int result = read_all(supervisor, &reading);
    free(text);
    return result;
}

/* ---- descriptors ---- */

static void keep(int fd, bool over_exec)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, over_exec ? 0 : FD_CLOEXEC);
}

void handover_keep(struct supervisor *supervisor, bool over_exec)
{
#define OWN_NUMBER(field)
#define OWN_FD(field) keep(supervisor->field, over_exec);
#define SLOT_NUMBER(field)
#define SLOT_FD(field)
#define SLOT_TEXT(field)
#include "supervisor/handover.def"
#undef OWN_FD
#undef SLOT_FD
#define OWN_FD(field)
#define SLOT_FD(field) keep(slot->field, over_exec);
    FOR_EACH_SLOT(supervisor, slot)
    {
#include "supervisor/handover.def"
    }
#undef SLOT_NUMBER
#undef SLOT_FD
#undef SLOT_TEXT
#undef OWN_NUMBER
#undef OWN_FD
}
