/* From a queued job to a running one: order, limits, gates, reasons.
 *
 * Mutations tried, each red: ORDER BY without one of its columns (order_of_the_queue), a claim not
 * noted in the view (limits, one_job_per_task), the reason of a job that is not due written over
 * (a_wait_outlives_a_pause), the guard `state = 'queued'` left out of the claim's update
 * (only_a_queued_job_is_claimed), the part around a claim left out (a_refused_claim_is_held_back),
 * the first unfinished task taken without its WHERE (the_serial_gate), lease_take left out
 * (one_merge_at_a_time), the clamp of retry_due (a_clock_that_jumped_back), freshness not asked
 * (the_tracker_is_asked_first), pause of one project read as all (pauses), NOTES_MAX ignored (asan:
 * many_reasons), the memory of a fruitless walk ignored, or kept through a change of the disk, of
 * the pass, of the time, or a failed turn (the four tests of it), a comment or an act that leaves
 * what is known of the issue as fresh as it was, an answer under way that counts all the same
 * (what_was_written_since_is_asked_for, who_acts_may_have_written_before). */
#include "tests/unit/scheduler_kit.h"
#include "services/scheduler/claim_view.h"

/* A task in this stage with one queued job of this kind; everything else is as a new one's. */
static int64_t queued(struct kit *kit, const char *key, enum stage stage, enum job_kind kind)
{
    int64_t task = kit_issue(kit, key, "To Analyse");
    const char *role = kind == JOB_AGENT ? stage_table[stage].role : NULL;
    kit_number(kit, "UPDATE tasks SET stage = '%s' WHERE id = %lld", stage_table[stage].name,
               (long long)task);
    kit_number(kit,
               "UPDATE jobs SET stage = '%s', stage_rank = %d, kind = '%s', role = %s%s%s"
               " WHERE task = %lld",
               stage_table[stage].name, (int)stage, job_kind_table[kind].name, role ? "'" : "",
               role ? role : "NULL", role ? "'" : "", (long long)task);
    return task;
}

static int64_t analysis(struct kit *kit, const char *key)
{
    return queued(kit, key, STAGE_ANALYSIS, JOB_AGENT);
}

/* Keys of what one request for at most max is given, in its order. Caller frees. */
static char *claimed(struct kit *kit, int max)
{
    struct buffer keys = {0};
    size_t index;
    json_t *item;
    kit_begin(kit);
    kit_commit(kit);
    kit_freshen(kit);
    json_t *items = kit_ask(kit, "runner", max, false);
    json_array_foreach(items, index, item)
    {
        if (strcmp(message_text(item, "kind", ""), "run_start") == 0)
            buffer_format(&keys, "%s%s", keys.size ? " " : "", message_text(item, "key", "?"));
        json_decref(kit_tell(
            kit, results_accepted,
            message_new(MESSAGE_run_accepted, NULL, "{ss}", "run", message_text(item, "run", ""))));
    }
    json_decref(items);
    return buffer_take(&keys);
}

#define assert_claimed(kit, max, expected)                                                         \
    do {                                                                                           \
        char *claimed_keys = claimed(kit, max);                                                    \
        assert_string_equal(claimed_keys, expected);                                               \
        free(claimed_keys);                                                                        \
    } while (0)

#define assert_waits(kit, key, expected)                                                           \
    assert_text(kit, expected,                                                                     \
                "SELECT j.reason FROM jobs j JOIN tasks t ON t.id = j.task"                        \
                " WHERE t.key = '%s' AND j.state = 'queued' AND j.kind <> 'query'",                \
                key)

static void end(struct kit *kit, int64_t task)
{
    char *run = kit_live_run(kit, task);
    assert_true(kit_ended(kit, kit_result(run, "succeeded", "none", "pass")));
    free(run);
}

/* ---- order ---- */

static void order_of_the_queue(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    analysis(kit, "DEMO-2");
    int64_t third = analysis(kit, "DEMO-3");
    queued(kit, "DEMO-4", STAGE_TESTING, JOB_AGENT);
    queued(kit, "DEMO-5", STAGE_REVIEW, JOB_AGENT);
    kit_number(kit, "UPDATE jobs SET priority = 9 WHERE task = %lld", (long long)third);
    assert_claimed(kit, 1, "DEMO-4"); /* the later stage first */
    assert_claimed(kit, 1, "DEMO-5");
    assert_claimed(kit, 1, "DEMO-3");        /* then priority */
    assert_claimed(kit, 9, "DEMO-1 DEMO-2"); /* then the order of creation */
    assert_claimed(kit, 9, "");
}

