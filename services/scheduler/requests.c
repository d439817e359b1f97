#include "services/scheduler/requests.h"

#include <stdio.h>
#include "services/scheduler/effects.h"
#include "services/scheduler/local.h"
#include "services/scheduler/outside.h"
#include "services/scheduler/queries.h"
#include "services/scheduler/reaping.h"
#include "services/scheduler/results.h"

static json_t *inbox_changed(struct scheduler *scheduler, const json_t *message)
{
    int64_t seq = message_integer(message, "seq", 0);
    if (seq > scheduler->inbox_known)
        scheduler->inbox_known = seq;
    return message_new(MESSAGE_ack, NULL, "{}");
}

static const struct {
    json_t *(*take)(struct scheduler *scheduler, const json_t *message);
    bool only_asks;
} handlers[MESSAGE_KIND_COUNT] = {
    [MESSAGE_inbox_changed] = {inbox_changed, true},
    [MESSAGE_run_accepted] = {results_accepted, false},
    [MESSAGE_run_started] = {results_started, false},
    [MESSAGE_run_progress] = {results_progress, true},
    [MESSAGE_run_result] = {results_ended, false},
    [MESSAGE_effect_result] = {effects_take, false},
    [MESSAGE_local_comment_put] = {local_put_comment, false},
    [MESSAGE_local_status_put] = {local_put_status, false},
    [MESSAGE_local_issues_get] = {local_list, true},
    [MESSAGE_tasks_get] = {outside_tasks, true},
    [MESSAGE_finding] = {outside_finding, false},
    [MESSAGE_query_result] = {queries_take, false},
    [MESSAGE_reconcile_done] = {outside_done, true},
    [MESSAGE_running_get] = {reaping_running, true},
    [MESSAGE_reap] = {reaping_reap, false},
    [MESSAGE_lease_reclaim] = {reaping_lease, false},
    [MESSAGE_service_alert] = {reaping_service, false},
};

bool requests_only_asks(enum message_kind kind)
{
    return handlers[kind].only_asks;
}

/* One message that the rows refuse to take undoes nothing of the others in its turn. */
static json_t *take_part(struct scheduler *scheduler, const struct bus_item *item)
{
    store_part_begin(scheduler->store);
    journal_part_begin(&scheduler->journal);
    json_t *answer = handlers[item->kind].take(scheduler, item->message);
    if (scheduler->store->failed && !store_fault_is_world(scheduler->store)) {
        json_decref(answer);
        answer = message_refusal("refused", "", scheduler->store->fault);
        store_part_drop(scheduler->store);
        journal_part_drop(&scheduler->journal);
    } else {
        store_part_keep(scheduler->store);
    }
    return answer;
}

json_t *requests_take(struct scheduler *scheduler, const struct bus_item *item)
{
    if (item->kind == MESSAGE_work_request) {
        if (work_ask(scheduler, item->message, item->ticket))
            return NULL;
        return message_refusal("unknown-service", "service", "this service is given no work");
    }
    if (!handlers[item->kind].take)
        return message_refusal("unexpected", "kind", "the scheduler takes no such message");
    if (handlers[item->kind].only_asks)
        return handlers[item->kind].take(scheduler, item->message);
    return take_part(scheduler, item);
}
