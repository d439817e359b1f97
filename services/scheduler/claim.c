#include "services/scheduler/claim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/clock_text.h"
#include "lib/log.h"
#include "lib/utf8.h"
#include "services/scheduler/budgets.h"
#include "services/scheduler/claim_rules.h"
#include "services/scheduler/claim_view.h"
#include "services/scheduler/commands.h"
#include "services/scheduler/leases.h"
#include "services/scheduler/providers.h"
#include "services/scheduler/queries.h"

enum { NOTES_MAX = 64, PICKS_MAX = 64, WORDS_SIZE = 200 };

/* ---- one row of the queue ---- */

#define CANDIDATES                                                                                 \
    "SELECT id, task, project, repo, kind, role, stage, not_before, reason,"                       \
    " coalesce(over_run_usd, -1) FROM jobs"                                                        \
    " INDEXED BY jobs_queued WHERE state = 'queued'"                                               \
    " ORDER BY stage_rank DESC, priority DESC, task, id"

struct candidate { /* texts are the statement's, until its next step */
    int64_t id, task, not_before;
    const char *project, *repo, *role, *reason;
    enum job_kind kind;
    enum stage stage;
    double over_run_usd; /* the limit that its last run went over; -1: it did not */
};

static struct candidate read_candidate(sqlite3_stmt *row)
{
    return (struct candidate){
        .id = column_int(row, 0),
        .task = column_int(row, 1),
        .project = column_text(row, 2),
        .repo = column_text(row, 3),
        .kind = job_kind_by_name(column_text(row, 4)),
        .role = column_text(row, 5),
        .stage = stage_by_name(column_text(row, 6)),
        .not_before = column_int(row, 7),
        .reason = column_text(row, 8),
        .over_run_usd = sqlite3_column_double(row, 9),
    };
}

/* The class of the wait is in its reason, so that must stay as it is until the time has come. */
static bool is_due(struct scheduler *scheduler, const struct candidate *c)
{
    if (c->not_before <= scheduler->now_ms ||
        retry_due(c->not_before, failure_class_of_reason(c->reason), &scheduler->limits,
                  scheduler->now_ms))
        return true;
    work_wake_at(scheduler, c->not_before);
    return false;
}

/* What is asked of the first job of a task alone. */
static void look_at_beginning(struct scheduler *scheduler, struct claim_view *view,
                              const struct candidate *c, bool gated, struct claim_facts *facts)
{
    const struct claim_first *first = gated ? claim_view_first(scheduler, view, c->repo) : NULL;
    facts->is_gated = first && first->id && first->id < c->task;
    facts->is_frozen = scheduler->config->serial_gate_freeze_enabled &&
                       json_object_get(view->frozen, c->repo) != NULL;
    const struct dependent *dependent = dependents_find(&view->dependents, c->task);
    facts->dependency = dependent ? dependent->reason : REASON_OK;
    facts->predecessor_cleaned = !claim_view_is_followed(scheduler, view, c->task);
}

static void look_at_limits(const struct config *config, const struct claim_view *view,
                           const struct candidate *c, const struct project *project,
                           struct claim_facts *facts)
{
    facts->agents = view->agents;
    facts->agents_max = (int)config->max_concurrency;
    facts->project_agents = claim_view_agents(view->projects, c->project);
    facts->project_agents_max = (int)project->max_concurrency;
    facts->role_agents = claim_view_agents(view->roles, c->role);
    facts->role_agents_max = claim_view_agents(config->agent_max_concurrency, c->role);
}

/* What is asked of an agent's job alone, in the order in which the rules read it. */
static void look_at_money(struct scheduler *scheduler, struct claim_view *view,
                          const struct candidate *c, const struct project *project,
                          struct claim_facts *facts)
{
    struct budget_facts money = {
        .over_run_usd = c->over_run_usd,
        .task_usd =
            scheduler->config->budget_task_usd > 0 ? budget_spent_on(scheduler, c->task) : 0,
        .day_usd = claim_view_day(scheduler, view),
    };
    struct provider_limits limits = provider_limits(scheduler->config);
    const struct claim_provider *provider = claim_view_provider(scheduler, view, project);
    facts->budget = budget_judge(scheduler->config, &money);
    facts->provider =
        provider_judge(&provider->row.state, provider->row.probe != 0, &limits, scheduler->now_ms);
    if (facts->budget != REASON_OK)
        budget_explain(scheduler->config, facts->budget, &money, view->money_words,
                       sizeof view->money_words);
    else if (facts->provider != REASON_OK)
        work_wake_at(scheduler, provider->row.state.until_ms);
    if (facts->budget == REASON_BUDGET_DAY)
        work_wake_at(scheduler, budget_next_day(scheduler->now_ms));
}

