/* PURE: no I/O */
#include "services/runner/classify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/utf8.h"

enum { TEXT_MAX = 240 };

/* Case-insensitive; text may be NULL. */
static const char *find(const char *text, const char *part)
{
    return text ? strcasestr(text, part) : NULL;
}

static bool has_any(const char *text, const char *const *parts)
{
    for (; *parts; parts++) {
        if (find(text, *parts))
            return true;
    }
    return false;
}

/* What texts mean, where no structure says it. The usage limit is looked for before transient. */
static const char *const limit_words[] = {
    "usage limit reached", "hit your limit",   "reached your limit",  "usage limit",
    "weekly limit",        "limit will reset", "monthly spend limit", NULL};
static const char *const operator_words[] = {
    "not logged in",           "please run /login",
    "invalid api key",         "credit balance",
    "failed to authenticate",  "authentication_error",
    "permission_error",        "unknown option",
    "unexpected argument",     "cannot be used with root",
    "no space left on device", "disk quota exceeded",
    "read-only file system",   "error: input must be provided",
    "requires --verbose",      NULL};
static const char *const transient_words[] = {"529",
                                              "overloaded",
                                              "rate limit",
                                              "rate_limit",
                                              "too many requests",
                                              "timed out",
                                              "econnreset",
                                              "econnrefused",
                                              "enotfound",
                                              "eai_again",
                                              "socket hang up",
                                              "connection error",
                                              "connection reset",
                                              "network error",
                                              "fetch failed",
                                              "internal server error",
                                              "bad gateway",
                                              "service unavailable",
                                              "gateway timeout",
                                              "high demand",
                                              NULL};
static const char *const session_words[] = {"no conversation found with session",
                                            "no rollout found for thread", NULL};
static const char *const config_words[] = {"issue with the selected model", "model_not_found",
                                           "may not exist or you may not have access", NULL};

static void say(struct run_verdict *verdict, const char *class, const char *code, const char *text)
{
    verdict->succeeded = false;
    verdict->class = class;
    while (text && (*text == ' ' || *text == '\n'))
        text++;
    char *clean = text && *text ? utf8_text(text, strlen(text), TEXT_MAX) : xstrdup("no text");
    snprintf(verdict->reason, sizeof verdict->reason, "%s: %s", code, clean);
    free(clean);
    for (char *at = verdict->reason; *at; at++) {
        if ((unsigned char)*at < ' ')
            *at = ' '; /* one line */
    }
}

/* "...limit reached|1700000000": the older CLI's form of a reset time. */
static int64_t stated_reset(const struct run_facts *facts, const char *text)
{
    if (facts->limit_resets > 0)
        return facts->limit_resets;
    const char *bar = text ? strrchr(text, '|') : NULL;
    long long at = bar ? strtoll(bar + 1, NULL, 10) : 0;
    return at > 1000000000LL && at < 100000000000LL ? at : 0;
}

static void by_words(const char *text, struct run_verdict *verdict)
{
    if (has_any(text, operator_words))
        say(verdict, "operator", "operator", text);
    else if (has_any(text, config_words))
        say(verdict, "config", "config", text);
    else if (has_any(text, session_words))
        say(verdict, "permanent", "permanent", text);
    else if (has_any(text, transient_words))
        say(verdict, "transient", "transient", text);
    else
        say(verdict, "permanent", "permanent", text);
}

static void by_status(int64_t status, const char *text, struct run_verdict *verdict)
{
    if (status == 401 || status == 403 || status == 402 ||
        (status == 400 && find(text, "credit balance")))
        say(verdict, "operator", "operator", text);
    else if (status == 404)
        say(verdict, "config", "config", text);
    else if (status == 408 || status == 409 || status == 425 || status == 429 || status >= 500)
        say(verdict, "transient", "transient", text);
    else if (status >= 400)
        say(verdict, "permanent", "permanent", text);
    else
        by_words(text, verdict);
}

