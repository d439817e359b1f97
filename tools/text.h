/* PURE: no I/O */
/* Aligned and short: JSON pages as text for people. */
#ifndef ORCH_CTL_TEXT_H
#define ORCH_CTL_TEXT_H

#include <stdint.h>
#include <jansson.h>
#include "lib/buffer.h"

/* Rows of texts in columns; widths are counted in characters. */
struct table {
    char **cells;
    size_t columns, count;
};
void table_begin(struct table *table, size_t columns);
/* Copies; NULL is "-". */
void table_add(struct table *table, const char *cell);
/* Two spaces between columns, indent before each row. Frees the cells. */
void table_end(struct table *table, const char *indent, struct buffer *out);

/* "12s" "3m" "2h 5m" "4d 3h"; "-" where since_text is no time. */
void text_age(const char *since_text, int64_t now_ms, char out[24]);
void text_span(int64_t seconds, char out[24]);

/* The pages. health, queue: of those addresses; NULL parts are left out. */
void text_status(const json_t *health, const json_t *queue, int64_t now_ms, struct buffer *out);
void text_queue(const json_t *queue, int64_t now_ms, struct buffer *out);
void text_tasks(const json_t *tasks, int64_t now_ms, struct buffer *out);
void text_task(const json_t *task, int64_t now_ms, struct buffer *out);
/* One event of the journal on a line. */
void text_event(const json_t *event, struct buffer *out);
/* One line of a log: a JSON line in words, any other as it is. */
void text_log_line(const char *line, struct buffer *out);

#endif