static enum reason judge(struct scheduler *scheduler, struct claim_view *view,
                         const struct candidate *c)
{
    const struct claim_project *known = claim_view_project(scheduler, view, c->project);
    int64_t holder = 0;
    if (c->kind == JOB_MERGE_GATE || c->kind == JOB_MERGE || c->kind == JOB_DEPLOY)
        holder = claim_view_holder(view, c->repo);
    struct claim_facts facts = {
        .kind = c->kind,
        .stage = c->stage,
        .due = is_due(scheduler, c),
        .starting = view->starting,
        .paused = view->paused,
        .draining = view->draining,
        .disk_low = view->disk_low,
        .project_known = known->project != NULL,
        .project_paused = known->paused,
        .task_runs = claim_view_runs(view, c->task),
        .lease_busy = holder != 0 && holder != c->task,
        .lease_held = holder == c->task,
    };
    if (claim_begins_task(c->kind, c->stage))
        look_at_beginning(scheduler, view, c, known->gated, &facts);
    if (known->project && c->role) {
        look_at_limits(scheduler->config, view, c, known->project, &facts);
        look_at_money(scheduler, view, c, known->project, &facts);
    }
    return claim_judge(&facts);
}

/* ---- why it waits ---- */

static bool is_of_dependency(enum reason reason)
{
    return reason == REASON_DEPENDS_ON || reason == REASON_DEPENDENCY_UNKNOWN ||
           reason == REASON_DEPENDENCY_CYCLE;
}

static const char *explain_provider(struct scheduler *scheduler, struct claim_view *view,
                                    const struct candidate *c, enum reason reason,
                                    char words[WORDS_SIZE])
{
    const struct claim_project *known = claim_view_project(scheduler, view, c->project);
    const struct claim_provider *provider = claim_view_provider(scheduler, view, known->project);
    char when[CLOCK_TEXT_SIZE];
    clock_text(provider->row.state.until_ms, when);
    char *text = xformat("%s, tried again at %.16sZ: %s", provider->name, when, provider->row.text);
    reason_format(reason, text, words, WORDS_SIZE);
    free(text);
    return words;
}

/* With the name of what it waits for. Borrowed from the view, or written into words. */
static const char *explain(struct scheduler *scheduler, struct claim_view *view,
                           const struct candidate *c, enum reason reason, char words[WORDS_SIZE])
{
    char *text = NULL;
    if (reason == REASON_SERIAL_GATE) {
        struct claim_first *first = claim_view_first(scheduler, view, c->repo);
        if (!first->words)
            first->words = xformat("%s: %s of the same repository is unfinished",
                                   reason_code(reason), first->key);
        return first->words;
    }
    if (reason == REASON_BUDGET_RUN || reason == REASON_BUDGET_TASK || reason == REASON_BUDGET_DAY)
        return view->money_words;
    if (reason == REASON_BREAKER_OPEN || reason == REASON_USAGE_LIMIT || reason == REASON_OPERATOR)
        return explain_provider(scheduler, view, c, reason, words);
    if (is_of_dependency(reason))
        return dependents_find(&view->dependents, c->task)->words;
    if (reason == REASON_LEASE_BUSY) {
        char *holder = store_text(scheduler->store, "SELECT key FROM tasks WHERE id = ?1", "i",
                                  claim_view_holder(view, c->repo));
        text = holder ? xformat("%s holds the repository's merge lease", holder) : NULL;
        free(holder);
    }
    reason_format(reason, text, words, WORDS_SIZE);
    free(text);
    return words;
}

struct note {
    int64_t job;
    char words[WORDS_SIZE];
};

struct notes {
    struct note rows[NOTES_MAX];
    size_t count;
};

/* A job's words change only where they differ: what is written costs a page, each time. */
static void take_note(struct scheduler *scheduler, struct claim_view *view, struct notes *notes,
                      const struct candidate *c, enum reason reason)
{
    char buffer[WORDS_SIZE];
    if (reason == REASON_COUNT || notes->count == NOTES_MAX)
        return;
    const char *words = explain(scheduler, view, c, reason, buffer);
    size_t size = utf8_cut(words, strlen(words), WORDS_SIZE - 1);
    if (strlen(c->reason) == size && memcmp(words, c->reason, size) == 0)
        return;
    struct note *note = &notes->rows[notes->count++];
    note->job = c->id;
    memcpy(note->words, words, size);
    note->words[size] = '\0';
}

