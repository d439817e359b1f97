/* PURE: no I/O */
#include "tools/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/utf8.h"

/* ---- what may reach a terminal ---- */

/* Terminals obey the controls of U+0080 to U+009F as well, and marks of direction (U+200E, U+202E
 * and their like) make a line read as another one. */
static bool is_active(const unsigned char *c, size_t length)
{
    if (length == 1)
        return c[0] < 0x20 || c[0] == 0x7f;
    if (length == 2)
        return c[0] == 0xc2 && c[1] < 0xa0;
    if (length != 3 || c[0] != 0xe2)
        return false;
    if (c[1] == 0x80)
        return c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae);
    return c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9;
}

static void show_active(struct buffer *out, const unsigned char *c, size_t length)
{
    if (length == 1 && (c[0] == '\n' || c[0] == '\r' || c[0] == '\t'))
        buffer_format(out, "\\%c", c[0] == '\n' ? 'n' : c[0] == '\r' ? 'r' : 't');
    else if (length == 1)
        buffer_format(out, "\\x%02x", c[0]);
    else if (length == 2)
        buffer_format(out, "\\u%04x", (c[0] & 0x1fu) << 6 | (c[1] & 0x3fu));
    else
        buffer_format(out, "\\u%04x", (c[0] & 0xfu) << 12 | (c[1] & 0x3fu) << 6 | (c[2] & 0x3fu));
}

static void clean(struct buffer *out, const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t length = utf8_character(text + at, size - at);
        const unsigned char *c = (const unsigned char *)text + at;
        if (length == 0)
            buffer_format(out, "\\x%02x", c[0]);
        else if (is_active(c, length))
            show_active(out, c, length);
        else
            buffer_add(out, text + at, length);
        at += length ? length : 1;
    }
}

void text_clean(struct buffer *out, const char *text)
{
    clean(out, text, strlen(text));
}

void text_clean_lines(struct buffer *out, const char *indent, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        buffer_text(out, indent);
        clean(out, text, length && text[length - 1] == '\r' ? length - 1 : length);
        buffer_text(out, "\n");
        text += length + (text[length] == '\n');
    }
}

static bool is_tail(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += !is_tail(*text);
    return width;
}

void text_clean_cut(struct buffer *out, const char *text, size_t most)
{
    struct buffer clean = {0};
    text_clean(&clean, text);
    const char *at = clean.size ? clean.data : "";
    if (width_of(at) <= most) {
        buffer_text(out, at);
    } else {
        size_t size = 0;
        for (size_t width = 0; width + 1 < most; width++) {
            do
                size++;
            while (is_tail(at[size]));
        }
        buffer_format(out, "%.*s…", (int)size, at);
    }
    buffer_free(&clean);
}

/* ---- colours ---- */

static const char *const style_codes[STYLE_COUNT] = {
    [STYLE_PLAIN] = "",  [STYLE_STRONG] = "1",   [STYLE_DIM] = "2",  [STYLE_GOOD] = "32",
    [STYLE_BUSY] = "36", [STYLE_WARNING] = "33", [STYLE_BAD] = "31",
};

static void begin_style(struct buffer *out, const struct view *view, enum style style)
{
    if (view->colour && style != STYLE_PLAIN)
        buffer_format(out, "\033[%sm", style_codes[style]);
}

static void end_style(struct buffer *out, const struct view *view, enum style style)
{
    if (view->colour && style != STYLE_PLAIN)
        buffer_text(out, "\033[0m");
}

void text_paint(struct buffer *out, const struct view *view, enum style style, const char *text)
{
    begin_style(out, view, style);
    text_clean(out, text);
    end_style(out, view, style);
}

/* ---- columns ---- */

static void add_cell(struct table *table, char *text, enum style style)
{
    table->cells = xrealloc(table->cells, (table->count + 1) * sizeof *table->cells);
    table->cells[table->count++] = (struct cell){text, style};
}

void table_begin(struct table *table, const struct view *view, size_t columns,
                 const char *const *heads)
{
    *table = (struct table){.view = view, .columns = columns, .headed = heads != NULL};
    for (size_t i = 0; heads && i < columns; i++)
        add_cell(table, xstrdup(heads[i]), STYLE_DIM);
}

void table_add_style(struct table *table, const char *cell, enum style style)
{
    struct buffer text = {0};
    text_clean(&text, cell && *cell ? cell : "-");
    add_cell(table, buffer_take(&text), style);
}

void table_add(struct table *table, const char *cell)
{
    table_add_style(table, cell, STYLE_PLAIN);
}

void table_add_cut(struct table *table, const char *cell, size_t most)
{
    struct buffer text = {0};
    text_clean_cut(&text, cell && *cell ? cell : "-", most);
    add_cell(table, buffer_take(&text), STYLE_PLAIN);
}

static size_t column_width(const struct table *table, size_t column)
{
    size_t widest = 0;
    for (size_t i = column; i < table->count; i += table->columns) {
        size_t width = width_of(table->cells[i].text);
        if (width > widest)
            widest = width;
    }
    return widest;
}

static bool is_empty(const struct table *table, size_t i)
{
    return strcmp(table->cells[i].text, "-") == 0;
}

/* Columns less those at the end in which no row has anything. */
static size_t filled_columns(const struct table *table)
{
    size_t filled = 1;
    for (size_t row = table->headed ? table->columns : 0; row + table->columns <= table->count;
         row += table->columns) {
        for (size_t i = filled; i < table->columns; i++) {
            if (!is_empty(table, row + i))
                filled = i + 1;
        }
    }
    return filled;
}

static void show_row(const struct table *table, const size_t *widths, size_t first, size_t last,
                     struct buffer *out)
{
    while (last > 1 && is_empty(table, first + last - 1)) /* an empty end is no text */
        last--;
    for (size_t i = 0; i < last; i++) {
        const struct cell *cell = &table->cells[first + i];
        begin_style(out, table->view, cell->style);
        buffer_text(out, cell->text);
        end_style(out, table->view, cell->style);
        for (size_t pad = width_of(cell->text); i + 1 < last && pad < widths[i] + 2; pad++)
            buffer_text(out, " ");
    }
    buffer_text(out, "\n");
}

void table_end(struct table *table, const char *indent, struct buffer *out)
{
    size_t *widths = xcalloc(table->columns, sizeof *widths);
    for (size_t i = 0; i < table->columns; i++)
        widths[i] = column_width(table, i);
    size_t filled = filled_columns(table), heads = table->headed ? table->columns : 0;
    bool has_rows = table->count > heads;
    for (size_t i = 0; has_rows && i + table->columns <= table->count; i += table->columns) {
        buffer_text(out, indent);
        show_row(table, widths, i, filled, out);
    }
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(widths);
    *table = (struct table){0};
}
