#include "services/scheduler/migrations.h"

#include <stdio.h>

/* The schema is the file store.sql itself, so that people and tests read what runs. */
__asm__(".pushsection .rodata\n"
        ".globl store_schema\n"
        ".hidden store_schema\n"
        "store_schema:\n"
        ".incbin \"services/scheduler/store.sql\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char store_schema[];

const struct migration migrations[] = {
    {1, store_schema},
    /* what a review's verdict is bound to; which tasks wait for others (JSON, keys) until their
     * first agent was claimed */
    {2, "ALTER TABLE tasks ADD COLUMN reviewed_commit TEXT;"
        "ALTER TABLE tasks ADD COLUMN returns INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE tasks ADD COLUMN depends TEXT;"
        "ALTER TABLE tasks ADD COLUMN began INTEGER NOT NULL DEFAULT 0;"
        "UPDATE tasks SET began = 1 WHERE id IN (SELECT task FROM agent_runs);"
        "CREATE INDEX tasks_depend ON tasks(id)"
        " WHERE depends IS NOT NULL AND began = 0 AND terminal = 0;"
        "CREATE INDEX tasks_parked ON tasks(id) WHERE parked_for IS NOT NULL AND terminal = 0"},
    /* a name of protocol/priorities.def; tasks and jobs keep its rank */
    {3, "ALTER TABLE local_issues ADD COLUMN priority TEXT NOT NULL DEFAULT 'none'"},
    /* breakers: what holds a provider (a reason's code), its probe's job. jobs: how far down the
     * models, the limit that its last run went over. tasks: the furthest stage's rank since a
     * person's last act, and what was spent since it was reached. */
    {4, "ALTER TABLE breakers ADD COLUMN hold TEXT;"
        "ALTER TABLE breakers ADD COLUMN probe INTEGER;"
        "ALTER TABLE jobs ADD COLUMN model_level INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE jobs ADD COLUMN over_run_usd REAL;"
        "ALTER TABLE tasks ADD COLUMN furthest INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE tasks ADD COLUMN idle_runs INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE tasks ADD COLUMN idle_usd REAL NOT NULL DEFAULT 0;"
        "CREATE INDEX agent_runs_paid ON agent_runs(ended_at, cost_usd)"
        " WHERE cost_usd IS NOT NULL"},
};
const size_t migration_count = sizeof migrations / sizeof *migrations;

static int fail(sqlite3 *db, const char *what, int version, char *fault, size_t size)
{
    snprintf(fault, size, "main.db: %s %d: %s", what, version, sqlite3_errmsg(db));
    return -1;
}

static int read_version(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return version;
}

static int apply(sqlite3 *db, const struct migration *step, char *fault, size_t size)
{
    char seal[80];
    snprintf(seal, sizeof seal, "PRAGMA user_version = %d; COMMIT", step->version);
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(db, step->sql, NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(db, seal, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    fail(db, "migration to schema", step->version, fault, size);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

int migrations_run(sqlite3 *db, const struct migration *steps, size_t count, char *fault,
                   size_t size)
{
    int version = read_version(db);
    int newest = steps[count - 1].version;
    if (version < 0)
        return fail(db, "cannot read the schema's version, wanted", newest, fault, size);
    if (version > newest && version / SCHEMA_MAJOR != newest / SCHEMA_MAJOR) {
        snprintf(fault, size,
                 "main.db has schema %d, of another major version than %d: use the program that "
                 "made it",
                 version, newest);
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (steps[i].version > version && apply(db, &steps[i], fault, size) < 0)
            return -1;
    }
    return 0;
}
