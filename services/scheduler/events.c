#include "services/scheduler/events.h"

#include <stdio.h>
#include <string.h>
#include "lib/crash.h"
#include "lib/log.h"
#include "services/scheduler/dependents.h"
#include "services/scheduler/labels.h"
#include "services/scheduler/local.h"
#include "services/scheduler/operator.h"
#include "services/scheduler/perform.h"
#include "services/scheduler/queries.h"

enum { EVENT_ID_SIZE = 24 };

/* ---- what became of it ---- */

static void record(struct scheduler *scheduler, int64_t seq, const struct performed *performed,
                   int64_t task)
{
    store_run(scheduler->store,
              "INSERT INTO decisions (event, result, reason, task, at) VALUES (?1, ?2, ?3, ?4, ?5)",
              "issni", seq, outcome_name(performed->outcome), performed->words,
              task > 0 ? task : (int64_t)-1, scheduler->now_ms);
    if (performed->outcome == DECISION_IGNORED)
        scheduler->counters.ignored++;
    else if (performed->outcome == DECISION_REFUSED)
        scheduler->counters.refused++;
}

/* ---- the built-in tracker ---- */

static enum stage_event_kind event_of(const struct local_change *change)
{
    switch (change->command) {
    case STATUS_TO_ANALYSE:
        return STAGE_EVENT_TO_ANALYSE;
    case STATUS_APPROVED:
        return STAGE_EVENT_APPROVED;
    case STATUS_CONFIRM_DEPLOY:
        return STAGE_EVENT_CONFIRM_DEPLOY;
    case STATUS_STOP:
        return STAGE_EVENT_STOP;
    default:
        return change->approved ? STAGE_EVENT_APPROVED : STAGE_EVENT_COMMENT;
    }
}

/* What people change of an issue is what the next run is told. */
static void carry_over(struct scheduler *scheduler, const struct task *task, const json_t *issue)
{
    char *labels = json_dumps(json_object_get(issue, "labels"), JSON_COMPACT);
    store_run(scheduler->store,
              "UPDATE tasks SET title = ?2, description = ?3, labels = ?4 WHERE id = ?1", "isss",
              task->id, message_text(issue, "title", ""), message_text(issue, "body", ""), labels);
    free(labels);
    dependents_learn(scheduler, task->id, message_text(issue, "body", ""));
    task_set_priority(scheduler, task->id, message_text(issue, "priority", NULL));
}

static void take_change(struct scheduler *scheduler, const json_t *event,
                        const struct local_change *change, struct task *task,
                        struct performed *performed)
{
    json_t *issue = NULL;
    task_load_by_issue(scheduler, change->issue, task);
    local_issue(scheduler, change->issue, &issue);
    /* a cancelled task has given the issue up, but what a STOP stops is that one */
    if (!task->exists && change->command == STATUS_STOP)
        task_load_by_key(scheduler, message_text(issue, "key", ""), task);
    if (task->exists && !task->terminal)
        carry_over(scheduler, task, issue);
    bool comment = strcmp(message_text(event, "kind", ""), "comment") == 0;
    if (comment && change->announced && task->exists && !task->terminal)
        queries_outdate(scheduler, task->id);
    if (change->command == STATUS_COUNT && !change->approved) {
        performed_set(performed, DECISION_IGNORED,
                      comment             ? REASON_COMMENTED
                      : change->announced ? REASON_CHANGED
                                          : REASON_NO_COMMAND,
                      change->announced ? NULL : "not announced: the reconciler finds it");
        if (change->announced && task->exists && !task->terminal)
            labels_known(scheduler, task->id);
    } else {
        const char *actor = message_text(event, "actor", "somebody");
        const struct occurrence occurrence = {
            .event = {.kind = event_of(change),
                      .source = SOURCE_TRACKER,
                      .not_approver =
                          !config_may_approve(scheduler->config->plane_approvers, actor)},
            .actor = actor,
            .project = change->project,
            .issue = change->issue,
            .key = message_text(issue, "key", ""),
            .title = message_text(issue, "title", ""),
            .description = message_text(issue, "body", ""),
            .labels = json_object_get(issue, "labels"),
            .priority = message_text(issue, "priority", NULL),
        };
        perform(scheduler, task, &occurrence, performed);
    }
    json_decref(issue);
}

