/* A whole journey, To Analyse to done with a rollback, a transient failure and a STOP beside it,
 * while the n-th write to main.db fails, or kills the process, for every n: in the end the rows are
 * those of a journey without faults, and the outside has seen each effect once.
 *
 * The peers are played as they are: runner and notifier keep in files what they did (here: in
 * memory that the fault does not touch, or, over a kill, in what the rows say), repeat until they
 * are answered, and start with a new boot after a kill.
 *
 * ORCH_TEST_FAULTS=all tries every n; otherwise every 29th, from another first one each day.
 *
 * Mutations tried, each red: inbox_position not read anew (written_and_reported_as_failed),
 * counters and position taken before the commit (each_write_fails), journal or work not forgotten
 * (each_write_fails), the position committed in a transaction of its own (each_write_kills). */
#include "tests/unit/scheduler_kit.h"
#include "tests/unit/fault_vfs.h"
#include <sys/wait.h>
#include <time.h>

enum { STEPS_MAX = 400, KILLED = 128 + SIGKILL };

/* ---- the outside ---- */

struct outside {
    char seen[200][16]; /* external ids of what was delivered */
    int count, twice;
};

static void deliver(struct outside *outside, const char *external)
{
    for (int i = 0; i < outside->count; i++) {
        if (strcmp(outside->seen[i], external) == 0)
            return; /* the tracker knows the id: no second comment */
    }
    assert_true(outside->count < 200);
    snprintf(outside->seen[outside->count++], sizeof outside->seen[0], "%s", external);
}

/* ---- turns, whatever happens to the disk ---- */

static bool turn(struct kit *kit, json_t *(*take)(struct scheduler *, const json_t *),
                 const json_t *message, json_t **answer)
{
    struct scheduler *scheduler = &kit->scheduler;
    if (scheduler->retry_store_at)
        scheduler->retry_store_at = 1;
    if (!turn_recover(scheduler) || turn_begin(scheduler) < 0)
        return false;
    scheduler->now_ms += kit->skew_ms;
    scheduler->inbox_taken = scheduler->inbox_position;
    *answer = take ? take(scheduler, message) : NULL;
    if (!take)
        events_take(scheduler);
    if (turn_commit(scheduler) == 0) {
        scheduler->inbox_position = scheduler->inbox_taken;
        return true;
    }
    json_decref(*answer);
    *answer = NULL;
    return false;
}

/* Repeats until it is answered. Takes message. */
static void tell(struct kit *kit, json_t *(*take)(struct scheduler *, const json_t *),
                 json_t *message)
{
    json_t *answer = NULL;
    for (int tries = 0; tries < 50 && !turn(kit, take, message, &answer); tries++)
        ;
    assert_non_null(answer);
    json_decref(answer);
    json_decref(message);
}

static void take_events(struct kit *kit)
{
    json_t *answer;
    for (int tries = 0; tries < 50 && !turn(kit, NULL, NULL, &answer); tries++)
        ;
}

static json_t *ask(struct kit *kit, const char *service)
{
    static char ticket;
    enum work_peer_id peer = strcmp(service, "runner") == 0     ? WORK_RUNNER
                             : strcmp(service, "notifier") == 0 ? WORK_NOTIFIER
                                                                : WORK_RECONCILER;
    char boot[16];
    json_t *answer;
    snprintf(boot, sizeof boot, "boot-%d", kit->boots[0]);
    json_t *request =
        json_pack("{ss ss si si}", "service", service, "boot", boot, "wait_ms", 0, "max", 9);
    work_ask(&kit->scheduler, request, &ticket);
    json_decref(request);
    for (int tries = 0; tries < 50 && !turn(kit, NULL, NULL, &answer); tries++)
        ;
    json_t *items = json_copy(kit->scheduler.work.peers[peer].items);
    work_answer(&kit->scheduler);
    return items;
}

/* ---- the peers ---- */

/* Every run that has not ended: what its directory says is told until it is acknowledged. The first
 * review fails its gate, the first development the network. */
