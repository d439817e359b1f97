/* PURE: no I/O */
#include "protocol/document.h"

#include "lib/buffer.h"
#include "protocol/message_table.h"

static const char *const presence_names[] = {"required", "may be null", "may be absent"};

static const char head[] =
    "# Messages\n\n"
    "Generated from `protocol/messages.def` by `make docs`.\n\n"
    "Every message is one JSON object over nng req/rep on `ipc://<run_dir>/<service>.ipc`, with the\n"
    "fields `v` (protocol version, %d), `kind` and `id` (text; the answer carries the request's).\n"
    "A message is refused with an `error` that names the field where `v` is another, `kind` is unknown,\n"
    "a field is missing or has another type, or the body is over %d bytes. Unknown fields are ignored.\n"
    "Times between services are milliseconds since 1970 UTC and end in `_ms`.\n\n"
    "Nothing counts as delivered before it is answered, and nothing is answered before it is durable;\n"
    "whoever asks repeats until then, so every handler is idempotent by the message's own key.\n\n"
    "By hand, with `nngcat` of Debian's package nng-utils (its exit status is 0 even where nothing came\n"
    "back: look at the output):\n\n"
    "    nngcat --req --dial ipc://$ORCH_RUN_DIR/scheduler.ipc --raw --recv-timeout 2 \\\n"
    "        --data '{\"v\":1,\"kind\":\"status\",\"id\":\"1\"}'\n"
    "    nngcat --sub --dial ipc://$ORCH_RUN_DIR/events.ipc --raw\n\n"
    "Never `--listen` on the path of a living service: with nng 1.5.2 that alone deafens it.\n\n";

static void document_message(struct buffer *out, const struct message_info *info)
{
    buffer_format(out, "## `%s`\n\n%s\n\nFrom %s to %s", info->kind, info->doc, info->from,
                  info->to);
    if (*info->answer)
        buffer_format(out, ", answered by `%s`", info->answer);
    buffer_text(out, ".\n\n");
    if (!info->fields->name)
        return;
    buffer_text(out, "| field | type | presence | meaning |\n| --- | --- | --- | --- |\n");
    for (const struct field_info *field = info->fields; field->name; field++) {
        buffer_format(out, "| `%s` | %s | %s | ", field->name, field_type_names[field->type],
                      presence_names[field->presence]);
        for (const char *at = field->doc; *at; at++)
            buffer_format(out, *at == '|' ? "\\%c" : "%c", *at);
        buffer_text(out, " |\n");
    }
    buffer_text(out, "\n");
}

char *message_document(void)
{
    struct buffer out = {0};
    buffer_format(&out, head, MESSAGE_VERSION, MESSAGE_MAX_BYTES);
    for (int i = 0; i < MESSAGE_KIND_COUNT; i++)
        document_message(&out, &message_table[i]);
    return buffer_take(&out);
}