static void no_more_than_there_is_room_for(void **state)
{
    struct kit *kit = *state;
    for (int i = 1; i <= 5; i++) {
        char key[16];
        snprintf(key, sizeof key, "DEMO-%d", i);
        analysis(kit, key);
    }
    assert_claimed(kit, 2, "DEMO-1 DEMO-2");
    /* without a held request nothing is claimed at all */
    kit_begin(kit);
    kit_commit(kit);
    assert_number(kit, 2, "SELECT count(*) FROM jobs WHERE state = 'running'");
    assert_claimed(kit, 2, "DEMO-3 DEMO-4");
}

static void one_job_per_task(void **state)
{
    struct kit *kit = *state;
    int64_t task = analysis(kit, "DEMO-1");
    kit_number(kit,
               "INSERT INTO jobs (task, project, repo, entry, stage, stage_rank, kind, role,"
               " created_at) SELECT task, project, repo, entry, stage, stage_rank, kind, role, 1"
               " FROM jobs WHERE task = %lld",
               (long long)task);
    assert_claimed(kit, 9, "DEMO-1"); /* not both in one turn, */
    assert_claimed(kit, 9, "");       /* nor in two */
    assert_waits(kit, "DEMO-1", "task-busy: another job of the task runs");
}

static void only_a_queued_job_is_claimed(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    analysis(kit, "DEMO-2");
    /* between the walk and the claim the row is another's: nothing of it happens */
    kit_number(kit, "CREATE TRIGGER other AFTER UPDATE OF state ON jobs WHEN new.id = 1"
                    " AND new.state = 'running' BEGIN"
                    " UPDATE jobs SET state = 'cancelled' WHERE id = 2; END");
    assert_claimed(kit, 9, "DEMO-1");
    assert_number(kit, 1, "SELECT count(*) FROM agent_runs");
    assert_text(kit, "cancelled", "SELECT state FROM jobs WHERE id = 2");
}

/* Two schedulers on one file, in spite of the lock: the second cannot even begin. */
static void two_claims_never_both_win(void **state)
{
    struct kit *kit = *state, *other = xcalloc(1, sizeof *other);
    analysis(kit, "DEMO-1");
    kit_freshen(kit);
    *other = *kit;
    kit_start(other);
    kit_begin(kit);
    assert_int_equal(turn_begin(&other->scheduler), -1);
    assert_true(other->scheduler.retry_store_at != 0);
    kit_commit(kit);
    assert_claimed(kit, 9, "DEMO-1");
    other->scheduler.retry_store_at = 1;
    assert_true(turn_recover(&other->scheduler));
    assert_claimed(other, 9, "");
    assert_number(kit, 1, "SELECT count(*) FROM agent_runs");
    kit_end(other);
    free(other);
}

/* ---- limits ---- */

static void limits(void **state)
{
    struct kit *kit = *state;
    kit_configure(kit, "");
    kit->scheduler.config = kit->config;
    analysis(kit, "SITE-1");
    analysis(kit, "SITE-2"); /* the project takes one at a time */
    queued(kit, "SITE-3", STAGE_DEPLOY_STAGING, JOB_MERGE_GATE);
    assert_claimed(kit, 9, "SITE-3 SITE-1");
    assert_waits(kit, "SITE-2", "limit-project: the project's max_concurrency agents run already");
    kit_number(kit, "UPDATE jobs SET state = 'done' WHERE task = 1");
    assert_claimed(kit, 9, "SITE-2");
    assert_number(kit, 0, "SELECT count(*) FROM jobs WHERE reason <> ''");
}

static void limit_of_a_role_and_of_all(void **state)
{
    struct kit *kit = *state;
    kit->config->max_concurrency = 3;
    json_object_set_new(kit->config->agent_max_concurrency, "tester", json_integer(1));
    int64_t first = queued(kit, "DEMO-1", STAGE_TESTING, JOB_AGENT);
    queued(kit, "SHOP-2", STAGE_TESTING, JOB_AGENT);
    for (int i = 3; i <= 6; i++) {
        char key[16];
        snprintf(key, sizeof key, "DEMO-%d", i);
        queued(kit, key, STAGE_ARCHITECTURE, JOB_AGENT);
    }
    assert_claimed(kit, 9, "DEMO-1 DEMO-3 DEMO-4");
    assert_waits(kit, "SHOP-2",
                 "limit-role: agent.max_concurrency agents of this role run already");
    /* the walk ends where there is no room for more, and speaks of those that it saw */
    assert_claimed(kit, 9, "");
    assert_waits(kit, "DEMO-6", "limit-global: max_concurrency agents run already");
    kit_number(kit, "UPDATE jobs SET state = 'done' WHERE task = %lld", (long long)first);
    assert_claimed(kit, 9, "SHOP-2");
}

