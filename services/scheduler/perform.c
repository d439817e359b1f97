#include "services/scheduler/perform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/log.h"
#include "services/scheduler/budgets.h"
#include "services/scheduler/commands.h"
#include "services/scheduler/dependents.h"
#include "services/scheduler/effects.h"
#include "services/scheduler/findings.h"
#include "services/scheduler/leases.h"
#include "services/scheduler/queries.h"
#include "services/scheduler/slug.h"

const char *outcome_name(enum decision_outcome outcome)
{
    static const char *const names[] = {
        [DECISION_APPLIED] = "applied",
        [DECISION_REFUSED] = "refused",
        [DECISION_IGNORED] = "ignored",
    };
    return names[outcome];
}

void performed_set(struct performed *performed, enum decision_outcome outcome, enum reason reason,
                   const char *text)
{
    performed->outcome = outcome;
    performed->reason = reason;
    reason_format(reason, text, performed->words, sizeof performed->words);
}

/* One decision on its way into the rows. */
struct performance {
    struct scheduler *scheduler;
    struct task *task;
    const struct occurrence *occurrence;
    const struct stage_decision *decision;
    const char *words; /* "code: text" of the decision */
    enum stage from;   /* STAGE_COUNT: newly created */
    int64_t entry;     /* that the event found */
    bool again;        /* a park that follows a block: since is kept */
};

static void say(const struct performance *p, const char *event, json_t *detail)
{
    journal_add(&p->scheduler->journal, p->scheduler->store, p->scheduler->now_ms,
                &(struct journal_about){.event = event,
                                        .task = p->task->key,
                                        .stage = stage_table[p->task->stage].name},
                detail);
}

static void reload(const struct performance *p)
{
    int64_t id = p->task->id;
    task_free(p->task);
    task_load(p->scheduler, id, p->task);
}

static const char *actor(const struct performance *p)
{
    return p->occurrence->actor ? p->occurrence->actor : "scheduler";
}

/* ---- task and transition ---- */

static void create(struct performance *p)
{
    const struct occurrence *o = p->occurrence;
    const struct project *project = scheduler_project(p->scheduler, o->project);
    char branch[BRANCH_SIZE];
    char *labels = o->labels ? json_dumps(o->labels, JSON_COMPACT) : NULL;
    slug_branch(o->key, o->title, branch);
    store_run(p->scheduler->store,
              "INSERT INTO tasks (project, repo, issue, key, branch, natural_key, title,"
              " description, labels, stage, entry, created_at)"
              " VALUES (?1, ?2, ?3, ?4, ?5, ?4, ?6, ?7, coalesce(?8, '[]'), 'created', 0, ?9)",
              "ssssssssi", o->project, project->repo, o->issue, o->key, branch, o->title,
              o->description, labels, p->scheduler->now_ms);
    free(labels);
    p->task->id = store_last_id(p->scheduler->store);
    dependents_learn(p->scheduler, p->task->id, o->description);
    p->task->priority = task_set_priority(p->scheduler, p->task->id, o->priority);
    effects_succeed(p->scheduler, p->task->id, o->key);
    p->from = STAGE_COUNT;
    store_run(p->scheduler->store,
              "INSERT INTO transitions (task, from_stage, to_stage, why, actor, at)"
              " VALUES (?1, NULL, 'created', ?2, ?3, ?4)",
              "issi", p->task->id, p->words, actor(p), p->scheduler->now_ms);
    store_run(p->scheduler->store, "UPDATE tasks SET entry = ?2 WHERE id = ?1", "ii", p->task->id,
              store_last_id(p->scheduler->store));
    reload(p);
    say(p, "task",
        json_pack("{ss ss ss}", "state", "created", "title", p->task->title, "branch",
                  p->task->branch));
}

static void move(struct performance *p)
{
    enum stage to = p->decision->to;
    bool terminal = stage_is_terminal(to);
    store_run(p->scheduler->store,
              "INSERT INTO transitions (task, from_stage, to_stage, why, actor, at)"
              " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
              "issssi", p->task->id, stage_table[p->task->stage].name, stage_table[to].name,
              p->words, actor(p), p->scheduler->now_ms);
    store_run(p->scheduler->store,
              "UPDATE tasks SET stage = ?2, entry = ?3, terminal = ?4, display_confirmed = 0,"
              " ended_at = CASE ?4 WHEN 0 THEN NULL ELSE ?5 END WHERE id = ?1",
              "isiii", p->task->id, stage_table[to].name, store_last_id(p->scheduler->store),
              (int64_t)terminal, p->scheduler->now_ms);
    if (terminal)
        effects_drop(p->scheduler, p->task->id);
    /* a rollback is no progress, and its way back neither */
    store_run(p->scheduler->store,
              "UPDATE tasks SET furthest = ?2, idle_runs = 0, idle_usd = 0"
              " WHERE id = ?1 AND furthest < ?2",
              "ii", p->task->id, (int64_t)to);
    reload(p);
    say(p, "transition",
        json_pack("{ss? ss ss ss sI}", "from",
                  p->from < STAGE_COUNT ? stage_table[p->from].name : NULL, "to",
                  stage_table[to].name, "why", p->words, "actor", actor(p), "entry",
                  (json_int_t)p->task->entry));
}

