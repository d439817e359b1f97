/* The inbox as the scheduler sees it: accepted events in the order of their acceptance, read-only,
 * beside their writer.
 *
 *     while ((count = inbox_read_next(inbox, position, 64, &rows, fault, sizeof fault)) > 0)
 *         for (int i = 0; i < count; i++)
 *             ... rows[i] ...; position = rows[i].seq;     (in the transaction of what was done)
 *
 * Every call is a read transaction of its own that has ended when the call returns: a reader that
 * stays would keep ingress from starting its write-ahead log over. Depends on no other part of
 * ingress. */
#ifndef ORCH_INBOX_READ_H
#define ORCH_INBOX_READ_H

#include <stddef.h>
#include <stdint.h>

struct inbox_read;

struct inbox_row {
    int64_t seq;
    int64_t received_at;  /* wall clock, milliseconds */
    const char *source;   /* plane | gitea | local | operator */
    const char *delivery; /* unique per source */
    const char *headers;  /* text of a JSON object: the header values that mean something */
    const char *body;     /* the raw bytes as they came, with a NUL beyond size */
    size_t size;
};

/* Opens nothing yet. Used by one thread. */
struct inbox_read *inbox_read_new(const char *path);
void inbox_read_free(struct inbox_read *inbox);

/* The rows after this seq, oldest first, at most max of them (and fewer where their bodies are
 * large: a call holds about 4 MiB, or one row). *rows and all they point to are borrowed until the
 * next call.
 *
 * Returns how many; 0: none yet, also where ingress has not made the file; -1 with a text in fault:
 * the file is there and cannot be read, or is of another major version. Opens the file where
 * needed, after a fault and after it was replaced too. Waits at most 100 ms for a lock. */
int inbox_read_next(struct inbox_read *inbox, int64_t after, int max, const struct inbox_row **rows,
                    char *fault, size_t size);

#endif
