/* PURE: no I/O */
#include "services/reconciler/facts.h"

#include <stdio.h>
#include <string.h>
#include "lib/config.h"
#include "protocol/message.h"

static const char approval_word[] = ":approved:";

/* A person's comment with the word, later than the call for it. */
static bool is_approval(const json_t *comment, int64_t since_ms)
{
    const char *author = message_text(comment, "author", "");
    return *author && !role_is_reserved(author) &&
           message_integer(comment, "at_ms", 0) >= since_ms &&
           strstr(message_text(comment, "body", ""), approval_word) != NULL;
}

static bool was_refused(const json_t *task)
{
    size_t index;
    const json_t *name;
    json_array_foreach(json_object_get(task, "commands_done"), index, name)
    {
        if (json_is_string(name) && strcmp(json_string_value(name), "refused:approved") == 0)
            return true;
    }
    return false;
}

/* Whose word it was; NULL: nobody's. One who may not approve is answered once: their comment stays
 * where it is and would be found again at every pass. */
static const char *approver(const json_t *issue, const json_t *task, const json_t *approvers)
{
    size_t index;
    const json_t *comment;
    const char *stranger = NULL;
    int64_t since_ms = message_integer(task, "parked_since_ms", 0);
    json_array_foreach(json_object_get(issue, "comments"), index, comment)
    {
        if (since_ms == 0 || !is_approval(comment, since_ms))
            continue;
        const char *author = message_text(comment, "author", "");
        if (config_may_approve(approvers, author))
            return author;
        stranger = author;
    }
    return was_refused(task) ? NULL : stranger;
}

static bool is_ours(const json_t *issue)
{
    return message_flag(issue, "status_ours", false) ||
           message_integer(issue, "status_ours", 0) != 0;
}

struct compare_issue facts_issue(const json_t *issue, const json_t *task, const json_t *approvers)
{
    return (struct compare_issue){
        .id = message_text(issue, "id", ""),
        .key = message_text(issue, "key", ""),
        .status = status_by_key(message_text(issue, "status_key", "")),
        .group = compare_group_by_name(message_text(issue, "group", NULL)),
        .status_kept = message_flag(issue, "status_kept", false),
        .status_ours = is_ours(issue),
        .updated_ms = message_integer(issue, "updated_ms", 0),
        .has_approved_comment = approver(issue, task, approvers) != NULL,
    };
}

/* Commands are named like their status, with dashes. What stands behind a prefix ("refused:...")
 * was answered and is no act. */
static enum status command_status(const char *name)
{
    char key[32];
    if (snprintf(key, sizeof key, "%s", name) >= (int)sizeof key)
        return STATUS_COUNT;
    for (char *at = key; *at; at++) {
        if (*at == '-')
            *at = '_';
    }
    return status_by_key(key);
}

/* A flag, or a text that stands for one where it is there ("blocked" may be its reason). */
static bool is_set(const json_t *row, const char *field)
{
    const json_t *value = json_object_get(row, field);
    if (json_is_integer(value))
        return json_integer_value(value) != 0;
    if (json_is_string(value))
        return json_string_length(value) > 0;
    return json_is_true(value) || json_is_object(value);
}

bool facts_task(const json_t *row, struct compare_task *task)
{
    size_t index;
    const json_t *name;
    *task = (struct compare_task){
        .stage = stage_by_name(message_text(row, "stage", "")),
        .entry = message_integer(row, "entry", 0),
        .blocked = is_set(row, "blocked"),
        .parked = compare_parked_by_name(message_text(row, "parked", NULL)),
        .display_confirmed = is_set(row, "display_confirmed"),
        .live_jobs = (int)message_integer(row, "live_jobs", 0),
    };
    json_array_foreach(json_object_get(row, "commands_done"), index, name)
    {
        enum status status =
            json_is_string(name) ? command_status(json_string_value(name)) : STATUS_COUNT;
        if (status < STATUS_COUNT)
            task->done[status] = true;
    }
    return task->stage < STAGE_COUNT;
}

/* A command carries the time of the issue that showed it: one that was seen before our own answer
 * to it reached the tracker is known by that. */
static json_t *detail_of(const struct compare_finding *finding, const json_t *issue,
                         const struct pull_request *pull)
{
    if (finding->kind == FINDING_F_3 && pull)
        return json_pack("{s:I,s:s*,s:s*}", "number", (json_int_t)pull->number, "head_sha",
                         pull->head_sha, "merge_commit", pull->merge_commit);
    if (finding->kind == FINDING_F_5)
        return json_pack("{s:s}", "cause", finding->cause);
    if (finding->status == STATUS_COUNT || !issue)
        return json_object();
    json_t *detail = json_pack("{s:I}", "updated_ms", message_integer(issue, "updated_ms", 0));
    if (finding->kind == FINDING_F_1) {
        json_t *labels = json_object_get(issue, "labels");
        json_object_set_new(detail, "title", json_string(message_text(issue, "title", "")));
        json_object_set_new(detail, "body", json_string(message_text(issue, "body", "")));
        json_object_set_new(detail, "priority",
                            json_string(message_text(issue, "priority", "none")));
        json_object_set_new(detail, "labels",
                            json_is_array(labels) ? json_incref(labels) : json_array());
    }
    return detail;
}

/* Who did what was found: whoever set the status, or wrote the comment that stands for one. */
static const char *actor_of(const struct compare_finding *finding, const json_t *issue,
                            const json_t *task, const json_t *approvers)
{
    const char *author = approver(issue, task, approvers);
    bool set = status_by_key(message_text(issue, "status_key", "")) == finding->status;
    bool said = finding->status == STATUS_APPROVED && author && (!set || is_ours(issue));
    return said ? author : message_text(issue, "status_actor", NULL);
}

json_t *facts_finding(const struct compare_finding *finding, const char *project,
                      const json_t *issue, const json_t *task, const json_t *approvers,
                      const struct pull_request *pull)
{
    const char *id = issue ? message_text(issue, "id", "") : message_text(task, "issue", "");
    const char *key = task ? message_text(task, "key", "") : message_text(issue, "key", "");
    const char *status = finding->status < STATUS_COUNT ? status_table[finding->status].key : NULL;
    json_t *entry = finding->entry ? json_integer(finding->entry) : json_null();
    return message_new(MESSAGE_finding, NULL, "{s:s,s:s,s:s,s:s,s:o,s:s?,s:s?,s:o}", "finding",
                       compare_finding_names[finding->kind], "project", project, "issue", id, "key",
                       key, "entry", entry, "status", status, "actor",
                       issue ? actor_of(finding, issue, task, approvers) : NULL, "detail",
                       detail_of(finding, issue, pull));
}

json_t *facts_by_issue(const json_t *tasks)
{
    json_t *map = json_object(), *row;
    size_t index;
    json_array_foreach(tasks, index, row)
    {
        const char *issue = message_text(row, "issue", "");
        const json_t *other = json_object_get(map, issue);
        if (*issue && (!other || message_integer(other, "id", 0) < message_integer(row, "id", 0)))
            json_object_set(map, issue, row);
    }
    return map;
}