/* ---- time ---- */

static void set_wait(struct kit *kit, const char *reason, int64_t from_now)
{
    kit_begin(kit);
    kit_commit(kit);
    kit_number(kit, "UPDATE jobs SET reason = '%s', not_before = %lld", reason,
               (long long)(kit->scheduler.now_ms + from_now));
}

static void a_job_waits_for_its_time(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    set_wait(kit, "transient: 529", 60000);
    assert_claimed(kit, 9, "");
    assert_waits(kit, "DEMO-1", "transient: 529");
    /* and the loop knows when to look again */
    int64_t wait = work_wait_ms(&kit->scheduler);
    assert_true(wait > 50000 && wait <= 60000);
    kit->skew_ms = 60001;
    assert_claimed(kit, 9, "DEMO-1");
}

/* What a class may wait for stands in the reason: nothing else may be written there before. */
static void a_wait_outlives_a_pause(void **state)
{
    const int64_t day = 24LL * 3600 * 1000;
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    set_wait(kit, "usage_limit: resets on Monday", 0);
    set_wait(kit, "usage-limit: resets on Monday", 3 * day);
    kit_operator(kit, "pause", "");
    assert_claimed(kit, 9, "");
    kit->scheduler.work.pass_ended = false; /* as after a restart */
    assert_claimed(kit, 9, "");
    kit->scheduler.work.pass_ended = true;
    kit_operator(kit, "resume", "");
    assert_claimed(kit, 9, "");
    assert_waits(kit, "DEMO-1", "usage-limit: resets on Monday");
    kit->skew_ms = 3 * day + 1;
    assert_claimed(kit, 9, "DEMO-1");
}

static void a_clock_that_jumped_back(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    analysis(kit, "DEMO-2");
    set_wait(kit, "transient: 529", 3600 * 1000); /* as long as this class may wait */
    assert_claimed(kit, 9, "");
    kit->skew_ms = -24LL * 3600 * 1000; /* now it seems to wait for a day more */
    assert_claimed(kit, 9, "DEMO-1 DEMO-2");
}

/* ---- the whole queue ---- */

static void pauses(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    analysis(kit, "SHOP-1");
    kit_operator(kit, "pause", "");
    assert_claimed(kit, 9, "");
    assert_waits(kit, "DEMO-1", "paused: claims are paused; resume");
    kit_operator(kit, "resume", "");
    kit_operator(kit, "drain", "");
    assert_claimed(kit, 9, "");
    assert_waits(kit, "SHOP-1", "draining: nothing is claimed while the running jobs end; resume");
    kit_operator(kit, "resume", "");
    kit_event(kit, "operator", "{\"command\":\"pause\",\"project\":\"DEMO\"}");
    assert_claimed(kit, 9, "SHOP-1");
    assert_waits(kit, "DEMO-1", "paused: claims are paused; resume");
    kit_event(kit, "operator", "{\"command\":\"resume\",\"project\":\"DEMO\"}");
    assert_claimed(kit, 9, "DEMO-1");
}

static void nothing_before_the_first_look(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    kit->scheduler.work.pass_ended = false;
    assert_claimed(kit, 9, "");
    assert_waits(kit, "DEMO-1",
                 "starting: the first look at tracker and forge after the start has not ended");
    kit->scheduler.work.pass_ended = true;
    kit->scheduler.low_disk_mb = 3;
    assert_claimed(kit, 9, "");
    assert_waits(kit, "DEMO-1", "disk-low: less free space than disk.low_water_mb");
    kit->scheduler.low_disk_mb = -1;
    assert_claimed(kit, 9, "DEMO-1");
    assert_text(kit, "", "SELECT reason FROM jobs WHERE state = 'running'");
}

static void a_project_that_is_gone(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    kit_number(kit, "UPDATE jobs SET project = 'GONE'");
    assert_claimed(kit, 9, "");
    assert_waits(kit, "DEMO-1", "unknown-project: no such project in the configuration");
}

static void many_reasons(void **state)
{
    struct kit *kit = *state;
    for (int i = 1; i <= 70; i++) {
        char key[16];
        snprintf(key, sizeof key, "DEMO-%d", i);
        analysis(kit, key);
    }
    kit_operator(kit, "pause", "");
    assert_claimed(kit, 9, "");
    assert_claimed(kit, 9, "");
    assert_number(kit, 70, "SELECT count(*) FROM jobs WHERE reason LIKE 'paused:%%'");
}

