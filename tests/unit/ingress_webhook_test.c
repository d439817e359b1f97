/* The checks before the inbox, against the exact bytes and signatures of the contracts.
 * Mutations tried, each turns a test red: signature compared as "not empty"; HMAC over the body
 * without its last byte; 401 before 413; 400 before 415; an absent Content-Type refused; white
 * space before '{' refused; a secret that is empty taken as a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include "lib/buffer.h"
#include "lib/file.h"
#include "services/ingress/webhook.h"

#define FOLDER "tests/fixtures/webhooks/"

static char *load(const char *name, size_t *size)
{
    char *path = xformat(FOLDER "%s", name);
    char *bytes = file_read(path, 1 << 20, size);
    if (!bytes)
        fail_msg("%s cannot be read: run from the root of the tree", path);
    free(path);
    return bytes;
}

static json_t *signatures(const char *tracker, struct webhook_key *key)
{
    size_t size;
    char *name = xformat("%s.webhook.signatures.json", tracker);
    char *text = load(name, &size);
    json_t *file = json_loadb(text, size, 0, NULL);
    assert_non_null(file);
    webhook_key_init(key, json_string_value(json_object_get(file, "secret")));
    free(text);
    free(name);
    return file;
}

static const char *expected_of(const json_t *entry)
{
    return json_is_string(entry) ? json_string_value(entry)
                                 : json_string_value(json_object_get(entry, "X-Gitea-Signature"));
}

static void accepts_every_fixture(void **context)
{
    static const char *const trackers[] = {"plane", "gitea"};
    (void)context;
    int checked = 0;
    for (int i = 0; i < 2; i++) {
        struct webhook_key key;
        json_t *file = signatures(trackers[i], &key);
        const char *name;
        json_t *entry;
        json_object_foreach(json_object_get(file, "expected"), name, entry)
        {
            size_t size;
            char *body = load(name, &size);
            const char *signature = expected_of(entry);
            assert_true(webhook_signature_ok(&key, body, size, signature));
            assert_true(webhook_body_is_object(body, size));
            /* one bit of the body, one byte less, one digit of the signature: refused */
            body[size / 2] ^= 1;
            assert_false(webhook_signature_ok(&key, body, size, signature));
            body[size / 2] ^= 1;
            assert_false(webhook_signature_ok(&key, body, size - 1, signature));
            char bent[65];
            memcpy(bent, signature, sizeof bent);
            for (int digit = 0; digit < 64; digit++) {
                bent[digit] = signature[digit] == '0' ? '1' : '0';
                assert_false(webhook_signature_ok(&key, body, size, bent));
                bent[digit] = signature[digit];
            }
            free(body);
            checked++;
        }
        json_decref(file);
    }
    assert_int_equal(checked, 18);
}

static void refuses_negative_fixture(void **context)
{
    struct webhook_key key;
    size_t size;
    (void)context;
    json_t *file = signatures("plane", &key);
    json_t *negative = json_object_get(file, "negative");
    char *body = load(json_string_value(json_object_get(negative, "file")), &size);
    const char *wrong =
        json_string_value(json_object_get(negative, "wrong_when_compact_reserialised"));
    assert_non_null(wrong);
    assert_false(webhook_signature_ok(&key, body, size, wrong));
    free(body);
    json_decref(file);
}

static void refuses_what_is_no_signature(void **context)
{
    static const char *const bad[] = {
        NULL,
        "",
        "0",
        "sha256=1024ff7d1eae90783f763e22283edbabf71696924e972016e8bcbc261cdabfd2",
        "zz24ff7d1eae90783f763e22283edbabf71696924e972016e8bcbc261cdabfd2",
        "1024ff7d1eae90783f763e22283edbabf71696924e972016e8bcbc261cdabfd",
        "1024ff7d1eae90783f763e22283edbabf71696924e972016e8bcbc261cdabfd21",
        " 024ff7d1eae90783f763e22283edbabf71696924e972016e8bcbc261cdabfd2",
    };
    struct webhook_key key;
    size_t size;
    (void)context;
    json_t *file = signatures("gitea", &key);
    char *body = load("gitea.webhook.push.body.json", &size);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(webhook_signature_ok(&key, body, size, bad[i]));
        assert_false(webhook_signature_formed(bad[i]));
    }
    free(body);
    json_decref(file);
}

static void no_secret_means_no_entry(void **context)
{
    /* HMAC with an empty key of the empty body: whoever knows that nothing is configured */
    static const char empty[] = "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
    struct webhook_key key;
    (void)context;
    webhook_key_init(&key, "");
    assert_false(webhook_signature_ok(&key, "", 0, empty));
    webhook_key_init(&key, NULL);
    assert_false(webhook_signature_ok(&key, "", 0, empty));
    struct webhook_request request = {.key = &key, .signature = empty, .max_body = 10};
    assert_int_equal(webhook_judge_head(&request), WEBHOOK_UNAUTHORIZED);
    assert_int_equal(webhook_judge(&request), WEBHOOK_UNAUTHORIZED);
}

