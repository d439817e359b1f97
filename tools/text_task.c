/* PURE: no I/O */
#include "tools/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/clock_text.h"
#include "protocol/vocabulary.h"

enum { TITLE_WHOLE = 255, TITLE_SHOWN = 60, STATE_SHOWN = 60, COMMIT_SHOWN = 12 };

static void heading(const struct view *view, const char *word, struct buffer *out)
{
    text_paint(out, view, STYLE_STRONG, word);
    buffer_text(out, "\n");
}

/* "blocked: reason", "waits for approval", or "". */
static enum style condition(const json_t *task, struct buffer *out)
{
    const json_t *blocked = json_object_get(task, "blocked");
    const char *parked = text_field(json_object_get(task, "parked"), "for");
    if (json_is_object(blocked)) {
        const char *reason = text_field(blocked, "reason");
        buffer_format(out, "blocked: %s", reason ? reason : "?");
        return STYLE_BAD;
    }
    if (parked)
        buffer_format(out, "waits for %s", parked);
    return STYLE_WARNING;
}

static enum style stage_style(const char *stage)
{
    if (stage && strcmp(stage, stage_table[STAGE_DONE].name) == 0)
        return STYLE_GOOD;
    if (stage && strcmp(stage, stage_table[STAGE_CANCELLED].name) == 0)
        return STYLE_DIM;
    return STYLE_PLAIN;
}

/* ---- the list ---- */

void text_tasks(const json_t *tasks, const struct view *view, struct buffer *out)
{
    static const char *const heads[] = {"TASK", "STAGE", "AGE", "TITLE", "STATE"};
    struct table table;
    size_t index;
    const json_t *task;
    if (json_array_size(tasks) == 0) {
        buffer_text(out, "no tasks\n");
        return;
    }
    table_begin(&table, view, sizeof heads / sizeof *heads, heads);
    json_array_foreach(tasks, index, task)
    {
        struct buffer words = {0};
        enum style style = condition(task, &words);
        table_add_field(&table, task, "key");
        table_add_style(&table, text_field(task, "stage"), stage_style(text_field(task, "stage")));
        table_add_age(&table, task, "created_at");
        table_add_cut(&table, text_field(task, "title"), TITLE_SHOWN);
        table_add_cut(&table, words.data, STATE_SHOWN);
        table.cells[table.count - 1].style = style;
        buffer_free(&words);
    }
    table_end(&table, "", out);
}

/* ---- one task ---- */

/* True where to comes before from: a rollback. */
static bool goes_back(const char *from, const char *to)
{
    enum stage old = from ? stage_by_name(from) : STAGE_COUNT;
    enum stage new = to ? stage_by_name(to) : STAGE_COUNT;
    return old != STAGE_COUNT && new != STAGE_COUNT &&new < old;
}

static void show_history(const json_t *transitions, const struct view *view, struct buffer *out)
{
    struct table table;
    size_t index;
    const json_t *step;
    if (json_array_size(transitions) == 0)
        return;
    heading(view, "history", out);
    table_begin(&table, view, 4, NULL);
    json_array_foreach(transitions, index, step)
    {
        const char *to = text_field(step, "to");
        bool back = goes_back(text_field(step, "from"), to);
        char *way = xformat("%s %s", back ? "←" : "→", to ? to : "?");
        table_add_moment(&table, step, "at");
        table_add_style(&table, way, back ? STYLE_WARNING : stage_style(to));
        table_add_field(&table, step, "actor");
        table_add(&table, text_reason(text_field(step, "why")));
        free(way);
    }
    table_end(&table, "  ", out);
}

static const char *kind_of(const json_t *jobs, json_int_t id)
{
    size_t index;
    const json_t *job;
    json_array_foreach(jobs, index, job)
    {
        if (json_integer_value(json_object_get(job, "id")) == id)
            return text_field(job, "kind");
    }
    return NULL;
}

static void add_took(struct table *table, const json_t *run)
{
    char text[TEXT_VALUE] = "-";
    const char *from = text_field(run, "started_at"), *to = text_field(run, "ended_at");
    int64_t until = to ? clock_parse(to) : table->view->now_ms;
    if (from && clock_parse(from) >= 0)
        text_span((until - clock_parse(from)) / 1000, text);
    table_add(table, text);
}

/* A run without tokens ended or goes on without telling: unknown, which is not nothing. */
static void add_usage(struct table *table, const json_t *run)
{
    struct buffer words = {0};
    if (!text_field(run, "role"))
        table_add(table, NULL); /* a reserved job asks no model */
    else {
        text_usage(run, &words);
        table_add(table, words.data);
    }
    buffer_free(&words);
}

