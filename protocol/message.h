/* Messages as JSON objects, checked against the table in messages.def. Pure: no I/O, no clock. */
#ifndef ORCH_MESSAGE_H
#define ORCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>

enum {
    MESSAGE_VERSION = 1,
    MESSAGE_MAX_BYTES = 4 * 1024 * 1024, /* one message; nng's own limit is twice that, so that what
                                            is a little over is refused with words */
    MESSAGE_ID_MAX = 63,                 /* bytes of "id" */
};

enum message_kind {
#define MESSAGE(kind, from, to, answer, doc, fields) MESSAGE_##kind,
#include "protocol/messages.def"
#undef MESSAGE
    MESSAGE_KIND_COUNT
};

/* Why a message was refused. field is "" where no single field is at fault. */
struct message_fault {
    char code[32];
    char field[64];
    char text[192];
};

const char *message_kind_name(enum message_kind kind);

/* Parses and validates bytes. Returns a new object (caller decrefs) and its kind, or NULL and
 * fault. Refused: over MESSAGE_MAX_BYTES, no JSON object, another v, unknown kind, a missing or
 * mistyped field. Unknown fields are kept and ignored (a newer peer may add some). "id" may be
 * absent. */
json_t *message_decode(const char *bytes, size_t size, enum message_kind *kind,
                       struct message_fault *fault);

/* The same check on an object already parsed (items inside work_reply). 0 or -1 and fault. */
int message_check(json_t *message, enum message_kind *kind, struct message_fault *fault);

/* A new message of this kind with v and kind set, and id where given (else one is made: 16 hex
 * digits). fields: a jansson pack format and its arguments for the remaining fields, or NULL.
 * Aborts where the result does not pass message_check: our own bug. */
json_t *message_new(enum message_kind kind, const char *id, const char *fields, ...);

/* "id" of bytes that message_decode refused, for the answer; "" where it cannot be read. */
void message_id_of(const char *bytes, size_t size, char id[MESSAGE_ID_MAX + 1]);

/* The error answer to a message with this id (NULL: unknown). */
json_t *message_error(const char *id, const struct message_fault *fault);
/* The same from its parts, cut where they are too long. field: "" where no single one is at fault.
 */
json_t *message_refusal(const char *code, const char *field, const char *text);

/* Compact text with a final newline. Caller frees. */
char *message_encode(const json_t *message, size_t *size);

/* Reading: the value, or the fallback where absent or null. Text is borrowed from the message. */
const char *message_text(const json_t *message, const char *field, const char *fallback);
json_int_t message_integer(const json_t *message, const char *field, json_int_t fallback);
double message_number(const json_t *message, const char *field, double fallback);
bool message_flag(const json_t *message, const char *field, bool fallback);

#endif
