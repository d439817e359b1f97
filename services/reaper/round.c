#include "services/reaper/round.h"

#include <stdio.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "services/reaper/judge.h"
#include "services/reaper/traces.h"

enum { ASK_TRIES = 1 }; /* the next round asks again */

struct watched {
    char *run; /* run id, or repository of a lease */
    struct judge_memory memory;
    int unused; /* lease: rounds that its user was gone */
    bool said;  /* proposed and logged before */
    bool seen;  /* in this round */
    bool dead;  /* judged dead in this round */
    struct watched *next;
};

struct reaper {
    struct worker *worker;
    struct pinger *pinger;
    struct watched *runs, *leases;
    int64_t rounds, unanswered, probed, unknown, proposed, won, reclaimed;
};

struct reaper *reaper_new(struct worker *worker, struct pinger *pinger)
{
    struct reaper *reaper = xcalloc(1, sizeof *reaper);
    reaper->worker = worker;
    reaper->pinger = pinger;
    return reaper;
}

void reaper_publish(struct reaper *reaper, const char *doing)
{
    json_t *counters = json_pack(
        "{sI sI sI sI sI sI sI}", "rounds", (json_int_t)reaper->rounds, "unanswered",
        (json_int_t)reaper->unanswered, "probed", (json_int_t)reaper->probed, "cannot_tell",
        (json_int_t)reaper->unknown, "proposed", (json_int_t)reaper->proposed, "won",
        (json_int_t)reaper->won, "leases_reclaimed", (json_int_t)reaper->reclaimed);
    if (reaper->pinger)
        pinger_count(reaper->pinger, counters);
    bus_set_status(reaper->worker->service->bus, "ready", doing, counters);
}

/* ---- what earlier rounds saw ---- */

static struct watched *watch(struct watched **list, const char *name)
{
    for (struct watched *one = *list; one; one = one->next) {
        if (strcmp(one->run, name) == 0) {
            one->seen = true;
            return one;
        }
    }
    struct watched *one = xcalloc(1, sizeof *one);
    one->run = xstrdup(name);
    one->seen = true;
    one->next = *list;
    *list = one;
    return one;
}

/* What the scheduler no longer names is over. */
static void forget_unseen(struct watched **link)
{
    while (*link) {
        struct watched *one = *link;
        if (one->seen) {
            one->seen = false;
            link = &one->next;
            continue;
        }
        *link = one->next;
        free(one->run);
        free(one);
    }
}

/* ---- runs ---- */

static void propose(struct reaper *reaper, const json_t *job, struct watched *run,
                    enum judge_verdict verdict, const struct judge_traces *traces)
{
    static const char *const reasons[] = {
        [JUDGE_DEAD] = "lost: the run's keeper is gone without a status",
        [JUDGE_ENDED] = "reaped: the run ended and nobody finished the job",
        [JUDGE_OVERDUE] = "timeout: it runs longer than reaper.max_running_s",
    };
    const struct log_about about = {.task = message_text(job, "key", ""),
                                    .job = message_integer(job, "job", 0),
                                    .run = run->run};
    json_t *reply;
    json_t *exit_code = verdict == JUDGE_ENDED ? json_integer(traces->exit_code) : json_null();
    if (!run->said)
        log_line(LOG_LEVEL_WARN, "reap", &about, "tier %d: %s", (int)verdict, reasons[verdict]);
    run->said = true;
    reaper->proposed++;
    if (worker_ask(reaper->worker,
                   message_new(MESSAGE_reap, NULL, "{s:I,s:s,s:i,s:o,s:s}", "job",
                               message_integer(job, "job", 0), "run", run->run, "tier",
                               (int)verdict, "exit_code", exit_code, "reason", reasons[verdict]),
                   ASK_TRIES, &reply) == 0 &&
        message_flag(reply, "won", false))
        reaper->won++;
    json_decref(reply);
}

