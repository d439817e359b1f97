/* The connection to main.db.
 *
 * Mutations tried, each red: note_fault keeps the last fault (failure_sticks); store_part_drop
 * without ROLLBACK TO (a_part_fails_alone); store_part_drop forgets a fault of the disk
 * (a_part_cannot_hide_the_disk); SQLITE_FULL left out of store_fault_is_world
 * (faults_of_the_world); store_begin without the look at the file's place
 * (follows_a_replaced_file); store_reopen that creates (a_removed_file_is_not_begun_anew);
 * store_commit without rollback (failure_sticks). */
#include "tests/unit/scheduler_kit.h"
#include "tests/unit/fault_vfs.h"
#include <sys/wait.h>

static int64_t meta(struct store *store, const char *key)
{
    return store_number(store, -1, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1", "s",
                        key);
}

static int set(struct store *store, const char *key, const char *value)
{
    return store_run(store, "INSERT INTO meta (key, value) VALUES (?1, ?2)", "ss", key, value);
}

static void commit_one(struct store *store, const char *key, const char *value)
{
    assert_int_equal(store_begin(store), 0);
    assert_int_equal(set(store, key, value), 1);
    assert_int_equal(store_commit(store), 0);
}

static void failure_sticks(void **state)
{
    struct store *store = ((struct kit *)*state)->store;
    commit_one(store, "a", "1");
    assert_int_equal(store_begin(store), 0);
    assert_int_equal(set(store, "b", "2"), 1);
    assert_int_equal(set(store, "a", "again"), -1); /* the key is there */
    assert_int_equal(store->failed & 0xff, SQLITE_CONSTRAINT);
    assert_false(store_fault_is_world(store));
    assert_non_null(strstr(store->fault, "UNIQUE"));
    /* everything asked after it answers nothing, and the first fault is the one that is kept */
    assert_int_equal(set(store, "c", "3"), -1);
    assert_int_equal(meta(store, "a"), -1);
    assert_null(store_text(store, "SELECT value FROM meta", ""));
    assert_null(store_ask(store, "SELECT key FROM meta", ""));
    assert_false(store_row(store, NULL));
    store_done(NULL);
    assert_non_null(strstr(store->fault, "UNIQUE"));
    assert_int_equal(store_commit(store), -1);
    assert_false(store_in_transaction(store));
    /* also where a statement that was asked before fails in another way */
    assert_int_equal(store_begin(store), 0);
    sqlite3_stmt *late = store_ask(store, "INSERT INTO meta (key, value) VALUES ('d', NULL)", "");
    set(store, "a", "again");
    store_row(store, late);
    assert_non_null(strstr(store->fault, "UNIQUE"));
    assert_int_equal(store_commit(store), -1);
    /* the next one is well again, and nothing of the failed one is there */
    assert_int_equal(store_begin(store), 0);
    assert_int_equal(meta(store, "a"), 1);
    assert_int_equal(meta(store, "b"), -1);
    assert_int_equal(store_commit(store), 0);
}

static void a_part_fails_alone(void **state)
{
    struct store *store = ((struct kit *)*state)->store;
    assert_int_equal(store_begin(store), 0);
    set(store, "a", "1");
    store_part_begin(store);
    set(store, "b", "2");
    set(store, "a", "again");
    store_part_drop(store);
    assert_int_equal(store->failed, 0);
    store_part_begin(store);
    set(store, "c", "3");
    store_part_keep(store);
    assert_int_equal(store_commit(store), 0);
    assert_int_equal(meta(store, "a"), 1);
    assert_int_equal(meta(store, "b"), -1);
    assert_int_equal(meta(store, "c"), 3);
}

static void a_part_cannot_hide_the_disk(void **state)
{
    struct store *store = ((struct kit *)*state)->store;
    assert_int_equal(store_begin(store), 0);
    store_part_begin(store);
    store->failed = SQLITE_IOERR;
    store_part_drop(store);
    assert_int_equal(store->failed, SQLITE_IOERR);
    assert_int_equal(set(store, "a", "1"), -1);
    assert_int_equal(store_commit(store), -1);
    assert_int_equal(store_begin(store), 0);
    assert_int_equal(store_commit(store), 0);
}

