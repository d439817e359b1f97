/* Messages off the wire: what is accepted survives encoding, what is refused can be answered. */
#include <jansson.h>
#include "protocol/message.h"
#include "tests/fuzz/fuzz.h"

static void check_accepted(json_t *message, enum message_kind kind)
{
    size_t size;
    enum message_kind again;
    struct message_fault fault;
    REQUIRE(kind < MESSAGE_KIND_COUNT);
    char *text = message_encode(message, &size);
    REQUIRE(size == strlen(text) && text[size - 1] == '\n');
    json_t *copy = message_decode(text, size, &again, &fault);
    /* a text that was just within the limit may have grown: escapes */
    REQUIRE(copy || size > MESSAGE_MAX_BYTES);
    REQUIRE(!copy || (again == kind && json_equal(copy, message)));
    json_decref(copy);
    free(text);
}

static void check_refused(const char *bytes, size_t size, const struct message_fault *fault)
{
    char id[MESSAGE_ID_MAX + 1];
    enum message_kind kind;
    struct message_fault second;
    REQUIRE(fault->code[0] && fault->text[0]);
    message_id_of(bytes, size, id);
    REQUIRE(strlen(id) <= MESSAGE_ID_MAX);
    json_t *answer = message_error(id[0] ? id : NULL, fault);
    REQUIRE(message_check(answer, &kind, &second) == 0);
    char *text = message_encode(answer, &size);
    free(text);
    json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum message_kind kind;
    struct message_fault fault;
    json_t *message = message_decode((const char *)data, size, &kind, &fault);
    if (message)
        check_accepted(message, kind);
    else
        check_refused((const char *)data, size, &fault);
    json_decref(message);
    return 0;
}
