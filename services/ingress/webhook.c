/* PURE: no I/O */
#include "services/ingress/webhook.h"

#include <string.h>
#include <strings.h>
#include <nettle/base16.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>

enum { SIGNATURE_TEXT = 2 * SHA256_DIGEST_SIZE };

void webhook_key_init(struct webhook_key *key, const char *secret)
{
    key->set = secret && *secret;
    if (key->set)
        hmac_sha256_set_key(&key->pads, strlen(secret), (const uint8_t *)secret);
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

/* What the sender claims is no secret: reading it may take time that depends on it. */
static bool read_signature(const char *text, uint8_t out[SHA256_DIGEST_SIZE])
{
    if (!text || strlen(text) != SIGNATURE_TEXT)
        return false;
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) {
        int high = hex_value(text[2 * i]);
        int low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool webhook_signature_formed(const char *signature)
{
    uint8_t bytes[SHA256_DIGEST_SIZE];
    return read_signature(signature, bytes);
}

bool webhook_signature_ok(const struct webhook_key *key, const void *body, size_t size,
                          const char *signature)
{
    uint8_t claimed[SHA256_DIGEST_SIZE];
    if (!key->set || !read_signature(signature, claimed))
        return false;
    struct hmac_sha256_ctx hmac = key->pads;
    uint8_t expected[SHA256_DIGEST_SIZE];
    hmac_sha256_update(&hmac, size, body);
    hmac_sha256_digest(&hmac, sizeof expected, expected);
    return memeql_sec(claimed, expected, sizeof expected);
}

bool webhook_type_ok(const char *content_type)
{
    static const char json[] = "application/json";
    if (!content_type)
        return true;
    content_type += strspn(content_type, " \t");
    if (!*content_type)
        return true;
    if (strncasecmp(content_type, json, sizeof json - 1) != 0)
        return false;
    content_type += sizeof json - 1;
    content_type += strspn(content_type, " \t");
    return *content_type == '\0' || *content_type == ';';
}

bool webhook_body_is_object(const void *body, size_t size)
{
    const char *bytes = body;
    for (size_t i = 0; i < size; i++) {
        switch (bytes[i]) {
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            continue;
        default:
            return bytes[i] == '{';
        }
    }
    return false;
}

enum webhook_verdict webhook_judge_head(const struct webhook_request *request)
{
    if (request->content_length > (int64_t)request->max_body)
        return WEBHOOK_TOO_LARGE;
    if (!request->key->set || !webhook_signature_formed(request->signature))
        return WEBHOOK_UNAUTHORIZED;
    return WEBHOOK_ACCEPT;
}

enum webhook_verdict webhook_judge(const struct webhook_request *request)
{
    if (request->content_length > (int64_t)request->max_body || request->size > request->max_body)
        return WEBHOOK_TOO_LARGE;
    if (!webhook_signature_ok(request->key, request->body, request->size, request->signature))
        return WEBHOOK_UNAUTHORIZED;
    if (!webhook_type_ok(request->content_type))
        return WEBHOOK_WRONG_TYPE;
    if (!webhook_body_is_object(request->body, request->size))
        return WEBHOOK_NO_OBJECT;
    return WEBHOOK_ACCEPT;
}

unsigned webhook_status(enum webhook_verdict verdict)
{
    switch (verdict) {
    case WEBHOOK_ACCEPT:
        return 202;
    case WEBHOOK_TOO_LARGE:
        return 413;
    case WEBHOOK_UNAUTHORIZED:
        return 401;
    case WEBHOOK_WRONG_TYPE:
        return 415;
    case WEBHOOK_NO_OBJECT:
        return 400;
    }
    return 500;
}

const char *webhook_text(enum webhook_verdict verdict)
{
    switch (verdict) {
    case WEBHOOK_ACCEPT:
        return "accepted";
    case WEBHOOK_TOO_LARGE:
        return "the body is larger than http.max_body_bytes";
    case WEBHOOK_UNAUTHORIZED:
        return "the signature is missing or wrong";
    case WEBHOOK_WRONG_TYPE:
        return "Content-Type must be application/json";
    case WEBHOOK_NO_OBJECT:
        return "the body is no JSON object";
    }
    return "";
}

void webhook_digest(const void *body, size_t size, char out[WEBHOOK_DIGEST_TEXT])
{
    struct sha256_ctx sha;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&sha);
    sha256_update(&sha, size, body);
    sha256_digest(&sha, sizeof digest, digest);
    base16_encode_update(out, sizeof digest, digest);
    out[2 * sizeof digest] = '\0';
}

/* Digests are compared, so that neither length nor content of the token shows in the time. */
bool webhook_bearer_ok(const char *authorization, const char *token)
{
    static const char scheme[] = "Bearer ";
    if (!authorization || !*token || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *given = authorization + sizeof scheme - 1;
    given += strspn(given, " ");
    char mine[WEBHOOK_DIGEST_TEXT], theirs[WEBHOOK_DIGEST_TEXT];
    webhook_digest(token, strlen(token), mine);
    webhook_digest(given, strlen(given), theirs);
    return memeql_sec(mine, theirs, sizeof mine - 1);
}