static void faults_of_the_world(void **state)
{
    static const struct {
        int code;
        bool world;
    } table[] = {
        {SQLITE_FULL, true},
        {SQLITE_IOERR, true},
        {SQLITE_IOERR_FSYNC, true},
        {SQLITE_BUSY, true},
        {SQLITE_LOCKED, true},
        {SQLITE_CORRUPT, true},
        {SQLITE_NOTADB, true},
        {SQLITE_CANTOPEN, true},
        {SQLITE_READONLY, true},
        {SQLITE_PERM, true},
        {SQLITE_PROTOCOL, true},
        {SQLITE_READONLY_DBMOVED, true},
        {SQLITE_CONSTRAINT, false},
        {SQLITE_ERROR, false},
        {SQLITE_MISMATCH, false},
        {SQLITE_TOOBIG, false},
        {0, false},
    };
    struct store *store = ((struct kit *)*state)->store;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        store->failed = table[i].code;
        assert_int_equal(store_fault_is_world(store), table[i].world);
    }
    store->failed = 0;
}

static void binds_what_it_is_told(void **state)
{
    struct store *store = ((struct kit *)*state)->store;
    sqlite3_stmt *row =
        store_ask(store, "SELECT ?1, ?2, ?3, ?4, ?5, typeof(?4), typeof(?5), typeof(?3)", "isdns",
                  (int64_t)-7, "text", 0.5, (int64_t)-1, (const char *)NULL);
    assert_true(store_row(store, row));
    assert_int_equal(column_int(row, 0), -7);
    assert_string_equal(column_text(row, 1), "text");
    assert_true(sqlite3_column_double(row, 2) == 0.5);
    assert_string_equal(column_text(row, 5), "null");
    assert_string_equal(column_text(row, 6), "null");
    assert_string_equal(column_text(row, 7), "real");
    assert_null(column_copy(row, 3));
    store_done(row);
    /* the same statement once more, from its beginning */
    assert_int_equal(store_number(store, 5, "SELECT value FROM meta WHERE key = 'no such key'", ""),
                     5);
    assert_int_equal(store_number(store, 5, "SELECT NULL", ""), 5);
    assert_int_equal(store_number(store, 5, "SELECT ?1", "n", (int64_t)0), 0);
}