static void write_notes(struct scheduler *scheduler, const struct notes *notes)
{
    for (size_t i = 0; i < notes->count; i++)
        store_run(scheduler->store,
                  "UPDATE jobs SET reason = ?2 WHERE id = ?1 AND state = 'queued'", "is",
                  notes->rows[i].job, notes->rows[i].words);
}

/* ---- one job ---- */

/* The command, or NULL where the job was queued no more. */
static json_t *take(struct scheduler *scheduler, const struct task *task, const struct job *job,
                    size_t *size)
{
    bool merge = job->kind == JOB_MERGE;
    /* a merged task may have lost its lease while it was blocked: two deploys never run at once */
    bool takes = job->kind == JOB_MERGE_GATE || job->kind == JOB_DEPLOY;
    json_t *command = commands_start(scheduler, task, job, size);
    if (command && takes)
        lease_take(scheduler, task);
    if (command && (takes || merge))
        lease_use(scheduler, task, message_text(command, "run", ""), merge);
    return command;
}

/* What the rows refuse is ours to mend; it waits as long as anything ever waits, and the others go
 * on. */
static void hold_back(struct scheduler *scheduler, const struct task *task, int64_t job)
{
    char words[WORDS_SIZE];
    const struct log_about about = {.task = task->key, .job = job};
    reason_format(REASON_INTERNAL, NULL, words, sizeof words);
    log_line(LOG_LEVEL_ERROR, "claim", &about, "could not be claimed: %s", scheduler->store->fault);
    store_run(scheduler->store,
              "UPDATE jobs SET not_before = ?2, reason = ?3 WHERE id = ?1 AND state = 'queued'",
              "iis", job,
              scheduler->now_ms + retry_wait_max_ms(FAILURE_CLASS_NONE, &scheduler->limits), words);
}

static void claim(struct scheduler *scheduler, const struct task *task, const struct job *job)
{
    const struct log_about about = {.task = task->key, .job = job->id};
    store_part_begin(scheduler->store);
    journal_part_begin(&scheduler->journal);
    size_t size = 0;
    json_t *command = take(scheduler, task, job, &size);
    if (scheduler->store->failed && !store_fault_is_world(scheduler->store)) {
        json_decref(command);
        store_part_drop(scheduler->store);
        journal_part_drop(&scheduler->journal);
        hold_back(scheduler, task, job->id);
        return;
    }
    store_part_keep(scheduler->store);
    if (!command)
        return;
    if (job->role)
        provider_probe(scheduler, scheduler_project(scheduler, task->project), job->id);
    work_give(scheduler, WORK_RUNNER, message_text(command, "run", ""), command, size);
    scheduler->claimed++;
    log_line(LOG_LEVEL_INFO, "claim", &about, "%s%s%s, attempt %d", job_kind_table[job->kind].name,
             job->role ? " " : "", job->role ? job->role : "", job->attempt);
}

static void claim_by_id(struct scheduler *scheduler, int64_t id)
{
    struct job job;
    struct task task;
    if (!job_load(scheduler, id, &job))
        return;
    if (task_load(scheduler, job.task, &task))
        claim(scheduler, &task, &job);
    task_free(&task);
    job_free(&job);
}

/* ---- the queue ---- */

struct picks {
    int64_t jobs[PICKS_MAX];
    size_t count, max;
    bool asking; /* a job waits for the tracker's answer */
};

/* The description may be corrected in the tracker, and the word of it lost. */
static void ask_anew(struct scheduler *scheduler, struct picks *picks, int64_t task)
{
    if (!queries_are_fresh(scheduler, task))
        picks->asking = true;
    work_wake_at(scheduler, scheduler->now_ms + QUERY_FRESH_MS);
}

/* Said once: of a task by its key, of the day for all. */
static void want_money(struct scheduler *scheduler, struct claim_view *view,
                       const struct candidate *c, enum reason reason)
{
    char key[48];
    if (reason == REASON_BUDGET_DAY) {
        json_object_set_new(view->over_budget, "budget:day", json_string(view->money_words));
        return;
    }
    snprintf(key, sizeof key, "budget:%lld", (long long)c->task);
    char *name = store_text(scheduler->store, "SELECT key FROM tasks WHERE id = ?1", "i", c->task);
    json_object_set_new(view->over_budget, key,
                        json_sprintf("%s waits: %s", name ? name : "", view->money_words));
    free(name);
}