static void take_local(struct scheduler *scheduler, const json_t *event, struct task *task,
                       struct performed *performed)
{
    struct local_change change;
    local_apply(scheduler, event, &change);
    if (change.result == LOCAL_UNKNOWN_PROJECT)
        performed_set(performed, DECISION_REFUSED, REASON_UNKNOWN_PROJECT,
                      "no project of this key with the built-in tracker");
    else if (change.result == LOCAL_UNKNOWN_ISSUE)
        performed_set(performed, DECISION_IGNORED, REASON_UNKNOWN_TASK, "no such issue");
    else
        take_change(scheduler, event, &change, task, performed);
}

/* ---- one row ---- */

static json_t *parse(const struct inbox_row *row)
{
    json_t *event = json_loadb(row->body, row->size, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(event))
        return event;
    json_decref(event);
    return NULL;
}

static void decide(struct scheduler *scheduler, const struct inbox_row *row, struct task *task,
                   struct performed *performed)
{
    bool local = strcmp(row->source, "local") == 0;
    if (!local && strcmp(row->source, "operator") != 0) {
        performed_set(performed, DECISION_IGNORED, REASON_NO_DRIVER, NULL);
        return;
    }
    json_t *event = parse(row);
    if (!event) {
        scheduler->counters.unreadable++;
        performed_set(performed, DECISION_IGNORED, REASON_UNREADABLE, NULL);
    } else if (role_is_reserved(message_text(event, "actor", ""))) {
        performed_set(performed, DECISION_REFUSED, REASON_RESERVED_ACTOR, NULL);
    } else if (local) {
        take_local(scheduler, event, task, performed);
    } else {
        operator_take(scheduler, event, task, performed);
    }
    json_decref(event);
}

/* An event that the rows refuse to take is said and passed over: it must not stop what comes after
 * it. A fault of the disk's is no such thing, the whole turn is made again. */
static void take_row(struct scheduler *scheduler, const struct inbox_row *row)
{
    struct task task = {0};
    struct performed performed = {0};
    store_part_begin(scheduler->store);
    journal_part_begin(&scheduler->journal);
    decide(scheduler, row, &task, &performed);
    if (scheduler->store->failed && !store_fault_is_world(scheduler->store)) {
        log_error("event", "event %lld (%s) could not be carried out: %s", (long long)row->seq,
                  row->source, scheduler->store->fault);
        store_part_drop(scheduler->store);
        journal_part_drop(&scheduler->journal);
        store_part_begin(scheduler->store);
        performed_set(&performed, DECISION_REFUSED, REASON_INTERNAL, NULL);
        task_free(&task);
    }
    record(scheduler, row->seq, &performed, task.exists ? task.id : 0);
    store_part_keep(scheduler->store);
    task_free(&task);
    scheduler->counters.events++;
}

/* Once when it cannot be read, once when it can again. */
static void say_inbox(struct scheduler *scheduler, const char *fault)
{
    if (scheduler->inbox_unreadable == (fault != NULL))
        return;
    scheduler->inbox_unreadable = fault != NULL;
    if (fault)
        log_error("inbox", "the inbox cannot be read: %s; tried again until it can", fault);
    else
        log_info("inbox", "the inbox can be read again");
    if (scheduler->bus)
        bus_set_error(scheduler->bus, fault);
}

int events_take(struct scheduler *scheduler)
{
    char fault[STORE_FAULT_SIZE];
    const struct inbox_row *rows;
    int count = inbox_read_next(scheduler->inbox, scheduler->inbox_position, EVENTS_PER_TURN, &rows,
                                fault, sizeof fault);
    say_inbox(scheduler, count < 0 ? fault : NULL);
    if (count < 0)
        return -1;
    for (int i = 0; i < count; i++)
        take_row(scheduler, &rows[i]);
    if (count > 0) {
        meta_set(scheduler, "inbox_position", rows[count - 1].seq);
        scheduler->inbox_taken = rows[count - 1].seq;
        crash_point(CRASH_EVENT_BEFORE_COMMIT);
    }
    return count;
}
