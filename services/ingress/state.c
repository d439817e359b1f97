/* PURE: no I/O */
#include "services/ingress/state.h"

#include <string.h>
#include "lib/buffer.h"

static const json_t *service_of(const struct state *state, const char *name)
{
    size_t index;
    const json_t *service;
    json_array_foreach(state->services, index, service)
    {
        if (strcmp(json_string_value(json_object_get(service, "name")), name) == 0)
            return service;
    }
    return NULL;
}

static const char *state_name(const json_t *service)
{
    const char *name = json_string_value(json_object_get(service, "state"));
    return name ? name : "";
}

static bool is_well(const json_t *service)
{
    const char *name = state_name(service);
    return strcmp(name, "ready") == 0;
}

/* ---- /queue ---- */

/* A subsystem that lives in another service: whether it is on, and that service's own counters. */
static json_t *block(const struct state *state, bool enabled, const char *service)
{
    const json_t *row = service_of(state, service);
    json_t *counters = json_object_get(row, "counters");
    json_t *age = json_object_get(row, "age_ms");
    return json_pack("{sb so so}", "enabled", enabled, "age_ms",
                     age ? json_incref(age) : json_null(), "counters",
                     counters ? json_incref(counters) : json_null());
}

static json_t *counts(const struct store_state *store)
{
    return json_pack("{sI sI sI sI sI sI sI}", "queued", store->queued, "running", store->running,
                     "tasks", store->living, "blocked", store->blocked, "parked", store->parked,
                     "effects", store->effects_pending + store->effects_handed, "alerts",
                     store->alerts_open);
}

static void add_blocks(json_t *queue, const struct state *state, const struct config *config)
{
    const struct store_state *store = &state->store;
    json_object_set_new(queue, "jobs",
                        json_pack("{sI sI sI sb sb sO sO}", "queued", store->queued, "running",
                                  store->running, "total", store->jobs, "paused", store->paused,
                                  "draining", store->draining, "paused_projects",
                                  store->paused_projects, "stages", store->stages));
    json_object_set_new(queue, "reaper", block(state, config->reaper_enabled, "reaper"));
    json_object_set_new(queue, "reconcile", block(state, config->reconciler_enabled, "reconciler"));
    json_object_set_new(queue, "serial_gate",
                        json_pack("{sb sI}", "enabled", config->serial_gate_enabled, "frozen",
                                  (json_int_t)json_array_size(store->frozen)));
    json_object_set_new(queue, "auto_labels",
                        block(state, config->auto_label_enabled, "scheduler"));
    json_object_set_new(
        queue, "stop",
        json_pack("{sb sI}", "enabled", config->stop_status_enabled, "deferred", store->stopping));
    json_object_set_new(
        queue, "post_deploy",
        json_pack("{sb sI}", "enabled", config->post_deploy_enabled, "open", store->windows_open));
    json_object_set_new(queue, "breaker", json_pack("{sO}", "providers", store->breakers));
    json_object_set_new(queue, "effects",
                        json_pack("{sI sI sO sb}", "pending", store->effects_pending, "handed",
                                  store->effects_handed, "oldest", store->effects_oldest,
                                  "withheld", store->restored));
}

json_t *state_queue(const struct state *state, const struct config *config)
{
    const struct store_state *store = &state->store;
    json_t *queue =
        json_pack("{ss so sO sO sO sO sO sO}", "at", state->at, "counts", counts(store), "running",
                  store->running_jobs, "queued", store->queued_jobs, "leases", store->leases,
                  "frozen", store->frozen, "alerts", store->alerts, "services", state->services);
    add_blocks(queue, state, config);
    json_object_set_new(queue, "inbox",
                        json_pack("{sI sI sI sI}", "newest", (json_int_t)state->inbox.newest,
                                  "acted_on", (json_int_t)store->inbox_position, "queued",
                                  (json_int_t)state->inbox.queued, "duplicates",
                                  (json_int_t)state->inbox.duplicates));
    return queue;
}

/* ---- /health ---- */

