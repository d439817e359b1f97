/* From a decision to rows, exactly: for each flag of a decision one occurrence that sets it, and
 * what the rows of the task look like afterwards, all of them.
 *
 * Mutations tried, each red: any one of carry_out's steps left out or changed in order, entry of
 * the move taken for the remembered command, since of a park not kept through a block, running runs
 * not told to end, queued jobs of other tasks cancelled, the branch not given up at the end, an
 * ignored event that writes. */
#include "tests/unit/scheduler_kit.h"

/* What was ordered since the last look, by the numbers of its rows. */
struct marks {
    int64_t transitions, jobs, effects, journal;
};

static struct marks marks(struct kit *kit)
{
    return (struct marks){kit_number(kit, "SELECT coalesce(max(id), 0) FROM transitions"),
                          kit_number(kit, "SELECT coalesce(max(id), 0) FROM jobs"),
                          kit_number(kit, "SELECT coalesce(max(id), 0) FROM effects"),
                          kit_number(kit, "SELECT coalesce(max(seq), 0) FROM journal")};
}

/* sql: ?1 is the task, ?2 the mark. */
static void line(struct kit *kit, struct buffer *out, const char *name, const char *sql,
                 int64_t task, int64_t after)
{
    sqlite3_stmt *row = NULL;
    assert_int_equal(sqlite3_prepare_v2(kit->store->db, sql, -1, &row, NULL), SQLITE_OK);
    sqlite3_bind_int64(row, 1, task);
    sqlite3_bind_int64(row, 2, after);
    const char *text =
        sqlite3_step(row) == SQLITE_ROW ? (const char *)sqlite3_column_text(row, 0) : NULL;
    if (text && *text)
        buffer_format(out, "%s %s\n", name, text);
    sqlite3_finalize(row);
}

/* The task as it is, and what was added since the marks. Entries are shown as how far they are from
 * the one that was there before. Caller frees. */
static char *shown(struct kit *kit, int64_t task, struct marks since)
{
    struct buffer out = {0};
    line(kit, &out, "task",
         "SELECT stage || ' entry+' || (entry - ?2) ||"
         " CASE terminal WHEN 0 THEN '' ELSE ' terminal' END ||"
         " CASE WHEN ended_at IS NULL THEN '' ELSE ' ended' END ||"
         " coalesce(' blocked(' || substr(blocked_reason, 1, instr(blocked_reason, ':') - 1) || ' '"
         "  || blocked_counter || ')', '') ||"
         " coalesce(' parked(' || parked_for || ')', '') ||"
         " CASE rollbacks WHEN 0 THEN '' ELSE ' rollbacks=' || rollbacks END ||"
         " CASE findings WHEN '[]' THEN '' ELSE ' findings' END || ' shows=' || coalesce(display, "
         "'')"
         " || CASE display_confirmed WHEN 0 THEN '' ELSE ' confirmed' END ||"
         " coalesce(' pr=' || pr_number, '') || coalesce(' merged=' || merged_commit, '') ||"
         " CASE stop_requested WHEN 0 THEN '' ELSE ' stopping' END ||"
         " CASE WHEN cleanup_job IS NULL THEN '' ELSE ' cleanup' END"
         " FROM tasks WHERE id = ?1",
         task, since.transitions);
    line(kit, &out, "keys",
         "SELECT issue || ' ' || key || ' ' || branch || ' ' || natural_key FROM tasks"
         " WHERE id = ?1 AND ?2 >= 0",
         task, 0);
    line(kit, &out, "moved",
         "SELECT group_concat(coalesce(from_stage, '-') || '>' || to_stage || ' ' || why || ' by ' "
         "||"
         " actor, ' / ') FROM (SELECT * FROM transitions WHERE task = ?1 AND id > ?2"
         " ORDER BY id)",
         task, since.transitions);
    line(kit, &out, "jobs",
         "SELECT group_concat(kind || coalesce('/' || role, '') || ' ' || state ||"
         " CASE WHEN id > ?2 THEN ' new' ELSE '' END || CASE entry WHEN (SELECT entry FROM tasks"
         " WHERE id = task) THEN '' ELSE ' old-entry' END ||"
         " CASE input WHEN '{}' THEN '' ELSE ' ' || input END, ' / ')"
         " FROM (SELECT * FROM jobs WHERE task = ?1 ORDER BY id)",
         task, since.jobs);
    line(kit, &out, "told to end",
         "SELECT group_concat(id || ' ' || stop) FROM agent_runs WHERE task = ?1 AND stop IS NOT"
         " NULL AND ?2 >= 0",
         task, 0);
    line(kit, &out, "effects",
         "SELECT group_concat(kind || coalesce(' ' || status, '') || '@' || author ||"
         " CASE droppable WHEN 0 THEN '' ELSE '?' END, ' / ') FROM (SELECT * FROM effects"
         " WHERE task = ?1 AND id > ?2 ORDER BY id)",
         task, since.effects);
    line(kit, &out, "seen",
         "SELECT group_concat(command || ' entry+' || (entry - ?2), ' / ') FROM (SELECT * FROM"
         " commands_seen WHERE task = ?1 ORDER BY command)",
         task, since.transitions);
    line(kit, &out, "lease", "SELECT repo FROM leases WHERE task = ?1 AND ?2 >= 0", task, 0);
    line(kit, &out, "alerts",
         "SELECT count(*) || CASE count(cleared_at) WHEN 0 THEN '' ELSE ' cleared' END FROM alerts"
         " WHERE task = ?1 AND ?2 >= 0 GROUP BY task",
         task, 0);
    line(kit, &out, "journal",
         "SELECT group_concat(event || coalesce(' ' || (detail ->> '$.state'), '') ||"
         " coalesce(' ' || (detail ->> '$.to'), ''), ' / ')"
         " FROM (SELECT * FROM journal WHERE seq > ?2 AND ?1 > 0 ORDER BY seq)",
         task, since.journal);
    return buffer_take(&out);
}

