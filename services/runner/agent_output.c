/* PURE: no I/O */
#include "services/runner/agent_output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/utf8.h"

enum { LINE_MAX_BYTES = 32 * 1024 * 1024, TAIL_LINE_MAX = 500 };

const char *output_text_of(const json_t *record, const char *name)
{
    const char *text = json_string_value(json_object_get(record, name));
    return text ? text : "";
}

void output_keep(char *out, size_t size, const char *text)
{
    if (*text)
        snprintf(out, size, "%s", text);
}

/* ---- the tail, for people ---- */

static void tail_add(struct agent_output *output, const char *text, size_t size, bool spoken)
{
    if (size == 0)
        return;
    size_t at = output->tail_count++ % OUTPUT_TAIL_LINES;
    free(output->tail[at]);
    output->tail[at] = utf8_text(text, size, TAIL_LINE_MAX);
    output->spoken[at] = spoken;
    for (char *c = output->tail[at]; *c; c++) {
        if ((unsigned char)*c < ' ')
            *c = ' ';
    }
}

void output_say(struct agent_output *output, const char *text, bool judged)
{
    tail_add(output, text, strlen(text), !judged);
}

/* From the end, as many whole lines as fit. */
static char *tail_of(const struct agent_output *output, bool with_spoken)
{
    struct buffer text = {0};
    size_t count = output->tail_count < OUTPUT_TAIL_LINES ? output->tail_count : OUTPUT_TAIL_LINES;
    size_t first = output->tail_count - count, from = output->tail_count;
    for (size_t room = OUTPUT_TAIL_BYTES; from > first; from--) {
        size_t size = strlen(output->tail[(from - 1) % OUTPUT_TAIL_LINES]) + 1;
        if (size > room)
            break;
        room -= size;
    }
    for (; from < output->tail_count; from++) {
        size_t at = from % OUTPUT_TAIL_LINES;
        if (with_spoken || !output->spoken[at])
            buffer_format(&text, "%s\n", output->tail[at]);
    }
    return buffer_take(&text);
}

char *output_tail(const struct agent_output *output)
{
    return tail_of(output, true);
}

char *output_own_tail(const struct agent_output *output)
{
    return tail_of(output, false);
}

/* ---- records ---- */

static void take_assistant(struct agent_output *output, const json_t *record)
{
    const json_t *message = json_object_get(record, "message");
    const char *id = output_text_of(message, "id");
    size_t index;
    const json_t *part;
    json_array_foreach(json_object_get(message, "content"), index, part)
    {
        const char *type = output_text_of(part, "type");
        if (strcmp(type, "tool_use") == 0)
            output_keep(output->last_tool, sizeof output->last_tool, output_text_of(part, "name"));
        if (strcmp(type, "text") == 0)
            tail_add(output, output_text_of(part, "text"), strlen(output_text_of(part, "text")),
                     true);
    }
    if (json_is_string(json_object_get(record, "parent_tool_use_id")))
        return; /* of a subagent */
    if (*id && strncmp(id, output->last_message, OUTPUT_MESSAGE_ID - 1) == 0)
        return;
    output_keep(output->last_message, sizeof output->last_message, id);
    output->turns++;
    output->output_tokens +=
        json_integer_value(json_object_get(json_object_get(message, "usage"), "output_tokens"));
}

static void take_system(struct agent_output *output, const json_t *record)
{
    const char *subtype = output_text_of(record, "subtype");
    if (strcmp(subtype, "init") == 0) {
        output_keep(output->version, sizeof output->version,
                    output_text_of(record, "claude_code_version"));
        output_keep(output->model, sizeof output->model, output_text_of(record, "model"));
    } else if (strcmp(subtype, "model_fallback") == 0) {
        output->fell_back = true;
        output_keep(output->model, sizeof output->model, output_text_of(record, "fallback_model"));
    } else if (strcmp(subtype, "api_retry") == 0) {
        char *line = xformat("(waiting: %s, attempt %lld)", output_text_of(record, "error"),
                             (long long)json_integer_value(json_object_get(record, "attempt")));
        tail_add(output, line, strlen(line), false);
        free(line);
    }
}

static void take_limit(struct agent_output *output, const json_t *record)
{
    const json_t *info = json_object_get(record, "rate_limit_info");
    output->limit_rejected = strcmp(output_text_of(info, "status"), "rejected") == 0;
    output->limit_resets = json_integer_value(json_object_get(info, "resetsAt"));
}

