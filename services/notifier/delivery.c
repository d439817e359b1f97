#include "services/notifier/delivery.h"

#include <stdio.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/crash.h"
#include "lib/log.h"
#include "services/notifier/outcome.h"

static void publish(struct delivery *delivery, const char *doing)
{
    bus_set_status(delivery->worker->service->bus, "ready", doing,
                   json_pack("{sI sI sI sI sI}", "delivered", (json_int_t)delivery->delivered,
                             "retried", (json_int_t)delivery->retried, "dropped",
                             (json_int_t)delivery->dropped, "comments",
                             (json_int_t)delivery->comments, "statuses",
                             (json_int_t)delivery->statuses));
}

static void count(struct delivery *delivery, enum tracker_result result, enum outcome_way way)
{
    if (result == TRACKER_TRANSIENT)
        delivery->retried++;
    else if (result != TRACKER_DONE)
        delivery->dropped++;
    else {
        delivery->delivered++;
        if (way == OUTCOME_STATUS)
            delivery->statuses++;
        else
            delivery->comments++;
    }
}

/* Says once what went wrong with an effect; what is tried again is said at the first time only by
 * the scheduler's own count, so here it stays a warning. */
static void say(struct delivery *delivery, const json_t *effect, enum tracker_result result,
                const struct tracker_fault *fault)
{
    const struct log_about about = {.task = message_text(effect, "key", "")};
    if (result == TRACKER_DONE)
        return;
    log_line(result == TRACKER_TRANSIENT ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR,
             result == TRACKER_TRANSIENT ? "retry" : "dropped", &about, "effect %s: %s",
             message_text(effect, "external_id", ""), fault->reason);
    bus_set_error(delivery->worker->service->bus, fault->reason);
}

static enum tracker_result deliver(struct delivery *delivery, const struct project *project,
                                   const struct outcome_plan *plan, struct tracker_fault *fault)
{
    struct service *service = delivery->worker->service;
    struct tracker tracker = tracker_of(service->config, project, service->bus);
    crash_point(CRASH_EFFECT_BEFORE_DELIVERY);
    enum tracker_result result = plan->way == OUTCOME_STATUS
                                     ? tracker_status_set(&tracker, &plan->write, fault)
                                     : tracker_comment_put(&tracker, &plan->write, fault);
    crash_point(CRASH_EFFECT_AFTER_DELIVERY);
    return result;
}

static void take_effect(struct delivery *delivery, const json_t *effect,
                        struct outcome_parked *parked)
{
    const char *key = message_text(effect, "key", "");
    const struct project *project =
        config_project(delivery->worker->service->config, message_text(effect, "project", ""));
    struct outcome_plan plan = outcome_plan(effect, project != NULL);
    struct tracker_fault fault = {0};
    enum tracker_result result;
    if (*key && outcome_is_parked(parked, key)) {
        result = TRACKER_TRANSIENT;
        snprintf(fault.reason, sizeof fault.reason, "order: an earlier effect of %.60s waits", key);
    } else if (plan.way == OUTCOME_NOWHERE) {
        result = TRACKER_PERMANENT;
        snprintf(fault.reason, sizeof fault.reason, "%s", plan.reason);
    } else {
        char *doing = xformat("delivering %s to %s", message_text(effect, "external_id", ""), key);
        publish(delivery, doing);
        free(doing);
        result = deliver(delivery, project, &plan, &fault);
    }
    if (result == TRACKER_TRANSIENT)
        outcome_park(parked, key);
    say(delivery, effect, result, &fault);
    count(delivery, result, plan.way);
    worker_tell(delivery->worker, outcome_message(effect, result, &fault));
}

void delivery_take(struct delivery *delivery, const json_t *items)
{
    struct outcome_parked parked = {0};
    size_t index;
    json_t *item;
    json_array_foreach(items, index, item)
    {
        if (strcmp(message_text(item, "kind", ""), "effect") == 0)
            take_effect(delivery, item, &parked);
        else
            log_error("work", "the notifier takes no %s", message_text(item, "kind", ""));
    }
    publish(delivery, "idle");
}