/* A query inside of a loop over the same statement is a fault of ours, and says so at once. */
static void a_statement_is_not_asked_twice(void **state)
{
    struct store *store = ((struct kit *)*state)->store;
    static const char sql[] = "SELECT 1 UNION ALL SELECT 2";
    pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        store_row(store, store_ask(store, sql, ""));
        store_ask(store, sql, "");
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- the file itself ---- */

static void copy_file(const char *from, const char *to)
{
    size_t size;
    char *data = file_read(from, 1 << 26, &size);
    assert_non_null(data);
    assert_int_equal(file_write_atomic(to, data, size, 0600), 0);
    free(data);
}

static void follows_a_replaced_file(void **state)
{
    struct kit *kit = *state;
    char backup[80];
    snprintf(backup, sizeof backup, "%s/backup.db", kit->dir);
    commit_one(kit->store, "a", "1");
    assert_int_equal(store_checkpoint(kit->store), 0);
    copy_file(kit->path, backup);
    commit_one(kit->store, "b", "2");
    assert_int_equal(rename(backup, kit->path), 0);
    /* the old file has no name any more: what is written there is lost */
    assert_int_equal(store_begin(kit->store), -1);
    assert_true(store_fault_is_world(kit->store));
    assert_non_null(strstr(kit->store->fault, "moved"));
    assert_int_equal(store_reopen(kit->store), 1);
    assert_int_equal(meta(kit->store, "a"), 1);
    commit_one(kit->store, "c", "3");
    /* the same file again is no other one */
    assert_int_equal(store_reopen(kit->store), 0);
    assert_int_equal(meta(kit->store, "c"), 3);
}

static void a_removed_file_is_not_begun_anew(void **state)
{
    struct kit *kit = *state;
    char away[80];
    snprintf(away, sizeof away, "%s/away.db", kit->dir);
    commit_one(kit->store, "a", "1");
    store_checkpoint(kit->store);
    assert_int_equal(rename(kit->path, away), 0);
    assert_int_equal(store_begin(kit->store), -1);
    assert_int_equal(store_reopen(kit->store), -1);
    assert_non_null(strstr(kit->store->fault, kit->path));
    assert_false(file_exists(kit->path));
    /* without a connection everything answers nothing */
    assert_int_equal(store_begin(kit->store), -1);
    assert_int_equal(meta(kit->store, "a"), -1);
    assert_int_equal(store_checkpoint(kit->store), 0);
    assert_int_equal(rename(away, kit->path), 0);
    assert_int_equal(store_reopen(kit->store), 0);
    assert_int_equal(meta(kit->store, "a"), 1);
}

static void opens_only_its_own_major(void **state)
{
    struct kit *kit = *state;
    char fault[STORE_FAULT_SIZE];
    kit_number(kit, "PRAGMA user_version = 7");
    assert_int_equal(store_reopen(kit->store), 0);
    assert_number(kit, 7, "PRAGMA user_version");
    kit_number(kit, "PRAGMA user_version = 1001");
    assert_int_equal(store_reopen(kit->store), -1);
    assert_non_null(strstr(kit->store->fault, "major"));
    assert_null(store_open(kit->path, fault, sizeof fault));
    assert_non_null(strstr(fault, "1001"));
}

static void says_what_cannot_be_opened(void **state)
{
    struct kit *kit = *state;
    char fault[STORE_FAULT_SIZE], path[80];
    snprintf(path, sizeof path, "%s/no/such/folder.db", kit->dir);
    assert_null(store_open(path, fault, sizeof fault));
    assert_non_null(strstr(fault, path));
    snprintf(path, sizeof path, "%s/garbage.db", kit->dir);
    char garbage[8192];
    memset(garbage, 'x', sizeof garbage);
    file_write_atomic(path, garbage, sizeof garbage, 0600);
    assert_null(store_open(path, fault, sizeof fault));
    assert_non_null(strstr(fault, "not a database"));
}

static void the_log_is_moved_into_the_file(void **state)
{
    struct kit *kit = *state;
    commit_one(kit->store, "a", "1");
    assert_true(kit->store->wal_pages > 0);
    assert_int_equal(store_checkpoint(kit->store), 0);
    assert_int_equal(kit->store->wal_pages, 0);
}

/* ---- a disk that fails ---- */

static void a_full_disk_is_said_and_passes(void **state)
{
    static const int codes[] = {SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_READONLY};
    struct kit *kit = *state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%zu", i);
        fault_vfs.fail_at = fault_vfs.seen + 1;
        fault_vfs.code = codes[i];
        assert_int_equal(store_begin(kit->store), 0);
        set(kit->store, key, "1");
        assert_int_equal(store_commit(kit->store), -1);
        assert_true(store_fault_is_world(kit->store));
        assert_int_equal(kit->store->failed & 0xff, codes[i] & 0xff);
        assert_false(store_in_transaction(kit->store));
        fault_vfs.fail_at = 0;
        assert_int_equal(store_reopen(kit->store), 0);
        assert_int_equal(meta(kit->store, key), -1);
        commit_one(kit->store, key, "2");
    }
}

static int set_up_faulty(void **state)
{
    fault_vfs_use("main.db");
    return kit_set_up(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(failure_sticks),
        TEST(a_part_fails_alone),
        TEST(a_part_cannot_hide_the_disk),
        TEST(faults_of_the_world),
        TEST(binds_what_it_is_told),
        TEST(a_statement_is_not_asked_twice),
        TEST(follows_a_replaced_file),
        TEST(a_removed_file_is_not_begun_anew),
        TEST(opens_only_its_own_major),
        TEST(says_what_cannot_be_opened),
        TEST(the_log_is_moved_into_the_file),
        cmocka_unit_test_setup_teardown(a_full_disk_is_said_and_passes, set_up_faulty,
                                        kit_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