/* ---- flags and counters ---- */

static void set_findings(struct performance *p)
{
    char *text = findings_encode(p->occurrence->findings);
    store_run(p->scheduler->store, "UPDATE tasks SET findings = ?2 WHERE id = ?1", "is",
              p->task->id, text);
    free(text);
}

static void block(struct performance *p)
{
    store_run(p->scheduler->store,
              "UPDATE tasks SET blocked_reason = ?2, blocked_since = ?3, blocked_counter = ?4"
              " WHERE id = ?1",
              "isis", p->task->id, p->words, p->scheduler->now_ms, p->decision->counter);
    say(p, "task", json_pack("{ss ss}", "state", "blocked", "reason", p->words));
}

static void unblock(struct performance *p)
{
    store_run(p->scheduler->store,
              "UPDATE tasks SET blocked_reason = NULL, blocked_since = NULL, blocked_counter = NULL"
              " WHERE id = ?1",
              "i", p->task->id);
    store_run(p->scheduler->store,
              "UPDATE alerts INDEXED BY alerts_open SET cleared_at = ?2"
              " WHERE task = ?1 AND cleared_at IS NULL",
              "ii", p->task->id, p->scheduler->now_ms);
    say(p, "task", json_pack("{ss}", "state", "unblocked"));
}

/* A person has been waited for since they were asked first; CI has its whole time again. */
static void park(struct performance *p)
{
    const char *what = parked_name(p->decision->park);
    store_run(p->scheduler->store,
              "UPDATE tasks SET parked_for = ?2, parked_since = CASE WHEN parked_for IS ?2"
              " AND ?2 <> 'ci' THEN coalesce(parked_since, ?3) ELSE ?3 END WHERE id = ?1",
              "isi", p->task->id, what, p->scheduler->now_ms);
    say(p, "task", json_pack("{ss ss}", "state", "parked", "for", what));
}

static void unpark(struct performance *p)
{
    json_t *detail = json_pack("{ss ss}", "state", "unparked", "ended_by", actor(p));
    store_run(p->scheduler->store,
              "UPDATE tasks SET parked_for = NULL, parked_since = NULL WHERE id = ?1", "i",
              p->task->id);
    say(p, "task", detail);
}

static void set_flags(struct performance *p)
{
    const struct stage_decision *d = p->decision;
    struct store *store = p->scheduler->store;
    int64_t id = p->task->id;
    if (d->count_rollback)
        store_run(store, "UPDATE tasks SET rollbacks = rollbacks + 1 WHERE id = ?1", "i", id);
    if (d->count_return)
        store_run(store, "UPDATE tasks SET returns = returns + 1 WHERE id = ?1", "i", id);
    if (d->forget_merge)
        store_run(store,
                  "UPDATE tasks SET merged_commit = NULL, pr_number = NULL, pr_url = NULL,"
                  " pr_head = NULL WHERE id = ?1",
                  "i", id);
    if (d->forget_outside)
        store_run(store,
                  "UPDATE tasks SET head = NULL, pr_number = NULL, pr_url = NULL, pr_head = NULL"
                  " WHERE id = ?1",
                  "i", id);
    if (d->keep_findings)
        set_findings(p);
    if (d->reset_counters)
        store_run(store, "UPDATE tasks SET rollbacks = 0, returns = 0 WHERE id = ?1", "i", id);
    if (d->remember_command || d->unblock)
        budget_forgive(p->scheduler, p->task);
    if (d->unblock)
        unblock(p);
    if (d->block)
        block(p);
    if (d->unpark)
        unpark(p);
    if (d->park != PARKED_NONE)
        park(p);
}

/* ---- jobs ---- */

/* What waits is cancelled; what runs is told to end, and its result then finds another entry. */
static void cancel_jobs(struct performance *p)
{
    struct scheduler *scheduler = p->scheduler;
    store_run(scheduler->store,
              "UPDATE jobs SET state = 'cancelled', reason = ?2, ended_at = ?3 WHERE task = ?1"
              " AND state IN ('queued','running') AND state = 'queued'",
              "isi", p->task->id, p->words, scheduler->now_ms);
    store_run(scheduler->store,
              "UPDATE agent_runs SET stop = ?2 WHERE state <> 'ended' AND stop IS NULL AND job IN"
              " (SELECT id FROM jobs INDEXED BY jobs_live WHERE task = ?1"
              "  AND state IN ('queued','running'))",
              "is", p->task->id, p->words);
}