#define assert_shown(kit, task, since, expected)                                                   \
    do {                                                                                           \
        char *shown_text = shown(kit, task, since);                                                \
        assert_string_equal(shown_text, expected);                                                 \
        free(shown_text);                                                                          \
    } while (0)

static enum decision_outcome happen(struct kit *kit, int64_t id, struct occurrence occurrence)
{
    struct task task;
    struct performed performed;
    kit_begin(kit);
    assert_true(task_load(&kit->scheduler, id, &task));
    if (!occurrence.event.entry)
        occurrence.event.entry = task.entry;
    perform(&kit->scheduler, &task, &occurrence, &performed);
    /* the caller's copy is what the row says now */
    char *stage =
        kit_text(kit, "SELECT stage || entry || key FROM tasks WHERE id = %lld", (long long)id);
    char *copy = xformat("%s%lld%s", stage_table[task.stage].name, (long long)task.entry, task.key);
    assert_string_equal(copy, stage);
    free(copy);
    free(stage);
    task_free(&task);
    kit_commit(kit);
    return performed.outcome;
}

static struct occurrence command(enum stage_event_kind kind)
{
    return (struct occurrence){.event = {.kind = kind, .source = SOURCE_OPERATOR}, .actor = "bob"};
}

static struct occurrence ended(enum stage_event_kind kind, enum job_kind job,
                               enum gate_verdict verdict)
{
    return (struct occurrence){
        .event = {.kind = kind, .source = SOURCE_RUNNER, .job = job, .verdict = verdict},
        .actor = "somebody"};
}

/* A task in this stage, nothing live, its display shown. */
static int64_t resting(struct kit *kit, enum stage stage)
{
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_deliver(kit);
    kit_number(kit, "UPDATE tasks SET stage = '%s'", stage_table[stage].name);
    kit_number(kit, "UPDATE jobs SET state = 'done', stage = '%s'", stage_table[stage].name);
    return task;
}

#define KEYS "keys local-1 DEMO-1 feature/DEMO-1-say-hello DEMO-1\n"
#define OLD  "jobs agent/analyst done"

/* ---- one flag after the other ---- */

static void create(void **state)
{
    struct kit *kit = *state;
    struct task task = {0};
    struct performed performed;
    struct marks since = marks(kit);
    json_t *labels = json_pack("[ss]", "one", "two");
    const struct occurrence occurrence = {
        .event = {.kind = STAGE_EVENT_TO_ANALYSE, .source = SOURCE_TRACKER},
        .actor = "ada",
        .project = "SHOP",
        .issue = "local-9",
        .key = "SHOP-9",
        .title = "Naïve title",
        .description = "Words.",
        .labels = labels};
    kit_begin(kit);
    perform(&kit->scheduler, &task, &occurrence, &performed);
    kit_commit(kit);
    assert_true(task.exists);
    assert_int_equal(task.stage, STAGE_ANALYSIS);
    assert_shown(kit, task.id, since,
                 "task analysis entry+2 shows=analysis\n"
                 "keys local-9 SHOP-9 feature/SHOP-9-naive-title SHOP-9\n"
                 "moved ->created started: analysis started by ada / created>analysis started:"
                 " analysis started by ada\n"
                 "jobs agent/analyst queued new\n"
                 "effects status analysis@stream? / comment@stream\n"
                 "journal task created / transition analysis / job queued\n");
    assert_text(
        kit, "SHOP shop Naïve title Words. [\"one\",\"two\"]",
        "SELECT project || ' ' || repo || ' ' || title || ' ' || description || ' ' || labels"
        " FROM tasks");
    assert_number(kit, 1,
                  "SELECT count(*) FROM jobs j JOIN tasks t ON t.id = j.task AND t.entry ="
                  " j.entry AND t.project = j.project AND t.repo = j.repo"
                  " WHERE j.stage_rank = 1 AND j.stage = 'analysis'");
    json_decref(labels);
    task_free(&task);
}

