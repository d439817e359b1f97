/* What a claim costs with so many finished jobs behind it: the scheduler's own turns over a real
 * main.db, flushed as always, without a bus. 400 jobs wait in 50 repositories of which one task
 * each may run (serial gate); whoever ran is finished outside of the measured time, so that the
 * next one may. A blocked poll is a turn in which the runner has room and nothing may run.
 *
 *   claim DIR FINISHED CLAIMS     makes DIR/<FINISHED>.db where it is not there, works on a copy,
 *                                 prints one JSON object, times in microseconds */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "services/scheduler/claim.h"

enum { REPOS = 50, LIVE = 400, JOBS_PER_TASK = 8, ROUND = 40, POLLS = 300 };

static void run(sqlite3 *db, const char *sql)
{
    char *fault = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &fault) != SQLITE_OK) {
        fprintf(stderr, "claim: %s: %s\n", sql, fault);
        exit(1);
    }
}

static void runf(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void runf(sqlite3 *db, const char *format, ...)
{
    char sql[2000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sql, sizeof sql, format, arguments);
    va_end(arguments);
    run(db, sql);
}

/* ---- the file ---- */

/* Finished tasks with their jobs, runs, transitions and the published record. */
static void add_history(sqlite3 *db, int finished)
{
    int tasks = (finished + JOBS_PER_TASK - 1) / JOBS_PER_TASK;
    run(db, "PRAGMA synchronous = OFF; BEGIN");
    runf(db,
         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
         " INSERT INTO tasks (id, project, repo, issue, key, branch, natural_key, title, "
         "description,"
         " stage, entry, terminal, display, created_at, ended_at) SELECT i, 'BENCH', 'repo-' ||"
         " (i %% %d), 'local-' || i, 'BENCH-' || i, 'feature/BENCH-' || i, 'BENCH-' || i,"
         " 'A finished task', 'As a reader I want a greeting.', 'done', i, 1, 'done', i, i FROM n",
         tasks, REPOS);
    runf(db,
         "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
         " INSERT INTO jobs (id, task, project, repo, entry, stage, stage_rank, kind, role, state,"
         " runs, created_at, claimed_at, ended_at) SELECT i + 1, i / %d + 1, 'BENCH', 'repo-' ||"
         " ((i / %d + 1) %% %d), i / %d + 1, 'review', 4, 'agent', 'reviewer', 'done', 1, i, i, i"
         " FROM n",
         finished - 1, JOBS_PER_TASK, JOBS_PER_TASK, REPOS, JOBS_PER_TASK);
    run(db,
        "INSERT INTO agent_runs (id, job, task, entry, role, attempt, state, command,"
        " commanded_at, started_at, ended_at, outcome, class, reason, exit_code, cost_usd, gate,"
        " result) SELECT 'BENCH-' || task || '-j' || id || '-r1', id, task, entry, role, 1,"
        " 'ended', '', id, id, id, 'succeeded', 'none', 'ok: done', 0, 0.25,"
        " '{\"verdict\":\"pass\"}', printf('%.*c', 300, 'x') FROM jobs");
    run(db,
        "INSERT INTO transitions (task, from_stage, to_stage, why, actor, at) SELECT task,"
        " 'review', 'testing', 'gate-passed: the stage''s gate passed', 'reviewer', id FROM jobs");
    run(db,
        "INSERT INTO effects (task, ordinal, external_id, kind, author, body, state, created_at,"
        " ended_at) SELECT task, id, 't' || task || '-' || id, 'comment', 'reviewer',"
        " printf('%.*c', 120, 'x'), 'delivered', id, id FROM jobs");
    run(db, "INSERT INTO journal (at, event, task, stage, job) SELECT id, 'job', 'BENCH-' || task,"
            " 'review', id FROM jobs");
    run(db, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
}

static void add_live(sqlite3 *db)
{
    runf(db,
         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
         " INSERT INTO tasks (project, repo, issue, key, branch, natural_key, title, description,"
         " stage, entry, display, asked_at, comments_at, created_at) SELECT 'BENCH', 'repo-' ||"
         " (i %% %d), 'live-' || i, 'LIVE-' || i, 'feature/LIVE-' || i, 'LIVE-' || i,"
         " 'A waiting task', printf('%%.*c', 500, 'x'), 'analysis', i, 'analysis', 0, 0, i FROM n",
         LIVE, REPOS);
    run(db,
        "INSERT INTO jobs (task, project, repo, entry, stage, stage_rank, kind, role, created_at)"
        " SELECT id, project, repo, entry, stage, 1, 'agent', 'analyst', created_at FROM tasks"
        " WHERE terminal = 0");
}

static void copy(const char *from, const char *to)
{
    char *command = xformat("cp --reflink=auto %s %s && rm -f %s-wal %s-shm && sync -f %s", from,
                            to, to, to, to);
    if (system(command) != 0)
        exit(1);
    free(command);
}

static char *prepare(const char *dir, int finished)
{
    char fault[STORE_FAULT_SIZE];
    char *made = xformat("%s/%d.db", dir, finished), *path = xformat("%s/work.db", dir);
    if (!file_exists(made)) {
        unlink(path);
        struct store *store = store_open(path, fault, sizeof fault);
        if (!store) {
            fprintf(stderr, "claim: %s\n", fault);
            exit(1);
        }
        add_history(store->db, finished);
        add_live(store->db);
        run(store->db, "PRAGMA wal_checkpoint(TRUNCATE)");
        store_close(store);
        if (rename(path, made) < 0)
            exit(1);
    }
    copy(made, path);
    free(made);
    return path;
}

static struct config *configure(const char *dir)
{
    char *path = xformat("%s/bench.yaml", dir), *faults = NULL, *warnings = NULL;
    char *text = xformat("home: %s\nmax_concurrency: 1000\nserial_gate: {repos: '*'}\nprojects:\n"
                         "- {key: BENCH, repo: repo, tracker: local, forge: local, agent: command,"
                         " agent_command: ['true'], ci: none, max_concurrency: 1000}\n",
                         dir);
    file_write_atomic(path, text, strlen(text), 0600);
    struct config *config = config_load(path, &faults, &warnings);
    if (!config) {
        fprintf(stderr, "claim: %s\n", faults);
        exit(1);
    }
    free(text);
    free(path);
    return config;
}

/* ---- measuring ---- */

static int64_t cpu_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

struct spent {
    int64_t us, cpu_us;
};

/* One turn in which the runner asks for one job. Its time; *claimed: whether it got one. */
static struct spent turn(struct scheduler *scheduler, bool *claimed)
{
    static char ticket;
    json_t *request =
        json_pack("{ss ss si si}", "service", "runner", "boot", "b", "wait_ms", 60000, "max", 1);
    int64_t start = clock_mono_us(), cpu = cpu_us();
    if (turn_begin(scheduler) < 0)
        exit(1);
    work_ask(scheduler, request, &ticket);
    if (turn_commit(scheduler) < 0)
        exit(1);
    struct spent spent = {clock_mono_us() - start, cpu_us() - cpu};
    *claimed = json_array_size(scheduler->work.peers[WORK_RUNNER].items) > 0;
    work_answer(scheduler);
    /* and the runner acknowledges what it got */
    run(scheduler->store->db, "UPDATE agent_runs INDEXED BY agent_runs_to_tell SET state = "
                              "'accepted' WHERE state <> 'ended'"
                              " AND (state = 'commanded' OR stop IS NOT NULL)");
    json_object_clear(scheduler->work.peers[WORK_RUNNER].handed);
    json_decref(request);
    return spent;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t percentile(int64_t *times, int count, int percent)
{
    qsort(times, (size_t)count, sizeof *times, ascending);
    return count ? times[(int64_t)(count - 1) * percent / 100] : -1;
}

/* All that runs is done, so that the next of each repository may; everything is known of the rest.
 */
static void finish_round(struct scheduler *scheduler)
{
    sqlite3 *db = scheduler->store->db;
    run(db, "BEGIN IMMEDIATE");
    run(db, "UPDATE agent_runs INDEXED BY agent_runs_live SET state = 'ended', command = '' WHERE "
            "state <> 'ended'");
    run(db, "UPDATE tasks SET terminal = 1, stage = 'done', ended_at = 1 WHERE id IN"
            " (SELECT task FROM jobs INDEXED BY jobs_running WHERE state = 'running')");
    run(db, "UPDATE jobs INDEXED BY jobs_running SET state = 'done' WHERE state = 'running'");
    runf(db,
         "UPDATE tasks INDEXED BY tasks_live SET asked_at = %lld, comments_at = %lld WHERE "
         "terminal = 0",
         (long long)clock_wall_ms(), (long long)clock_wall_ms());
    run(db, "COMMIT");
    store_checkpoint(scheduler->store);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: claim DIR FINISHED CLAIMS\n");
        return 2;
    }
    struct scheduler scheduler;
    char fault[STORE_FAULT_SIZE];
    int finished = atoi(argv[2]), wanted = atoi(argv[3]), claims = 0, polls = 0;
    int64_t *times = xcalloc((size_t)wanted, sizeof *times), blocked[POLLS];
    int64_t *cpu = xcalloc((size_t)wanted, sizeof *cpu);
    bool claimed = true;
    log_init("bench", LOG_LEVEL_ERROR);
    char *path = prepare(argv[1], finished);
    struct config *config = configure(argv[1]);
    struct store *store = store_open(path, fault, sizeof fault);
    if (!store) {
        fprintf(stderr, "claim: %s\n", fault);
        return 1;
    }
    scheduler_init(&scheduler, config, store, NULL);
    scheduler.work.pass_ended = true;
    while (claims < wanted) {
        finish_round(&scheduler);
        turn(&scheduler, &claimed); /* what a first look writes and warms is not the claim's */
        for (int i = 1; i < ROUND && claims < wanted && claimed; i++) {
            struct spent spent = turn(&scheduler, &claimed);
            if (!claimed)
                break;
            times[claims] = spent.us;
            cpu[claims++] = spent.cpu_us;
        }
        if (!claimed && claims < wanted && polls == 0 && claims == 0)
            break;
    }
    /* the rest of what may run is taken, and then nothing may */
    while (claimed)
        turn(&scheduler, &claimed);
    for (; polls < POLLS; polls++)
        blocked[polls] = turn(&scheduler, &claimed).us;
    printf("{\"finished\": %d, \"claims\": %d, \"claim_p50_us\": %lld, \"claim_max_us\": %lld,"
           " \"claim_cpu_p50_us\": %lld, \"blocked_poll_p50_us\": %lld, \"blocked_poll_max_us\": "
           "%lld}\n",
           finished, claims, (long long)percentile(times, claims, 50),
           (long long)percentile(times, claims, 100), (long long)percentile(cpu, claims, 50),
           (long long)percentile(blocked, polls, 50), (long long)percentile(blocked, polls, 100));
    return claims == wanted ? 0 : 1;
}
