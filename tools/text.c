/* PURE: no I/O */
#include "tools/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/clock_text.h"

/* ---- columns ---- */

void table_begin(struct table *table, size_t columns)
{
    *table = (struct table){.columns = columns};
}

void table_add(struct table *table, const char *cell)
{
    table->cells = xrealloc(table->cells, (table->count + 1) * sizeof *table->cells);
    table->cells[table->count++] = xstrdup(cell && *cell ? cell : "-");
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static size_t column_width(const struct table *table, size_t column)
{
    size_t widest = 0;
    for (size_t i = column; i < table->count; i += table->columns) {
        size_t width = width_of(table->cells[i]);
        if (width > widest)
            widest = width;
    }
    return widest;
}

void table_end(struct table *table, const char *indent, struct buffer *out)
{
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        if (column == 0)
            buffer_text(out, indent);
        buffer_text(out, table->cells[i]);
        if (column + 1 == table->columns) {
            buffer_text(out, "\n");
            continue;
        }
        for (size_t pad = width_of(table->cells[i]); pad < column_width(table, column) + 2; pad++)
            buffer_text(out, " ");
    }
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct table){0};
}

/* ---- values ---- */

static const char *text_of(const json_t *object, const char *field)
{
    return json_string_value(json_object_get(object, field));
}

static long long number_of(const json_t *object, const char *field)
{
    return (long long)json_integer_value(json_object_get(object, field));
}

static void add_number(struct table *table, const json_t *object, const char *field)
{
    char text[24] = "-";
    const json_t *value = json_object_get(object, field);
    if (json_is_integer(value))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    table_add(table, text);
}

void text_span(int64_t seconds, char out[24])
{
    long long s = seconds > 0 ? (long long)seconds : 0;
    if (s < 60)
        snprintf(out, 24, "%llds", s);
    else if (s < 3600)
        snprintf(out, 24, "%lldm", s / 60);
    else if (s < 86400)
        snprintf(out, 24, "%lldh %lldm", s / 3600, s / 60 % 60);
    else
        snprintf(out, 24, "%lldd %lldh", s / 86400, s / 3600 % 24);
}

void text_age(const char *since_text, int64_t now_ms, char out[24])
{
    int64_t since = since_text ? clock_parse(since_text) : -1;
    if (since < 0)
        snprintf(out, 24, "-");
    else
        text_span((now_ms - since) / 1000, out);
}

static void add_age(struct table *table, const json_t *object, const char *field, int64_t now_ms)
{
    char text[24];
    text_age(text_of(object, field), now_ms, text);
    table_add(table, text);
}

static void add_span(struct table *table, const json_t *object, const char *field)
{
    char text[24] = "-";
    const json_t *value = json_object_get(object, field);
    if (json_is_integer(value))
        text_span(json_integer_value(value), text);
    table_add(table, text);
}

static void heading(struct buffer *out, const char *word, size_t count)
{
    buffer_format(out, "%s (%zu)\n", word, count);
}

/* "blocked: reason", "waits for approval", or "". */
static void condition(const json_t *task, struct buffer *out)
{
    const char *blocked = text_of(json_object_get(task, "blocked"), "reason");
    const char *parked = text_of(json_object_get(task, "parked"), "for");
    if (blocked)
        buffer_format(out, "BLOCKED %s", blocked);
    else if (parked)
        buffer_format(out, "waits for %s", parked);
}

static void usage_words(const json_t *task, struct buffer *out)
{
    const json_t *tokens = json_object_get(task, "tokens");
    const json_t *input = json_object_get(tokens, "input"),
                 *output = json_object_get(tokens, "output"),
                 *cost = json_object_get(task, "cost_usd");
    if (json_is_integer(input) || json_is_integer(output))
        buffer_format(out, "%lld in / %lld out", (long long)json_integer_value(input),
                      (long long)json_integer_value(output));
    else
        buffer_text(out, "tokens unknown");
    if (json_is_number(cost))
        buffer_format(out, " · $%.2f", json_number_value(cost));
    else
        buffer_text(out, " · cost unknown");
}

/* ---- status ---- */

static void show_services(const json_t *services, struct buffer *out)
{
    struct table table;
    size_t index;
    const json_t *service;
    heading(out, "services", json_array_size(services));
    table_begin(&table, 6);
    json_array_foreach(services, index, service)
    {
        char restarts[40] = "-";
        const json_t *count = json_object_get(service, "restarts");
        if (json_is_integer(count))
            snprintf(restarts, sizeof restarts, "%lld restarts",
                     (long long)json_integer_value(count));
        table_add(&table, text_of(service, "name"));
        table_add(&table, text_of(service, "state"));
        add_number(&table, service, "pid");
        add_span(&table, service, "uptime_s");
        table_add(&table, restarts);
        table_add(&table, text_of(service, "doing"));
    }
    table_end(&table, "  ", out);
}