/* Red when the words are cut inside a character (no message can carry them), or compared uncut. */
static void long_words(void **state)
{
    struct kit *kit = *state;
    free(kit->config->serial_gate_repos);
    kit->config->serial_gate_repos = xstrdup("*");
    analysis(kit, "DEMO-1");
    analysis(kit, "DEMO-2");
    assert_claimed(kit, 9, "DEMO-1");
    for (int i = 0; i < 2; i++) { /* an odd number of bytes before it, and an even one */
        kit_number(kit,
                   "UPDATE tasks SET key = 'x' || replace(hex(zeroblob(100)), '00', 'ä') || key");
        assert_claimed(kit, 9, "");
        char *words = kit_text(kit, "SELECT reason FROM jobs WHERE state = 'queued'");
        json_t *value = json_string(words);
        assert_non_null(value);
        json_decref(value);
        free(words);
        kit_number(kit, "CREATE TEMP TRIGGER told BEFORE UPDATE ON jobs"
                        " BEGIN SELECT raise(ABORT, 'written again'); END");
        assert_claimed(kit, 9, "");
        kit_number(kit, "DROP TRIGGER told");
    }
}

/* ---- the first job of a task ---- */

static void the_serial_gate(void **state)
{
    struct kit *kit = *state;
    kit->config->serial_gate_repos[0] = '\0';
    free(kit->config->serial_gate_repos);
    kit->config->serial_gate_repos = xstrdup("sample");
    int64_t first = analysis(kit, "DEMO-1");
    analysis(kit, "SITE-2");                        /* another project of the same repository */
    analysis(kit, "SHOP-3");                        /* another repository */
    queued(kit, "DEMO-4", STAGE_REVIEW, JOB_AGENT); /* what has begun goes on */
    assert_claimed(kit, 9, "DEMO-4 DEMO-1 SHOP-3");
    assert_waits(kit, "SITE-2", "serial-gate: DEMO-1 of the same repository is unfinished");
    /* blocked or parked it still is unfinished */
    kit_number(kit, "UPDATE tasks SET blocked_reason = 'x: y', terminal = 0 WHERE id = %lld",
               (long long)first);
    kit_number(kit, "UPDATE jobs SET state = 'done' WHERE task = %lld", (long long)first);
    assert_claimed(kit, 9, "");
    kit->config->serial_gate_skip_blocked = true;
    assert_claimed(kit, 9, "SITE-2");
}

static void skip_blocked_passes_what_is_parked_too(void **state)
{
    struct kit *kit = *state;
    free(kit->config->serial_gate_repos);
    kit->config->serial_gate_repos = xstrdup("*");
    int64_t first = analysis(kit, "DEMO-1");
    kit_pass(kit, first, "pass");
    assert_text(kit, "approval", "SELECT parked_for FROM tasks WHERE id = %lld", (long long)first);
    analysis(kit, "DEMO-2");
    assert_claimed(kit, 9, "");
    kit->config->serial_gate_skip_blocked = true;
    assert_claimed(kit, 9, "DEMO-2");
}

static void a_freeze_stops_new_tasks_alone(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    queued(kit, "DEMO-2", STAGE_REVIEW, JOB_AGENT);
    kit_event(kit, "operator", "{\"command\":\"freeze\",\"repo\":\"sample\",\"text\":\"red\"}");
    assert_claimed(kit, 9, "DEMO-2");
    assert_waits(kit, "DEMO-1", "frozen: the repository is frozen; unfreeze");
    kit->config->serial_gate_freeze_enabled = false;
    kit_event(kit, "operator", "{\"command\":\"unfreeze\",\"repo\":\"other\"}");
    kit->config->serial_gate_freeze_enabled = true;
    assert_claimed(kit, 9, "");
    kit_event(kit, "operator", "{\"command\":\"unfreeze\",\"repo\":\"sample\"}");
    assert_claimed(kit, 9, "DEMO-1");
}

static void a_successor_waits_for_the_cleanup(void **state)
{
    struct kit *kit = *state;
    int64_t old = analysis(kit, "DEMO-1");
    kit_operator(kit, "stop", "DEMO-1");
    kit_status(kit, "DEMO-1", "To Analyse");
    int64_t fresh = kit_number(kit, "SELECT id FROM tasks WHERE key = 'DEMO-1'");
    assert_int_not_equal(fresh, old);
    analysis(kit, "DEMO-2");
    assert_claimed(kit, 9, "DEMO-1 DEMO-2"); /* the cleanup, under the key as people know it */
    assert_number(kit, 1, "SELECT count(*) FROM jobs WHERE state = 'running' AND kind = 'cleanup'");
    assert_waits(kit, "DEMO-1",
                 "predecessor: the stopped task of the same key is still being cleaned up");
    char *run = kit_live_run(kit, old);
    kit_ended(kit, kit_result(run, "succeeded", "none", NULL));
    free(run);
    assert_claimed(kit, 9, "DEMO-1");
    assert_number(kit, 1, "SELECT count(*) FROM jobs WHERE state = 'running' AND task = %lld",
                  (long long)fresh);
}