int64_t job_add(struct scheduler *scheduler, const struct task *task, const struct job_order *order)
{
    const char *stage = stage_table[task->stage].name, *kind = job_kind_table[order->kind].name;
    const char *role = order->role && *order->role ? order->role : NULL;
    char reason[120]; /* until the queue is walked over, or while no runner asks */
    reason_format(REASON_QUEUED, NULL, reason, sizeof reason);
    store_run(scheduler->store,
              "INSERT INTO jobs (task, project, repo, entry, stage, stage_rank, kind, role,"
              " priority, input, created_at, reason)"
              " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
              "issisissisis", task->id, task->project, task->repo, task->entry, stage,
              (int64_t)task->stage, kind, role, task->priority,
              order->with_findings ? "{\"with_findings\":true}" : "{}", scheduler->now_ms, reason);
    int64_t id = store_last_id(scheduler->store);
    journal_add(
        &scheduler->journal, scheduler->store, scheduler->now_ms,
        &(struct journal_about){.event = "job", .task = task->key, .stage = stage, .job = id},
        json_pack("{ss ss ss*}", "state", "queued", "kind", kind, "role", role));
    return id;
}

static void order_job(struct performance *p, const struct job_order *order)
{
    int64_t id = job_add(p->scheduler, p->task, order);
    if (p->decision->tombstone && order->kind == JOB_CLEANUP)
        store_run(p->scheduler->store, "UPDATE tasks SET cleanup_job = ?2 WHERE id = ?1", "ii",
                  p->task->id, id);
}

/* ---- the rest ---- */

static void remember(struct performance *p, const char *prefix)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", prefix, stage_event_names[p->occurrence->event.kind]);
    store_run(p->scheduler->store,
              "INSERT INTO commands_seen (task, entry, command, at) VALUES (?1, ?2, ?3, ?4)"
              " ON CONFLICT DO NOTHING",
              "iisi", p->task->id, p->entry, name, p->scheduler->now_ms);
}

/* The natural keys are free for a later task of the same issue. */
static void tombstone(struct performance *p)
{
    store_run(p->scheduler->store,
              "UPDATE tasks SET issue = issue || '~' || id, key = key || '~' || id,"
              " branch = branch || '~' || id WHERE id = ?1",
              "i", p->task->id);
    reload(p);
}

static const char *command_name(enum stage_event_kind kind)
{
    static const enum status commands[STAGE_EVENT_COUNT] = {
        [STAGE_EVENT_TO_ANALYSE] = STATUS_TO_ANALYSE,
        [STAGE_EVENT_APPROVED] = STATUS_APPROVED,
        [STAGE_EVENT_CONFIRM_DEPLOY] = STATUS_CONFIRM_DEPLOY,
        [STAGE_EVENT_STOP] = STATUS_STOP,
        [STAGE_EVENT_RETRY] = STATUS_TO_ANALYSE,
    };
    return kind <= STAGE_EVENT_RETRY ? status_table[commands[kind]].name : NULL;
}

/* Runs of the task for its summary; texts live as long as the array. */
struct runs {
    struct wording_run *rows;
    size_t count;
};

static double real_or_unknown(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL ? -1.0
                                                           : sqlite3_column_double(row, column);
}

static int64_t int_or_unknown(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL ? -1 : column_int(row, column);
}

static struct runs read_runs(struct scheduler *scheduler, int64_t task)
{
    struct runs runs = {0};
    sqlite3_stmt *row =
        store_ask(scheduler->store,
                  "SELECT r.role, j.kind, r.input_tokens, r.output_tokens, r.cache_read_tokens,"
                  " r.cache_creation_tokens, r.cost_usd FROM agent_runs r JOIN jobs j"
                  " ON j.id = r.job WHERE r.task = ?1 AND r.role IS NOT NULL"
                  " ORDER BY r.job, r.commanded_at",
                  "i", task);
    while (store_row(scheduler->store, row)) {
        runs.rows = xrealloc(runs.rows, (runs.count + 1) * sizeof *runs.rows);
        runs.rows[runs.count++] = (struct wording_run){
            .role = column_copy(row, 0),
            .kind = column_copy(row, 1),
            .usage = {int_or_unknown(row, 2), int_or_unknown(row, 3), int_or_unknown(row, 4),
                      int_or_unknown(row, 5), real_or_unknown(row, 6)},
        };
    }
    return runs;
}

