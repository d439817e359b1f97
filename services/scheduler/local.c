#include "services/scheduler/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "services/scheduler/findings.h"

static const char id_prefix[] = "local-";

static int64_t id_of(const char *issue)
{
    return strncmp(issue, id_prefix, strlen(id_prefix)) == 0
               ? strtoll(issue + strlen(id_prefix), NULL, 10)
               : 0;
}

/* SHOP of SHOP-12. */
static const struct project *project_of(struct scheduler *scheduler, const char *key)
{
    char name[80];
    const char *dash = strrchr(key, '-');
    snprintf(name, sizeof name, "%.*s", dash ? (int)(dash - key) : 0, key);
    const struct project *project = scheduler_project(scheduler, name);
    return project && strcmp(project->tracker, "local") == 0 ? project : NULL;
}

/* updated_at grows with every change, even within a millisecond: what was read of an issue is then
 * either older than a change or contains it. */

/* ---- people's changes ---- */

static const char *actor_of(const json_t *event)
{
    const char *actor = message_text(event, "actor", "");
    return *actor ? actor : "somebody";
}

static void set_status(struct scheduler *scheduler, int64_t id, const json_t *event,
                       struct local_change *change)
{
    const char *name = message_text(event, "status", NULL);
    if (!name)
        return;
    enum status status = status_by_name(name, NULL);
    bool command = status < STATUS_COUNT && status_table[status].command;
    /* in its own spelling where it is one of ours */
    const char *shown = status < STATUS_COUNT ? status_table[status].name : name;
    store_run(scheduler->store,
              "UPDATE local_issues SET status = ?2, status_ours = 0, status_actor = ?3,"
              " status_external_id = NULL, status_unheard = ?4, updated_at = max(?5, updated_at + "
              "1) WHERE id = ?1",
              "issii", id, shown, actor_of(event), (int64_t)(command && !change->announced),
              scheduler->now_ms);
    store_run(scheduler->store,
              "INSERT INTO local_status_history (issue, status, actor, at)"
              " VALUES (?1, ?2, ?3, ?4)",
              "issi", id, shown, actor_of(event), scheduler->now_ms);
    if (command && change->announced)
        change->command = status;
}

static void set_labels(struct scheduler *scheduler, int64_t id, const json_t *event)
{
    const json_t *labels = json_object_get(event, "labels");
    if (!json_is_array(labels))
        return;
    char *text = json_dumps(labels, JSON_COMPACT);
    store_run(scheduler->store,
              "UPDATE local_issues SET labels = ?2, updated_at = max(?3, updated_at + 1)"
              " WHERE id = ?1",
              "isi", id, text, scheduler->now_ms);
    free(text);
}

/* Where the event names none it stays. */
static void set_priority(struct scheduler *scheduler, int64_t id, const json_t *event)
{
    const char *name = message_text(event, "priority", NULL);
    if (priority_rank(name) >= 0)
        store_run(scheduler->store, "UPDATE local_issues SET priority = ?2 WHERE id = ?1", "is", id,
                  name);
}

static void set_issue(struct scheduler *scheduler, int64_t id, const json_t *event,
                      struct local_change *change)
{
    store_run(scheduler->store,
              "UPDATE local_issues SET title = ?2, body = ?3, updated_at = max(?4, updated_at + 1)"
              " WHERE id = ?1",
              "issi", id, message_text(event, "title", ""), message_text(event, "body", ""),
              scheduler->now_ms);
    set_labels(scheduler, id, event);
    set_priority(scheduler, id, event);
    set_status(scheduler, id, event, change);
}

static void add_comment(struct scheduler *scheduler, int64_t id, const json_t *event,
                        struct local_change *change)
{
    const char *body = message_text(event, "body", "");
    store_run(scheduler->store,
              "INSERT INTO local_comments (issue, author, body, at) VALUES (?1, ?2, ?3, ?4)",
              "issi", id, actor_of(event), body, scheduler->now_ms);
    store_run(scheduler->store,
              "UPDATE local_issues SET updated_at = max(?2, updated_at + 1) WHERE id = ?1", "ii",
              id, scheduler->now_ms);
    change->approved = change->announced && strstr(body, ":approved:") != NULL;
}

static int64_t create(struct scheduler *scheduler, const struct project *project,
                      const json_t *event)
{
    store_run(scheduler->store,
              "INSERT INTO local_issues (project, key, title, status, created_at, updated_at)"
              " VALUES (?1, ?2, ?3, 'Backlog', ?4, ?4)",
              "sssi", project->key, message_text(event, "issue", ""),
              message_text(event, "title", ""), scheduler->now_ms);
    return store_last_id(scheduler->store);
}

