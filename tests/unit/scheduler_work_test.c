/* Work for who asks for it, and turns that fail.
 *
 * Mutations tried, each red: a new boot not noticed (a_new_process_gets_it_again), nothing handed
 * out again after 3 s (a_lost_answer), max or the bounds of wait_ms ignored
 * (no_more_than_asked_for, waiting), an older request left without an answer
 * (one_request_at_a_time), memory of a failed turn kept: handed, items, journal, counters, pass
 * (a_failed_turn_happened_nowhere), the position not read anew
 * (a_commit_that_failed_and_was_written), no pause (every_failed_turn_pauses), a replaced file
 * taken for the same (another_file). */
#include "tests/unit/scheduler_kit.h"
#include "tests/unit/fault_vfs.h"
#include "lib/clock.h"

static size_t given(struct kit *kit, const char *service, int max, bool fresh)
{
    json_t *items = kit_ask(kit, service, max, fresh);
    size_t count = json_array_size(items);
    json_decref(items);
    return count;
}

/* As if what the peer has got had been handed over so long ago. */
static void grow_old(struct kit *kit, enum work_peer_id peer, int64_t ms)
{
    const char *key;
    json_t *at;
    json_object_foreach(kit->scheduler.work.peers[peer].handed, key, at)
    {
        json_integer_set(at, json_integer_value(at) - ms);
    }
}

static void a_new_process_gets_it_again(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "To Analyse");
    kit_freshen(kit);
    assert_int_equal(given(kit, "runner", 9, true), 1);
    assert_int_equal(given(kit, "runner", 9, false), 0);
    assert_int_equal(given(kit, "runner", 9, true), 1);
    assert_int_equal(given(kit, "notifier", 9, true), 2);
    assert_int_equal(given(kit, "notifier", 9, false), 0);
    assert_int_equal(given(kit, "notifier", 9, true), 2);
    assert_number(kit, 1, "SELECT count(*) FROM agent_runs");
}

static void a_lost_answer(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "To Analyse");
    kit_freshen(kit);
    assert_int_equal(given(kit, "runner", 9, true), 1);
    grow_old(kit, WORK_RUNNER, 2000);
    assert_int_equal(given(kit, "runner", 9, false), 0);
    int64_t wait = work_wait_ms(&kit->scheduler); /* and the loop looks again then */
    assert_true(wait > 0 && wait <= 1000);
    grow_old(kit, WORK_RUNNER, 1000);
    assert_int_equal(given(kit, "runner", 9, false), 1);
    /* until it is acknowledged */
    json_decref(kit_tell(kit, results_accepted,
                         message_new(MESSAGE_run_accepted, NULL, "{ss}", "run", "DEMO-1-j1-r1")));
    grow_old(kit, WORK_RUNNER, 9000);
    assert_int_equal(given(kit, "runner", 9, false), 0);
    assert_int_equal(given(kit, "runner", 9, true), 0);
}

static void no_more_than_asked_for(void **state)
{
    struct kit *kit = *state;
    for (int i = 1; i <= 70; i++) {
        char key[16];
        snprintf(key, sizeof key, "DEMO-%d", i);
        kit_issue(kit, key, "To Analyse");
    }
    kit_freshen(kit);
    assert_int_equal(given(kit, "notifier", 3, true), 3);
    assert_int_equal(given(kit, "notifier", 0, true), 1);
    assert_int_equal(given(kit, "notifier", -5, true), 1);
    assert_int_equal(given(kit, "notifier", 100000, true), 64);
    assert_int_equal(given(kit, "runner", 2, true), 2);
    assert_number(kit, 2, "SELECT count(*) FROM jobs WHERE state = 'running'");
}

static void waiting(void **state)
{
    static char ticket;
    static const struct {
        int wait, least, most;
    } table[] = {{5000, 4000, 5000}, {-1, 0, 0}, {0, 0, 0}, {3600000, 59000, 60000}};
    struct kit *kit = *state;
    assert_int_equal(work_wait_ms(&kit->scheduler), -1);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        json_t *request = json_pack("{ss ss si si}", "service", "monitor", "boot", "b", "wait_ms",
                                    table[i].wait, "max", 1);
        kit_begin(kit);
        assert_true(work_ask(&kit->scheduler, request, &ticket));
        kit_commit(kit);
        int64_t wait = work_wait_ms(&kit->scheduler);
        assert_true(wait >= table[i].least && wait <= table[i].most);
        work_answer(&kit->scheduler); /* empty, where the time is over */
        assert_int_equal(kit->scheduler.work.peers[WORK_MONITOR].ticket != NULL, table[i].most > 0);
        json_decref(request);
    }
    json_t *request =
        json_pack("{ss ss si si}", "service", "reaper", "boot", "b", "wait_ms", 1, "max", 1);
    assert_false(work_ask(&kit->scheduler, request, &ticket));
    json_decref(request);
}

