/* Bodies and headers that strangers send. The first line says which door: an operator's command by
 * its number, "local", or a signature; the rest is the body. */
#include <jansson.h>
#include "services/ingress/command.h"
#include "services/ingress/webhook.h"
#include "tests/fuzz/fuzz.h"

static void as_local(const char *body, size_t size)
{
    char delivery[DELIVERY_MAX + 1];
    struct command_fault fault = {0};
    if (!local_event_check(body, size, delivery, &fault)) {
        REQUIRE(fault.text[0]);
        return;
    }
    json_t *event = json_loadb(body, size, 0, NULL);
    REQUIRE(json_is_object(event));
    REQUIRE(strcmp(json_string_value(json_object_get(event, "delivery")), delivery) == 0);
    REQUIRE(json_is_string(json_object_get(event, "issue")));
    json_decref(event);
}

static void as_command(unsigned number, const char *body, size_t size)
{
    enum command command = (enum command)(number % COMMAND_COUNT);
    struct command_fault fault = {0};
    char *made = command_body(command, "SHOP-1", body, size, &fault);
    if (!made) {
        REQUIRE(fault.text[0]);
        return;
    }
    json_t *event = json_loads(made, 0, NULL);
    REQUIRE(json_is_object(event));
    REQUIRE(strcmp(json_string_value(json_object_get(event, "command")), command_name(command)) ==
            0);
    REQUIRE(json_is_string(json_object_get(event, "actor")));
    json_decref(event);
    free(made);
}

static void as_webhook(const char *head, const char *body, size_t size)
{
    struct webhook_key key, none;
    char digest[WEBHOOK_DIGEST_TEXT];
    webhook_key_init(&key, "a secret of some length");
    webhook_key_init(&none, "");
    struct webhook_request request = {.key = &key,
                                      .signature = head,
                                      .content_type = size % 3 ? "application/json" : head,
                                      .content_length = size % 2 ? (int64_t)size : -1,
                                      .max_body = 4096,
                                      .body = body,
                                      .size = size};
    enum webhook_verdict verdict = webhook_judge(&request);
    REQUIRE(verdict != WEBHOOK_ACCEPT || (webhook_signature_ok(&key, body, size, head) &&
                                          webhook_body_is_object(body, size) && size <= 4096));
    REQUIRE(webhook_status(verdict) && webhook_text(verdict));
    request.key = &none;
    REQUIRE(webhook_judge(&request) != WEBHOOK_ACCEPT);
    (void)webhook_judge_head(&request);
    webhook_digest(body, size, digest);
    REQUIRE(strlen(digest) == WEBHOOK_DIGEST_TEXT - 1);
    REQUIRE(!webhook_bearer_ok(head, "the operator's own token"));
    REQUIRE(!webhook_bearer_ok(head, ""));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *head = fuzz_line(&data, &size), *body = fuzz_text(data, size);
    if (strcmp(head, "local") == 0)
        as_local(body, size);
    else if (head[0] >= '0' && head[0] <= '9' && !head[1])
        as_command((unsigned)(head[0] - '0'), body, size);
    else
        as_webhook(head, body, size);
    free(body);
    free(head);
    return 0;
}
