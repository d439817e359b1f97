/* Every kind of message.def, good and with each single fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/file.h"
#include "protocol/document.h"
#include "protocol/message_table.h"

static json_t *value_of(enum field_type type)
{
    switch (type) {
    case FIELD_STRING:
        return json_string("text");
    case FIELD_INTEGER:
        return json_integer(7);
    case FIELD_NUMBER:
        return json_real(1.5);
    case FIELD_BOOLEAN:
        return json_true();
    case FIELD_OBJECT:
        return json_object();
    default:
        return json_array();
    }
}

static json_t *sample(const struct message_info *info)
{
    json_t *message =
        json_pack("{s:i,s:s,s:s}", "v", MESSAGE_VERSION, "kind", info->kind, "id", "i");
    for (const struct field_info *field = info->fields; field->name; field++)
        json_object_set_new(message, field->name, value_of(field->type));
    return message;
}

/* Decodes the message's text. NULL where refused. */
static json_t *decode(const json_t *message, enum message_kind *kind, struct message_fault *fault)
{
    size_t size;
    char *text = message_encode(message, &size);
    assert_int_equal(text[size - 1], '\n');
    assert_int_equal(size, strlen(text));
    json_t *decoded = message_decode(text, size, kind, fault);
    free(text);
    return decoded;
}

static void accepted(const json_t *message, enum message_kind expected)
{
    enum message_kind kind;
    struct message_fault fault;
    json_t *decoded = decode(message, &kind, &fault);
    if (!decoded)
        fail_msg("%s refused: %s", message_kind_name(expected), fault.text);
    assert_int_equal(kind, expected);
    assert_true(json_equal(decoded, message));
    json_decref(decoded);
}

static void refused(const json_t *message, const char *code, const char *field)
{
    enum message_kind kind;
    struct message_fault fault;
    json_t *decoded = decode(message, &kind, &fault);
    if (decoded)
        fail_msg("%s accepted with a faulty %s",
                 json_string_value(json_object_get(message, "kind")), field);
    assert_string_equal(fault.code, code);
    assert_string_equal(fault.field, field);
    assert_true(strlen(fault.text) > 0);
    assert_true(!*field || strstr(fault.text, field) || strcmp(field, "v") == 0);
}

static void test_good_samples(void **state)
{
    (void)state;
    for (int i = 0; i < MESSAGE_KIND_COUNT; i++) {
        json_t *message = sample(&message_table[i]);
        accepted(message, (enum message_kind)i);
        json_object_set_new(message, "of_a_newer_peer", json_integer(1));
        accepted(message, (enum message_kind)i);
        json_object_del(message, "id");
        accepted(message, (enum message_kind)i);
        json_decref(message);
    }
}

/* Mutation: any single check of message.c taken out. */
static void test_each_missing_field(void **state)
{
    (void)state;
    for (int i = 0; i < MESSAGE_KIND_COUNT; i++) {
        const struct field_info *field = message_table[i].fields;
        for (; field->name; field++) {
            json_t *message = sample(&message_table[i]);
            json_object_del(message, field->name);
            if (field->presence == FIELD_OPTIONAL)
                accepted(message, (enum message_kind)i);
            else
                refused(message, "missing-field", field->name);
            json_object_set_new(message, field->name, json_null());
            if (field->presence == FIELD_NULLABLE)
                accepted(message, (enum message_kind)i);
            else
                refused(message, "wrong-type", field->name);
            json_decref(message);
        }
    }
}

static void test_each_mistyped_field(void **state)
{
    (void)state;
    for (int i = 0; i < MESSAGE_KIND_COUNT; i++) {
        const struct field_info *field = message_table[i].fields;
        for (; field->name; field++) {
            for (int type = FIELD_STRING; type <= FIELD_ARRAY; type++) {
                json_t *message = sample(&message_table[i]);
                json_object_set_new(message, field->name, value_of((enum field_type)type));
                bool fits = type == (int)field->type ||
                            (type == FIELD_INTEGER && field->type == FIELD_NUMBER);
                if (fits)
                    accepted(message, (enum message_kind)i);
                else
                    refused(message, "wrong-type", field->name);
                json_decref(message);
            }
        }
    }
}

static void test_envelope(void **state)
{
    (void)state;
    json_t *message = sample(&message_table[MESSAGE_ping]);
    json_object_set_new(message, "v", json_integer(2));
    refused(message, "wrong-version", "v");
    json_object_set_new(message, "v", json_string("1"));
    refused(message, "missing-field", "v");
    json_object_del(message, "v");
    refused(message, "missing-field", "v");
    json_object_set_new(message, "v", json_integer(1));
    json_object_set_new(message, "id", json_integer(1));
    refused(message, "wrong-type", "id");
    json_object_set_new(message, "id",
                        json_string("0123456789012345678901234567890123456789012345"
                                    "67890123456789012"));
    accepted(message, MESSAGE_ping);
    json_object_set_new(message, "id",
                        json_string("0123456789012345678901234567890123456789012345"
                                    "678901234567890123"));
    refused(message, "too-large", "id");
    json_object_set_new(message, "id", json_string(""));
    json_object_set_new(message, "kind", json_string("pIng"));
    refused(message, "unknown-kind", "kind");
    json_object_set_new(message, "kind", json_integer(3));
    refused(message, "missing-field", "kind");
    json_object_del(message, "kind");
    refused(message, "missing-field", "kind");
    json_decref(message);
}

