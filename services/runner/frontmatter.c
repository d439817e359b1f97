/* PURE: no I/O */
#include "services/runner/frontmatter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "lib/buffer.h"

struct reader {
    yaml_parser_t parser;
    struct frontmatter *front;
    char *reason;
};

static int refuse(char *reason, const char *text)
{
    snprintf(reason, FRONTMATTER_REASON, "%s", text);
    return -1;
}

/* A line "---" with nothing but blanks behind it; its whole length, else 0. */
static size_t fence(const char *text, size_t size)
{
    if (size < 3 || memcmp(text, "---", 3) != 0)
        return 0;
    size_t at = 3;
    while (at < size && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r'))
        at++;
    if (at == size)
        return at;
    return text[at] == '\n' ? at + 1 : 0;
}

/* Where the mapping stands: [*from, *to), and the body after it. */
static int find_fences(const char *text, size_t size, size_t *from, size_t *to, size_t *body)
{
    *from = fence(text, size);
    if (*from == 0)
        return -1;
    for (size_t at = *from; at < size;) {
        size_t length = fence(text + at, size - at);
        if (length) {
            *to = at;
            *body = at + length;
            return 0;
        }
        const char *end = memchr(text + at, '\n', size - at);
        at = end ? (size_t)(end - text) + 1 : size;
    }
    return 1;
}

/* The next event; -1 and the reason on broken YAML. Deletes the one before. */
static int next(struct reader *reader, yaml_event_t *event)
{
    if (yaml_parser_parse(&reader->parser, event))
        return 0;
    snprintf(reader->reason, FRONTMATTER_REASON, "broken YAML in line %zu: %.80s",
             reader->parser.problem_mark.line + 2,
             reader->parser.problem ? reader->parser.problem : "?");
    memset(event, 0, sizeof *event);
    return -1;
}

/* A scalar as text (caller frees), or NULL and the reason. */
static char *take_scalar(struct reader *reader, yaml_event_t *event, const char *what)
{
    char *text = NULL;
    if (event->type == YAML_ALIAS_EVENT)
        snprintf(reader->reason, FRONTMATTER_REASON, "an alias in the frontmatter");
    else if (event->type != YAML_SCALAR_EVENT)
        snprintf(reader->reason, FRONTMATTER_REASON, "%s is not a single value", what);
    else if (event->data.scalar.anchor)
        snprintf(reader->reason, FRONTMATTER_REASON, "an anchor in the frontmatter");
    else if (memchr(event->data.scalar.value, 0, event->data.scalar.length))
        snprintf(reader->reason, FRONTMATTER_REASON, "%s holds a NUL byte", what);
    else
        text = xstrndup((const char *)event->data.scalar.value, event->data.scalar.length);
    yaml_event_delete(event);
    return text;
}

static int expect(struct reader *reader, yaml_event_type_t type, const char *otherwise)
{
    yaml_event_t event;
    if (next(reader, &event) < 0)
        return -1;
    bool as_expected = event.type == type;
    yaml_event_delete(&event);
    return as_expected ? 0 : refuse(reader->reason, otherwise);
}

/* One "key: value", or 1 at the mapping's end. */
static int take_pair(struct reader *reader)
{
    struct frontmatter *front = reader->front;
    yaml_event_t event;
    if (next(reader, &event) < 0)
        return -1;
    if (event.type == YAML_MAPPING_END_EVENT) {
        yaml_event_delete(&event);
        return 1;
    }
    char *key = take_scalar(reader, &event, "a key");
    if (!key)
        return -1;
    if (frontmatter_get(front, key)) {
        snprintf(reader->reason, FRONTMATTER_REASON, "the key %.60s stands there twice", key);
        free(key);
        return -1;
    }
    if (front->count == FRONTMATTER_KEYS_MAX) {
        free(key);
        return refuse(reader->reason, "too many keys");
    }
    if (next(reader, &event) < 0) {
        free(key);
        return -1;
    }
    char *value = take_scalar(reader, &event, key);
    if (!value) {
        free(key);
        return -1;
    }
    front->keys[front->count] = key;
    front->values[front->count++] = value;
    return 0;
}

static int read_mapping(struct reader *reader)
{
    if (expect(reader, YAML_STREAM_START_EVENT, "no YAML") < 0 ||
        expect(reader, YAML_DOCUMENT_START_EVENT, "the frontmatter is empty") < 0 ||
        expect(reader, YAML_MAPPING_START_EVENT, "the frontmatter is no mapping") < 0)
        return -1;
    int result;
    while ((result = take_pair(reader)) == 0)
        continue;
    if (result < 0)
        return -1;
    if (expect(reader, YAML_DOCUMENT_END_EVENT, "more than one document") < 0)
        return -1;
    return expect(reader, YAML_STREAM_END_EVENT, "more than one document");
}

int frontmatter_parse(const char *text, size_t size, struct frontmatter *front,
                      char reason[FRONTMATTER_REASON])
{
    size_t from = 0, to = 0, body = 0;
    *front = (struct frontmatter){0};
    reason[0] = '\0';
    if (size > FRONTMATTER_FILE_MAX)
        return refuse(reason, "the file is too large");
    if (size == 0)
        return refuse(reason, "the file is empty");
    int found = find_fences(text, size, &from, &to, &body);
    if (found != 0)
        return refuse(reason, found < 0 ? "no frontmatter: the first line is not ---"
                                        : "the frontmatter has no closing ---");
    if (to - from > FRONTMATTER_MAX)
        return refuse(reason, "the frontmatter is too large");
    struct reader reader = {.front = front, .reason = reason};
    if (!yaml_parser_initialize(&reader.parser))
        abort();
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text + from, to - from);
    int result = read_mapping(&reader);
    yaml_parser_delete(&reader.parser);
    front->body = body;
    if (result == 0 && front->count == 0)
        result = refuse(reason, "the frontmatter is empty");
    if (result < 0)
        frontmatter_free(front);
    return result;
}

void frontmatter_free(struct frontmatter *front)
{
    for (size_t i = 0; i < front->count; i++) {
        free(front->keys[i]);
        free(front->values[i]);
    }
    *front = (struct frontmatter){0};
}

const char *frontmatter_get(const struct frontmatter *front, const char *key)
{
    for (size_t i = 0; i < front->count; i++) {
        if (strcmp(front->keys[i], key) == 0)
            return front->values[i];
    }
    return NULL;
}

char *frontmatter_missing(const struct frontmatter *front)
{
    static const char *const wanted[] = {"work_item", "stage", "author_agent", "status",
                                         "created_at"};
    struct buffer names = {0};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (!frontmatter_get(front, wanted[i]))
            buffer_format(&names, "%s%s", names.size ? ", " : "", wanted[i]);
    }
    return buffer_take(&names);
}