static void judge_job(struct reaper *reaper, const json_t *job, struct judge_now now)
{
    const struct config *config = reaper->worker->service->config;
    const struct judge_limits limits = {
        .dead_ticks = (int)config->reaper_dead_ticks,
        .finalize_grace_ms = config->reaper_finalize_grace_s * 1000,
        .max_running_ms = config->reaper_max_running_s * 1000,
    };
    const char *id = message_text(job, "run", "");
    if (!*id)
        return;
    struct watched *run = watch(&reaper->runs, id);
    struct judge_traces traces = traces_read(config, id);
    traces.accepted = message_flag(job, "accepted", false);
    reaper->probed++;
    if (traces.lock == JUDGE_LOCK_UNKNOWN || traces.status == JUDGE_FILE_UNKNOWN)
        reaper->unknown++;
    enum judge_verdict verdict =
        judge_run(&run->memory, &traces, message_integer(job, "since_ms", 0), &limits, now);
    run->dead = verdict == JUDGE_DEAD;
    if (verdict != JUDGE_LEAVE)
        propose(reaper, job, run, verdict, &traces);
}

/* ---- leases ---- */

static bool user_runs(const struct reaper *reaper, const char *run)
{
    for (const struct watched *one = reaper->runs; one; one = one->next) {
        if (one->seen && strcmp(one->run, run) == 0)
            return !one->dead;
    }
    return false;
}

static void judge_one_lease(struct reaper *reaper, const json_t *row, struct judge_now now)
{
    const struct config *config = reaper->worker->service->config;
    const char *repo = message_text(row, "repo", ""),
               *user = message_text(row, "used_by_run", NULL);
    struct judge_lease lease = {
        .stage = message_text(row, "stage", ""),
        .terminal = message_flag(row, "terminal", false) || message_integer(row, "terminal", 0),
        .used = user != NULL,
        .user_runs = user && user_runs(reaper, user),
        .wanted = message_flag(row, "wanted", false) || message_integer(row, "wanted", 0),
        .since_ms = message_integer(row, "since_ms", 0),
    };
    struct watched *watched = watch(&reaper->leases, repo);
    const char *reason = judge_lease(&lease, &watched->unused, (int)config->reaper_dead_ticks,
                                     config->merge_gate_lease_ttl_s * 1000, now.wall_ms);
    if (!reason)
        return;
    const struct log_about about = {.task = message_text(row, "key", "")};
    json_t *reply;
    if (!watched->said)
        log_line(LOG_LEVEL_WARN, "lease", &about, "%s: %s", repo, reason);
    watched->said = true;
    if (worker_ask(reaper->worker,
                   message_new(MESSAGE_lease_reclaim, NULL, "{s:s,s:I,s:s}", "repo", repo, "task",
                               message_integer(row, "task", 0), "reason", reason),
                   ASK_TRIES, &reply) == 0 &&
        message_flag(reply, "won", false))
        reaper->reclaimed++;
    json_decref(reply);
}

/* ---- a round ---- */

void reaper_round(struct reaper *reaper)
{
    const struct config *config = reaper->worker->service->config;
    json_t *running, *row;
    size_t index;
    if (!config->reaper_enabled)
        return;
    reaper->rounds++;
    if (worker_ask(reaper->worker, message_new(MESSAGE_running_get, NULL, NULL), ASK_TRIES,
                   &running) < 0) {
        reaper->unanswered++;
        json_decref(running);
        return;
    }
    struct judge_now now = {clock_wall_ms(), clock_mono_ms()};
    json_array_foreach(json_object_get(running, "jobs"), index, row)
    {
        judge_job(reaper, row, now);
    }
    json_array_foreach(json_object_get(running, "leases"), index, row)
    {
        if (config->lease_reclaim_enabled)
            judge_one_lease(reaper, row, now);
    }
    forget_unseen(&reaper->runs);
    forget_unseen(&reaper->leases);
    json_decref(running);
}
