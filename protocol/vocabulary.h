/* The words that all programs share, from stages.def, statuses.def and priorities.def. Pure. */
#ifndef ORCH_VOCABULARY_H
#define ORCH_VOCABULARY_H

#include <stdbool.h>

enum stage {
#define STAGE(id, name, role, gate, next, failure, status, label) STAGE_##id,
#include "protocol/stages.def"
#undef STAGE
    STAGE_COUNT
};

enum stage_failure { STAGE_FAILURE_STAY, STAGE_FAILURE_ROLLBACK };

struct stage_info {
    const char *name;
    const char *role;   /* "" where no agent works */
    const char *gate;   /* "" where none */
    enum stage next;
    enum stage_failure on_failure;
    const char *status; /* logical key displayed on entering */
    const char *label;
};

extern const struct stage_info stage_table[STAGE_COUNT];

/* STAGE_COUNT where the name is unknown. */
enum stage stage_by_name(const char *name);
bool stage_is_terminal(enum stage stage);

enum status {
#define STATUS(id, key, name, group, fallback, command) STATUS_##id,
#include "protocol/statuses.def"
#undef STATUS
    STATUS_COUNT
};

struct status_info {
    const char *key;
    const char *name; /* default name in the tracker */
    const char *group;
    const char *fallback;
    bool command;
};

extern const struct status_info status_table[STATUS_COUNT];

enum status status_by_key(const char *key);
/* Names are compared without regard to case and surrounding space. names: configured names by
 * logical key, NULL entries meaning the default; may itself be NULL. */
enum status status_by_name(const char *name, const char *const names[STATUS_COUNT]);

/* Of an issue's priority by its name in the tracker (priorities.def); -1: no such name, NULL too. */
int priority_rank(const char *name);

/* True for analyst ... deployer and stream: names no person may use as actor. */
bool role_is_reserved(const char *name);

#endif
