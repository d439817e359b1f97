/* A tracker of issues behind one narrow interface: the notifier uses the write side, the reconciler
 * the read side. Another tracker is one more file with a struct tracker_driver, and a row in
 * tracker.c.
 *
 * Calls block (bounded by the driver's own time-outs) and may be repeated: a write carries an
 * external id, and the same id twice is one change. */
#ifndef ORCH_TRACKER_H
#define ORCH_TRACKER_H

#include <stdint.h>
#include <jansson.h>
#include "lib/config.h"
#include "protocol/bus.h"

enum tracker_result {
    TRACKER_DONE,      /* also where it had been done before */
    TRACKER_TRANSIENT, /* try again later; it may have been done */
    TRACKER_PERMANENT, /* will not succeed */
    TRACKER_NOT_FOUND, /* there is no such issue */
};

struct tracker_fault {
    char reason[256];       /* "code: text" */
    int64_t retry_after_ms; /* what the tracker asked for; 0: nothing */
};

struct tracker {
    const struct tracker_driver *driver; /* NULL: this tracker has none */
    const struct config *config;
    const struct project *project;
    struct bus *bus; /* for the built-in tracker */
};

/* One write. Everything is borrowed. */
struct tracker_write {
    const char *issue; /* the tracker's own id */
    const char *external_id;
    const char *author; /* comment: the role whose bot speaks, or stream */
    const char *body;   /* comment: Markdown */
    const char *status; /* status: the logical key */
};

/* An issue as every driver shows it:
 * {id, key, title, body, status (its name), status_key (logical, "" for none of ours), group (null:
 *  unknown), labels[], updated_ms, status_ours (we wrote it last), status_kept (a person's, which
 * nothing of ours replaces before it was heard; may be absent), comments[{author, body, at_ms}]}
 */
struct tracker_driver {
    const char *name; /* as in the project's key tracker */
    enum tracker_result (*status_set)(const struct tracker *, const struct tracker_write *,
                                      struct tracker_fault *);
    enum tracker_result (*comment_put)(const struct tracker *, const struct tracker_write *,
                                       struct tracker_fault *);
    /* Issues after *cursor (0: from the start), oldest first, as a new array; *cursor is moved, 0
     * where there is no further page. */
    enum tracker_result (*issues_page)(const struct tracker *, int64_t *cursor, json_t **issues,
                                       struct tracker_fault *);
    enum tracker_result (*issue)(const struct tracker *, const char *id, json_t **issue,
                                 struct tracker_fault *);
};

/* Borrows all. driver is NULL where the project's tracker has none here. */
struct tracker tracker_of(const struct config *config, const struct project *project,
                          struct bus *bus);

/* TRACKER_PERMANENT and the words where the tracker has no driver; else the driver's own answer. */
enum tracker_result tracker_status_set(const struct tracker *tracker,
                                       const struct tracker_write *write,
                                       struct tracker_fault *fault);
enum tracker_result tracker_comment_put(const struct tracker *tracker,
                                        const struct tracker_write *write,
                                        struct tracker_fault *fault);
enum tracker_result tracker_issues_page(const struct tracker *tracker, int64_t *cursor,
                                        json_t **issues, struct tracker_fault *fault);
enum tracker_result tracker_issue(const struct tracker *tracker, const char *id, json_t **issue,
                                  struct tracker_fault *fault);

#endif
