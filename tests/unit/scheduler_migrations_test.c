/* Schema versions: forward only, from every older one with data in it.
 *
 * Mutations tried, each red: steps applied without regard to the version (from_every_version),
 * user_version not set (from_every_version), no rollback of a failed step (a_failed_step), a newer
 * minor refused or downgraded, another major opened (versions_of_others), a column or index added
 * to store.sql without a migration (a_frozen_database_goes_on). */
#include "tests/unit/scheduler_kit.h"
#include "services/scheduler/migrations.h"

static const struct migration steps[] = {
    {1, "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT"},
    {2, "ALTER TABLE things ADD COLUMN size INTEGER NOT NULL DEFAULT 7;"
        "CREATE INDEX things_size ON things(size)"},
    {3, "CREATE TABLE others (id INTEGER PRIMARY KEY, thing INTEGER REFERENCES things(id)) STRICT;"
        "INSERT INTO others (id, thing) SELECT id, id FROM things"},
};
enum { STEPS = sizeof steps / sizeof *steps };

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK)
        return -1;
    int64_t value = sqlite3_step(row) == SQLITE_ROW ? sqlite3_column_int64(row, 0) : -1;
    sqlite3_finalize(row);
    return value;
}

static sqlite3 *open_memory(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    return db;
}

static void run(sqlite3 *db, const char *sql)
{
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void from_every_version(void **state)
{
    char fault[200];
    (void)state;
    for (size_t first = 0; first <= STEPS; first++) {
        sqlite3 *db = open_memory();
        if (first) {
            assert_int_equal(migrations_run(db, steps, first, fault, sizeof fault), 0);
            assert_int_equal(number(db, "PRAGMA user_version"), (int64_t)first);
            run(db, "INSERT INTO things (id, name) VALUES (1, 'one'), (2, 'two')");
        }
        for (int again = 0; again < 2; again++) /* the second time there is nothing to do */
            assert_int_equal(migrations_run(db, steps, STEPS, fault, sizeof fault), 0);
        assert_int_equal(number(db, "PRAGMA user_version"), STEPS);
        assert_int_equal(number(db, "SELECT count(*) FROM things"), first ? 2 : 0);
        assert_int_equal(number(db, "SELECT total(size) FROM things"), first ? 14 : 0);
        /* what step 3 copies is what was there when it was made */
        assert_int_equal(number(db, "SELECT count(*) FROM others"), first && first < 3 ? 2 : 0);
        sqlite3_close(db);
    }
}

static void a_failed_step(void **state)
{
    const struct migration broken[] = {
        steps[0], {2, "CREATE TABLE half (id INTEGER) STRICT; INSERT INTO nowhere VALUES (1)"}};
    char fault[200];
    sqlite3 *db = open_memory();
    (void)state;
    assert_int_equal(migrations_run(db, broken, 2, fault, sizeof fault), -1);
    assert_non_null(strstr(fault, "nowhere"));
    assert_true(sqlite3_get_autocommit(db));
    assert_int_equal(number(db, "PRAGMA user_version"), 1); /* the step before it is kept */
    assert_int_equal(number(db, "SELECT count(*) FROM sqlite_master WHERE name = 'half'"), 0);
    assert_int_equal(migrations_run(db, steps, STEPS, fault, sizeof fault), 0);
    sqlite3_close(db);
}

static void versions_of_others(void **state)
{
    static const struct migration next_major[] = {
        {1001, "CREATE TABLE things (id INTEGER) STRICT"}};
    static const struct {
        const char *set;
        const struct migration *steps;
        size_t count;
        int result;
    } table[] = {
        {"PRAGMA user_version = 4", steps, STEPS, 0},   /* a newer minor: as it is */
        {"PRAGMA user_version = 999", steps, STEPS, 0}, /* still the same major */
        {"PRAGMA user_version = 1000", steps, STEPS, -1},
        {"PRAGMA user_version = 2001", steps, STEPS, -1},
        {"PRAGMA user_version = 1007", next_major, 1, 0},
        {"PRAGMA user_version = 2000", next_major, 1, -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char fault[200] = "";
        sqlite3 *db = open_memory();
        run(db, table[i].set);
        int64_t version = number(db, "PRAGMA user_version");
        assert_int_equal(migrations_run(db, table[i].steps, table[i].count, fault, sizeof fault),
                         table[i].result);
        assert_int_equal(number(db, "PRAGMA user_version"), version);
        assert_int_equal(number(db, "SELECT count(*) FROM sqlite_master"), 0);
        assert_int_equal(strstr(fault, "major") != NULL, table[i].result < 0);
        sqlite3_close(db);
    }
}

static void versions_ascend(void **state)
{
    (void)state;
    for (size_t i = 0; i < migration_count; i++)
        assert_true(migrations[i].version == (i ? migrations[i - 1].version + 1 : 1));
}

/* ---- databases as earlier versions left them ---- */

/* Everything that a schema is made of, in an order of its own. Caller frees. */
static char *shape(sqlite3 *db)
{
    sqlite3_stmt *row = NULL;
    assert_int_equal(sqlite3_prepare_v2(
                         db,
                         "SELECT group_concat(type || ' ' || name || ' ' || tbl_name || ' ' ||"
                         " coalesce((SELECT group_concat(i.name || i.\"desc\") FROM"
                         "  pragma_index_xinfo(m.name) i), '') || ' ' ||"
                         " coalesce((SELECT group_concat(c.name || c.type || c.\"notnull\" ||"
                         "  coalesce(c.dflt_value, '') || c.pk) FROM pragma_table_info(m.name) c),"
                         "  ''), char(10))"
                         " FROM (SELECT * FROM sqlite_master ORDER BY type, name) m",
                         -1, &row, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    char *text = xstrdup((const char *)sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
    return text;
}

/* Fixtures are dumps made by the release of that version: a living task with a queued job, a parked
 * one, a finished one, effects that wait, a lease, a freeze. */
static void a_frozen_database_goes_on(void **state)
{
    struct kit *kit = *state;
    char *wanted = shape(kit->store->db);
    for (int version = 1; version <= migrations[migration_count - 1].version; version++) {
        size_t size;
        char *name = xformat("tests/fixtures/schema/main-%d.sql", version);
        char *dump = file_read(name, 1 << 22, &size);
        if (!dump)
            fail_msg("%s: every version has its fixture", name);
        char *path = xformat("%s/old-%d.db", kit->dir, version);
        sqlite3 *old = NULL;
        assert_int_equal(sqlite3_open(path, &old), SQLITE_OK);
        run(old, dump);
        assert_int_equal(number(old, "PRAGMA user_version"), version);
        sqlite3_close(old);
        kit_end(kit);
        inbox_db_close(&kit->inbox); /* each has an inbox of its own: the position is its own */
        char trouble[200];
        snprintf(kit->inbox_path, sizeof kit->inbox_path, "%s/inbox-%d.db", kit->dir, version);
        assert_int_equal(inbox_db_open(&kit->inbox, kit->inbox_path, trouble, sizeof trouble), 0);
        snprintf(kit->path, sizeof kit->path, "%s", path);
        kit_start(kit);
        char *found = shape(kit->store->db);
        assert_string_equal(found, wanted);
        /* and it goes on from there */
        assert_number(kit, 3, "SELECT count(*) FROM tasks WHERE terminal = 0");
        assert_int_equal(kit_claim(kit), 1);
        assert_true(kit_deliver(kit) > 0);
        char fault[200];
        assert_int_equal(
            inbox_db_number_above(&kit->inbox, kit->scheduler.inbox_position, fault, sizeof fault),
            0);
        kit_operator(kit, "approve", "DEMO-2");
        assert_text(kit, "architecture", "SELECT stage FROM tasks WHERE key = 'DEMO-2'");
        assert_number(kit, 0, "SELECT count(*) FROM pragma_foreign_key_check");
        free(found);
        free(path);
        free(dump);
        free(name);
    }
    free(wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_every_version),
        cmocka_unit_test(a_failed_step),
        cmocka_unit_test(versions_of_others),
        cmocka_unit_test(versions_ascend),
        cmocka_unit_test_setup_teardown(a_frozen_database_goes_on, kit_set_up, kit_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
