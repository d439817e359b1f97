/* Inside of the reading of main.db: rows as JSON. Others include store_read.h.
 *
 * A column's name says where and as what it goes: "field", "field:type" or "object.field:type" with
 * the types time (milliseconds to RFC 3339), json (text that is JSON) and bool. An object of which
 * every part is null is null itself. */
#ifndef ORCH_STORE_READ_ROWS_H
#define ORCH_STORE_READ_ROWS_H

#include <sqlite3.h>
#include "services/scheduler/store_read.h"

enum { ROWS_MAX = 1000 };

struct store_read {
    char *path;
    sqlite3 *db;
    sqlite3_stmt *version;
    char fault[160]; /* of the first failure since store_read_begin */
};

/* bindings: one letter per parameter, i (int64_t) or s (text, may be NULL). What cannot be read is
 * left out and noted for store_read_end. Caller decrefs. */
json_t *read_rows(struct store_read *store, const char *sql, const char *bindings, ...);
/* The first row, or NULL. */
json_t *read_row(struct store_read *store, const char *sql, const char *bindings, ...);
/* First column of the first row; -1 where there is none. */
int64_t read_number(struct store_read *store, const char *sql);
int64_t zero_if_none(int64_t value);

#endif
