/* PURE: no I/O */
#include "protocol/vocabulary.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

const struct stage_info stage_table[STAGE_COUNT] = {
#define STAGE(id, name, role, gate, next, failure, status, label)                                  \
    [STAGE_##id] = {name, role, gate, STAGE_##next, STAGE_FAILURE_##failure, status, label},
#include "protocol/stages.def"
#undef STAGE
};

const struct status_info status_table[STATUS_COUNT] = {
#define STATUS(id, key, name, group, fallback, command)                                            \
    [STATUS_##id] = {key, name, group, fallback, command},
#include "protocol/statuses.def"
#undef STATUS
};

enum stage stage_by_name(const char *name)
{
    int stage = 0;
    while (stage < STAGE_COUNT && strcmp(stage_table[stage].name, name) != 0)
        stage++;
    return (enum stage)stage;
}

bool stage_is_terminal(enum stage stage)
{
    return stage == STAGE_DONE || stage == STAGE_CANCELLED;
}

enum status status_by_key(const char *key)
{
    int status = 0;
    while (status < STATUS_COUNT && strcmp(status_table[status].key, key) != 0)
        status++;
    return (enum status)status;
}

static bool same_name(const char *a, size_t a_size, const char *b)
{
    while (isspace((unsigned char)*b))
        b++;
    size_t b_size = strlen(b);
    while (b_size && isspace((unsigned char)b[b_size - 1]))
        b_size--;
    return a_size == b_size && strncasecmp(a, b, a_size) == 0;
}

enum status status_by_name(const char *name, const char *const names[STATUS_COUNT])
{
    while (isspace((unsigned char)*name))
        name++;
    size_t size = strlen(name);
    while (size && isspace((unsigned char)name[size - 1]))
        size--;
    int status = 0;
    for (; status < STATUS_COUNT; status++) {
        const char *own = names && names[status] ? names[status] : status_table[status].name;
        if (same_name(name, size, own))
            break;
    }
    return (enum status)status;
}

int priority_rank(const char *name)
{
    static const struct {
        const char *name;
        int rank;
    } priorities[] = {
#define PRIORITY(name, rank) {name, rank},
#include "protocol/priorities.def"
#undef PRIORITY
    };
    for (size_t i = 0; name && i < sizeof priorities / sizeof *priorities; i++) {
        if (strcmp(priorities[i].name, name) == 0)
            return priorities[i].rank;
    }
    return -1;
}

bool role_is_reserved(const char *name)
{
    if (strcasecmp(name, "stream") == 0)
        return true;
    for (int stage = 0; stage < STAGE_COUNT; stage++) {
        const char *role = stage_table[stage].role;
        if (*role && strcasecmp(role, name) == 0)
            return true;
    }
    return false;
}
