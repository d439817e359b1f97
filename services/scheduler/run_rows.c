#include "services/scheduler/run_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool run_row_load(struct scheduler *scheduler, const char *id, struct run_row *run)
{
    sqlite3_stmt *row = store_ask(scheduler->store,
                                  "SELECT id, role, state, stop, job, task, entry, attempt,"
                                  " started_at IS NOT NULL FROM agent_runs WHERE id = ?1",
                                  "s", id);
    memset(run, 0, sizeof *run);
    if (!store_row(scheduler->store, row))
        return false;
    run->id = column_copy(row, 0);
    run->role = column_copy(row, 1);
    run->state = column_copy(row, 2);
    run->stop = column_copy(row, 3);
    run->job = column_int(row, 4);
    run->task = column_int(row, 5);
    run->entry = column_int(row, 6);
    run->attempt = (int)column_int(row, 7);
    run->started = column_int(row, 8) != 0;
    store_done(row);
    return true;
}

void run_row_free(struct run_row *run)
{
    free(run->id);
    free(run->role);
    free(run->state);
    free(run->stop);
    memset(run, 0, sizeof *run);
}

/* -1, which binds as null, where it is unknown. */
static int64_t integer_or_unknown(const json_t *object, const char *field)
{
    const json_t *value = json_object_get(object, field);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

void run_row_usage(const json_t *message, struct wording_usage *usage)
{
    const json_t *tokens = json_object_get(message, "usage"),
                 *cost = json_object_get(message, "cost_usd");
    *usage = (struct wording_usage){
        .input = integer_or_unknown(tokens, "input"),
        .output = integer_or_unknown(tokens, "output"),
        .cache_read = integer_or_unknown(tokens, "cache_read"),
        .cache_creation = integer_or_unknown(tokens, "cache_creation"),
        .cost_usd = json_is_number(cost) ? json_number_value(cost) : -1.0,
    };
}

static void add_exit(struct scheduler *scheduler, const char *id, const json_t *message)
{
    /* negative codes are meant (a timeout is -9), so null needs a statement of its own */
    const json_t *code = json_object_get(message, "exit_code"),
                 *cost = json_object_get(message, "cost_usd");
    if (json_is_integer(code))
        store_run(scheduler->store, "UPDATE agent_runs SET exit_code = ?2 WHERE id = ?1", "si", id,
                  (int64_t)json_integer_value(code));
    if (json_is_number(cost))
        store_run(scheduler->store, "UPDATE agent_runs SET cost_usd = ?2 WHERE id = ?1", "sd", id,
                  json_number_value(cost));
}

bool run_row_end(struct scheduler *scheduler, const struct run_row *run, const json_t *message,
                 const struct wording_usage *usage)
{
    const json_t *gate = json_object_get(message, "gate");
    char *text = json_dumps(message, JSON_COMPACT);
    char *gate_text = json_is_object(gate) ? json_dumps(gate, JSON_COMPACT) : NULL;
    int64_t ended = message_integer(message, "ended_ms", scheduler->now_ms);
    int changed = store_run(
        scheduler->store,
        "UPDATE agent_runs SET state = 'ended', outcome = ?2, class = ?3, reason = ?4,"
        " session = coalesce(?5, session), input_tokens = ?6, output_tokens = ?7,"
        " cache_read_tokens = ?8, cache_creation_tokens = ?9, gate = ?10, result = ?11,"
        " ended_at = ?12, started_at = coalesce(started_at, ?13), command = ''"
        " WHERE id = ?1 AND state <> 'ended'",
        "sssssnnnnssin", run->id, message_text(message, "outcome", ""),
        message_text(message, "class", ""), message_text(message, "reason", ""),
        message_text(message, "session", NULL), usage->input, usage->output, usage->cache_read,
        usage->cache_creation, gate_text, text, ended, integer_or_unknown(message, "started_ms"));
    free(text);
    free(gate_text);
    if (changed > 0)
        add_exit(scheduler, run->id, message);
    return changed > 0;
}

void run_row_say(struct scheduler *scheduler, const struct task *task, const struct run_row *run,
                 json_t *detail)
{
    if (run->role)
        json_object_set_new(detail, "role", json_string(run->role));
    json_object_set_new(detail, "attempt", json_integer(run->attempt));
    journal_add(&scheduler->journal, scheduler->store, scheduler->now_ms,
                &(struct journal_about){.event = "run",
                                        .task = task->key,
                                        .stage = stage_table[task->stage].name,
                                        .job = run->job,
                                        .run = run->id},
                detail);
}

char *run_row_denied(const json_t *message)
{
    const json_t *tools = json_object_get(json_object_get(message, "detail"), "denied_tools"),
                 *tool;
    struct buffer out = {0};
    size_t index;
    json_array_foreach(tools, index, tool)
    {
        if (json_is_string(tool))
            buffer_format(&out, "%s%s", out.size ? ", " : "", json_string_value(tool));
    }
    return out.size ? buffer_take(&out) : NULL;
}
