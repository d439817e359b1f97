/* What /queue, /metrics and /health say of main.db. */
#include <string.h>
#include "services/scheduler/store_read_rows.h"

/* A parked task's standing question for its labels is no work that waits: the task is parked. */
#define IS_WORK " AND (j.kind <> 'query' OR json_extract(j.input, '$.what') <> 'labels')"

static void read_counts(struct store_read *store, struct store_state *out)
{
    json_t *counts =
        read_row(store,
                 "SELECT count(*) AS living, total(blocked_reason IS NOT NULL) AS blocked,"
                 " total(parked_for IS NOT NULL) AS parked, total(stop_requested <> 0) AS stopping"
                 " FROM tasks WHERE terminal = 0",
                 "");
    out->living = json_integer_value(json_object_get(counts, "living"));
    out->blocked = (int64_t)json_number_value(json_object_get(counts, "blocked"));
    out->parked = (int64_t)json_number_value(json_object_get(counts, "parked"));
    out->stopping = (int64_t)json_number_value(json_object_get(counts, "stopping"));
    json_decref(counts);
    out->queued = read_number(store, "SELECT count(*) FROM jobs j WHERE state = 'queued'" IS_WORK);
    out->running = read_number(store, "SELECT count(*) FROM jobs WHERE state = 'running'");
    out->effects_pending = read_number(store, "SELECT count(*) FROM effects WHERE state IN"
                                              " ('pending','handed') AND state = 'pending'");
    out->effects_handed = read_number(store, "SELECT count(*) FROM effects WHERE state IN"
                                             " ('pending','handed') AND state = 'handed'");
    out->windows_open = read_number(store, "SELECT count(*) FROM windows WHERE verdict IS NULL");
    out->alerts_open = read_number(store, "SELECT count(*) FROM alerts WHERE cleared_at IS NULL");
    out->journal_seq = store_read_journal_last(store);
    out->inbox_position = store_read_inbox_position(store);
    out->transitions = zero_if_none(read_number(store, "SELECT max(id) FROM transitions"));
    out->jobs =
        zero_if_none(read_number(store, "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'"));
}

static json_t *stage_counts(struct store_read *store)
{
    json_t *object = json_object();
    json_t *found = read_rows(store,
                              "SELECT stage, count(*) AS tasks FROM tasks INDEXED BY tasks_live"
                              " WHERE terminal = 0 GROUP BY stage",
                              "");
    size_t index;
    json_t *row;
    json_array_foreach(found, index, row)
    {
        json_object_set(object, json_string_value(json_object_get(row, "stage")),
                        json_object_get(row, "tasks"));
    }
    json_decref(found);
    return object;
}

static bool meta_flag(struct store_read *store, const char *key)
{
    json_t *row = read_row(store, "SELECT value FROM meta WHERE key = ?1", "s", key);
    const char *value = json_string_value(json_object_get(row, "value"));
    bool flag = value && *value && strcmp(value, "0") != 0;
    json_decref(row);
    return flag;
}

void store_read_state(struct store_read *store, struct store_state *out)
{
    memset(out, 0, sizeof *out);
    read_counts(store, out);
    out->stages = stage_counts(store);
    out->paused = meta_flag(store, "paused");
    out->draining = meta_flag(store, "draining");
    out->restored = meta_flag(store, "restored");
    out->paused_projects = read_rows(store,
                                     "SELECT substr(key, 8) AS project FROM meta"
                                     " WHERE key LIKE 'paused:%' AND value NOT IN ('', '0')",
                                     "");
    out->running_jobs = read_rows(
        store,
        "SELECT j.id AS job, j.task, t.key, j.project, j.repo, j.kind, j.role, j.stage,"
        " j.attempt, j.run, j.claimed_at AS \"since:time\", r.progress AS \"progress:json\""
        " FROM jobs j INDEXED BY jobs_running JOIN tasks t ON t.id = j.task"
        " LEFT JOIN agent_runs r ON r.id = j.run"
        " WHERE j.state = 'running' ORDER BY j.id LIMIT 1000",
        "");
    out->queued_jobs =
        read_rows(store,
                  "SELECT j.id AS job, j.task, t.key, j.project, j.repo, j.kind, j.role, j.stage,"
                  " j.attempt, j.reason, j.created_at AS \"since:time\","
                  " nullif(j.not_before, 0) AS \"not_before:time\""
                  " FROM jobs j INDEXED BY jobs_queued JOIN tasks t ON t.id = j.task"
                  " WHERE j.state = 'queued'" IS_WORK
                  " ORDER BY j.stage_rank DESC, j.priority DESC, j.task, j.id LIMIT 1000",
                  "");
    out->leases = read_rows(store,
                            "SELECT l.repo, l.task, t.key, l.since AS \"since:time\", l.used_by_run"
                            " FROM leases l JOIN tasks t ON t.id = l.task ORDER BY l.repo",
                            "");
    out->frozen = read_rows(store,
                            "SELECT repo, reason, actor, since AS \"since:time\" FROM repo_freeze"
                            " ORDER BY repo",
                            "");
    out->alerts = read_rows(store,
                            "SELECT a.key, a.task, t.key AS task_key, a.text, a.at AS \"at:time\""
                            " FROM alerts a LEFT JOIN tasks t ON t.id = a.task"
                            " WHERE a.cleared_at IS NULL ORDER BY a.at DESC LIMIT 200",
                            "");
    out->breakers =
        read_rows(store,
                  "SELECT provider, state, failures, until AS \"until:time\", reason, hold"
                  " FROM breakers ORDER BY provider",
                  "");
    json_t *oldest = read_row(store,
                              "SELECT min(created_at) AS \"since:time\" FROM effects"
                              " WHERE state IN ('pending','handed')",
                              "");
    out->effects_oldest = json_incref(json_object_get(oldest, "since"));
    json_decref(oldest);
}

void store_state_free(struct store_state *state)
{
    json_decref(state->stages);
    json_decref(state->running_jobs);
    json_decref(state->queued_jobs);
    json_decref(state->leases);
    json_decref(state->frozen);
    json_decref(state->alerts);
    json_decref(state->breakers);
    json_decref(state->effects_oldest);
    json_decref(state->paused_projects);
    memset(state, 0, sizeof *state);
}

json_t *store_read_effects(struct store_read *store)
{
    return read_rows(store,
                     "SELECT e.id AS effect, e.task, t.key, e.kind, e.state, e.author, e.status,"
                     " e.body, e.created_at AS \"since:time\""
                     " FROM effects e INDEXED BY effects_waiting LEFT JOIN tasks t ON t.id = e.task"
                     " WHERE e.state IN ('pending','handed') ORDER BY e.id LIMIT 1000",
                     "");
}