void local_apply(struct scheduler *scheduler, const json_t *event, struct local_change *change)
{
    const char *kind = message_text(event, "kind", ""), *key = message_text(event, "issue", "");
    const struct project *project = project_of(scheduler, key);
    *change = (struct local_change){.command = STATUS_COUNT,
                                    .announced = message_flag(event, "announce", true)};
    if (!project)
        return; /* LOCAL_UNKNOWN_PROJECT */
    int64_t id =
        store_number(scheduler->store, 0, "SELECT id FROM local_issues WHERE key = ?1", "s", key);
    bool is_issue = strcmp(kind, "issue") == 0;
    if (!id && is_issue)
        id = create(scheduler, project, event);
    change->result = id ? LOCAL_CHANGED : LOCAL_UNKNOWN_ISSUE;
    change->project = project->key;
    snprintf(change->issue, sizeof change->issue, "%s%lld", id_prefix, (long long)id);
    if (!id)
        return;
    if (is_issue)
        set_issue(scheduler, id, event, change);
    else if (strcmp(kind, "status") == 0)
        set_status(scheduler, id, event, change);
    else if (strcmp(kind, "comment") == 0)
        add_comment(scheduler, id, event, change);
    else
        set_labels(scheduler, id, event);
}

bool local_issue(struct scheduler *scheduler, const char *issue, json_t **found)
{
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT key, title, body, labels, priority FROM local_issues"
                                  " WHERE id = ?1",
                                  "i", id_of(issue));
    if (!store_row(scheduler->store, row))
        return false;
    json_t *labels = json_loads(column_text(row, 3), 0, NULL);
    *found = json_pack("{ss ss ss so ss}", "key", column_text(row, 0), "title", column_text(row, 1),
                       "body", column_text(row, 2), "labels", labels ? labels : json_array(),
                       "priority", column_text(row, 4));
    store_done(row);
    return true;
}

void local_heard(struct scheduler *scheduler, const char *issue)
{
    store_run(scheduler->store,
              "UPDATE local_issues SET status_unheard = 0 WHERE id = ?1 AND status_unheard <> 0",
              "i", id_of(issue));
}

/* ---- the notifier's writes ---- */

static json_t *ack(bool duplicate)
{
    return message_new(MESSAGE_ack, NULL, "{sb}", "duplicate", (int)duplicate);
}

static bool exists(struct scheduler *scheduler, int64_t id)
{
    return store_number(scheduler->store, 0, "SELECT 1 FROM local_issues WHERE id = ?1", "i", id) !=
           0;
}

json_t *local_put_comment(struct scheduler *scheduler, const json_t *message)
{
    int64_t id = id_of(message_text(message, "issue", ""));
    if (!exists(scheduler, id))
        return message_refusal("unknown-issue", "issue", "the built-in tracker has no such issue");
    int changed = store_run(scheduler->store,
                            "INSERT INTO local_comments (issue, author, body, external_id, at)"
                            " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (external_id) DO NOTHING",
                            "isssi", id, message_text(message, "author", ""),
                            message_text(message, "body", ""),
                            message_text(message, "external_id", ""), scheduler->now_ms);
    if (changed > 0)
        store_run(scheduler->store,
                  "UPDATE local_issues SET updated_at = max(?2, updated_at + 1) WHERE id = ?1",
                  "ii", id, scheduler->now_ms);
    return ack(changed == 0);
}

/* A command that a person gave and that nobody has heard yet is not written over, or it would be
 * lost; but Confirm Deploy given before it was asked for is asked for again. */
static bool is_kept(struct scheduler *scheduler, int64_t id)
{
    char *name = store_text(scheduler->store,
                            "SELECT status FROM local_issues WHERE id = ?1 AND status_unheard <> 0",
                            "i", id);
    bool kept = name && status_by_name(name, NULL) != STATUS_CONFIRM_DEPLOY;
    free(name);
    return kept;
}

