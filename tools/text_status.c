/* PURE: no I/O */
#include "tools/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void heading(const struct view *view, const char *word, struct buffer *out)
{
    text_paint(out, view, STYLE_STRONG, word);
    buffer_text(out, "\n");
}

enum { EFFECT_SHOWN = 60 };

static enum style state_style(const char *state)
{
    static const struct {
        const char *state;
        enum style style;
    } styles[] = {{"ready", STYLE_GOOD},       {"ok", STYLE_GOOD},
                  {"degraded", STYLE_WARNING}, {"starting", STYLE_BUSY},
                  {"down", STYLE_WARNING},     {"failed", STYLE_BAD},
                  {"unavailable", STYLE_BAD},  {"backoff", STYLE_WARNING}};
    for (size_t i = 0; state && i < sizeof styles / sizeof *styles; i++) {
        if (strcmp(styles[i].state, state) == 0)
            return styles[i].style;
    }
    return STYLE_PLAIN;
}

/* ---- status ---- */

static void show_services(const json_t *services, const struct view *view, struct buffer *out)
{
    static const char *const heads[] = {"SERVICE", "STATE", "PID", "UP", "RESTARTS", "DOING"};
    struct table table;
    size_t index;
    const json_t *service;
    table_begin(&table, view, sizeof heads / sizeof *heads, heads);
    json_array_foreach(services, index, service)
    {
        char up[TEXT_VALUE] = "-";
        const json_t *uptime = json_object_get(service, "uptime_s");
        const char *state = text_field(service, "state");
        if (json_is_integer(uptime))
            text_span(json_integer_value(uptime), up);
        table_add_field(&table, service, "name");
        table_add_style(&table, state, state_style(state));
        table_add_number(&table, service, "pid");
        table_add(&table, up);
        table_add_number(&table, service, "restarts");
        table_add_field(&table, service, "doing");
    }
    table_end(&table, "  ", out);
}

static void show_alerts(const json_t *alerts, const struct view *view, struct buffer *out)
{
    struct table table;
    size_t index;
    const json_t *alert;
    if (json_array_size(alerts) == 0)
        return;
    heading(view, "alerts", out);
    table_begin(&table, view, 3, NULL);
    json_array_foreach(alerts, index, alert)
    {
        table_add_moment(&table, alert, "at");
        table_add(&table, text_field(alert, "key"));
        table_add_style(&table, text_field(alert, "text"), STYLE_BAD);
    }
    table_end(&table, "  ", out);
}

static void show_counts(const json_t *counts, const struct view *view, struct buffer *out)
{
    struct table table;
    char words[120];
    table_begin(&table, view, 2, NULL);
    snprintf(words, sizeof words, "%lld under way, %lld of them parked, %lld blocked",
             text_number(counts, "tasks"), text_number(counts, "parked"),
             text_number(counts, "blocked"));
    table_add_style(&table, "tasks", STYLE_DIM);
    table_add(&table, words);
    snprintf(words, sizeof words, "%lld running, %lld queued", text_number(counts, "running"),
             text_number(counts, "queued"));
    table_add_style(&table, "jobs", STYLE_DIM);
    table_add(&table, words);
    table_end(&table, "  ", out);
}

static void show_claims(const json_t *queue, const struct view *view, struct buffer *out)
{
    const json_t *jobs = json_object_get(queue, "jobs"), *project;
    size_t index;
    json_array_foreach(json_object_get(jobs, "paused_projects"), index, project)
    {
        const char *name = text_field(project, "project");
        char *words = xformat("paused: no job of %s is claimed until orchctl resume %s",
                              name ? name : "?", name ? name : "?");
        text_paint(out, view, STYLE_WARNING, words);
        buffer_text(out, "\n");
        free(words);
    }
    const json_t *effects = json_object_get(queue, "effects");
    if (json_is_true(json_object_get(effects, "withheld"))) {
        char *words = xformat("restored from a backup: nothing is begun or sent, %lld effects wait;"
                              " orchctl resume sends them, orchctl effects drop drops them",
                              text_number(effects, "pending") + text_number(effects, "handed"));
        text_paint(out, view, STYLE_WARNING, words);
        buffer_text(out, "\n");
        free(words);
    } else if (json_is_true(json_object_get(jobs, "paused"))) {
        text_paint(out, view, STYLE_WARNING, "paused: no job is claimed until orchctl resume");
        buffer_text(out, "\n");
    }
    if (json_is_true(json_object_get(jobs, "draining"))) {
        text_paint(out, view, STYLE_WARNING,
                   "draining: what runs may end, nothing new is claimed until orchctl resume");
        buffer_text(out, "\n");
    }
}