static void end_runs(struct kit *kit)
{
    for (int i = 0; i < 9; i++) {
        char *run = kit_text(kit, "SELECT id FROM agent_runs WHERE state IN ('accepted','started')"
                                  " ORDER BY commanded_at, id LIMIT 1");
        if (!run)
            return;
        char *what =
            kit_text(kit,
                     "SELECT j.kind || coalesce(j.role, '') || (SELECT count(*) FROM"
                     " agent_runs o WHERE o.task = r.task AND o.role IS r.role AND o.state ="
                     " 'ended') FROM agent_runs r JOIN jobs j ON j.id = r.job"
                     " WHERE r.id = '%s'",
                     run);
        bool stopped = kit_number(kit,
                                  "SELECT 1 FROM agent_runs WHERE id = '%s' AND stop IS NOT"
                                  " NULL",
                                  run) == 1;
        const char *verdict = strncmp(what, "merge", 5) == 0 && what[5] != '-' ? NULL : "pass";
        tell(kit, results_started,
             message_new(MESSAGE_run_started, NULL, "{ss si si}", "run", run, "pid", 9,
                         "started_ms", 1000));
        if (stopped)
            tell(kit, results_ended, kit_result(run, "cancelled", "interrupted", NULL));
        else if (strcmp(what, "agentdeveloper0") == 0)
            tell(kit, results_ended, kit_result(run, "failed", "transient", NULL));
        else if (strcmp(what, "agentreviewer0") == 0)
            tell(kit, results_ended, kit_result(run, "succeeded", "none", "fail"));
        else
            tell(kit, results_ended,
                 kit_result(run, "succeeded", "none",
                            strcmp(what, "cleanup0") == 0 ? NULL : verdict));
        free(what);
        free(run);
    }
}

static void answer_what_is_asked(struct kit *kit)
{
    json_t *items = ask(kit, "reconciler"), *item;
    size_t index;
    json_array_foreach(items, index, item)
    {
        if (strcmp(message_text(item, "kind", ""), "query") == 0)
            tell(kit, queries_take,
                 message_new(MESSAGE_query_result, NULL, "{sI ss so}", "job",
                             message_integer(item, "job", 0), "what", "issue", "answer",
                             json_pack("{ss ss s[] s[]}", "title", "Title", "body", "Body",
                                       "labels", "comments")));
    }
    json_decref(items);
}

static void run_what_there_is(struct kit *kit)
{
    json_t *items = ask(kit, "runner"), *item;
    size_t index;
    json_array_foreach(items, index, item)
    {
        if (strcmp(message_text(item, "kind", ""), "run_start") == 0)
            tell(kit, results_accepted,
                 message_new(MESSAGE_run_accepted, NULL, "{ss}", "run",
                             message_text(item, "run", "")));
    }
    json_decref(items);
    end_runs(kit);
}

static void say_what_there_is(struct kit *kit, struct outside *outside)
{
    json_t *items = ask(kit, "notifier"), *item;
    size_t index;
    json_array_foreach(items, index, item)
    {
        deliver(outside, message_text(item, "external_id", ""));
        tell(kit, effects_take,
             message_new(MESSAGE_effect_result, NULL, "{sI ss ss sn}", "effect",
                         message_integer(item, "effect", 0), "outcome", "delivered", "reason", "",
                         "retry_after_ms"));
    }
    json_decref(items);
}

static bool is_parked(struct kit *kit)
{
    return kit_number(kit,
                      "SELECT 1 FROM tasks WHERE key = 'DEMO-1' AND parked_for = 'approval'") == 1;
}

static bool is_over(struct kit *kit)
{
    return kit_number(kit, "SELECT 1 FROM tasks WHERE key = 'DEMO-1' AND stage = 'done'") == 1 &&
           kit_number(kit, "SELECT count(*) FROM tasks WHERE cleanup_job IS NOT NULL") == 0 &&
           kit_number(kit, "SELECT count(*) FROM effects WHERE state IN ('pending','handed')") == 0;
}

