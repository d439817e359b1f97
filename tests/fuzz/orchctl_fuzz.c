/* Pages, events, log lines and agents' output in a person's terminal: nothing from outside steers
 * it. */
#include <jansson.h>
#include "tests/fuzz/fuzz.h"
#include "tools/text.h"

static const struct view view = {.now_ms = 1700000000000, .zone_ms = 0, .colour = false};

static void check(struct buffer *out)
{
    for (size_t i = 0; i < out->size; i++) {
        unsigned char c = (unsigned char)out->data[i];
        REQUIRE((c >= 0x20 && c != 0x7f) || c == '\n');
        REQUIRE(c != 0xc2 || (unsigned char)out->data[i + 1] >= 0xa0); /* C1 controls */
    }
    buffer_free(out);
}

static void show_pages(const json_t *page)
{
    static void (*const pages[])(const json_t *, const struct view *,
                                 struct buffer *) = {text_queue, text_tasks, text_task, text_issue};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        struct buffer out = {0};
        pages[i](page, &view, &out);
        check(&out);
    }
    struct buffer out = {0};
    text_status(page, page, &view, &out);
    check(&out);
    for (int all = 0; all < 2; all++) {
        out = (struct buffer){0};
        text_event(page, all, &view, &out);
        check(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    struct buffer out = {0};
    text_log_line(text, &view, &out);
    check(&out);
    out = (struct buffer){0};
    text_agent_line(text, &view, &out);
    check(&out);
    out = (struct buffer){0};
    text_clean_lines(&out, "  ", text);
    check(&out);
    json_t *page = json_loads(text, 0, NULL);
    if (page)
        show_pages(page);
    json_decref(page);
    free(text);
    return 0;
}