void text_status(const json_t *health, const json_t *queue, const struct view *view,
                 struct buffer *out)
{
    size_t index;
    const json_t *reason, *counts = json_object_get(queue, "counts");
    const char *status = text_field(health, "status");
    buffer_text(out, "orchestrator ");
    text_paint(out, view, state_style(status), status ? status : "unknown");
    buffer_text(out, "\n");
    json_array_foreach(json_object_get(health, "reasons"), index, reason)
    {
        const char *words = json_string_value(reason);
        buffer_text(out, "  ");
        text_paint(out, view, STYLE_WARNING, words ? words : "?");
        buffer_text(out, "\n");
    }
    show_services(json_object_get(health, "services"), view, out);
    show_claims(queue, view, out);
    if (counts)
        show_counts(counts, view, out);
    show_alerts(json_object_get(queue, "alerts"), view, out);
}

/* ---- queue ---- */

static void show_jobs(const char *word, const json_t *jobs, const char *last_head, const char *last,
                      const struct view *view, struct buffer *out)
{
    const char *const heads[] = {"TASK", "STAGE", "JOB", "ATTEMPT", "FOR", last_head};
    struct table table;
    size_t index;
    const json_t *job;
    if (json_array_size(jobs) == 0)
        return;
    heading(view, word, out);
    table_begin(&table, view, sizeof heads / sizeof *heads, heads);
    json_array_foreach(jobs, index, job)
    {
        const char *role = text_field(job, "role");
        table_add_field(&table, job, "key");
        table_add_field(&table, job, "stage");
        table_add(&table, role ? role : text_field(job, "kind"));
        table_add_number(&table, job, "attempt");
        table_add_age(&table, job, "since");
        table_add_field(&table, job, last);
    }
    table_end(&table, "  ", out);
}

static void show_holders(const char *word, const json_t *rows, const char *head, const char *by,
                         const struct view *view, struct buffer *out)
{
    const char *const heads[] = {"REPOSITORY", "FOR", head};
    struct table table;
    size_t index;
    const json_t *row;
    if (json_array_size(rows) == 0)
        return;
    heading(view, word, out);
    table_begin(&table, view, sizeof heads / sizeof *heads, heads);
    json_array_foreach(rows, index, row)
    {
        table_add_field(&table, row, "repo");
        table_add_age(&table, row, "since");
        table_add_field(&table, row, by);
    }
    table_end(&table, "  ", out);
}

void text_queue(const json_t *queue, const struct view *view, struct buffer *out)
{
    const json_t *running = json_object_get(queue, "running");
    const json_t *queued = json_object_get(queue, "queued");
    const json_t *counts = json_object_get(queue, "counts");
    show_claims(queue, view, out);
    show_jobs("running", running, "RUN", "run", view, out);
    show_jobs("queued", queued, "WAITS BECAUSE", "reason", view, out);
    if (json_array_size(running) == 0 && json_array_size(queued) == 0)
        buffer_text(out, "nothing runs and nothing is queued\n");
    if (text_number(counts, "parked") || text_number(counts, "blocked"))
        buffer_format(out, "%lld parked, %lld blocked: orchctl task list shows them\n",
                      text_number(counts, "parked"), text_number(counts, "blocked"));
    show_holders("merge leases", json_object_get(queue, "leases"), "TASK", "key", view, out);
    show_holders("frozen", json_object_get(queue, "frozen"), "BECAUSE", "reason", view, out);
    show_alerts(json_object_get(queue, "alerts"), view, out);
}

/* ---- effects ---- */

void text_effects(const json_t *effects, const struct view *view, struct buffer *out)
{
    static const char *const heads[] = {"EFFECT", "TASK", "KIND", "BY", "AGE", "WHAT"};
    struct table table;
    size_t index;
    const json_t *effect;
    if (json_array_size(effects) == 0) {
        buffer_text(out, "nothing waits\n");
        return;
    }
    table_begin(&table, view, sizeof heads / sizeof *heads, heads);
    json_array_foreach(effects, index, effect)
    {
        const char *status = text_field(effect, "status");
        table_add_number(&table, effect, "effect");
        table_add_field(&table, effect, "key");
        table_add_field(&table, effect, "kind");
        table_add_field(&table, effect, "author");
        table_add_age(&table, effect, "since");
        table_add_cut(&table, status ? status : text_field(effect, "body"), EFFECT_SHOWN);
    }
    table_end(&table, "", out);
}