static void type_rule(void **context)
{
    (void)context;
    assert_true(webhook_type_ok(NULL));
    assert_true(webhook_type_ok(""));
    assert_true(webhook_type_ok("application/json"));
    assert_true(webhook_type_ok("Application/JSON"));
    assert_true(webhook_type_ok("application/json; charset=utf-8"));
    assert_true(webhook_type_ok("application/json ;charset=utf-8"));
    assert_false(webhook_type_ok("application/jsonp"));
    assert_false(webhook_type_ok("text/plain"));
    assert_false(webhook_type_ok("application/x-www-form-urlencoded"));
    assert_false(webhook_type_ok("text/plain; application/json"));
}

static void first_byte_rule(void **context)
{
    (void)context;
    assert_true(webhook_body_is_object("{", 1));
    assert_true(webhook_body_is_object(" \t\r\n{}", 6));
    assert_false(webhook_body_is_object("", 0));
    assert_false(webhook_body_is_object(NULL, 0));
    assert_false(webhook_body_is_object("   ", 3));
    assert_false(webhook_body_is_object("[{}]", 4));
    assert_false(webhook_body_is_object("\xef\xbb\xbf{}", 5));
    assert_false(webhook_body_is_object("\v{}", 3));
    assert_false(webhook_body_is_object("null", 4));
    assert_false(webhook_body_is_object(" {", 1)); /* beyond its size nothing is read */
}

/* Each fault alone gives its own refusal; with all at once the first of 413, 401, 415, 400 wins. */
static void order_of_refusals(void **context)
{
    static const char good[] = "3ba1d3da4d8a5b6b4e0ff3aa4d9e2a1f0b0c0d0e0f00112233445566778899aa";
    struct webhook_key key;
    (void)context;
    webhook_key_init(&key, "secret");
    struct webhook_request request = {.key = &key,
                                      .signature = good,
                                      .content_type = "text/plain",
                                      .content_length = 11,
                                      .max_body = 10,
                                      .body = "[3456789012",
                                      .size = 11};
    assert_int_equal(webhook_judge_head(&request), WEBHOOK_TOO_LARGE);
    assert_int_equal(webhook_judge(&request), WEBHOOK_TOO_LARGE);
    request.content_length = -1; /* chunked: by what came */
    assert_int_equal(webhook_judge(&request), WEBHOOK_TOO_LARGE);
    request.size = request.content_length = 10;
    assert_int_equal(webhook_judge_head(&request), WEBHOOK_ACCEPT);
    assert_int_equal(webhook_judge(&request), WEBHOOK_UNAUTHORIZED);
    request.signature = NULL;
    assert_int_equal(webhook_judge_head(&request), WEBHOOK_UNAUTHORIZED);

    struct hmac_sha256_ctx hmac = key.pads;
    uint8_t digest[32];
    char right[65];
    hmac_sha256_update(&hmac, 10, (const uint8_t *)"[345678901");
    hmac_sha256_digest(&hmac, sizeof digest, digest);
    for (int i = 0; i < 32; i++)
        snprintf(right + 2 * i, 3, "%02x", digest[i]);
    request.signature = right;
    assert_int_equal(webhook_judge(&request), WEBHOOK_WRONG_TYPE);
    request.content_type = NULL;
    assert_int_equal(webhook_judge(&request), WEBHOOK_NO_OBJECT);
    assert_int_equal(webhook_status(WEBHOOK_TOO_LARGE), 413);
    assert_int_equal(webhook_status(WEBHOOK_UNAUTHORIZED), 401);
    assert_int_equal(webhook_status(WEBHOOK_WRONG_TYPE), 415);
    assert_int_equal(webhook_status(WEBHOOK_NO_OBJECT), 400);
    assert_int_equal(webhook_status(WEBHOOK_ACCEPT), 202);
}

static void digest_is_sha256(void **context)
{
    char text[WEBHOOK_DIGEST_TEXT];
    (void)context;
    webhook_digest("abc", 3, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void bearer_rule(void **context)
{
    (void)context;
    assert_true(webhook_bearer_ok("Bearer secret", "secret"));
    assert_true(webhook_bearer_ok("bearer  secret", "secret"));
    assert_false(webhook_bearer_ok("Bearer secre", "secret"));
    assert_false(webhook_bearer_ok("Bearer secret2", "secret"));
    assert_false(webhook_bearer_ok("Bearer ", "secret"));
    assert_false(webhook_bearer_ok("Bearer ", ""));
    assert_false(webhook_bearer_ok("Basic secret", "secret"));
    assert_false(webhook_bearer_ok("secret", "secret"));
    assert_false(webhook_bearer_ok(NULL, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_every_fixture),
        cmocka_unit_test(refuses_negative_fixture),
        cmocka_unit_test(refuses_what_is_no_signature),
        cmocka_unit_test(no_secret_means_no_entry),
        cmocka_unit_test(type_rule),
        cmocka_unit_test(first_byte_rule),
        cmocka_unit_test(order_of_refusals),
        cmocka_unit_test(digest_is_sha256),
        cmocka_unit_test(bearer_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
