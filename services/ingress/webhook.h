/* What a webhook must be before it is kept: signature over the raw bytes, size, type, first byte.
 * The body is not parsed here: a parse tree before the acknowledgement costs two thirds of the
 * time. */
#ifndef ORCH_WEBHOOK_H
#define ORCH_WEBHOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <nettle/hmac.h>

/* A secret with its HMAC pads computed once (RFC 2104), so that an event costs only its own bytes.
 */
struct webhook_key {
    struct hmac_sha256_ctx pads;
    bool set; /* false: no secret is configured, nothing can be signed rightly */
};

void webhook_key_init(struct webhook_key *key, const char *secret);

/* signature: 64 hex digits, no prefix; NULL, empty or any other text is refused. Constant time in
 * the secret and in the expected value. */
bool webhook_signature_ok(const struct webhook_key *key, const void *body, size_t size,
                          const char *signature);

/* 64 hex digits: before any of the body has been read. */
bool webhook_signature_formed(const char *signature);

/* application/json, with or without parameters; NULL and "" (no such header) are accepted. */
bool webhook_type_ok(const char *content_type);

/* The first byte that is no JSON white space is '{'. */
bool webhook_body_is_object(const void *body, size_t size);

enum webhook_verdict {
    WEBHOOK_ACCEPT,
    WEBHOOK_TOO_LARGE,    /* 413 */
    WEBHOOK_UNAUTHORIZED, /* 401 */
    WEBHOOK_WRONG_TYPE,   /* 415 */
    WEBHOOK_NO_OBJECT,    /* 400 */
};

struct webhook_request {
    const struct webhook_key *key;
    const char *signature;    /* header value, NULL where absent */
    const char *content_type; /* header value, NULL where absent */
    int64_t content_length;   /* as announced; -1 where the body is chunked */
    size_t max_body;
    const void *body;
    size_t size; /* bytes received */
};

/* By the head alone, before a byte of the body is read: 413 comes before 401. */
enum webhook_verdict webhook_judge_head(const struct webhook_request *request);

/* By the whole request; refusals in the order 413, 401, 415, 400. */
enum webhook_verdict webhook_judge(const struct webhook_request *request);

unsigned webhook_status(enum webhook_verdict verdict);
const char *webhook_text(enum webhook_verdict verdict);

enum { WEBHOOK_DIGEST_TEXT = 65 };

/* Delivery key of trackers whose own id changes with every attempt: SHA-256 of the body, hex. */
void webhook_digest(const void *body, size_t size, char out[WEBHOOK_DIGEST_TEXT]);

/* "Bearer <token>" in constant time; false where token is "". */
bool webhook_bearer_ok(const char *authorization, const char *token);

#endif