static bool limit_is_spent(const struct run_facts *facts, int64_t status, const char *terminal,
                           const char *text)
{
    if (find(text, "credit balance"))
        return false; /* a person has to pay */
    if (find(terminal, "usage_limit") || find(terminal, "limit_reached"))
        return true;
    if (facts->limit_rejected)
        return true;
    return (status == 0 || (status >= 400 && status < 500)) && has_any(text, limit_words);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* A result record that says is_error, or a failure beside one. */
static void by_result(const struct run_facts *facts, struct run_verdict *verdict)
{
    const json_t *result = facts->result;
    const char *subtype = text_of(result, "subtype"),
               *terminal = text_of(result, "terminal_reason");
    const char *text = text_of(result, "result");
    if (!*text)
        text = json_string_value(json_array_get(json_object_get(result, "errors"), 0));
    if (!text || !*text)
        text = subtype;
    int64_t status = json_integer_value(json_object_get(result, "api_error_status"));
    if (limit_is_spent(facts, status, terminal, text)) {
        say(verdict, "usage_limit", "usage-limit", text);
        verdict->resets_at = stated_reset(facts, text);
    } else if (strcmp(terminal, "prompt_too_long") == 0 || find(text, "prompt is too long")) {
        say(verdict, "task", "task", text);
    } else if (strcmp(subtype, "error_max_budget_usd") == 0) {
        say(verdict, "budget", "budget-run", text);
    } else if (strncmp(subtype, "error_", 6) == 0 && status == 0) {
        say(verdict, "permanent", "permanent", text);
    } else {
        by_status(status, text, verdict);
    }
}

static void by_exit(const struct run_facts *facts, struct run_verdict *verdict)
{
    char text[260];
    if (limit_is_spent(facts, 0, "", facts->text)) {
        say(verdict, "usage_limit", "usage-limit", facts->text);
        verdict->resets_at = stated_reset(facts, facts->text);
    } else if (facts->exit_code == 0) {
        say(verdict, "permanent", "permanent", "exit status 0, but no result record");
    } else if (facts->signal) {
        snprintf(text, sizeof text, "ended by signal %d", facts->signal);
        say(verdict, "permanent", "permanent", text);
    } else {
        snprintf(text, sizeof text, "exit status %d%s%.200s", facts->exit_code,
                 facts->text && *facts->text ? ": " : "", facts->text ? facts->text : "");
        by_words(text, verdict);
    }
}

/* A program that was told to stop may exit with 0 as well: then only its own record counts. */
static bool ended_well(const struct run_facts *facts)
{
    const json_t *is_error = json_object_get(facts->result, "is_error");
    if (facts->result)
        return facts->needs_result ? json_is_false(is_error) : !json_is_true(is_error);
    return !facts->needs_result && !facts->cancelled;
}

void classify_run(const struct run_facts *facts, struct run_verdict *verdict)
{
    const json_t *is_error = json_object_get(facts->result, "is_error");
    *verdict = (struct run_verdict){.class = "none"};
    if (facts->exec_error && *facts->exec_error)
        say(verdict, "operator", "operator", facts->exec_error);
    else if (facts->timed_out)
        say(verdict, "permanent", "timeout", "ran longer than allowed");
    else if (facts->stalled)
        say(verdict, "permanent", "timeout", "no output for longer than agent.stall_timeout_s");
    else if (facts->exit_code == 0 && facts->signal == 0 && ended_well(facts)) {
        verdict->succeeded = true;
        snprintf(verdict->reason, sizeof verdict->reason, "ok: done");
    } else if (facts->interrupted)
        say(verdict, "interrupted", "interrupted", "ended by us; to be resumed");
    else if (facts->cancelled)
        say(verdict, "none", "stopped", "stopped by a person");
    else if (json_is_true(is_error))
        by_result(facts, verdict);
    else if (facts->result && facts->exit_code == 0)
        say(verdict, "permanent", "permanent", "the result record does not say is_error: false");
    else
        by_exit(facts, verdict);
}