static void move_and_job(void **state)
{
    struct kit *kit = *state;
    int64_t task = resting(kit, STAGE_REVIEW);
    struct marks since = marks(kit);
    assert_int_equal(happen(kit, task, ended(STAGE_EVENT_JOB_SUCCEEDED, JOB_AGENT, GATE_PASS)),
                     DECISION_APPLIED);
    assert_shown(kit, task, since,
                 "task testing entry+1 shows=testing\n" KEYS
                 "moved review>testing gate-passed: the stage's gate passed by somebody\n" OLD
                 " old-entry / agent/tester queued new\n"
                 "effects status testing@stream? / comment@stream\n"
                 "journal transition testing / job queued\n");
}

static void park_and_unpark(void **state)
{
    struct kit *kit = *state;
    int64_t task = resting(kit, STAGE_ANALYSIS);
    struct marks since = marks(kit);
    happen(kit, task, ended(STAGE_EVENT_JOB_SUCCEEDED, JOB_AGENT, GATE_PASS));
    assert_shown(kit, task, since,
                 "task analysis entry+0 parked(approval) shows=awaiting_approval\n" KEYS OLD "\n"
                 "effects status awaiting_approval@stream? / comment@analyst\n"
                 "journal task parked\n");
    assert_number(kit, kit->scheduler.now_ms, "SELECT parked_since FROM tasks");
    since = marks(kit);
    happen(kit, task, command(STAGE_EVENT_APPROVED));
    assert_shown(kit, task, since,
                 "task architecture entry+1 shows=architecture\n" KEYS
                 "moved analysis>architecture approved: the analysis is approved by bob\n" OLD
                 " old-entry / agent/architect queued new\n"
                 "effects comment@stream / status architecture@stream?\n"
                 "seen approved entry+0\n" /* of the entry that the event found */
                 "journal transition architecture / task unparked / job queued\n");
    assert_text(kit, "bob",
                "SELECT detail ->> '$.ended_by' FROM journal WHERE detail ->> '$.state'"
                " = 'unparked'");
    assert_text(kit, NULL, "SELECT parked_since FROM tasks");
}

static void rollback(void **state)
{
    struct kit *kit = *state;
    int64_t task = resting(kit, STAGE_DEPLOY);
    json_t *findings = json_pack("[s]", "no full stop");
    kit_number(kit, "UPDATE tasks SET merged_commit = 'abc', pr_number = 7, pr_url = 'u', pr_head ="
                    " 'h'");
    kit_number(kit, "INSERT INTO leases (repo, task, since) VALUES ('sample', %lld, 1)",
               (long long)task);
    struct marks since = marks(kit);
    struct occurrence failed = ended(STAGE_EVENT_JOB_SUCCEEDED, JOB_FINALIZER, GATE_FAIL);
    failed.findings = findings;
    failed.reason_text = "the hook said no";
    happen(kit, task, failed);
    assert_shown(kit, task, since,
                 "task development entry+1 rollbacks=1 findings shows=development\n" KEYS
                 "moved deploy>development gate-failed: the hook said no by somebody\n" OLD
                 " old-entry / agent/developer queued new {\"with_findings\":true}\n"
                 "effects status development@stream? / comment@stream\n"
                 "journal lease released / transition development / job queued\n");
    assert_text(kit, "[\"no full stop\"]", "SELECT findings FROM tasks");
    assert_number(kit, 0,
                  "SELECT count(*) FROM tasks WHERE pr_url IS NOT NULL OR pr_head IS NOT"
                  " NULL");
    json_decref(findings);
}