json_t *local_put_status(struct scheduler *scheduler, const json_t *message)
{
    int64_t id = id_of(message_text(message, "issue", ""));
    enum status status = status_by_key(message_text(message, "status", ""));
    const char *external = message_text(message, "external_id", "");
    if (!exists(scheduler, id))
        return message_refusal("unknown-issue", "issue", "the built-in tracker has no such issue");
    if (status == STATUS_COUNT)
        return message_refusal("unknown-status", "status", "no such logical status");
    if (is_kept(scheduler, id))
        return ack(false);
    /* once per external id: an effect repeated after a newer one must not turn the display back */
    int changed =
        store_run(scheduler->store,
                  "INSERT INTO local_status_history (issue, status, actor, external_id, at)"
                  " VALUES (?1, ?2, 'stream', ?3, ?4) ON CONFLICT (external_id) DO NOTHING",
                  "issi", id, status_table[status].name, external, scheduler->now_ms);
    if (changed > 0)
        store_run(scheduler->store,
                  "UPDATE local_issues SET status = ?2, status_ours = 1, status_actor = 'stream',"
                  " status_unheard = 0, status_external_id = ?3,"
                  " updated_at = max(?4, updated_at + 1) WHERE id = ?1",
                  "issi", id, status_table[status].name, external, scheduler->now_ms);
    if (changed > 0) /* what was read of the issue before is outdated from now on */
        store_run(scheduler->store,
                  "UPDATE tasks SET issue_updated = (SELECT updated_at FROM local_issues"
                  " WHERE id = ?2) WHERE issue = ?1",
                  "si", message_text(message, "issue", ""), id);
    return ack(changed == 0);
}

/* ---- the reconciler's reads ---- */

/* What is read of an issue at most, in bytes: a page of them is a message. */
enum { BODY_BYTES = 256 * 1024, COMMENTS_BYTES = 256 * 1024, COMMENT_OVERHEAD = 64 };

/* The newest ones, oldest first. */
static json_t *comments_of(struct scheduler *scheduler, int64_t issue)
{
    json_t *comments = json_array();
    size_t room = COMMENTS_BYTES;
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT author, body, at FROM local_comments WHERE issue = ?1"
                                  " ORDER BY id DESC",
                                  "i", issue);
    while (store_row(scheduler->store, row)) {
        const char *author = column_text(row, 0), *body = column_text(row, 1);
        size_t size = strlen(author) + text_cut(body, COMMENTS_BYTES) + COMMENT_OVERHEAD;
        if (size > room)
            break;
        room -= size;
        json_array_insert_new(comments, 0,
                              json_pack("{ss ss sI}", "author", author, "body", body, "at_ms",
                                        (json_int_t)column_int(row, 2)));
    }
    store_done(row);
    return comments;
}

static json_t *show(struct scheduler *scheduler, sqlite3_stmt *row)
{
    char issue[LOCAL_ID_SIZE];
    json_t *labels = json_loads(column_text(row, 5), 0, NULL);
    const char *body = column_text(row, 3);
    snprintf(issue, sizeof issue, "%s%lld", id_prefix, (long long)column_int(row, 0));
    return json_pack(
        "{sI ss ss ss so ss so sI sb sb ss? ss so}", "id", (json_int_t)column_int(row, 0), "issue",
        issue, "key", column_text(row, 1), "title", column_text(row, 2), "body",
        json_stringn(body, text_cut(body, BODY_BYTES)), "status", column_text(row, 4), "labels",
        labels ? labels : json_array(), "updated_ms", (json_int_t)column_int(row, 6), "status_ours",
        (int)(column_int(row, 7) != 0), "status_kept", (int)(column_int(row, 9) != 0),
        "status_actor", column_text(row, 8), "priority", column_text(row, 10), "comments",
        comments_of(scheduler, column_int(row, 0)));
}

enum { PAGE_MAX = 200, PAGE_BYTES = 512 * 1024 };

json_t *local_list(struct scheduler *scheduler, const json_t *message)
{
    int64_t max = message_integer(message, "max", PAGE_MAX);
    max = max < 1 ? 1 : max > PAGE_MAX ? PAGE_MAX : max;
    json_t *issues = json_array();
    bool more = false;
    size_t size = 0;
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT id, key, title, body, status, labels, updated_at,"
                                  " status_ours, status_actor, status_unheard, priority FROM"
                                  " local_issues"
                                  " WHERE project = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                                  "sii", message_text(message, "project", ""),
                                  (int64_t)message_integer(message, "after", 0), max + 1);
    while (store_row(scheduler->store, row)) {
        if ((int64_t)json_array_size(issues) == max || size > PAGE_BYTES) {
            more = true;
            break;
        }
        json_t *issue = show(scheduler, row);
        size += json_dumpb(issue, NULL, 0, JSON_COMPACT);
        json_array_append_new(issues, issue);
    }
    store_done(row);
    return message_new(MESSAGE_local_issues, NULL, "{so sb}", "issues", issues, "more", (int)more);
}
