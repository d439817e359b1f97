/* PURE: no I/O */
#include "services/notifier/outcome.h"

#include <stdio.h>
#include <string.h>
#include "protocol/message.h"
#include "protocol/vocabulary.h"

static struct outcome_plan nowhere(struct outcome_plan plan, const char *reason)
{
    plan.way = OUTCOME_NOWHERE;
    snprintf(plan.reason, sizeof plan.reason, "%s", reason);
    return plan;
}

struct outcome_plan outcome_plan(const json_t *effect, bool known_project)
{
    const char *kind = message_text(effect, "effect_kind", "");
    struct outcome_plan plan = {
        .way = OUTCOME_COMMENT,
        .write = {.issue = message_text(effect, "issue", ""),
                  .external_id = message_text(effect, "external_id", ""),
                  .author = message_text(effect, "author", "stream"),
                  .body = message_text(effect, "body", NULL),
                  .status = message_text(effect, "status", NULL)},
    };
    bool alert = strcmp(kind, "alert") == 0;
    if (!*plan.write.issue)
        return nowhere(plan, alert ? "no-channel: an alert on no issue, and there is no chat"
                                   : "no-issue: it names no issue");
    if (!known_project)
        return nowhere(plan, "unknown-project: no such project in the configuration");
    if (strcmp(kind, "status") == 0) {
        plan.way = OUTCOME_STATUS;
        if (!plan.write.status || status_by_key(plan.write.status) == STATUS_COUNT)
            return nowhere(plan, "unknown-status: no such logical status");
        return plan;
    }
    if (!alert && strcmp(kind, "comment") != 0)
        return nowhere(plan, "unknown-kind: no tracker takes effects of this kind");
    if (alert)
        plan.write.author = "stream";
    if (!plan.write.body || !*plan.write.body)
        return nowhere(plan, "empty: a comment without text");
    return plan;
}

bool outcome_is_parked(const struct outcome_parked *parked, const char *key)
{
    for (size_t i = 0; i < parked->count; i++) {
        if (strcmp(parked->keys[i], key) == 0)
            return true;
    }
    return false;
}

void outcome_park(struct outcome_parked *parked, const char *key)
{
    if (parked->count < OUTCOME_PARKED_MAX && !outcome_is_parked(parked, key))
        parked->keys[parked->count++] = key;
}

json_t *outcome_message(const json_t *effect, enum tracker_result result,
                        const struct tracker_fault *fault)
{
    static const char *const names[] = {
        [TRACKER_DONE] = "delivered",
        [TRACKER_TRANSIENT] = "retry",
        [TRACKER_PERMANENT] = "dropped",
        [TRACKER_NOT_FOUND] = "dropped",
    };
    json_t *after = result == TRACKER_TRANSIENT && fault->retry_after_ms > 0
                        ? json_integer(fault->retry_after_ms)
                        : json_null();
    return message_new(MESSAGE_effect_result, NULL, "{s:I,s:s,s:s,s:o}", "effect",
                       message_integer(effect, "effect", 0), "outcome", names[result], "reason",
                       result == TRACKER_DONE ? "" : fault->reason, "retry_after_ms", after);
}