static void block_and_unblock(void **state)
{
    struct kit *kit = *state;
    int64_t task = resting(kit, STAGE_ARCHITECTURE);
    struct marks since = marks(kit);
    kit_number(kit, "UPDATE tasks SET rollbacks = 2");
    struct occurrence exhausted = ended(STAGE_EVENT_JOB_EXHAUSTED, JOB_AGENT, GATE_NONE);
    exhausted.log_tail = "panic: at the disco";
    happen(kit, task, exhausted);
    assert_shown(kit, task, since,
                 "task architecture entry+0 blocked(attempts-exhausted attempts) rollbacks=2"
                 " shows=blocked\n" KEYS OLD "\n"
                 "effects status blocked@stream? / alert@stream\n"
                 "alerts 1\n"
                 "journal task blocked / alert\n");
    assert_number(kit, kit->scheduler.now_ms, "SELECT blocked_since FROM tasks");
    assert_number(kit, 1, "SELECT count(*) FROM effects WHERE body LIKE '%%panic: at the disco%%'");
    since = marks(kit);
    happen(kit, task, command(STAGE_EVENT_RETRY));
    assert_shown(
        kit, task, since,
        "task architecture entry+1 shows=architecture\n" KEYS
        "moved architecture>architecture resumed: goes on after a person's act by bob\n" OLD
        " old-entry / agent/architect queued new\n"
        "effects status architecture@stream? / comment@stream\n"
        "seen retry entry+0\n"
        "alerts 1 cleared\n"
        "journal transition architecture / task unblocked / job queued\n");
    assert_text(kit, NULL, "SELECT blocked_counter FROM tasks");
}

/* Waiting time is counted apart from working time: a block in between does not begin it anew. */
static void a_park_keeps_its_time(void **state)
{
    struct kit *kit = *state;
    int64_t task = resting(kit, STAGE_ANALYSIS);
    happen(kit, task, ended(STAGE_EVENT_JOB_SUCCEEDED, JOB_AGENT, GATE_PASS));
    int64_t parked = kit_number(kit, "SELECT parked_since FROM tasks");
    kit_number(kit, "UPDATE tasks SET blocked_reason = 'x: y', blocked_since = 1");
    kit->skew_ms = 5000;
    happen(kit, task, command(STAGE_EVENT_RETRY));
    assert_text(kit, "approval", "SELECT parked_for FROM tasks WHERE blocked_reason IS NULL");
    assert_number(kit, parked, "SELECT parked_since FROM tasks");
}

static void cancel_with_everything(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "To Analyse");
    int64_t other = kit_issue(kit, "DEMO-2", "To Analyse");
    assert_int_equal(kit_claim(kit), 2);
    kit_issue(kit, "DEMO-3", "To Analyse");
    kit_deliver(kit);
    kit_number(kit, "INSERT INTO leases (repo, task, since) VALUES ('sample', 1, 1)");
    kit_number(kit, "UPDATE tasks SET blocked_reason = 'x: y', parked_for = 'ci' WHERE id = 1");
    kit_number(kit,
               "INSERT INTO alerts (key, task, text, at) VALUES ('k', 1, 't', 1), ('l', 2, 't',"
               " 1)");
    kit_number(kit, "INSERT INTO jobs (task, project, repo, entry, stage, stage_rank, kind, role,"
                    " created_at) SELECT task, project, repo, entry, stage, 1, kind, role, 1 FROM"
                    " jobs WHERE task = 1 AND kind = 'agent'");
    struct marks since = marks(kit);
    happen(kit, 1, command(STAGE_EVENT_STOP));
    assert_shown(
        kit, 1, since,
        "task cancelled entry+1 terminal ended shows=cancelled cleanup\n"
        "keys local-1~1 DEMO-1~1 feature/DEMO-1-say-hello~1 DEMO-1\n"
        "moved analysis>cancelled stopped: stopped by a person by bob\n"
        "jobs agent/analyst running old-entry / agent/analyst cancelled old-entry / cleanup"
        " queued new\n"
        "told to end DEMO-1-j1-r1 stopped: stopped by a person\n"
        "effects status cancelled@stream / comment@stream\n"
        "seen stop entry+-4\n" /* the entry that the event found: others came after it */
        "alerts 1 cleared\n"
        "journal lease released / transition cancelled / task unblocked / task unparked /"
        " job queued\n");
    assert_number(kit, 1,
                  "SELECT count(*) FROM tasks WHERE cleanup_job = (SELECT max(id) FROM"
                  " jobs)");
    assert_text(kit, "stopped: stopped by a person",
                "SELECT reason FROM jobs WHERE state ="
                " 'cancelled'");
    /* nothing of other tasks */
    assert_text(kit, "queued", "SELECT state FROM jobs WHERE task = 3");
    assert_number(kit, 1, "SELECT count(*) FROM jobs WHERE task = %lld AND state = 'running'",
                  (long long)other);
    assert_number(kit, 0, "SELECT count(*) FROM agent_runs WHERE task = %lld AND stop IS NOT NULL",
                  (long long)other);
    assert_number(kit, 1, "SELECT count(*) FROM alerts WHERE task = %lld AND cleared_at IS NULL",
                  (long long)other);
}