static void take_result(struct agent_output *output, json_t *record)
{
    json_decref(output->result);
    output->result = json_incref(record);
    const char *text = output_text_of(record, "result");
    tail_add(output, text, strlen(text), true);
    size_t index;
    const json_t *error;
    json_array_foreach(json_object_get(record, "errors"), index, error)
    {
        if (json_is_string(error))
            tail_add(output, json_string_value(error), json_string_length(error), false);
    }
}

void output_take_stream_json(struct agent_output *output, json_t *record)
{
    const char *type = output_text_of(record, "type");
    output_keep(output->session, sizeof output->session, output_text_of(record, "session_id"));
    if (strcmp(type, "assistant") == 0)
        take_assistant(output, record);
    else if (strcmp(type, "system") == 0)
        take_system(output, record);
    else if (strcmp(type, "rate_limit_event") == 0)
        take_limit(output, record);
    else if (strcmp(type, "result") == 0)
        take_result(output, record);
}

static void take_line(struct agent_output *output, const char *line, size_t size)
{
    while (size && (line[size - 1] == '\r' || line[size - 1] == ' '))
        size--;
    json_t *record = size && line[0] == '{' ? json_loadb(line, size, 0, NULL) : NULL;
    if (!record) {
        tail_add(output, line, size, false);
        return;
    }
    (output->take ? output->take : output_take_stream_json)(output, record);
    json_decref(record);
}

/* A line over the limit is kept up to it: no JSON then, and said in the tail. */
static void partial_add(struct agent_output *output, const char *data, size_t size)
{
    size_t left = LINE_MAX_BYTES - output->partial_size;
    size = size < left ? size : left;
    if (output->partial_size + size + 1 > output->partial_room) {
        output->partial_room = (output->partial_size + size + 1) * 2;
        output->partial = xrealloc(output->partial, output->partial_room);
    }
    memcpy(output->partial + output->partial_size, data, size);
    output->partial_size += size;
}

void output_feed(struct agent_output *output, const char *data, size_t size)
{
    while (size) {
        const char *end = memchr(data, '\n', size);
        size_t piece = end ? (size_t)(end - data) : size;
        if (!end || output->partial_size)
            partial_add(output, data, piece);
        if (end && output->partial_size) {
            take_line(output, output->partial, output->partial_size);
            output->partial_size = 0;
        } else if (end) {
            take_line(output, data, piece);
        }
        piece += end ? 1 : 0;
        data += piece;
        size -= piece;
    }
}

void output_end(struct agent_output *output)
{
    if (output->partial_size)
        take_line(output, output->partial, output->partial_size);
    output->partial_size = 0;
}

void output_free(struct agent_output *output)
{
    json_decref(output->result);
    for (size_t i = 0; i < OUTPUT_TAIL_LINES; i++)
        free(output->tail[i]);
    free(output->partial);
    free(output->final_text);
    *output = (struct agent_output){0};
}

/* ---- the result record ---- */

json_t *output_usage(const json_t *result)
{
    const json_t *usage = json_object_get(result, "usage");
    const json_t *input = json_object_get(usage, "input_tokens");
    const json_t *output = json_object_get(usage, "output_tokens");
    if (!json_is_integer(input) || !json_is_integer(output))
        return NULL;
    return json_pack("{sI sI sI sI}", "input", json_integer_value(input), "output",
                     json_integer_value(output), "cache_read",
                     json_integer_value(json_object_get(usage, "cache_read_input_tokens")),
                     "cache_creation",
                     json_integer_value(json_object_get(usage, "cache_creation_input_tokens")));
}

double output_total_cost(const json_t *result)
{
    const json_t *cost = json_object_get(result, "total_cost_usd");
    return json_is_number(cost) && json_number_value(cost) >= 0 ? json_number_value(cost) : -1;
}

double output_run_cost(double total, double before)
{
    return total >= 0 && before >= 0 && before <= total ? total - before : total;
}

json_t *output_denied_tools(const json_t *result)
{
    json_t *names = json_array();
    size_t index;
    const json_t *denial;
    json_array_foreach(json_object_get(result, "permission_denials"), index, denial)
    {
        const char *name = output_text_of(denial, "tool_name");
        if (*name)
            json_array_append_new(names, json_string(name));
    }
    return names;
}
