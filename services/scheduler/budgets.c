#include "services/scheduler/budgets.h"

#include <stdio.h>
#include <string.h>
#include "services/scheduler/effects.h"

enum { DAY_MS = 24 * 3600 * 1000 };

static bool is_over(double spent, double limit)
{
    return limit > 0 && spent >= limit;
}

/* ---- pure ---- */

enum reason budget_judge(const struct config *config, const struct budget_facts *facts)
{
    bool raised = config->budget_run_usd <= 0 || config->budget_run_usd > facts->over_run_usd;
    if (facts->over_run_usd >= 0 && !raised)
        return REASON_BUDGET_RUN;
    if (is_over(facts->task_usd, config->budget_task_usd))
        return REASON_BUDGET_TASK;
    return is_over(facts->day_usd, config->budget_day_usd) ? REASON_BUDGET_DAY : REASON_OK;
}

bool budget_is_idle(const struct config *config, int64_t runs, double usd)
{
    return is_over(usd, config->budget_no_progress_usd) ||
           (config->budget_no_progress_runs > 0 && runs >= config->budget_no_progress_runs);
}

int64_t budget_next_day(int64_t now_ms)
{
    return now_ms - now_ms % DAY_MS + DAY_MS;
}

void budget_explain(const struct config *config, enum reason reason,
                    const struct budget_facts *facts, char *words, size_t size)
{
    char text[160] = "";
    if (reason == REASON_BUDGET_RUN)
        snprintf(
            text, sizeof text,
            "its last run went over $%.2f; raise budget.run_usd, or retry: the session is resumed",
            facts->over_run_usd);
    else if (reason == REASON_BUDGET_TASK)
        snprintf(text, sizeof text, "$%.2f are spent on the task, budget.task_usd is %.2f",
                 facts->task_usd, config->budget_task_usd);
    else if (reason == REASON_BUDGET_DAY)
        snprintf(text, sizeof text, "budget.day_usd (%.2f) is spent; it goes on at midnight, UTC",
                 config->budget_day_usd);
    reason_format(reason, text, words, size);
}

/* ---- rows ---- */

static double number(struct scheduler *scheduler, sqlite3_stmt *row)
{
    double value = 0;
    if (store_row(scheduler->store, row)) {
        value = sqlite3_column_double(row, 0);
        store_done(row);
    }
    return value;
}

double budget_spent_on(struct scheduler *scheduler, int64_t task)
{
    return number(scheduler, store_ask(scheduler->store,
                                       "SELECT total(cost_usd) FROM agent_runs INDEXED BY"
                                       " agent_runs_task WHERE task = ?1",
                                       "i", task));
}

double budget_spent_today(struct scheduler *scheduler)
{
    return number(scheduler,
                  store_ask(scheduler->store,
                            "SELECT total(cost_usd) FROM agent_runs INDEXED BY agent_runs_paid"
                            " WHERE cost_usd IS NOT NULL AND ended_at >= ?1",
                            "i", budget_next_day(scheduler->now_ms) - DAY_MS));
}

void budgets_say(struct scheduler *scheduler, const json_t *wanted, bool complete)
{
    char over[64][48];
    size_t count = 0;
    sqlite3_stmt *row =
        store_ask(scheduler->store,
                  "SELECT key FROM alerts INDEXED BY alerts_open WHERE cleared_at IS"
                  " NULL AND key > 'budget:' AND key < 'budget;'",
                  "");
    while (complete && store_row(scheduler->store, row)) {
        const char *key = column_text(row, 0);
        if (!json_object_get(wanted, key) && count < 64)
            snprintf(over[count++], sizeof *over, "%s", key);
    }
    store_done(row);
    for (size_t i = 0; i < count; i++)
        alert_clear(scheduler, over[i]);
    const char *key;
    json_t *text;
    json_object_foreach((json_t *)wanted, key, text)
        alert_raise(scheduler, key, json_string_value(text));
}

/* ---- progress ---- */

void budget_count(struct scheduler *scheduler, const struct task *task, bool counts, double usd)
{
    store_run(scheduler->store,
              "UPDATE tasks SET idle_runs = idle_runs + ?2, idle_usd = idle_usd + ?3 WHERE id = ?1",
              "iid", task->id, (int64_t)counts, usd > 0 ? usd : 0.0);
}

bool budget_is_spent_idly(struct scheduler *scheduler, const struct task *task, char *words,
                          size_t size)
{
    sqlite3_stmt *row =
        store_ask(scheduler->store, "SELECT idle_runs, idle_usd, furthest FROM tasks WHERE id = ?1",
                  "i", task->id);
    if (!store_row(scheduler->store, row))
        return false;
    int64_t runs = column_int(row, 0), furthest = column_int(row, 2);
    double usd = sqlite3_column_double(row, 1);
    store_done(row);
    snprintf(words, size, "%lld runs and $%.2f since %s was reached, and nothing new since",
             (long long)runs, usd,
             stage_table[furthest < STAGE_COUNT ? furthest : task->stage].name);
    return budget_is_idle(scheduler->config, runs, usd);
}

void budget_forgive(struct scheduler *scheduler, const struct task *task)
{
    store_run(scheduler->store,
              "UPDATE tasks SET furthest = ?2, idle_runs = 0, idle_usd = 0 WHERE id = ?1", "ii",
              task->id, (int64_t)task->stage);
    store_run(scheduler->store,
              "UPDATE jobs INDEXED BY jobs_live SET over_run_usd = NULL WHERE task = ?1"
              " AND state IN ('queued','running') AND over_run_usd IS NOT NULL",
              "i", task->id);
}