/* ---- merging ---- */

static void one_merge_at_a_time(void **state)
{
    struct kit *kit = *state;
    int64_t first = queued(kit, "DEMO-1", STAGE_DEPLOY_STAGING, JOB_MERGE_GATE);
    queued(kit, "SITE-2", STAGE_DEPLOY_STAGING, JOB_MERGE_GATE);
    queued(kit, "SHOP-3", STAGE_DEPLOY_STAGING, JOB_MERGE_GATE);
    assert_claimed(kit, 9, "DEMO-1 SHOP-3");
    assert_waits(kit, "SITE-2", "lease-busy: DEMO-1 holds the repository's merge lease");
    assert_text(kit, "DEMO-1-j1-r1", "SELECT used_by_run FROM leases WHERE repo = 'sample'");
    assert_number(kit, 0, "SELECT count(*) FROM leases WHERE intent_run IS NOT NULL");
    end(kit, first);
    assert_text(kit, "deploy", "SELECT stage FROM tasks WHERE id = %lld", (long long)first);
    assert_claimed(kit, 9, "DEMO-1"); /* the merge, of what was judged */
    assert_number(kit, 1, "SELECT count(*) FROM leases WHERE intent_run = used_by_run");
    assert_claimed(kit, 9, "");
}

/* Blocked and tried again, a merged task may have lost its lease to another. Mutations: JOB_DEPLOY
 * left out of judge(), of take() or of look_at() in claim.c. */
static void one_deploy_at_a_time(void **state)
{
    struct kit *kit = *state;
    queued(kit, "DEMO-1", STAGE_DEPLOY, JOB_DEPLOY);
    queued(kit, "SITE-2", STAGE_DEPLOY, JOB_DEPLOY);
    assert_claimed(kit, 9, "DEMO-1");
    assert_waits(kit, "SITE-2", "lease-busy: DEMO-1 holds the repository's merge lease");
    assert_text(kit, "DEMO-1-j1-r1", "SELECT used_by_run FROM leases WHERE repo = 'sample'");
    assert_number(kit, 0, "SELECT count(*) FROM leases WHERE intent_run IS NOT NULL");
}

static void no_merge_without_the_lease(void **state)
{
    struct kit *kit = *state;
    queued(kit, "DEMO-1", STAGE_DEPLOY, JOB_MERGE);
    assert_claimed(kit, 9, "");
    assert_waits(kit, "DEMO-1",
                 "lease-lost: the merge lease was lost meanwhile; the edge gates are passed again");
}

/* ---- the command ---- */

static void the_command_says_it_all(void **state)
{
    struct kit *kit = *state;
    int64_t task = analysis(kit, "DEMO-1");
    kit_freshen(kit);
    json_t *items = kit_ask(kit, "runner", 1, true);
    json_t *command = json_array_get(items, 0);
    assert_string_equal(message_text(command, "run", ""), "DEMO-1-j1-r1");
    assert_string_equal(message_text(command, "branch", ""), "feature/DEMO-1-say-hello");
    assert_string_equal(message_text(command, "role", ""), "analyst");
    assert_string_equal(message_text(command, "title", ""), "Say hello");
    assert_int_equal(message_integer(command, "task", 0), task);
    assert_int_equal(message_integer(command, "entry", 0),
                     kit_number(kit, "SELECT entry FROM tasks"));
    assert_true(message_flag(command, "first_of_entry", false));
    assert_int_equal(message_integer(command, "timeout_ms", 0), 1800 * 1000);
    assert_int_equal(message_integer(command, "deadline_ms", 0),
                     kit->scheduler.now_ms + 1800 * 1000);
    /* the row keeps it until it is acknowledged */
    char *kept = kit_text(kit, "SELECT command FROM agent_runs");
    json_t *row = json_loads(kept, 0, NULL);
    assert_true(json_equal(row, command));
    json_decref(row);
    free(kept);
    assert_number(kit, 1,
                  "SELECT count(*) FROM jobs WHERE state = 'running' AND runs = 1"
                  " AND run = 'DEMO-1-j1-r1' AND claimed_at = %lld",
                  (long long)kit->scheduler.now_ms);
    json_decref(items);
}