static void one_request_at_a_time(void **state)
{
    static char first, second;
    struct kit *kit = *state;
    json_t *request =
        json_pack("{ss ss si si}", "service", "runner", "boot", "b", "wait_ms", 60000, "max", 1);
    struct work_peer *peer = &kit->scheduler.work.peers[WORK_RUNNER];
    assert_false(work_is_alive(&kit->scheduler, WORK_RUNNER, 1000));
    work_ask(&kit->scheduler, request, &first);
    assert_ptr_equal(peer->ticket, &first);
    json_array_append_new(peer->items, json_object());
    work_ask(&kit->scheduler, request, &second); /* the first one is answered */
    assert_ptr_equal(peer->ticket, &second);
    assert_int_equal(json_array_size(peer->items), 0);
    assert_true(work_is_alive(&kit->scheduler, WORK_RUNNER, 0));
    peer->ticket = NULL;
    assert_true(work_is_alive(&kit->scheduler, WORK_RUNNER, 1000));
    peer->asked_ms -= 5000;
    assert_false(work_is_alive(&kit->scheduler, WORK_RUNNER, 1000));
    json_decref(request);
}

static void an_open_window(void **state)
{
    struct kit *kit = *state;
    kit_issue(kit, "DEMO-1", "To Analyse");
    kit_number(kit, "INSERT INTO windows (task, armed, ends) VALUES (1, 5, 6)");
    json_t *items = kit_ask(kit, "monitor", 9, true);
    assert_int_equal(json_array_size(items), 1);
    assert_string_equal(message_text(json_array_get(items, 0), "key", ""), "DEMO-1");
    json_decref(items);
    kit_number(kit, "UPDATE windows SET verdict = 'HEALTHY'");
    assert_int_equal(given(kit, "monitor", 9, true), 0);
}

/* ---- turns that fail ---- */

static void fail_commit(struct kit *kit)
{
    fault_vfs.fail_at = fault_vfs.seen + 1;
    fault_vfs.code = SQLITE_FULL;
    assert_int_equal(turn_commit(&kit->scheduler), -1);
    fault_vfs.fail_at = 0;
}

static void recover(struct kit *kit)
{
    assert_true(kit->scheduler.retry_store_at > 0);
    assert_int_equal(turn_begin(&kit->scheduler), -1); /* nothing is done before */
    kit->scheduler.retry_store_at = 1;
    assert_true(turn_recover(&kit->scheduler));
    assert_int_equal(kit->scheduler.retry_store_at, 0);
    assert_int_equal(kit->scheduler.store_faults, 0);
}

static void ask(struct kit *kit, const char *service)
{
    static char ticket;
    json_t *request =
        json_pack("{ss ss si si}", "service", service, "boot", "b", "wait_ms", 60000, "max", 9);
    assert_true(work_ask(&kit->scheduler, request, &ticket));
    json_decref(request);
}

static void a_failed_turn_happened_nowhere(void **state)
{
    struct kit *kit = *state;
    struct work *work = &kit->scheduler.work;
    kit_issue(kit, "DEMO-1", "To Analyse");
    kit_freshen(kit);
    work->pass = 0;
    kit_inbox(kit, "local", "nothing");
    int64_t position = kit->scheduler.inbox_position;
    char *before = kit_dump(kit);
    struct scheduler_counters counters = kit->scheduler.counters;
    kit_begin(kit);
    ask(kit, "notifier");
    ask(kit, "reconciler");
    ask(kit, "runner");
    events_take(&kit->scheduler);
    fail_commit(kit);
    for (int i = 0; i < WORK_PEER_COUNT; i++) {
        assert_int_equal(json_array_size(work->peers[i].items), 0);
        assert_int_equal(json_object_size(work->peers[i].handed), 0);
        assert_int_equal(work->peers[i].bytes, 0);
    }
    assert_int_equal(json_array_size(kit->scheduler.journal.pending), 0);
    assert_int_equal(work->pass, 0);
    assert_int_equal(kit->scheduler.claimed, 0);
    assert_memory_equal(&kit->scheduler.counters, &counters, sizeof counters);
    recover(kit);
    assert_int_equal(kit->scheduler.inbox_position, position);
    char *after = kit_dump(kit);
    assert_string_equal(before, after);
    free(before);
    free(after);
    /* and then it happens after all */
    assert_int_equal(kit_take(kit), 1);
    assert_int_equal(json_array_size(work->peers[WORK_NOTIFIER].items), 2);
    assert_int_equal(json_array_size(work->peers[WORK_RUNNER].items), 1);
    assert_int_equal(work->pass, 2);
    /* a pass that was numbered before stays the one that is waited for */
    work_answer(&kit->scheduler);
    kit_begin(kit);
    meta_set(&kit->scheduler, "something", 1);
    fail_commit(kit);
    assert_int_equal(work->pass, 2);
    recover(kit);
    assert_int_equal(work->pass, 2);
}