static void look_at(struct scheduler *scheduler, struct claim_view *view, sqlite3_stmt *row,
                    struct picks *picks, struct notes *notes)
{
    struct candidate c = read_candidate(row);
    if (c.kind == JOB_QUERY)
        return;
    enum reason reason = judge(scheduler, view, &c);
    /* asked last: of an issue whose agent could start now */
    if (reason == REASON_OK && c.role && !queries_are_fresh(scheduler, c.task)) {
        reason = REASON_ASKING;
        picks->asking = true;
    }
    if (is_of_dependency(reason))
        ask_anew(scheduler, picks, c.task);
    if (reason == REASON_BUDGET_RUN || reason == REASON_BUDGET_TASK || reason == REASON_BUDGET_DAY)
        want_money(scheduler, view, &c, reason);
    if (reason != REASON_OK) {
        take_note(scheduler, view, notes, &c, reason);
        return;
    }
    claim_view_add(view, c.task, c.project, c.role);
    if (c.role) /* of one that is held it is the probe */
        claim_view_provider(scheduler, view,
                            claim_view_project(scheduler, view, c.project)->project)
            ->row.probe = c.id;
    if (c.kind == JOB_MERGE_GATE || c.kind == JOB_DEPLOY)
        json_object_set_new(view->leases, c.repo, json_integer(c.task));
    picks->jobs[picks->count++] = c.id;
}

/* One walk over the queue: a claim makes no other job more eligible, so it needs no second look. */
static void walk(struct scheduler *scheduler, struct picks *picks)
{
    struct claim_view view;
    struct notes notes = {.count = 0};
    claim_view_read(scheduler, &view);
    sqlite3_stmt *row = store_ask(scheduler->store, CANDIDATES, "");
    while (picks->count < picks->max && store_row(scheduler->store, row))
        look_at(scheduler, &view, row, picks, &notes);
    store_done(row);
    write_notes(scheduler, &notes);
    budgets_say(scheduler, view.over_budget, picks->count < picks->max);
    dependents_say(scheduler, &view.dependents);
    claim_view_free(&view);
}

/* What a fruitless walk saw. Only a change of the rows or a time that comes makes another one worth
 * while: turns are many, and the queue may be long. Times are by the wall clock, which may jump. */
static bool is_as_before(const struct scheduler *scheduler)
{
    const struct claim_memory *memory = &scheduler->claim_memory;
    int64_t passed = scheduler->now_ms - memory->now_ms;
    return memory->known && memory->changes == sqlite3_total_changes64(scheduler->store->db) &&
           memory->starting == !scheduler->work.pass_ended &&
           memory->disk_low == (scheduler->low_disk_mb >= 0) && clock_mono_ms() < memory->due_ms &&
           passed >= 0 && passed < memory->wait_ms;
}

static void remember(struct scheduler *scheduler, int64_t due_ms)
{
    scheduler->claim_memory = (struct claim_memory){
        .known = true,
        .changes = sqlite3_total_changes64(scheduler->store->db),
        .starting = !scheduler->work.pass_ended,
        .disk_low = scheduler->low_disk_mb >= 0,
        .now_ms = scheduler->now_ms,
        .due_ms = due_ms,
        .wait_ms = due_ms == INT64_MAX ? INT64_MAX : due_ms - clock_mono_ms(),
    };
}

/* Claims what the walk picked. */
static void claim_picks(struct scheduler *scheduler, const struct picks *picks)
{
    for (size_t i = 0; i < picks->count && work_room(scheduler, WORK_RUNNER); i++)
        claim_by_id(scheduler, picks->jobs[i]);
    if (picks->asking && work_room(scheduler, WORK_RECONCILER))
        commands_give_queries(scheduler);
}

void claim_jobs(struct scheduler *scheduler)
{
    struct picks picks = {.max = work_room(scheduler, WORK_RUNNER)};
    int64_t due_ms = scheduler->work.due_ms;
    if (!picks.max || !scheduler->store->db)
        return;
    if (is_as_before(scheduler)) {
        work_wake_at_mono(scheduler, scheduler->claim_memory.due_ms);
        return;
    }
    if (picks.max > PICKS_MAX)
        picks.max = PICKS_MAX;
    scheduler->work.due_ms = INT64_MAX;
    walk(scheduler, &picks);
    claim_picks(scheduler, &picks);
    if (picks.count || picks.asking)
        scheduler->claim_memory.known = false;
    else
        remember(scheduler, scheduler->work.due_ms);
    work_wake_at_mono(scheduler, due_ms);
}
