/* PURE: no I/O */
/* Lines of logs for people. */
#include "tools/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_SHOWN = 100 };

static json_t *parse(const char *line)
{
    return line[0] == '{' ? json_loads(line, 0, NULL) : NULL;
}

static void as_it_is(const char *line, struct buffer *out)
{
    text_clean(out, line);
    buffer_text(out, "\n");
}

static enum style level_style(const char *level)
{
    if (level && strcmp(level, "error") == 0)
        return STYLE_BAD;
    if (level && strcmp(level, "warn") == 0)
        return STYLE_WARNING;
    return STYLE_DIM;
}

void text_log_line(const char *line, const struct view *view, struct buffer *out)
{
    json_t *entry = parse(line);
    const char *msg = text_field(entry, "msg"), *ts = text_field(entry, "ts");
    const char *level = text_field(entry, "level"), *event = text_field(entry, "event");
    const char *task = text_field(entry, "task");
    char at[TEXT_VALUE], word[TEXT_VALUE];
    if (!msg || !ts) {
        as_it_is(line, out);
        json_decref(entry);
        return;
    }
    text_moment(ts, view, at);
    text_paint(out, view, STYLE_DIM, at);
    snprintf(word, sizeof word, "  %-5.5s  ", level ? level : "");
    text_paint(out, view, level_style(level), word);
    snprintf(word, sizeof word, "%-10.20s  ", event ? event : "");
    text_clean(out, word);
    if (task) {
        text_clean(out, task);
        buffer_text(out, ": ");
    }
    text_clean(out, msg);
    buffer_text(out, "\n");
    json_decref(entry);
}

/* ---- what an agent writes: records of the claude CLI's stream ---- */

static void show_tool(const json_t *part, const struct view *view, struct buffer *out)
{
    char *input = json_dumps(json_object_get(part, "input"), JSON_COMPACT);
    const char *name = text_field(part, "name");
    struct buffer words = {0};
    struct table cut;
    buffer_format(&words, "%s %s", name ? name : "tool", input ? input : "");
    table_begin(&cut, view, 1, NULL);
    table_add_cut(&cut, words.data, INPUT_SHOWN);
    cut.cells[0].style = STYLE_BUSY;
    table_end(&cut, "  ", out);
    buffer_free(&words);
    free(input);
}

static void show_message(const json_t *record, const struct view *view, struct buffer *out)
{
    const json_t *content = json_object_get(json_object_get(record, "message"), "content"), *part;
    size_t index;
    json_array_foreach(content, index, part)
    {
        const char *type = text_field(part, "type"), *text = text_field(part, "text");
        if (type && strcmp(type, "text") == 0 && text)
            text_clean_lines(out, "", text);
        else if (type && strcmp(type, "tool_use") == 0)
            show_tool(part, view, out);
    }
}

static void show_result(const json_t *record, const struct view *view, struct buffer *out)
{
    const char *subtype = text_field(record, "subtype"), *result = text_field(record, "result");
    bool wrong = json_is_true(json_object_get(record, "is_error"));
    struct buffer words = {0};
    buffer_format(&words, "%s: %s", subtype ? subtype : "result", result ? result : "");
    text_paint(out, view, wrong ? STYLE_BAD : STYLE_GOOD, words.data);
    buffer_text(out, "\n");
    buffer_free(&words);
}

void text_agent_line(const char *line, const struct view *view, struct buffer *out)
{
    json_t *record = parse(line);
    const char *type = text_field(record, "type");
    if (!type)
        as_it_is(line, out);
    else if (strcmp(type, "assistant") == 0)
        show_message(record, view, out);
    else if (strcmp(type, "result") == 0)
        show_result(record, view, out);
    json_decref(record); /* what the tools answered and the CLI's own notes are in the log itself */
}
