#include <curl/curl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "lib/clock.h"
#include "tools/orchctl.h"

enum { CONNECT_MS = 2000, ANSWER_MS = 20000, ABSENT_MS = 1000, ABSENT_PAUSE_MS = 50 };
/* Ingress says something every 10 s; who is silent for longer hangs. */
enum { SILENT_S = 30 };

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    buffer_add(context, data, size * count);
    return size * count;
}

static CURL *begin(const struct ctl *ctl, const char *path, struct curl_slist **headers)
{
    curl_global_init(CURL_GLOBAL_DEFAULT); /* counts its calls */
    CURL *curl = curl_easy_init();
    char *url = xformat("%s%s", ctl->url, path);
    char *authorization = xformat("Authorization: Bearer %s", ctl->token);
    *headers = curl_slist_append(NULL, authorization);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    free(authorization);
    free(url);
    return curl;
}

static void end(CURL *curl, struct curl_slist *headers)
{
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
}

static CURLcode perform(const struct ctl *ctl, const char *method, const char *path,
                        const char *body, struct buffer *out, long *status)
{
    struct curl_slist *headers;
    CURL *curl = begin(ctl, path, &headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ANSWER_MS);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    if (body) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    CURLcode result = curl_easy_perform(curl);
    *status = 0;
    if (result == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    end(curl, headers);
    return result;
}

void http_call(const struct ctl *ctl, const char *method, const char *path, const json_t *body,
               struct http_answer *answer)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    int64_t until = clock_mono_ms() + ABSENT_MS;
    struct buffer out = {0};
    *answer = (struct http_answer){0};
    while (perform(ctl, method, path, text, &out, &answer->status) == CURLE_COULDNT_CONNECT &&
           clock_mono_ms() < until)
        poll(NULL, 0, ABSENT_PAUSE_MS);
    free(text);
    if (answer->status && out.size)
        answer->json = json_loadb(out.data, out.size, 0, NULL);
    answer->text = buffer_take(&out);
}

void http_answer_free(struct http_answer *answer)
{
    json_decref(answer->json);
    free(answer->text);
    *answer = (struct http_answer){0};
}

/* "field: message" of {"error": {code, field, message}}; else what there is. Caller frees. */
static char *words_of(const struct http_answer *answer)
{
    const json_t *error = json_object_get(answer->json, "error");
    const char *message = text_field(error, "message"), *field = text_field(error, "field");
    if (!message)
        message = text_field(answer->json, "reason");
    if (message && field && *field)
        return xformat("%s: %s", field, message);
    if (message)
        return xstrdup(message);
    return xformat("HTTP %ld%s%s", answer->status, answer->text && *answer->text ? ": " : "",
                   answer->text ? answer->text : "");
}

/* Nothing of this key: said with the key, which the answer does not repeat. */
static bool is_unknown_key(const struct http_answer *answer)
{
    const char *code = text_field(json_object_get(answer->json, "error"), "code");
    return code && (strcmp(code, "unknown-key") == 0 || strcmp(code, "unknown-task") == 0);
}

enum ctl_exit http_judge(const struct ctl *ctl, const struct http_answer *answer)
{
    enum ctl_exit result = request_exit(answer->status);
    if (result == CTL_DONE)
        return result;
    if (answer->status == 0) {
        complain("nobody answers at %s; is it running? (orchestrator run)", ctl->url);
    } else if (answer->status == 401) {
        complain("the operator token is missing or wrong (ORCH_OPERATOR_TOKEN, http.operator_token "
                 "or home/operator_token)");
    } else if (is_unknown_key(answer) && ctl->request.argument) {
        complain("there is no task%s %s", ctl->request.command == CTL_TAIL ? " or service" : "",
                 ctl->request.argument);
    } else {
        char *words = words_of(answer);
        complain("%s", words);
        free(words);
    }
    return result;
}

json_t *http_page(const struct ctl *ctl, const char *path, enum ctl_exit *result)
{
    struct http_answer answer;
    http_call(ctl, "GET", path, NULL, &answer);
    *result = http_judge(ctl, &answer);
    json_t *page = *result == CTL_DONE ? json_incref(answer.json) : NULL;
    if (*result == CTL_DONE && !page) {
        complain("an answer that is no JSON from %s%s", ctl->url, path);
        *result = CTL_NOT_REACHABLE;
    }
    http_answer_free(&answer);
    return page;
}

struct stream {
    struct buffer rest;
    bool (*take)(const char *line, void *context);
    void *context;
    bool ended;
};

static size_t take_stream(char *data, size_t size, size_t count, void *context)
{
    struct stream *stream = context;
    buffer_add(&stream->rest, data, size * count);
    char *line = stream->rest.data, *stop;
    while (!stream->ended && (stop = strchr(line, '\n')) != NULL) {
        *stop = '\0';
        stream->ended = !stream->take(line, stream->context);
        line = stop + 1;
    }
    size_t left = stream->rest.size - (size_t)(line - stream->rest.data);
    memmove(stream->rest.data, line, left + 1);
    stream->rest.size = left;
    return stream->ended ? 0 : size * count;
}

enum stream_end http_stream(const struct ctl *ctl, const char *path,
                            bool (*take)(const char *line, void *context), void *context,
                            enum ctl_exit *result)
{
    struct curl_slist *headers;
    struct stream stream = {.take = take, .context = context};
    struct http_answer answer = {0};
    CURL *curl = begin(ctl, path, &headers);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_stream);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &stream);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)SILENT_S);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    end(curl, headers);
    buffer_free(&stream.rest);
    if (stream.ended)
        return STREAM_TAKEN;
    if (code != CURLE_HTTP_RETURNED_ERROR)
        return answer.status == 200 ? STREAM_BROKEN : STREAM_ABSENT;
    *result = http_judge(ctl, &answer);
    return STREAM_REFUSED;
}

char *http_escape(const char *text)
{
    struct buffer out = {0};
    for (; *text; text++) {
        bool plain = strchr("-._~", *text) || (*text >= '0' && *text <= '9') ||
                     (*text >= 'A' && *text <= 'Z') || (*text >= 'a' && *text <= 'z');
        if (plain)
            buffer_add(&out, text, 1);
        else
            buffer_format(&out, "%%%02X", (unsigned char)*text);
    }
    return buffer_take(&out);
}
