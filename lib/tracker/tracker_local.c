#include "lib/tracker/tracker_local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/message.h"
#include "protocol/vocabulary.h"
#include "protocol/worker.h"

enum { ANSWER_MS = 3000, PAGE_SIZE = 100 };

static const char id_prefix[] = "local-";

/* Takes message. The answer (caller decrefs) is of this kind where the result is TRACKER_DONE. */
static enum tracker_result ask(const struct tracker *tracker, json_t *message, const char *kind,
                               json_t **reply, struct tracker_fault *fault)
{
    if (bus_call(tracker->bus, "scheduler", message, ANSWER_MS, reply) < 0) {
        snprintf(fault->reason, sizeof fault->reason, "transient: the scheduler does not answer");
        return TRACKER_TRANSIENT;
    }
    if (strcmp(message_text(*reply, "kind", ""), kind) == 0)
        return TRACKER_DONE;
    const char *code = message_text(*reply, "code", "unexpected");
    enum tracker_result result = TRACKER_PERMANENT;
    if (worker_error_passes(*reply))
        result = TRACKER_TRANSIENT;
    else if (strncmp(code, "unknown-", strlen("unknown-")) == 0)
        result = TRACKER_NOT_FOUND;
    snprintf(fault->reason, sizeof fault->reason, "%.60s: %.180s", code,
             message_text(*reply, "message", "an answer of another kind"));
    json_decref(*reply);
    *reply = NULL;
    return result;
}

static enum tracker_result put(const struct tracker *tracker, json_t *message,
                               struct tracker_fault *fault)
{
    json_t *reply = NULL;
    enum tracker_result result = ask(tracker, message, "ack", &reply, fault);
    json_decref(reply);
    return result;
}

static enum tracker_result status_set(const struct tracker *tracker,
                                      const struct tracker_write *write,
                                      struct tracker_fault *fault)
{
    return put(tracker,
               message_new(MESSAGE_local_status_put, NULL, "{s:s,s:s,s:s}", "issue", write->issue,
                           "status", write->status, "external_id", write->external_id),
               fault);
}

static enum tracker_result comment_put(const struct tracker *tracker,
                                       const struct tracker_write *write,
                                       struct tracker_fault *fault)
{
    return put(tracker,
               message_new(MESSAGE_local_comment_put, NULL, "{s:s,s:s,s:s,s:s}", "issue",
                           write->issue, "author", write->author, "body", write->body,
                           "external_id", write->external_id),
               fault);
}

/* The row as every driver shows it. Its status names are the defaults, whatever is configured. */
static json_t *shape(json_t *row)
{
    enum status status = status_by_name(message_text(row, "status", ""), NULL);
    json_t *issue = json_copy(row);
    json_object_set_new(issue, "id", json_string(message_text(row, "issue", "")));
    json_object_set_new(issue, "status_key",
                        json_string(status < STATUS_COUNT ? status_table[status].key : ""));
    json_object_set_new(issue, "group", json_null());
    json_object_del(issue, "issue");
    return issue;
}

static enum tracker_result get_page(const struct tracker *tracker, int64_t after, int max,
                                    json_t **reply, struct tracker_fault *fault)
{
    return ask(tracker,
               message_new(MESSAGE_local_issues_get, NULL, "{s:s,s:I,s:i}", "project",
                           tracker->project->key, "after", (json_int_t)after, "max", max),
               "local_issues", reply, fault);
}

static enum tracker_result issues_page(const struct tracker *tracker, int64_t *cursor,
                                       json_t **issues, struct tracker_fault *fault)
{
    json_t *reply = NULL, *row;
    size_t index;
    enum tracker_result result = get_page(tracker, *cursor, PAGE_SIZE, &reply, fault);
    if (result != TRACKER_DONE)
        return result;
    int64_t last = *cursor;
    *issues = json_array();
    json_array_foreach(json_object_get(reply, "issues"), index, row)
    {
        int64_t id = message_integer(row, "id", 0);
        if (id > last)
            last = id;
        json_array_append_new(*issues, shape(row));
    }
    /* A page that brings us no further must not be asked for again. */
    *cursor = message_flag(reply, "more", false) && last > *cursor ? last : 0;
    json_decref(reply);
    return TRACKER_DONE;
}

static enum tracker_result issue(const struct tracker *tracker, const char *id, json_t **found,
                                 struct tracker_fault *fault)
{
    json_t *reply = NULL;
    snprintf(fault->reason, sizeof fault->reason, "unknown-issue: no issue %.100s", id);
    if (strncmp(id, id_prefix, strlen(id_prefix)) != 0)
        return TRACKER_NOT_FOUND;
    int64_t number = strtoll(id + strlen(id_prefix), NULL, 10);
    enum tracker_result result = get_page(tracker, number - 1, 1, &reply, fault);
    if (result != TRACKER_DONE)
        return result;
    json_t *row = json_array_get(json_object_get(reply, "issues"), 0);
    if (row && strcmp(message_text(row, "issue", ""), id) == 0)
        *found = shape(row);
    json_decref(reply);
    return *found ? TRACKER_DONE : TRACKER_NOT_FOUND;
}

const struct tracker_driver tracker_local = {
    .name = "local",
    .status_set = status_set,
    .comment_put = comment_put,
    .issues_page = issues_page,
    .issue = issue,
};