static void add_reason(json_t *reasons, const char *what, const char *text)
{
    json_array_append_new(reasons, json_sprintf("%s: %s", what, text));
}

static const char *text_or_nothing(const json_t *service, const char *field)
{
    const char *text = json_string_value(json_object_get(service, field));
    return text ? text : "";
}

/* What makes the whole unusable, against what leaves it limping. */
static json_t *grave_reasons(const struct state *state)
{
    json_t *reasons = json_array();
    const char *scheduler = state_name(service_of(state, "scheduler"));
    if (!state->inbox.open || !state->inbox.writable)
        add_reason(reasons, "database: inbox.db cannot be written", state->inbox.error);
    if (!state->scheduler_answers)
        add_reason(reasons, "scheduler does not answer; it is", scheduler);
    else if (strcmp(scheduler, "starting") == 0)
        add_reason(reasons, "the scheduler is", scheduler);
    else if (strcmp(scheduler, "degraded") == 0) /* it says so of nothing else */
        add_reason(reasons, "database: main.db cannot be written",
                   text_or_nothing(service_of(state, "scheduler"), "last_error"));
    if (!state->store_readable)
        add_reason(reasons, "database", state->store_fault);
    return reasons;
}

static json_t *light_reasons(const struct state *state)
{
    json_t *reasons = json_array();
    size_t index;
    const json_t *service;
    json_array_foreach(state->services, index, service)
    {
        if (!is_well(service))
            json_array_append_new(reasons,
                                  json_sprintf("service: %s is %s",
                                               json_string_value(json_object_get(service, "name")),
                                               state_name(service)));
    }
    return reasons;
}

json_t *state_health(const struct state *state, unsigned *status)
{
    json_t *reasons = grave_reasons(state);
    json_t *light = light_reasons(state);
    bool grave = json_array_size(reasons) > 0;
    json_array_extend(reasons, light);
    json_decref(light);
    *status = grave ? 503 : 200;
    const char *word = grave ? "unavailable" : json_array_size(reasons) ? "degraded" : "ok";
    return json_pack("{ss ss so s{sb ss?} sO ss}", "status", word, "at", state->at, "reasons",
                     reasons, "database", "writable", state->inbox.open && state->inbox.writable,
                     "error", state->inbox.error[0] ? state->inbox.error : NULL, "services",
                     state->services, "version", ORCH_VERSION);
}

/* ---- /metrics ---- */

