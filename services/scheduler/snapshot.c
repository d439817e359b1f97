#include "services/scheduler/snapshot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <jansson.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/clock_text.h"
#include "lib/file.h"
#include "services/scheduler/migrations.h"

enum { FORMAT = 1, BUSY_MS = 20 * 1000, INBOX_SCHEMA = 1 };

__attribute__((format(printf, 1, 2))) static int fault(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fputs("orch-scheduler: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    return -1;
}

static sqlite3 *open_file(const char *folder, const char *name)
{
    char *path = xformat("%s/%s", folder, name);
    sqlite3 *db = NULL;
    /* Also for reading: after a kill -9 the log has to be taken in. No file is made. */
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        fault("%s: %s", path, db ? sqlite3_errmsg(db) : "out of memory");
        sqlite3_close_v2(db);
        db = NULL;
    } else {
        sqlite3_busy_timeout(db, BUSY_MS);
    }
    free(path);
    return db;
}

/* The first number of the answer; -1 where it cannot be asked, none where there is no row. */
static int64_t number_of(sqlite3 *db, const char *sql, int64_t none)
{
    sqlite3_stmt *statement = NULL;
    int64_t number = none;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return -1;
    if (sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    return sqlite3_finalize(statement) == SQLITE_OK ? number : -1;
}

/* ---- a copy ---- */

/* One read transaction, whatever is written meanwhile; then on the disk, where VACUUM INTO does not
 * bring it. */
static int copy(const char *home, const char *dir, const char *name)
{
    char *folder = xformat("%s/db", home), *path = xformat("%s/%s", dir, name);
    sqlite3 *db = open_file(folder, name);
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", path);
    int result = -1;
    if (!db)
        goto done;
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fault("%s: %s", name, sqlite3_errmsg(db));
    else if (file_sync(path) < 0)
        fault("%s: %s", path, strerror(errno));
    else
        result = 0;

done:
    sqlite3_close_v2(db);
    sqlite3_free(sql);
    free(folder);
    free(path);
    return result;
}

struct contents {
    int64_t main_schema, inbox_schema, position, newest, effects, running, tasks;
};

static int read_contents(sqlite3 *main, sqlite3 *inbox, struct contents *out)
{
    *out = (struct contents){
        .main_schema = number_of(main, "PRAGMA user_version", -1),
        .inbox_schema = number_of(inbox, "PRAGMA user_version", -1),
        .position = number_of(
            main, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'inbox_position'", 0),
        .newest = number_of(inbox, "SELECT coalesce(max(seq), 0) FROM events", 0),
        .effects =
            number_of(main, "SELECT count(*) FROM effects WHERE state IN ('pending','handed')", 0),
        .running = number_of(main, "SELECT count(*) FROM jobs WHERE state = 'running'", 0),
        .tasks = number_of(main, "SELECT count(*) FROM tasks", 0),
    };
    if (out->main_schema < 1 || out->inbox_schema < 1 || out->position < 0 || out->newest < 0 ||
        out->effects < 0 || out->running < 0 || out->tasks < 0)
        return fault("the copy cannot be read: %s; %s", sqlite3_errmsg(main),
                     sqlite3_errmsg(inbox));
    if (out->newest < out->position)
        return fault("inbox.db ends at event %lld, but main.db has acted on %lld: they do not "
                     "belong together",
                     (long long)out->newest, (long long)out->position);
    return 0;
}

static json_t *manifest_of(const struct contents *contents)
{
    char at[CLOCK_TEXT_SIZE];
    clock_text(clock_wall_ms(), at);
    return json_pack("{si ss ss sI sI sI sI sI sI}", "format", FORMAT, "version", ORCH_VERSION,
                     "at", at, "main_schema", (json_int_t)contents->main_schema, "inbox_schema",
                     (json_int_t)contents->inbox_schema, "tasks", (json_int_t)contents->tasks,
                     "running_jobs", (json_int_t)contents->running, "events_waiting",
                     (json_int_t)(contents->newest - contents->position), "effects_waiting",
                     (json_int_t)contents->effects);
}

static void print(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

/* With both copies of dir open. */
static int with_copies(const char *dir, int (*work)(const char *dir, sqlite3 *main, sqlite3 *inbox))
{
    sqlite3 *main = open_file(dir, "main.db"), *inbox = open_file(dir, "inbox.db");
    int result = main && inbox ? work(dir, main, inbox) : -1;
    sqlite3_close_v2(main);
    sqlite3_close_v2(inbox);
    return result;
}

static int write_manifest(const char *dir, sqlite3 *main, sqlite3 *inbox)
{
    struct contents contents;
    if (read_contents(main, inbox, &contents) < 0)
        return -1;
    json_t *manifest = manifest_of(&contents);
    char *text = json_dumps(manifest, JSON_INDENT(1)), *path = xformat("%s/manifest.json", dir);
    int result = file_write_durable(path, text, strlen(text), 0600);
    if (result < 0)
        fault("%s: %s", path, strerror(errno));
    else
        print(json_incref(manifest));
    json_decref(manifest);
    free(text);
    free(path);
    return result;
}

static int snapshot(const char *home, const char *dir)
{
    if (copy(home, dir, "main.db") < 0 || copy(home, dir, "inbox.db") < 0)
        return -1;
    return with_copies(dir, write_manifest);
}

/* ---- taken back in ---- */

static int check_whole(sqlite3 *db, const char *name)
{
    sqlite3_stmt *statement = NULL;
    const unsigned char *word = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        word = sqlite3_column_text(statement, 0);
    int result = word && strcmp((const char *)word, "ok") == 0
                     ? 0
                     : fault("%s: %s", name, word ? (const char *)word : sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    return result;
}

/* Of an older schema it is migrated here, so that what cannot be is known before anything moves. */
static int check_schemas(sqlite3 *main, sqlite3 *inbox)
{
    char words[300];
    if (number_of(inbox, "PRAGMA user_version", -1) / SCHEMA_MAJOR != INBOX_SCHEMA / SCHEMA_MAJOR)
        return fault("inbox.db has a schema of another major version");
    if (number_of(main, "PRAGMA user_version", -1) < 1)
        return fault("main.db is no database of ours");
    if (migrations_run(main, migrations, migration_count, words, sizeof words) < 0)
        return fault("%s", words);
    return 0;
}

static int withhold(const char *dir, sqlite3 *main, sqlite3 *inbox)
{
    static const char sql[] =
        "BEGIN IMMEDIATE;"
        "INSERT INTO meta (key, value) VALUES ('paused', '1'), ('restored', '1')"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value;"
        "COMMIT";
    struct contents contents;
    (void)dir;
    if (check_whole(main, "main.db") < 0 || check_whole(inbox, "inbox.db") < 0 ||
        check_schemas(main, inbox) < 0 || read_contents(main, inbox, &contents) < 0)
        return -1;
    if (sqlite3_exec(main, sql, NULL, NULL, NULL) != SQLITE_OK)
        return fault("main.db: %s", sqlite3_errmsg(main));
    print(manifest_of(&contents));
    return 0;
}

int snapshot_asked(int argc, char **argv, int *code)
{
    if (argc == 4 && strcmp(argv[1], "snapshot") == 0)
        *code = snapshot(argv[2], argv[3]) < 0 ? 1 : 0;
    else if (argc == 3 && strcmp(argv[1], "restored") == 0)
        *code = with_copies(argv[2], withhold) < 0 ? 1 : 0;
    else
        return 0;
    return 1;
}