/* The disk said no to the flush of what was there already. */
static void a_commit_that_failed_and_was_written(void **state)
{
    struct kit *kit = *state;
    int64_t seq = kit_inbox(kit, "local",
                            "{\"kind\":\"issue\",\"issue\":\"DEMO-1\",\"title\":\"T\",\"status\":"
                            "\"To Analyse\"}");
    /* the transaction as another connection finds it after the file was opened anew */
    kit_begin(kit);
    assert_int_equal(events_take(&kit->scheduler), 1);
    work_fill(&kit->scheduler);
    assert_int_equal(store_commit(kit->store), 0);
    kit->store->failed = SQLITE_IOERR;
    assert_int_equal(turn_commit(&kit->scheduler), -1);
    recover(kit);
    assert_int_equal(kit->scheduler.inbox_position, seq);
    assert_int_equal(kit_take(kit), 0); /* not decided a second time */
    assert_number(kit, 1, "SELECT count(*) FROM tasks");
}

static void every_failed_turn_pauses(void **state)
{
    struct kit *kit = *state;
    for (int i = 0; i < 8; i++) {
        int64_t pause = 100 << i < 5000 ? 100 << i : 5000;
        kit->scheduler.retry_store_at = 0;
        kit_begin(kit);
        store_run(kit->store, "INSERT INTO meta (key, value) VALUES ('a', NULL)", "");
        assert_false(store_fault_is_world(kit->store));
        int64_t before = clock_mono_ms();
        assert_int_equal(turn_commit(&kit->scheduler), -1);
        int64_t until = kit->scheduler.retry_store_at;
        assert_true(until - before >= pause && until - clock_mono_ms() <= pause);
        kit->scheduler.retry_store_at = clock_mono_ms() + 60000; /* however busy the machine is */
        assert_false(turn_recover(&kit->scheduler));             /* not before its time */
    }
    assert_int_equal(kit->scheduler.store_faults, 8);
    recover(kit);
    /* while it still fails, the pause goes on */
    kit_begin(kit);
    meta_set(&kit->scheduler, "a", 1);
    fail_commit(kit);
    kit->scheduler.retry_store_at = 1;
    fault_vfs.fail_at = fault_vfs.seen + 1;
    assert_false(turn_recover(&kit->scheduler));
    assert_true(kit->scheduler.retry_store_at > clock_mono_ms());
    fault_vfs.fail_at = 0;
    recover(kit);
}

static void another_file(void **state)
{
    struct kit *kit = *state;
    char away[80], log[80], shm[80];
    snprintf(away, sizeof away, "%s/backup.db", kit->dir);
    snprintf(log, sizeof log, "%s-wal", kit->path);
    snprintf(shm, sizeof shm, "%s-shm", kit->path);
    kit_issue(kit, "DEMO-1", "To Analyse");
    kit_freshen(kit);
    store_checkpoint(kit->store);
    size_t size;
    char *backup = file_read(kit->path, 1 << 24, &size);
    kit_issue(kit, "DEMO-2", "To Analyse");
    assert_int_equal(given(kit, "runner", 9, true), 1);
    assert_int_equal(file_write_atomic(away, backup, size, 0600), 0);
    unlink(log);
    unlink(shm);
    assert_int_equal(rename(away, kit->path), 0);
    assert_int_equal(turn_begin(&kit->scheduler), -1);
    recover(kit);
    /* what came since is decided anew, nothing is with anybody, and the outside is looked at first
     */
    assert_int_equal(kit->scheduler.inbox_position, 1);
    assert_int_equal(json_object_size(kit->scheduler.work.peers[WORK_RUNNER].handed), 0);
    assert_false(kit->scheduler.work.pass_ended);
    assert_int_equal(kit_take(kit), 1);
    assert_text(kit, "DEMO-1 DEMO-2", "SELECT group_concat(key, ' ') FROM tasks");
    assert_int_equal(given(kit, "runner", 9, false), 0);
    free(backup);
}

static int set_up_faulty(void **state)
{
    fault_vfs_use("main.db");
    return kit_set_up(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_faulty, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_new_process_gets_it_again),    TEST(a_lost_answer),
        TEST(no_more_than_asked_for),         TEST(waiting),
        TEST(one_request_at_a_time),          TEST(an_open_window),
        TEST(a_failed_turn_happened_nowhere), TEST(a_commit_that_failed_and_was_written),
        TEST(every_failed_turn_pauses),       TEST(another_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