static void put_once(struct kit *kit, int seq, const char *source, const char *body)
{
    sqlite3_stmt *row = NULL;
    sqlite3_prepare_v2(kit->inbox.db, "SELECT count(*) FROM events", -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int count = sqlite3_column_int(row, 0);
    sqlite3_finalize(row);
    if (count < seq)
        assert_int_equal(kit_inbox(kit, source, body), seq);
}

static void journey(struct kit *kit, struct outside *outside)
{
    put_once(kit, 1, "local",
             "{\"kind\":\"issue\",\"issue\":\"DEMO-1\",\"title\":\"One\",\"status\":"
             "\"To Analyse\",\"actor\":\"ada\"}");
    put_once(kit, 2, "local",
             "{\"kind\":\"issue\",\"issue\":\"DEMO-2\",\"title\":\"Two\",\"status\":"
             "\"To Analyse\",\"actor\":\"ada\"}");
    put_once(kit, 3, "local",
             "{\"kind\":\"status\",\"issue\":\"DEMO-2\",\"status\":\"STOP\",\"actor\":"
             "\"ada\"}");
    for (int step = 0; step < STEPS_MAX && !is_over(kit); step++) {
        take_events(kit);
        if (is_parked(kit))
            put_once(kit, 4, "operator",
                     "{\"command\":\"approve\",\"task\":\"DEMO-1\",\"actor\":"
                     "\"bob\"}");
        run_what_there_is(kit);
        answer_what_is_asked(kit);
        run_what_there_is(kit);
        say_what_there_is(kit, outside);
        kit->skew_ms += 40000; /* over every wait */
    }
    assert_true(is_over(kit));
}

/* ---- what must be the same ---- */

static char *story(struct kit *kit)
{
    return kit_text(
        kit, "SELECT (SELECT group_concat(key || stage || rollbacks || display ||"
             " (display_confirmed = entry) || coalesce(blocked_reason, '-') || findings, '\n')"
             " FROM tasks) || '\n' ||"
             " (SELECT group_concat(task || coalesce(from_stage, '') || '>' || to_stage || why"
             " || actor, '\n') FROM transitions) || '\n' ||"
             " (SELECT group_concat(task || kind || coalesce(role, '') || state || attempt ||"
             " transient || losses || runs, '\n') FROM jobs WHERE kind <> 'query') || '\n' ||"
             " (SELECT group_concat(r.task || j.kind || coalesce(r.role, '') || r.attempt ||"
             " coalesce(outcome, '?') || coalesce(exit_code, '?'), '\n') FROM agent_runs r JOIN"
             " jobs j ON j.id = r.job ORDER BY j.id, r.commanded_at) || '\n' ||"
             " (SELECT group_concat(external_id || kind || coalesce(status, '') || author ||"
             " state || coalesce(body, ''), '\n') FROM effects WHERE droppable = 0)"
             " || '\n' || (SELECT group_concat(event || result || reason, '\n') FROM decisions)"
             " || '\n' || (SELECT count(*) FROM leases) || (SELECT count(*) FROM alerts)");
}

static struct kit *fresh(void)
{
    log_init("scheduler", LOG_LEVEL_ERROR + 1);
    struct kit *kit = kit_new("");
    sqlite3_exec(kit->store->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
    kit->boots[0] = 1;
    fault_vfs.seen = 0;
    return kit;
}

/* Statuses that a newer one overtook are dropped, and which ones depends on when who asked: they
 * are left out of the story. What else was said must be said once. */
static char *undisturbed(int64_t *writes)
{
    struct kit *kit = fresh();
    struct outside outside = {.count = 0};
    journey(kit, &outside);
    *writes = fault_vfs.seen;
    char *text = story(kit);
    assert_number(kit, outside.count, "SELECT count(*) FROM effects WHERE state = 'delivered'");
    kit_free(kit);
    return text;
}

static void each_number(int64_t writes, void (*try)(int64_t number, const char *wanted),
                        const char *wanted)
{
    const char *how = getenv("ORCH_TEST_FAULTS");
    int64_t step = how && strcmp(how, "all") == 0 ? 1 : 29;
    int64_t first = step == 1 ? 1 : 1 + (int64_t)(time(NULL) / 86400 % step);
    assert_true(writes > 200);
    for (int64_t number = first; number <= writes; number += step)
        try(number, wanted);
}

static void check(struct kit *kit, const struct outside *outside, const char *wanted,
                  int64_t number)
{
    char *text = story(kit);
    if (strcmp(text, wanted) != 0) {
        fprintf(stderr, "at write %lld:\n%s\n--- instead of\n%s\n", (long long)number, text,
                wanted);
        fail();
    }
    assert_number(kit, outside->count, "SELECT count(*) FROM effects WHERE state = 'delivered'");
    assert_number(kit, 0, "SELECT count(*) FROM pragma_foreign_key_check");
    assert_number(kit, 0, "SELECT count(*) - count(DISTINCT seq) FROM journal");
    free(text);
}

static void fail_at(int64_t number, const char *wanted, int code, bool after, int times)
{
    struct kit *kit = fresh();
    struct outside outside = {.count = 0};
    fault_vfs.code = code;
    fault_vfs.after = after;
    fault_vfs.fail_for = times;
    fault_vfs.fail_at = number;
    journey(kit, &outside);
    fault_vfs.fail_at = 0;
    fault_vfs.after = false;
    check(kit, &outside, wanted, number);
    kit_free(kit);
}

static void fail_once(int64_t number, const char *wanted)
{
    fail_at(number, wanted, SQLITE_IOERR_WRITE, false, 1);
}

static void fail_for_a_while(int64_t number, const char *wanted)
{
    fail_at(number, wanted, SQLITE_FULL, false, 9);
}

static void fail_after(int64_t number, const char *wanted)
{
    fail_at(number, wanted, SQLITE_IOERR_FSYNC, true, 1);
}

/* The child plays until it is killed; what it has delivered is in the file that it left. */
static void kill_at(int64_t number, const char *wanted)
{
    struct kit *kit = fresh();
    struct outside outside = {.count = 0};
    kit_end(kit);
    pid_t child = fork();
    if (child == 0) {
        kit_start(kit);
        sqlite3_exec(kit->store->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
        fault_vfs.seen = 0;
        fault_vfs.deadly = true;
        fault_vfs.fail_at = number;
        journey(kit, &outside);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
    kit_start(kit);
    kit->boots[0] = 2;
    /* the tracker's memory: what was recorded as delivered it has; what it had got beside that
     * comes again under its old id, and counts once */
    sqlite3_stmt *row = NULL;
    sqlite3_prepare_v2(kit->store->db, "SELECT external_id FROM effects WHERE state = 'delivered'",
                       -1, &row, NULL);
    while (sqlite3_step(row) == SQLITE_ROW)
        deliver(&outside, (const char *)sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
    journey(kit, &outside);
    check(kit, &outside, wanted, number);
    kit_free(kit);
}

#define TEST(name, try)                                                                            \
    static void name(void **state)                                                                 \
    {                                                                                              \
        int64_t writes;                                                                            \
        char *wanted = undisturbed(&writes);                                                       \
        (void)state;                                                                               \
        each_number(writes, try, wanted);                                                          \
        free(wanted);                                                                              \
    }

TEST(each_write_fails, fail_once)
TEST(each_write_fails_for_a_while, fail_for_a_while)
TEST(written_and_reported_as_failed, fail_after)
TEST(each_write_kills, kill_at)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_write_fails),
        cmocka_unit_test(each_write_fails_for_a_while),
        cmocka_unit_test(written_and_reported_as_failed),
        cmocka_unit_test(each_write_kills),
    };
    fault_vfs_use("main.db");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