static void free_runs(struct runs *runs)
{
    for (size_t i = 0; i < runs->count; i++) {
        free((char *)runs->rows[i].role);
        free((char *)runs->rows[i].kind);
    }
    free(runs->rows);
}

static void order_effects(struct performance *p)
{
    const struct stage_decision *d = p->decision;
    const struct occurrence *o = p->occurrence;
    struct runs runs = {0};
    struct wording_facts facts = {
        .usage = WORDING_USAGE_UNKNOWN,
        .from = p->from,
        .to = p->task->stage,
        .reason = d->reason,
        .reason_text = o->reason_text,
        .findings = o->findings,
        .rollbacks = p->task->rollbacks,
        .max_rollbacks = (int)p->scheduler->config->max_developer_retries,
        .log_tail = o->log_tail,
        .command = command_name(o->event.kind),
        .actor = o->actor,
    };
    for (size_t i = 0; i < d->effect_count; i++) {
        if (d->effects[i].kind != EFFECT_STATUS && d->effects[i].template == TEMPLATE_SUMMARY &&
            !runs.rows) {
            runs = read_runs(p->scheduler, p->task->id);
            facts.runs = runs.rows;
            facts.run_count = runs.count;
        }
        effects_order(p->scheduler, p->task, &d->effects[i], &facts);
    }
    free_runs(&runs);
}

/* ---- all of it, in the order that stage.h gives ---- */

static void carry_out(struct performance *p)
{
    const struct stage_decision *d = p->decision;
    if (d->create)
        create(p);
    if (d->cancel_jobs)
        cancel_jobs(p);
    if (d->remember_command)
        remember(p, "");
    if (d->remember_refusal)
        remember(p, "refused:");
    if (d->release_lease)
        lease_release(p->scheduler, p->task, p->words);
    if (d->move)
        move(p);
    set_flags(p);
    if (d->request_stop)
        store_run(p->scheduler->store, "UPDATE tasks SET stop_requested = 1 WHERE id = ?1", "i",
                  p->task->id);
    if (d->tombstone)
        tombstone(p);
    else
        reload(p);
    for (size_t i = 0; i < d->job_count; i++)
        order_job(p, &d->jobs[i]);
    /* who acts may have written why just before, and the word of that may be lost */
    if (d->remember_command && d->job_count)
        queries_outdate(p->scheduler, p->task->id);
    order_effects(p);
}

/* A run that was too dear is gone on with at a person's word, as it is: nothing else moves. */
static bool pay_again(struct scheduler *scheduler, struct task *task,
                      const struct occurrence *occurrence, const struct stage_facts *facts,
                      struct performed *performed)
{
    enum stage_event_kind kind = occurrence->event.kind;
    if ((kind != STAGE_EVENT_RETRY && kind != STAGE_EVENT_TO_ANALYSE) || !task->exists ||
        occurrence->event.not_approver ||
        !store_number(scheduler->store, 0,
                      "SELECT 1 FROM jobs INDEXED BY jobs_live WHERE task = ?1"
                      " AND state IN ('queued','running') AND state = 'queued'"
                      " AND over_run_usd IS NOT NULL",
                      "i", task->id))
        return false;
    struct wording_facts words = {
        .usage = WORDING_USAGE_UNKNOWN, .from = task->stage, .to = task->stage};
    budget_forgive(scheduler, task);
    effects_order(scheduler, task,
                  &(struct effect_order){.kind = EFFECT_STATUS,
                                         .status = stage_display(facts),
                                         .author = "stream",
                                         .droppable = true},
                  &words);
    performed_set(performed, DECISION_APPLIED, REASON_RESUMED, NULL);
    return true;
}

void perform(struct scheduler *scheduler, struct task *task, const struct occurrence *occurrence,
             struct performed *performed)
{
    struct stage_facts facts;
    struct stage_decision decision;
    task_facts(scheduler, task, occurrence->event.kind, &facts);
    if (pay_again(scheduler, task, occurrence, &facts, performed))
        return;
    stage_decide(&facts, &occurrence->event, &decision);
    performed_set(performed, decision.outcome, decision.reason, occurrence->reason_text);
    struct performance p = {
        .scheduler = scheduler,
        .task = task,
        .occurrence = occurrence,
        .decision = &decision,
        .words = performed->words,
        .from = task->exists ? task->stage : STAGE_COUNT,
        .entry = task->entry,
    };
    if (decision.outcome == DECISION_IGNORED)
        return;
    if (decision.outcome == DECISION_REFUSED && !task->exists)
        return;
    carry_out(&p);
}
