/* PURE: no I/O */
/* Aligned and short: JSON pages as text for people. Whatever came from outside is cleaned on the
 * way: no control character of a title, a reason or an agent reaches the terminal. */
#ifndef ORCH_CTL_TEXT_H
#define ORCH_CTL_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "lib/buffer.h"

/* For whom a page is made. */
struct view {
    int64_t now_ms;  /* wall clock */
    int64_t zone_ms; /* local time minus UTC, now */
    bool colour;     /* a terminal that shows colours */
};

enum style {
    STYLE_PLAIN,
    STYLE_STRONG,
    STYLE_DIM,
    STYLE_GOOD,
    STYLE_BUSY,
    STYLE_WARNING,
    STYLE_BAD,
    STYLE_COUNT
};

/* ---- text_table.c ---- */

/* Adds text with control characters, marks of direction and broken UTF-8 made visible: on one line,
 * a newline is shown as \n. */
void text_clean(struct buffer *out, const char *text);
/* The same, not longer than most characters; what is cut ends in an ellipsis. */
void text_clean_cut(struct buffer *out, const char *text, size_t most);
/* As text_clean, but lines stay lines, each behind the indent. */
void text_clean_lines(struct buffer *out, const char *indent, const char *text);
/* Cleaned, in the style where the view has colours. */
void text_paint(struct buffer *out, const struct view *view, enum style style, const char *text);

struct cell {
    char *text;
    enum style style;
};

/* Rows of texts in columns; widths are counted in characters. */
struct table {
    const struct view *view;
    struct cell *cells;
    size_t columns, count;
    bool headed;
};
/* heads: a title per column, shown once there is a row; NULL for none. Borrows both. Columns at the
 * end in which no row has anything are left out. */
void table_begin(struct table *table, const struct view *view, size_t columns,
                 const char *const *heads);
/* Copies, cleaned; NULL or "" is "-". */
void table_add(struct table *table, const char *cell);
void table_add_style(struct table *table, const char *cell, enum style style);
void table_add_cut(struct table *table, const char *cell, size_t most);
/* Two spaces between columns, indent before each row. Frees the cells. */
void table_end(struct table *table, const char *indent, struct buffer *out);

/* ---- text_values.c ---- */

enum { TEXT_VALUE = 24 }; /* bytes of a short value */

const char *text_field(const json_t *object, const char *field);
/* 0 where it is no integer. */
long long text_number(const json_t *object, const char *field);

/* "12s" "3m" "2h 5m" "4d 3h"; "-" where since_text is no time. */
void text_age(const char *since_text, int64_t now_ms, char out[TEXT_VALUE]);
void text_span(int64_t seconds, char out[TEXT_VALUE]);
/* Local time: "22:51:26" today, else "11-25 22:51"; "-" where it is no time. */
void text_moment(const char *at_text, const struct view *view, char out[TEXT_VALUE]);
/* What stands behind the code of a reason "code: text". */
const char *text_reason(const char *reason);
/* Tokens and cost of a task or a run, "unknown" where that is so. */
void text_usage(const json_t *object, struct buffer *out);

void table_add_field(struct table *table, const json_t *object, const char *field);
void table_add_number(struct table *table, const json_t *object, const char *field);
void table_add_age(struct table *table, const json_t *object, const char *field);
void table_add_moment(struct table *table, const json_t *object, const char *field);

/* ---- the pages: text_status.c, text_task.c ---- */

/* health, queue: of those addresses; NULL parts are left out. */
void text_status(const json_t *health, const json_t *queue, const struct view *view,
                 struct buffer *out);
void text_queue(const json_t *queue, const struct view *view, struct buffer *out);
void text_tasks(const json_t *tasks, const struct view *view, struct buffer *out);
void text_task(const json_t *task, const struct view *view, struct buffer *out);
void text_effects(const json_t *effects, const struct view *view, struct buffer *out);
/* An issue of the built-in tracker that is no task. */
void text_issue(const json_t *issue, const struct view *view, struct buffer *out);

/* ---- lines: text_event.c, text_log.c ---- */

/* One event of the journal on a line; nothing where it is of no interest to people, unless all. */
void text_event(const json_t *event, bool all, const struct view *view, struct buffer *out);
/* One line of a service's log: a JSON line in words, any other as it is. */
void text_log_line(const char *line, const struct view *view, struct buffer *out);
/* One line of an agent's output: records of its stream in words, any other as it is. */
void text_agent_line(const char *line, const struct view *view, struct buffer *out);

#endif
