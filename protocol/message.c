/* PURE: no I/O */
#include "protocol/message.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/log.h"
#include "protocol/message_table.h"

const struct message_info message_table[MESSAGE_KIND_COUNT] = {
#define FIELD(name, type, presence, doc) {#name, FIELD_##type, FIELD_##presence, doc},
#define MESSAGE(kind, from, to, answer, doc, fields)                                               \
    [MESSAGE_##kind] = {#kind,  from, to,                                                          \
                        answer, doc,  (const struct field_info[]){fields{NULL, 0, 0, NULL}}},
#include "protocol/messages.def"
#undef MESSAGE
#undef FIELD
};

const char *const field_type_names[] = {"string",  "integer", "number",
                                        "boolean", "object",  "array"};

const char *message_kind_name(enum message_kind kind)
{
    return kind < MESSAGE_KIND_COUNT ? message_table[kind].kind : "?";
}

static int refuse(struct message_fault *fault, const char *code, const char *field,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* A refusal quotes what came in, cut anywhere: only ASCII of it goes back, or the refusal itself
 * would be no JSON. */
static void keep_ascii(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text >= 0x80)
            *text = '?';
    }
}

static int refuse(struct message_fault *fault, const char *code, const char *field,
                  const char *format, ...)
{
    va_list args;
    snprintf(fault->code, sizeof fault->code, "%s", code);
    snprintf(fault->field, sizeof fault->field, "%.60s", field);
    va_start(args, format);
    vsnprintf(fault->text, sizeof fault->text, format, args);
    va_end(args);
    keep_ascii(fault->text);
    return -1;
}

static bool has_type(const json_t *value, enum field_type type)
{
    switch (type) {
    case FIELD_STRING:
        return json_is_string(value);
    case FIELD_INTEGER:
        return json_is_integer(value);
    case FIELD_NUMBER:
        return json_is_number(value);
    case FIELD_BOOLEAN:
        return json_is_boolean(value);
    case FIELD_OBJECT:
        return json_is_object(value);
    case FIELD_ARRAY:
        return json_is_array(value);
    }
    return false;
}

static int check_field(const json_t *message, const struct field_info *field,
                       struct message_fault *fault)
{
    const json_t *value = json_object_get(message, field->name);
    if (!value) {
        if (field->presence == FIELD_OPTIONAL)
            return 0;
        return refuse(fault, "missing-field", field->name, "%s is missing", field->name);
    }
    if (json_is_null(value) && field->presence == FIELD_NULLABLE)
        return 0;
    if (!has_type(value, field->type))
        return refuse(fault, "wrong-type", field->name, "%s must be of type %s", field->name,
                      field_type_names[field->type]);
    return 0;
}

static int check_envelope(const json_t *message, enum message_kind *kind,
                          struct message_fault *fault)
{
    *kind = MESSAGE_KIND_COUNT;
    if (!json_is_object(message))
        return refuse(fault, "not-an-object", "", "a message is a JSON object");
    const json_t *version = json_object_get(message, "v");
    if (!json_is_integer(version))
        return refuse(fault, "missing-field", "v", "v (the protocol version) is missing");
    if (json_integer_value(version) != MESSAGE_VERSION)
        return refuse(fault, "wrong-version", "v", "protocol version %lld, this side speaks %d",
                      (long long)json_integer_value(version), MESSAGE_VERSION);
    const json_t *id = json_object_get(message, "id");
    if (id && !json_is_string(id))
        return refuse(fault, "wrong-type", "id", "id must be of type string");
    if (id && json_string_length(id) > MESSAGE_ID_MAX)
        return refuse(fault, "too-large", "id", "id is longer than %d bytes", MESSAGE_ID_MAX);
    const char *name = json_string_value(json_object_get(message, "kind"));
    if (!name)
        return refuse(fault, "missing-field", "kind", "kind is missing or no string");
    for (int i = 0; i < MESSAGE_KIND_COUNT; i++) {
        if (strcmp(message_table[i].kind, name) == 0) {
            *kind = (enum message_kind)i;
            return 0;
        }
    }
    return refuse(fault, "unknown-kind", "kind", "unknown kind %.60s", name);
}