/* However long what people wrote is, a command is a message. */
static void the_largest_command_is_a_message(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    kit_number(kit, "UPDATE tasks SET title = printf('%%.*c', 3000000, char(1)),"
                    " description = printf('%%.*c', 3000000, char(1)),"
                    " comments = json_array(json_object('author', 'ada', 'at_ms', 1, 'body',"
                    "  printf('%%.*c', 260000, char(2)))),"
                    " findings = json_array(printf('%%.*c', 65536, char(3)))");
    kit_number(kit, "UPDATE jobs SET input = '{\"with_findings\":true}'");
    for (int i = 2; i <= 9; i++) {
        char key[16];
        snprintf(key, sizeof key, "DEMO-%d", i);
        int64_t task = analysis(kit, key);
        kit_number(kit,
                   "UPDATE tasks SET description = printf('%%.*c', 200000, 'x')"
                   " WHERE id = %lld",
                   (long long)task);
    }
    kit_freshen(kit);
    int claims = 0;
    while (claims < 9) {
        json_t *items = kit_ask(kit, "runner", 64, false);
        size_t size = json_dumpb(items, NULL, 0, JSON_COMPACT);
        assert_true(size < MESSAGE_MAX_BYTES - 4096);
        assert_true(json_array_size(items) > 0);
        claims += (int)json_array_size(items);
        json_decref(items);
    }
    assert_int_equal(claims, 9);
}

static void a_refused_claim_is_held_back(void **state)
{
    struct kit *kit = *state;
    int64_t first = analysis(kit, "DEMO-1");
    analysis(kit, "DEMO-2");
    kit_number(kit,
               "INSERT INTO agent_runs (id, job, task, entry, attempt, state, command,"
               " commanded_at) VALUES ('DEMO-1-j1-r1', 1, %lld, 1, 1, 'ended', '', 1)",
               (long long)first);
    int64_t seen = kit_number(kit, "SELECT max(seq) FROM journal");
    assert_claimed(kit, 9, "DEMO-2");
    assert_waits(kit, "DEMO-1", "internal: a fault of ours; see the log");
    assert_number(kit, 0, "SELECT runs FROM jobs WHERE id = 1");
    assert_number(kit, 1, "SELECT count(*) FROM journal WHERE seq > %lld AND event = 'job'",
                  (long long)seen);
    assert_claimed(kit, 9, ""); /* not again at once */
    kit_number(kit, "DELETE FROM agent_runs WHERE state = 'ended'");
    kit->skew_ms = 31 * 60 * 1000;
    assert_claimed(kit, 9, "DEMO-1");
}

/* ---- turns in which nothing may run ---- */

static size_t given(struct kit *kit)
{
    json_t *items = kit_ask(kit, "runner", 9, false);
    size_t count = json_array_size(items);
    json_decref(items);
    return count;
}