static void show_alerts(const json_t *alerts, int64_t now_ms, struct buffer *out)
{
    struct table table;
    size_t index;
    const json_t *alert;
    if (json_array_size(alerts) == 0)
        return;
    heading(out, "alerts", json_array_size(alerts));
    table_begin(&table, 3);
    json_array_foreach(alerts, index, alert)
    {
        table_add(&table, text_of(alert, "key"));
        add_age(&table, alert, "at", now_ms);
        table_add(&table, text_of(alert, "text"));
    }
    table_end(&table, "  ", out);
}

void text_status(const json_t *health, const json_t *queue, int64_t now_ms, struct buffer *out)
{
    size_t index;
    const json_t *reason, *counts = json_object_get(queue, "counts");
    const char *status = text_of(health, "status");
    buffer_format(out, "orchestrator %s\n", status ? status : "unknown");
    json_array_foreach(json_object_get(health, "reasons"), index, reason)
    {
        buffer_format(out, "  %s\n", json_string_value(reason));
    }
    show_services(json_object_get(health, "services"), out);
    if (!counts)
        return;
    buffer_format(out,
                  "tasks  %lld living, %lld blocked, %lld parked\n"
                  "jobs   %lld running, %lld queued\n",
                  number_of(counts, "tasks"), number_of(counts, "blocked"),
                  number_of(counts, "parked"), number_of(counts, "running"),
                  number_of(counts, "queued"));
    show_alerts(json_object_get(queue, "alerts"), now_ms, out);
}

/* ---- queue ---- */

static void show_jobs(const char *word, const json_t *jobs, const char *last, int64_t now_ms,
                      struct buffer *out)
{
    struct table table;
    size_t index;
    const json_t *job;
    heading(out, word, json_array_size(jobs));
    table_begin(&table, 6);
    json_array_foreach(jobs, index, job)
    {
        const char *role = text_of(job, "role");
        char attempt[40];
        snprintf(attempt, sizeof attempt, "attempt %lld", number_of(job, "attempt"));
        table_add(&table, text_of(job, "key"));
        table_add(&table, text_of(job, "stage"));
        table_add(&table, role ? role : text_of(job, "kind"));
        table_add(&table, attempt);
        add_age(&table, job, "since", now_ms);
        table_add(&table, text_of(job, last));
    }
    table_end(&table, "  ", out);
}

static void show_holders(const char *word, const json_t *rows, const char *by, int64_t now_ms,
                         struct buffer *out)
{
    struct table table;
    size_t index;
    const json_t *row;
    if (json_array_size(rows) == 0)
        return;
    heading(out, word, json_array_size(rows));
    table_begin(&table, 3);
    json_array_foreach(rows, index, row)
    {
        table_add(&table, text_of(row, "repo"));
        add_age(&table, row, "since", now_ms);
        table_add(&table, text_of(row, by));
    }
    table_end(&table, "  ", out);
}

void text_queue(const json_t *queue, int64_t now_ms, struct buffer *out)
{
    const json_t *jobs = json_object_get(queue, "jobs");
    if (json_is_true(json_object_get(jobs, "paused")))
        buffer_text(out, "PAUSED: nothing is claimed\n");
    if (json_is_true(json_object_get(jobs, "draining")))
        buffer_text(out, "DRAINING: nothing new is claimed\n");
    show_jobs("running", json_object_get(queue, "running"), "run", now_ms, out);
    show_jobs("queued", json_object_get(queue, "queued"), "reason", now_ms, out);
    show_holders("leases", json_object_get(queue, "leases"), "key", now_ms, out);
    show_holders("frozen", json_object_get(queue, "frozen"), "reason", now_ms, out);
    show_alerts(json_object_get(queue, "alerts"), now_ms, out);
}

/* ---- tasks ---- */

void text_tasks(const json_t *tasks, int64_t now_ms, struct buffer *out)
{
    struct table table;
    size_t index;
    const json_t *task;
    table_begin(&table, 5);
    json_array_foreach(tasks, index, task)
    {
        struct buffer words = {0};
        condition(task, &words);
        table_add(&table, text_of(task, "key"));
        table_add(&table, text_of(task, "stage"));
        add_age(&table, task, "created_at", now_ms);
        table_add(&table, text_of(task, "title"));
        table_add(&table, words.data);
        buffer_free(&words);
    }
    if (json_array_size(tasks) == 0)
        buffer_text(out, "no tasks\n");
    table_end(&table, "", out);
}