int message_check(json_t *message, enum message_kind *kind, struct message_fault *fault)
{
    if (check_envelope(message, kind, fault) < 0)
        return -1;
    for (const struct field_info *field = message_table[*kind].fields; field->name; field++) {
        if (check_field(message, field, fault) < 0)
            return -1;
    }
    return 0;
}

json_t *message_decode(const char *bytes, size_t size, enum message_kind *kind,
                       struct message_fault *fault)
{
    if (size > MESSAGE_MAX_BYTES) {
        refuse(fault, "too-large", "", "%zu bytes, at most %d", size, MESSAGE_MAX_BYTES);
        return NULL;
    }
    json_error_t error;
    json_t *message = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
    if (!message) {
        refuse(fault, "not-json", "", "line %d: %.150s", error.line, error.text);
        return NULL;
    }
    if (message_check(message, kind, fault) < 0) {
        json_decref(message);
        return NULL;
    }
    return message;
}

void message_id_of(const char *bytes, size_t size, char id[MESSAGE_ID_MAX + 1])
{
    id[0] = '\0';
    if (size > MESSAGE_MAX_BYTES)
        return;
    json_t *message = json_loadb(bytes, size, 0, NULL);
    const json_t *value = json_object_get(message, "id");
    if (json_is_string(value) && json_string_length(value) <= MESSAGE_ID_MAX)
        snprintf(id, MESSAGE_ID_MAX + 1, "%s", json_string_value(value));
    json_decref(message);
}

/* Unique enough to tell one process's requests apart: the address space's own randomness and a
 * count. No handler's idempotence rests on it. */
static void make_id(char out[17])
{
    static _Thread_local uint64_t count;
    uint64_t mixed = (uint64_t)(uintptr_t)&count ^ (++count * UINT64_C(0x9e3779b97f4a7c15));
    snprintf(out, 17, "%016llx", (unsigned long long)mixed);
}

json_t *message_new(enum message_kind kind, const char *id, const char *fields, ...)
{
    char made[17];
    if (!id)
        make_id(made);
    json_t *message = json_pack("{s:i,s:s,s:s}", "v", MESSAGE_VERSION, "kind",
                                message_kind_name(kind), "id", id ? id : made);
    if (fields) {
        va_list args;
        json_error_t error;
        va_start(args, fields);
        json_t *rest = json_vpack_ex(&error, 0, fields, args);
        va_end(args);
        if (!rest)
            log_abort("message", "%s: %s", message_kind_name(kind), error.text);
        json_object_update(message, rest);
        json_decref(rest);
    }
    struct message_fault fault;
    enum message_kind checked;
    if (message_check(message, &checked, &fault) < 0)
        log_abort("message", "%s: %s", message_kind_name(kind), fault.text);
    return message;
}

json_t *message_error(const char *id, const struct message_fault *fault)
{
    json_t *field = fault->field[0] ? json_string(fault->field) : json_null();
    return message_new(MESSAGE_error, id ? id : "", "{s:s,s:o,s:s}", "code", fault->code, "field",
                       field, "message", fault->text);
}

json_t *message_refusal(const char *code, const char *field, const char *text)
{
    struct message_fault fault;
    snprintf(fault.code, sizeof fault.code, "%s", code);
    snprintf(fault.field, sizeof fault.field, "%s", field);
    snprintf(fault.text, sizeof fault.text, "%s", text);
    return message_error(NULL, &fault);
}

char *message_encode(const json_t *message, size_t *size)
{
    char *text = json_dumps(message, JSON_COMPACT);
    if (!text)
        log_abort("message", "a message cannot be written as JSON");
    size_t used = strlen(text);
    text = xrealloc(text, used + 2);
    text[used] = '\n';
    text[used + 1] = '\0';
    *size = used + 1;
    return text;
}

const char *message_text(const json_t *message, const char *field, const char *fallback)
{
    const char *text = json_string_value(json_object_get(message, field));
    return text ? text : fallback;
}

json_int_t message_integer(const json_t *message, const char *field, json_int_t fallback)
{
    const json_t *value = json_object_get(message, field);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

double message_number(const json_t *message, const char *field, double fallback)
{
    const json_t *value = json_object_get(message, field);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

bool message_flag(const json_t *message, const char *field, bool fallback)
{
    const json_t *value = json_object_get(message, field);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}
