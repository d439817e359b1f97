/* The bodies that are parsed before they are kept, because their senders are ours and
 * authenticated: events of the built-in tracker and the operator's commands. */
#ifndef ORCH_INGRESS_COMMAND_H
#define ORCH_INGRESS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

enum { DELIVERY_MAX = 200, FIELD_MAX_BYTES = 512 * 1024 };

/* Why a body was refused; field is "" where no single one is at fault. */
struct command_fault {
    char field[32];
    char text[160];
};

/* Checks an event of the built-in tracker and takes out its delivery id (the key of deduplication).
 * Unknown fields are kept as they came. */
bool local_event_check(const char *body, size_t size, char delivery[DELIVERY_MAX + 1],
                       struct command_fault *fault);

enum command {
    COMMAND_APPROVE,
    COMMAND_CONFIRM_DEPLOY,
    COMMAND_STOP,
    COMMAND_RETRY,
    COMMAND_COMMENT,
    COMMAND_FREEZE,
    COMMAND_UNFREEZE,
    COMMAND_PAUSE,
    COMMAND_RESUME,
    COMMAND_DRAIN,
    COMMAND_DROP_EFFECTS,
    COMMAND_COUNT
};

const char *command_name(enum command command);

/* Turns an operator's request body (may be empty) into the inbox event's body:
 * {"command","task","actor","text","repo","project"}, absent ones null, actor "operator" unless
 * given. task: key, NULL for commands on no task. Caller frees; NULL and fault where refused. */
char *command_body(enum command command, const char *task, const char *body, size_t size,
                   struct command_fault *fault);

#endif