static void show_transitions(const json_t *transitions, struct buffer *out)
{
    struct table table;
    size_t index;
    const json_t *step;
    heading(out, "transitions", json_array_size(transitions));
    table_begin(&table, 4);
    json_array_foreach(transitions, index, step)
    {
        const char *from = text_of(step, "from"), *to = text_of(step, "to");
        char *way = from ? xformat("%s → %s", from, to ? to : "?") : xformat("→ %s", to ? to : "?");
        table_add(&table, text_of(step, "at"));
        table_add(&table, way);
        table_add(&table, text_of(step, "actor"));
        table_add(&table, text_of(step, "why"));
        free(way);
    }
    table_end(&table, "  ", out);
}

static void show_runs(const json_t *runs, struct buffer *out)
{
    struct table table;
    size_t index;
    const json_t *run;
    heading(out, "runs", json_array_size(runs));
    table_begin(&table, 6);
    json_array_foreach(runs, index, run)
    {
        struct buffer words = {0};
        usage_words(run, &words);
        const char *outcome = text_of(run, "outcome");
        table_add(&table, text_of(run, "id"));
        table_add(&table, text_of(run, "role"));
        table_add(&table, outcome ? outcome : text_of(run, "state"));
        table_add(&table, text_of(run, "started_at"));
        table_add(&table, words.data);
        table_add(&table, text_of(run, "reason"));
        buffer_free(&words);
    }
    table_end(&table, "  ", out);
}

static void show_task_jobs(const json_t *jobs, int64_t now_ms, struct buffer *out)
{
    struct table table;
    size_t index;
    const json_t *job;
    heading(out, "jobs", json_array_size(jobs));
    table_begin(&table, 6);
    json_array_foreach(jobs, index, job)
    {
        const char *role = text_of(job, "role");
        add_number(&table, job, "id");
        table_add(&table, role ? role : text_of(job, "kind"));
        table_add(&table, text_of(job, "stage"));
        table_add(&table, text_of(job, "state"));
        add_age(&table, job, "created_at", now_ms);
        table_add(&table, text_of(job, "reason"));
    }
    table_end(&table, "  ", out);
}

void text_task(const json_t *task, int64_t now_ms, struct buffer *out)
{
    struct buffer words = {0}, usage = {0};
    struct table table;
    const json_t *pull = json_object_get(task, "pull_request");
    const char *title = text_of(task, "title"), *key = text_of(task, "key");
    buffer_format(out, "%s  %s\n", key ? key : "?", title ? title : "");
    condition(task, &words);
    usage_words(task, &usage);
    table_begin(&table, 2);
    table_add(&table, "stage");
    table_add(&table, text_of(task, "stage"));
    if (words.size) {
        table_add(&table, "state");
        table_add(&table, words.data);
    }
    table_add(&table, "branch");
    table_add(&table, text_of(task, "branch"));
    if (json_is_object(pull)) {
        char *shown = xformat("#%lld %s", number_of(pull, "number"),
                              text_of(pull, "url") ? text_of(pull, "url") : "");
        table_add(&table, "pull request");
        table_add(&table, shown);
        free(shown);
    }
    table_add(&table, "merged");
    table_add(&table, text_of(task, "merged_commit"));
    table_add(&table, "used");
    table_add(&table, usage.data);
    table_end(&table, "  ", out);
    show_transitions(json_object_get(task, "transitions"), out);
    show_task_jobs(json_object_get(task, "jobs"), now_ms, out);
    show_runs(json_object_get(task, "runs"), out);
    buffer_free(&words);
    buffer_free(&usage);
}

/* ---- events and logs ---- */

void text_event(const json_t *event, struct buffer *out)
{
    static const char *const fields[] = {"task", "stage", "run", "service"};
    const char *ts = text_of(event, "ts"), *name = text_of(event, "event");
    char *detail = json_dumps(json_object_get(event, "detail"), JSON_COMPACT);
    buffer_format(out, "%s  %-10s", ts ? ts : "-", name ? name : "-");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *value = text_of(event, fields[i]);
        if (value)
            buffer_format(out, "  %s", value);
    }
    if (detail && strcmp(detail, "{}") != 0)
        buffer_format(out, "  %s", detail);
    buffer_text(out, "\n");
    free(detail);
}

void text_log_line(const char *line, struct buffer *out)
{
    json_t *entry = line[0] == '{' ? json_loads(line, 0, NULL) : NULL;
    const char *msg = text_of(entry, "msg"), *ts = text_of(entry, "ts");
    if (!msg || !ts) {
        buffer_format(out, "%s\n", line);
        json_decref(entry);
        return;
    }
    const char *level = text_of(entry, "level"), *event = text_of(entry, "event"),
               *task = text_of(entry, "task");
    buffer_format(out, "%s %-5s %-10s %s%s%s\n", ts, level ? level : "", event ? event : "",
                  task ? task : "", task ? ": " : "", msg);
    json_decref(entry);
}