static void a_stop_is_deferred(void **state)
{
    struct kit *kit = *state;
    int64_t task = resting(kit, STAGE_DEPLOY);
    kit_number(kit, "UPDATE jobs SET kind = 'merge', role = NULL, state = 'running'");
    struct marks since = marks(kit);
    happen(kit, task, command(STAGE_EVENT_STOP));
    assert_shown(kit, task, since,
                 "task deploy entry+0 shows=analysis confirmed stopping\n" KEYS
                 "jobs merge running\n"
                 "effects comment@stream\n"
                 "seen stop entry+0\n");
}

static void a_refusal_is_said_once(void **state)
{
    struct kit *kit = *state;
    int64_t task = resting(kit, STAGE_REVIEW);
    struct marks since = marks(kit);
    struct occurrence refused = command(STAGE_EVENT_TO_ANALYSE);
    refused.event.source = SOURCE_TRACKER;
    assert_int_equal(happen(kit, task, refused), DECISION_REFUSED);
    assert_shown(kit, task, since,
                 "task review entry+0 shows=code_review\n" KEYS OLD "\n"
                 "effects status code_review@stream? / comment@stream\n"
                 "seen refused:to-analyse entry+0\n");
    assert_number(kit, 1,
                  "SELECT count(*) FROM effects WHERE body LIKE '%%To Analyse%%' AND id >"
                  " %lld",
                  (long long)since.effects);
    since = marks(kit);
    assert_int_equal(happen(kit, task, refused), DECISION_REFUSED);
    assert_shown(kit, task, since,
                 "task review entry+0 shows=code_review\n" KEYS OLD "\n"
                 "effects status code_review@stream?\n"
                 "seen refused:to-analyse entry+0\n");
}

static void what_is_ignored_writes_nothing(void **state)
{
    struct kit *kit = *state;
    int64_t task = resting(kit, STAGE_REVIEW);
    struct occurrence late = ended(STAGE_EVENT_JOB_SUCCEEDED, JOB_AGENT, GATE_PASS);
    late.event.entry = 999;
    char *before = kit_dump(kit);
    assert_int_equal(happen(kit, task, late), DECISION_IGNORED);
    struct task none = {0};
    struct performed performed;
    const struct occurrence unknown = command(STAGE_EVENT_STOP);
    kit_begin(kit);
    perform(&kit->scheduler, &none, &unknown, &performed);
    kit_commit(kit);
    assert_int_equal(performed.outcome, DECISION_REFUSED);
    assert_non_null(strstr(performed.words, "unknown-task: "));
    char *after = kit_dump(kit);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void done_with_its_summary(void **state)
{
    struct kit *kit = *state;
    char *run;
    int64_t task = kit_issue(kit, "DEMO-1", "To Analyse");
    kit_claim(kit);
    run = kit_live_run(kit, task);
    kit_ended(kit, kit_result(run, "failed", "permanent", NULL));
    free(run);
    kit_claim(kit);
    run = kit_live_run(kit, task);
    kit_ended(kit, kit_result(run, "succeeded", "none", "pass"));
    free(run);
    kit_deliver(kit);
    kit_number(kit, "UPDATE tasks SET stage = 'deploy', parked_for = NULL, merged_commit = 'abc'");
    kit_number(kit, "INSERT INTO leases (repo, task, since) VALUES ('sample', 1, 1)");
    struct marks since = marks(kit);
    happen(kit, task, ended(STAGE_EVENT_JOB_SUCCEEDED, JOB_FINALIZER, GATE_PASS));
    assert_shown(kit, task, since,
                 "task done entry+1 terminal ended shows=done pr=7 merged=abc\n" KEYS
                 "moved deploy>done deployed: delivered by somebody\n" OLD " old-entry\n"
                 "effects status done@stream / comment@deployer\n"
                 "journal lease released / transition done\n");
    /* over all runs, the failed one too */
    assert_number(kit, 1,
                  "SELECT count(*) FROM effects WHERE author = 'deployer' AND body LIKE"
                  " '%%0.50%%' AND body LIKE '%%Σ%%'");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(create),
        TEST(move_and_job),
        TEST(park_and_unpark),
        TEST(rollback),
        TEST(block_and_unblock),
        TEST(a_park_keeps_its_time),
        TEST(cancel_with_everything),
        TEST(a_stop_is_deferred),
        TEST(a_refusal_is_said_once),
        TEST(what_is_ignored_writes_nothing),
        TEST(done_with_its_summary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