static void bytes_refused(const char *bytes, size_t size, const char *code)
{
    enum message_kind kind;
    struct message_fault fault;
    assert_null(message_decode(bytes, size, &kind, &fault));
    assert_string_equal(fault.code, code);
    /* Mutation: the refusal's text not made ASCII: this aborts. */
    json_t *error = message_error("x", &fault);
    accepted(error, MESSAGE_error);
    json_decref(error);
}

static void test_bytes(void **state)
{
    (void)state;
    bytes_refused("", 0, "not-json");
    bytes_refused("{", 1, "not-json");
    bytes_refused("[1]", 3, "not-an-object");
    bytes_refused("\"x\"", 3, "not-json");
    bytes_refused("{\"v\":1}{\"v\":1}", 14, "not-json");
    bytes_refused("{\"v\":1,\"v\":1}", 13, "not-json");
    bytes_refused("{\"v\":1,\"kind\":\"\xff\"}", 18, "not-json");
    char cut[128];
    for (size_t n = 40; n < 64; n++) { /* a letter of two bytes at each place of the quoted text */
        int size = snprintf(cut, sizeof cut, "{\"v\":1,\"kind\":\"%.*sé\"}", (int)n,
                            "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk");
        bytes_refused(cut, (size_t)size, "unknown-kind");
    }
    size_t size = MESSAGE_MAX_BYTES + 1;
    char *big = malloc(size);
    memset(big, ' ', size);
    memcpy(big, "{\"v\":1,\"kind\":\"ping\"}", 21);
    bytes_refused(big, size, "too-large");
    enum message_kind kind;
    struct message_fault fault;
    json_t *fits = message_decode(big, size - 1, &kind, &fault);
    assert_non_null(fits);
    json_decref(fits);
    free(big);
}

static void test_id_of_a_refused_one(void **state)
{
    (void)state;
    char id[MESSAGE_ID_MAX + 1];
    static const char known[] = "{\"v\":9,\"id\":\"é7\"}";
    message_id_of(known, sizeof known - 1, id);
    assert_string_equal(id, "é7");
    message_id_of("{\"id\":7}", 8, id);
    assert_string_equal(id, "");
    message_id_of("no", 2, id);
    assert_string_equal(id, "");
}

static void test_new(void **state)
{
    (void)state;
    json_t *one = message_new(MESSAGE_inbox_changed, NULL, "{s:i}", "seq", 4);
    json_t *two = message_new(MESSAGE_inbox_changed, NULL, "{s:i}", "seq", 4);
    assert_int_equal(strlen(message_text(one, "id", "")), 16);
    assert_string_not_equal(message_text(one, "id", ""), message_text(two, "id", ""));
    assert_int_equal(message_integer(one, "seq", 0), 4);
    assert_string_equal(message_text(one, "seq", "none"), "none");
    assert_true(message_flag(one, "absent", true));
    accepted(one, MESSAGE_inbox_changed);
    json_decref(one);
    json_decref(two);
}

/* Our own bug is not sent. Mutation: message_new without its check. */
static void test_new_faulty_aborts(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        message_new(MESSAGE_inbox_changed, NULL, "{s:s}", "seq", "four");
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
}

/* The table's own rules: answers are kinds, names are told apart, parties are services of ours. */
static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < MESSAGE_KIND_COUNT; i++) {
        const struct message_info *info = &message_table[i];
        assert_string_equal(message_kind_name((enum message_kind)i), info->kind);
        assert_true(*info->doc && *info->from && *info->to);
        bool known = !*info->answer;
        for (int j = 0; j < MESSAGE_KIND_COUNT; j++) {
            known |= strcmp(message_table[j].kind, info->answer) == 0;
            assert_true(i == j || strcmp(message_table[j].kind, info->kind) != 0);
        }
        assert_true(known);
        for (const struct field_info *field = info->fields; field->name; field++) {
            assert_true(*field->doc);
            assert_string_not_equal(field->name, "v");
            assert_string_not_equal(field->name, "id");
            for (const struct field_info *other = info->fields; other != field; other++)
                assert_string_not_equal(other->name, field->name);
        }
    }
}

/* make docs. Started from the root of the tree. */
static void test_document_is_current(void **state)
{
    (void)state;
    char *committed = file_read("docs/protocol.md", 1 << 20, NULL);
    char *generated = message_document();
    assert_non_null(committed);
    assert_string_equal(committed, generated);
    free(committed);
    free(generated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_samples),
        cmocka_unit_test(test_each_missing_field),
        cmocka_unit_test(test_each_mistyped_field),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_id_of_a_refused_one),
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_new_faulty_aborts),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_document_is_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