/* Behind the scheduler's back, so that it cannot know. */
static void change_unseen(struct kit *kit, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(kit->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void a_fruitless_walk_is_not_repeated(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    kit_operator(kit, "pause", "");
    kit_freshen(kit);
    assert_int_equal(given(kit), 0);
    change_unseen(kit, "UPDATE meta SET value = '0' WHERE key = 'paused'");
    assert_int_equal(given(kit), 0); /* not looked at again: nobody but us changes anything */
    kit_begin(kit);
    meta_set(&kit->scheduler, "anything", 1);
    kit_commit(kit);
    assert_int_equal(given(kit), 1);
}

static void but_where_something_changed_beside_the_rows(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    kit_freshen(kit);
    kit->scheduler.work.pass_ended = false;
    assert_int_equal(given(kit), 0);
    assert_int_equal(given(kit), 0);
    kit->scheduler.work.pass_ended = true;
    assert_int_equal(given(kit), 1);
    analysis(kit, "DEMO-2");
    kit_freshen(kit);
    kit->scheduler.low_disk_mb = 1;
    assert_int_equal(given(kit), 0);
    assert_true(work_wait_ms(&kit->scheduler) <= 3000 && work_wait_ms(&kit->scheduler) >= 0);
    assert_int_equal(given(kit), 0);
    /* what else is waited for is not forgotten: the first run is not acknowledged */
    assert_true(work_wait_ms(&kit->scheduler) <= 3000 && work_wait_ms(&kit->scheduler) >= 0);
    kit->scheduler.low_disk_mb = -1;
    assert_int_equal(given(kit), 1);
}

static void and_where_a_time_has_come(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    set_wait(kit, "transient: 529", 1500);
    kit_freshen(kit);
    assert_int_equal(given(kit), 0);
    assert_int_equal(given(kit), 0);
    int64_t wait = work_wait_ms(&kit->scheduler); /* known also to a turn that did not look */
    assert_true(wait > 0 && wait <= 1500);
    usleep((useconds_t)(wait + 20) * 1000);
    assert_int_equal(given(kit), 1);
}

/* The machine slept, or the clock was set. */
static void and_where_the_clock_jumped(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    set_wait(kit, "transient: 529", 60000);
    kit_number(kit, "UPDATE tasks SET asked_at = %lld", (long long)kit->scheduler.now_ms + 61000);
    assert_int_equal(given(kit), 0);
    kit->skew_ms = 61000;
    assert_int_equal(given(kit), 1);
    analysis(kit, "DEMO-2");
    set_wait(kit, "transient: 529", 3600 * 1000);
    kit_number(kit, "UPDATE tasks SET asked_at = %lld WHERE id = 2",
               (long long)kit->scheduler.now_ms - 1800 * 1000);
    assert_int_equal(given(kit), 0);
    kit->skew_ms -= 1800 * 1000;
    assert_int_equal(given(kit), 1);
}

static void a_failed_turn_is_looked_at_again(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    kit_operator(kit, "pause", "");
    kit_freshen(kit);
    assert_int_equal(given(kit), 0);
    assert_true(kit->scheduler.claim_memory.known);
    kit_begin(kit);
    kit->store->failed = SQLITE_IOERR;
    assert_int_equal(turn_commit(&kit->scheduler), -1);
    assert_false(kit->scheduler.claim_memory.known); /* another connection counts from 0 */
}

/* ---- asking the tracker ---- */

static void the_tracker_is_asked_first(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    queued(kit, "DEMO-2", STAGE_DEPLOY_STAGING, JOB_MERGE_GATE);
    json_t *items = kit_ask(kit, "runner", 9, true);
    assert_int_equal(json_array_size(items), 1); /* a reserved job reads no issue */
    assert_string_equal(message_text(json_array_get(items, 0), "key", ""), "DEMO-2");
    json_decref(items);
    assert_waits(kit, "DEMO-1", "asking: the tracker is asked for the issue as it is now");
    assert_number(kit, 1, "SELECT count(*) FROM jobs WHERE kind = 'query' AND state = 'queued'");
    json_decref(kit_ask(kit, "runner", 9, false));
    items = kit_ask(kit, "reconciler", 9, true);
    assert_int_equal(json_array_size(items), 1); /* coalesced */
    int64_t job = message_integer(json_array_get(items, 0), "job", 0);
    json_decref(items);
    json_t *answer =
        json_pack("{ss ss s[s] s[{ss ss si}{ss ss si}]}", "title", "New title", "body", "New body",
                  "labels", "one", "comments", "author", "ada", "body", "please", "at_ms", 5,
                  "author", "analyst", "body", "done", "at_ms", 6);
    assert_false(kit_flag(kit, queries_take,
                          message_new(MESSAGE_query_result, NULL, "{sI ss sO}", "job", job, "what",
                                      "issue", "answer", answer),
                          "duplicate"));
    items = kit_ask(kit, "runner", 9, false);
    json_t *command = json_array_get(items, 0);
    assert_string_equal(message_text(command, "title", ""), "New title");
    assert_string_equal(message_text(command, "description", ""), "New body");
    /* what our own bots said is left out */
    assert_int_equal(json_array_size(json_object_get(command, "comments")), 1);
    assert_false(message_flag(command, "comments_stale", true));
    json_decref(items);
    assert_true(kit_flag(kit, queries_take,
                         message_new(MESSAGE_query_result, NULL, "{sI ss so}", "job", job, "what",
                                     "issue", "answer", answer),
                         "duplicate"));
}

/* No answer is the answer unknown: the last one known is used, and the prompt says so. */
static void an_unanswered_question_holds_nobody_up(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    json_decref(kit_ask(kit, "runner", 1, true));
    assert_true(work_wait_ms(&kit->scheduler) <= QUERY_PATIENCE_ALONE_MS);
    kit->skew_ms = QUERY_PATIENCE_ALONE_MS - 500;
    json_t *items = kit_ask(kit, "runner", 1, false);
    assert_int_equal(json_array_size(items), 0);
    json_decref(items);
    kit->skew_ms = QUERY_PATIENCE_ALONE_MS + 500;
    items = kit_ask(kit, "runner", 1, false);
    assert_int_equal(json_array_size(items), 1);
    assert_true(message_flag(json_array_get(items, 0), "comments_stale", false));
    json_decref(items);
}

static void a_question_from_the_future_holds_nobody_up(void **state)
{
    struct kit *kit = *state;
    analysis(kit, "DEMO-1");
    kit->skew_ms = 3600 * 1000;
    json_decref(kit_ask(kit, "runner", 1, true));
    kit->skew_ms = 0; /* the clock jumped back by an hour */
    json_t *items = kit_ask(kit, "runner", 1, false);
    assert_int_equal(json_array_size(items), 1);
    json_decref(items);
}

/* The id of the question that waits for the reconciler, 0: there is none. */
static int64_t asked(struct kit *kit)
{
    return kit_number(kit, "SELECT coalesce(max(id), 0) FROM jobs WHERE kind = 'query'"
                           " AND state = 'queued'");
}

/* The runner takes what there is; then everything known of the issue is a second old. */
static int64_t known(struct kit *kit, const char *key)
{
    int64_t task = analysis(kit, key);
    kit_freshen(kit);
    json_decref(kit_ask(kit, "runner", 9, false));
    end(kit, task);
    return task;
}

/* The minute is for what nobody told us. */
static void what_was_written_since_is_asked_for(void **state)
{
    struct kit *kit = *state;
    int64_t task = known(kit, "DEMO-1");
    assert_true(queries_are_fresh(&kit->scheduler, task));
    kit_event(
        kit, "local",
        "{\"kind\":\"comment\",\"issue\":\"DEMO-1\",\"actor\":\"ada\",\"body\":\"in Latin\"}");
    assert_false(queries_are_fresh(&kit->scheduler, task));
    int64_t first = asked(kit);
    assert_true(first > 0);
    /* one more, while the answer to the first is under way: that was read before it */
    kit_event(
        kit, "operator",
        "{\"command\":\"comment\",\"task\":\"DEMO-1\",\"actor\":\"bob\",\"text\":\"or Greek\"}");
    assert_true(kit_flag(kit, queries_take,
                         message_new(MESSAGE_query_result, NULL, "{sI ss s{s[]}}", "job", first,
                                     "what", "issue", "answer", "comments"),
                         "duplicate"));
    assert_false(queries_are_fresh(&kit->scheduler, task));
    assert_true(asked(kit) > first);
}

static void who_acts_may_have_written_before(void **state)
{
    static const char *const acts[] = {"approve", "To Analyse", "retry"};
    struct kit *kit = *state;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        char key[16];
        snprintf(key, sizeof key, "DEMO-%zu", i + 1);
        int64_t task = known(kit, key);
        kit_number(kit, "UPDATE tasks SET display_confirmed = entry WHERE id = %lld",
                   (long long)task);
        if (strcmp(acts[i], "retry") == 0)
            kit_number(kit, "UPDATE tasks SET blocked_reason = 'permanent: x' WHERE id = %lld",
                       (long long)task);
        assert_true(queries_are_fresh(&kit->scheduler, task));
        if (strcmp(acts[i], "To Analyse") == 0)
            kit_status(kit, key, acts[i]);
        else
            kit_operator(kit, acts[i], key);
        assert_number(kit, i == 2 ? 1 : 0, "SELECT asked_at > 0 FROM tasks WHERE id = %lld",
                      (long long)task); /* parked again: nobody starts */
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(order_of_the_queue),
        TEST(no_more_than_there_is_room_for),
        TEST(one_job_per_task),
        TEST(only_a_queued_job_is_claimed),
        TEST(two_claims_never_both_win),
        TEST(limits),
        TEST(limit_of_a_role_and_of_all),
        TEST(a_job_waits_for_its_time),
        TEST(a_wait_outlives_a_pause),
        TEST(a_clock_that_jumped_back),
        TEST(pauses),
        TEST(nothing_before_the_first_look),
        TEST(a_project_that_is_gone),
        TEST(many_reasons),
        TEST(long_words),
        TEST(the_serial_gate),
        TEST(skip_blocked_passes_what_is_parked_too),
        TEST(a_freeze_stops_new_tasks_alone),
        TEST(a_successor_waits_for_the_cleanup),
        TEST(one_merge_at_a_time),
        TEST(one_deploy_at_a_time),
        TEST(no_merge_without_the_lease),
        TEST(the_command_says_it_all),
        TEST(the_largest_command_is_a_message),
        TEST(a_refused_claim_is_held_back),
        TEST(a_fruitless_walk_is_not_repeated),
        TEST(but_where_something_changed_beside_the_rows),
        TEST(and_where_a_time_has_come),
        TEST(and_where_the_clock_jumped),
        TEST(a_failed_turn_is_looked_at_again),
        TEST(the_tracker_is_asked_first),
        TEST(an_unanswered_question_holds_nobody_up),
        TEST(a_question_from_the_future_holds_nobody_up),
        TEST(what_was_written_since_is_asked_for),
        TEST(who_acts_may_have_written_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
