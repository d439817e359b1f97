/* PURE: no I/O */
/* The table of messages.def as data: for validation, the generated documentation and the tests. */
#ifndef ORCH_MESSAGE_TABLE_H
#define ORCH_MESSAGE_TABLE_H

#include "protocol/message.h"

enum field_type {
    FIELD_STRING,
    FIELD_INTEGER,
    FIELD_NUMBER,
    FIELD_BOOLEAN,
    FIELD_OBJECT,
    FIELD_ARRAY
};

enum field_presence { FIELD_REQUIRED, FIELD_NULLABLE, FIELD_OPTIONAL };

struct field_info {
    const char *name; /* NULL ends the list */
    enum field_type type;
    enum field_presence presence;
    const char *doc;
};

struct message_info {
    const char *kind, *from, *to, *answer, *doc;
    const struct field_info *fields;
};

extern const struct message_info message_table[MESSAGE_KIND_COUNT];
extern const char *const field_type_names[];

#endif