static void metric(struct buffer *text, const char *name, const char *type, const char *help)
{
    buffer_format(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct buffer *text, const char *name, const char *help, double value)
{
    metric(text, name, "gauge", help);
    buffer_format(text, "%s %.17g\n", name, value);
}

static void counter(struct buffer *text, const char *name, const char *help, double value)
{
    metric(text, name, "counter", help);
    buffer_format(text, "%s %.17g\n", name, value);
}

static void ingress_metrics(struct buffer *text, const struct state *state)
{
    const struct inbox_stats *inbox = &state->inbox;
    const struct http_stats *http = &state->http;
    counter(text, "orch_inbox_events_total", "Events kept.", (double)inbox->kept);
    counter(text, "orch_inbox_duplicates_total", "Deliveries known before.",
            (double)inbox->duplicates);
    counter(text, "orch_inbox_failed_total", "Events that could not be written.",
            (double)inbox->failed);
    counter(text, "orch_inbox_refused_total", "Events for which the queue had no room.",
            (double)inbox->refused);
    counter(text, "orch_inbox_commits_total", "Transactions.", (double)inbox->batches);
    counter(text, "orch_inbox_commit_seconds_total", "Time in transactions.",
            (double)inbox->commit_us / 1e6);
    gauge(text, "orch_inbox_commit_seconds_max", "Longest transaction since the start.",
          (double)inbox->worst_commit_us / 1e6);
    gauge(text, "orch_inbox_newest", "Number of the newest event kept since the start.",
          (double)inbox->newest);
    gauge(text, "orch_inbox_queued", "Events waiting for a transaction.", (double)inbox->queued);
    gauge(text, "orch_inbox_wal_pages", "Pages in the write-ahead log.", inbox->wal_pages);
    counter(text, "orch_inbox_checkpoints_total", "Checkpoints.", (double)inbox->checkpoints);
    counter(text, "orch_inbox_pruned_total", "Old rows deleted.", (double)inbox->pruned);
    gauge(text, "orch_inbox_writable", "1: the last write succeeded.", inbox->writable);
    gauge(text, "orch_http_connections", "Open connections.", http->guard.open);
    counter(text, "orch_http_connections_total", "Connections accepted.",
            (double)http->guard.accepted);
    counter(text, "orch_http_late_total", "Connections shut down as too slow.",
            (double)http->guard.late);
    counter(text, "orch_http_evicted_total", "Connections shut down to make room.",
            (double)http->guard.evicted);
    gauge(text, "orch_http_body_bytes", "Bytes of bodies being read.", (double)http->body_bytes);
    gauge(text, "orch_event_streams", "Readers of /events.", state->streams);
    metric(text, "orch_http_answers_total", "counter", "Answers by hundreds of the status.");
    for (int i = 1; i < 6; i++)
        buffer_format(text, "orch_http_answers_total{code=\"%dxx\"} %llu\n", i,
                      (unsigned long long)http->answers[i]);
}

static void store_metrics(struct buffer *text, const struct store_state *store)
{
    const char *stage;
    json_t *count;
    gauge(text, "orch_jobs_queued", "Queued jobs.", (double)store->queued);
    gauge(text, "orch_jobs_running", "Running jobs.", (double)store->running);
    counter(text, "orch_jobs_total", "Jobs ever queued.", (double)store->jobs);
    counter(text, "orch_transitions_total", "Transitions.", (double)store->transitions);
    gauge(text, "orch_tasks_blocked", "Blocked tasks.", (double)store->blocked);
    gauge(text, "orch_tasks_parked", "Parked tasks.", (double)store->parked);
    gauge(text, "orch_effects_waiting", "Effects not delivered yet.",
          (double)(store->effects_pending + store->effects_handed));
    gauge(text, "orch_alerts_open", "Open alerts.", (double)store->alerts_open);
    gauge(text, "orch_repositories_frozen", "Frozen repositories.",
          (double)json_array_size(store->frozen));
    gauge(text, "orch_windows_open", "Open observation windows.", (double)store->windows_open);
    counter(text, "orch_journal_seq", "Newest number of the journal.", (double)store->journal_seq);
    gauge(text, "orch_inbox_acted_on", "Newest event that was acted on.",
          (double)store->inbox_position);
    gauge(text, "orch_paused", "1: no new claims.", store->paused);
    metric(text, "orch_tasks", "gauge", "Living tasks by stage.");
    json_object_foreach(store->stages, stage, count)
    {
        buffer_format(text, "orch_tasks{stage=\"%s\"} %lld\n", stage,
                      (long long)json_integer_value(count));
    }
}

static void service_metrics(struct buffer *text, const struct state *state)
{
    size_t index;
    const json_t *service;
    metric(text, "orch_service_up", "gauge", "1: the service is ready.");
    json_array_foreach(state->services, index, service)
    {
        buffer_format(text, "orch_service_up{service=\"%s\"} %d\n",
                      json_string_value(json_object_get(service, "name")), is_well(service));
    }
    metric(text, "orch_service_restarts_total", "counter", "Restarts by the supervisor.");
    json_array_foreach(state->services, index, service)
    {
        const json_t *restarts = json_object_get(service, "restarts");
        if (json_is_integer(restarts))
            buffer_format(text, "orch_service_restarts_total{service=\"%s\"} %lld\n",
                          json_string_value(json_object_get(service, "name")),
                          (long long)json_integer_value(restarts));
    }
}

char *state_metrics(const struct state *state)
{
    struct buffer text = {0};
    gauge(&text, "orch_up", "1: whole, 0: see /health.",
          state->store_readable && state->inbox.writable && state->scheduler_answers);
    ingress_metrics(&text, state);
    if (state->store_readable)
        store_metrics(&text, &state->store);
    service_metrics(&text, state);
    return buffer_take(&text);
}