static void show_runs(const json_t *task, const struct view *view, struct buffer *out)
{
    static const char *const heads[] = {"RUN",  "JOB",  "OUTCOME", "STARTED",
                                        "TOOK", "USED", "REASON"};
    const json_t *runs = json_object_get(task, "runs"), *run;
    struct table table;
    size_t index;
    if (json_array_size(runs) == 0)
        return;
    heading(view, "runs", out);
    table_begin(&table, view, sizeof heads / sizeof *heads, heads);
    json_array_foreach(runs, index, run)
    {
        const char *role = text_field(run, "role"), *outcome = text_field(run, "outcome");
        const char *reason = text_field(run, "reason");
        bool well = outcome && strcmp(outcome, "succeeded") == 0;
        table_add_field(&table, run, "id");
        table_add(&table, role ? role
                               : kind_of(json_object_get(task, "jobs"),
                                         json_integer_value(json_object_get(run, "job"))));
        table_add_style(&table, outcome ? outcome : text_field(run, "state"),
                        !outcome ? STYLE_BUSY
                        : well   ? STYLE_GOOD
                                 : STYLE_BAD);
        table_add_moment(&table, run, "started_at");
        add_took(&table, run);
        add_usage(&table, run);
        table_add(&table, well ? NULL : reason);
    }
    table_end(&table, "  ", out);
}

/* Jobs that have ended well are told by their runs. */
static void show_open_jobs(const json_t *jobs, const struct view *view, struct buffer *out)
{
    static const char *const heads[] = {"JOB", "WHAT", "STAGE", "STATE", "AGE", "REASON"};
    struct table table;
    size_t index;
    const json_t *job;
    table_begin(&table, view, sizeof heads / sizeof *heads, heads);
    json_array_foreach(jobs, index, job)
    {
        const char *role = text_field(job, "role"), *state = text_field(job, "state");
        if (state && strcmp(state, "done") == 0)
            continue;
        table_add_number(&table, job, "id");
        table_add(&table, role ? role : text_field(job, "kind"));
        table_add_field(&table, job, "stage");
        table_add(&table, state);
        table_add_age(&table, job, "created_at");
        table_add_field(&table, job, "reason");
    }
    if (table.count > table.columns)
        heading(view, "jobs", out);
    table_end(&table, "  ", out);
}

static void show_findings(const json_t *task, const struct view *view, struct buffer *out)
{
    size_t index;
    const json_t *finding, *findings = json_object_get(task, "findings");
    if (json_is_true(json_object_get(task, "terminal")) || json_array_size(findings) == 0)
        return;
    heading(view, "findings of the last gate that failed", out);
    json_array_foreach(findings, index, finding)
    {
        const char *words = json_string_value(finding);
        text_clean_lines(out, "  ", words ? words : "?");
    }
}

static void add_pair(struct table *table, const char *word, const char *value, enum style style)
{
    table_add_style(table, word, STYLE_DIM);
    table_add_style(table, value, style);
}

static void show_facts(const json_t *task, const struct view *view, struct buffer *out)
{
    struct buffer words = {0}, used = {0};
    struct table table;
    const json_t *pull = json_object_get(task, "pull_request");
    const char *url = text_field(pull, "url"), *merged = text_field(task, "merged_commit");
    enum style style = condition(task, &words);
    char number[TEXT_VALUE], commit[COMMIT_SHOWN + 1] = "";
    text_usage(task, &used);
    if (text_number(task, "rollbacks"))
        buffer_format(&used, ", %lld rollback%s", text_number(task, "rollbacks"),
                      text_number(task, "rollbacks") == 1 ? "" : "s");
    table_begin(&table, view, 2, NULL);
    add_pair(&table, "stage", text_field(task, "stage"), stage_style(text_field(task, "stage")));
    if (words.size)
        add_pair(&table, "state", words.data, style);
    add_pair(&table, "branch", text_field(task, "branch"), STYLE_PLAIN);
    if (json_is_object(pull)) {
        snprintf(number, sizeof number, "#%lld", text_number(pull, "number"));
        char *shown = xformat("%s %s", number, url ? url : "");
        add_pair(&table, "pull request", shown, STYLE_PLAIN);
        free(shown);
    }
    if (merged) {
        snprintf(commit, sizeof commit, "%.*s", COMMIT_SHOWN, merged);
        add_pair(&table, "merged as", commit, STYLE_PLAIN);
    }
    add_pair(&table, "used", used.data, STYLE_PLAIN);
    table_end(&table, "  ", out);
    buffer_free(&words);
    buffer_free(&used);
}

static void show_title(const json_t *object, const struct view *view, struct buffer *out)
{
    const char *key = text_field(object, "key"), *title = text_field(object, "title");
    text_paint(out, view, STYLE_STRONG, key ? key : "?");
    buffer_text(out, "  ");
    text_clean_cut(out, title ? title : "", TITLE_WHOLE);
    buffer_text(out, "\n");
}

void text_task(const json_t *task, const struct view *view, struct buffer *out)
{
    show_title(task, view, out);
    show_facts(task, view, out);
    show_findings(task, view, out);
    show_history(json_object_get(task, "transitions"), view, out);
    show_open_jobs(json_object_get(task, "jobs"), view, out);
    show_runs(task, view, out);
}

void text_issue(const json_t *issue, const struct view *view, struct buffer *out)
{
    struct table table;
    const char *status = text_field(issue, "status"), *body = text_field(issue, "body");
    show_title(issue, view, out);
    table_begin(&table, view, 2, NULL);
    add_pair(&table, "status", status, STYLE_PLAIN);
    add_pair(&table, "task", "none yet: nobody has started it", STYLE_PLAIN);
    table_end(&table, "  ", out);
    if (body && *body) {
        heading(view, "description", out);
        text_clean_lines(out, "  ", body);
    }
}
