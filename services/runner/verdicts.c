/* PURE: no I/O */
#include "services/runner/verdicts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/utf8.h"
#include "services/runner/frontmatter.h"

static const char *const negative[] = {"FAIL",     "FAILED", "BLOCKED", "CHANGES_REQUESTED",
                                       "REJECTED", "ERROR",  "NO-GO",   "NOT"};
static const char *const positive[] = {"PASS",     "PASSED", "SUCCESS", "OK",
                                       "APPROVED", "GO",     "GREEN"};

#define COUNT(list) (sizeof(list) / sizeof *(list))

static void say(struct verdict *verdict, bool pass, const char *name, const char *text)
{
    verdict->pass = pass;
    snprintf(verdict->reason, sizeof verdict->reason, "%s: %.80s: %.140s",
             pass ? "gate-passed" : "gate-failed", name, text);
}

/* 0 and front, or -1 with the verdict given. */
static int open_file(const char *name, const char *text, size_t size, struct frontmatter *front,
                     struct verdict *verdict)
{
    char reason[FRONTMATTER_REASON];
    if (!text) {
        say(verdict, false, name, "the file is missing");
        return -1;
    }
    if (frontmatter_parse(text, size, front, reason) < 0) {
        say(verdict, false, name, reason);
        return -1;
    }
    return 0;
}

/* The whole value, blanks around it aside, without regard to case. */
static bool is_exactly(const char *value, const char *word)
{
    while (isspace((unsigned char)*value))
        value++;
    size_t size = strlen(value);
    while (size && isspace((unsigned char)value[size - 1]))
        size--;
    return size == strlen(word) && strncasecmp(value, word, size) == 0;
}

static void judge_exact(const char *name, const char *key, const char *word, const char *text,
                        size_t size, struct verdict *verdict)
{
    struct frontmatter front;
    char said[140];
    if (open_file(name, text, size, &front, verdict) < 0)
        return;
    const char *value = frontmatter_get(&front, key);
    if (value)
        snprintf(said, sizeof said, "%s: %.100s", key, value);
    else
        snprintf(said, sizeof said, "no key %s", key);
    say(verdict, value && is_exactly(value, word), name, said);
    frontmatter_free(&front);
}

void verdict_reviewer(const char *name, const char *text, size_t size, struct verdict *verdict)
{
    judge_exact(name, "verdict", "APPROVED", text, size, verdict);
}

void verdict_status(const char *name, const char *key, const char *text, size_t size,
                    struct verdict *verdict)
{
    judge_exact(name, key, "SUCCESS", text, size, verdict);
}

static bool in_list(const char *const *list, size_t count, const char *token, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(list[i]) == size && strncasecmp(list[i], token, size) == 0)
            return true;
    }
    return false;
}

static bool in_token(char c)
{
    return isalpha((unsigned char)c) || c == '_' || c == '-';
}

/* Whole tokens; of a value's tokens any may be negative or positive. */
static void look_at(const char *value, bool *has_negative, bool *has_positive)
{
    while (*value) {
        size_t size = 0;
        while (in_token(value[size]))
            size++;
        if (size) {
            *has_negative = *has_negative || in_list(negative, COUNT(negative), value, size);
            *has_positive = *has_positive || in_list(positive, COUNT(positive), value, size);
        }
        value += size ? size : 1;
    }
}

void verdict_tester(const char *name, const char *text, size_t size, struct verdict *verdict)
{
    static const char *const keys[] = {"verdict", "status", "result"};
    struct frontmatter front;
    bool bad = false, good = false, any = false;
    char said[140] = "";
    if (open_file(name, text, size, &front, verdict) < 0)
        return;
    for (size_t i = 0; i < COUNT(keys); i++) {
        const char *value = frontmatter_get(&front, keys[i]);
        if (!value)
            continue;
        size_t used = strlen(said);
        snprintf(said + used, sizeof said - used, "%s%s: %.40s", any ? ", " : "", keys[i], value);
        any = true;
        look_at(value, &bad, &good);
    }
    say(verdict, good && !bad, name, any ? said : "none of the keys verdict, status, result");
    frontmatter_free(&front);
}

char *verdict_body(const char *text, size_t size, size_t max)
{
    struct frontmatter front;
    char reason[FRONTMATTER_REASON];
    if (frontmatter_parse(text, size, &front, reason) == 0) {
        text += front.body;
        size -= front.body;
        frontmatter_free(&front);
    }
    while (size && isspace((unsigned char)*text)) {
        text++;
        size--;
    }
    while (size && isspace((unsigned char)text[size - 1]))
        size--;
    return utf8_text(text, size, max);
}
