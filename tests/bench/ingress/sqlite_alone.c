/* What SQLite alone does with the same rows in the same file format: transactions of B rows of
 * 1-4 KiB, the same pragmas, keys made before the clock starts. Prints one JSON object.
 *
 *   sqlite_alone FILE MEAN_BATCH ROWS   (MEAN_BATCH may be a fraction: batches alternate) */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <nettle/base16.h>
#include <nettle/sha2.h>
#include <sqlite3.h>

enum { BODY_MIN = 1024, BODY_MAX = 4096 };

static double now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "sqlite_alone: %s: %s\n", sql, sqlite3_errmsg(db));
        exit(1);
    }
}

static void make_key(size_t number, char out[65])
{
    struct sha256_ctx sha;
    uint8_t digest[32];
    sha256_init(&sha);
    sha256_update(&sha, sizeof number, (const uint8_t *)&number);
    sha256_digest(&sha, sizeof digest, digest);
    base16_encode_update(out, sizeof digest, digest);
    out[64] = '\0';
}

static void open_file(const char *path, sqlite3 **db, sqlite3_stmt **insert)
{
    static char schema[16384];
    FILE *file = fopen("services/ingress/inbox.sql", "r");
    if (!file || sqlite3_open(path, db) != SQLITE_OK)
        exit(1);
    schema[fread(schema, 1, sizeof schema - 1, file)] = '\0';
    fclose(file);
    run(*db, "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
             "PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 2048;");
    run(*db, schema);
    sqlite3_prepare_v3(*db,
                       "INSERT INTO events (source, delivery, body, headers, received_at) "
                       "VALUES ('plane', ?1, ?2, '{\"event\":\"issue\"}', ?3)",
                       -1, SQLITE_PREPARE_PERSISTENT, insert, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    double batch = strtod(argv[2], NULL), due = 0;
    size_t rows = strtoul(argv[3], NULL, 10), done = 0, commits = 0;
    char(*keys)[65] = calloc(rows, sizeof *keys);
    char *body = malloc(BODY_MAX);
    double worst = 0;
    sqlite3 *db;
    sqlite3_stmt *insert, *begin, *commit;
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    memset(body, 'x', BODY_MAX);
    for (size_t i = 0; i < rows; i++)
        make_key(i, keys[i]);
    open_file(argv[1], &db, &insert);
    sqlite3_prepare_v2(db, "BEGIN IMMEDIATE", -1, &begin, NULL);
    sqlite3_prepare_v2(db, "COMMIT", -1, &commit, NULL);
    double start = now_s();
    while (done < rows) {
        double began = now_s();
        due += batch;
        sqlite3_step(begin);
        sqlite3_reset(begin);
        for (; done < rows && (double)done < due; done++) {
            size_t size = BODY_MIN + (done * 2654435761u >> 7) % (BODY_MAX - BODY_MIN);
            sqlite3_bind_text(insert, 1, keys[done], 64, SQLITE_STATIC);
            sqlite3_bind_blob(insert, 2, body, (int)size, SQLITE_STATIC);
            sqlite3_bind_int64(insert, 3, (int64_t)done);
            if (sqlite3_step(insert) != SQLITE_DONE)
                return 1;
            sqlite3_reset(insert);
        }
        if (sqlite3_step(commit) != SQLITE_DONE)
            return 1;
        sqlite3_reset(commit);
        commits++;
        if (now_s() - began > worst)
            worst = now_s() - began;
    }
    double seconds = now_s() - start;
    printf("{\"rows\":%zu,\"mean_batch\":%.2f,\"rows_per_s\":%.0f,\"worst_commit_ms\":%.1f}\n", rows,
           (double)rows / (double)commits, (double)rows / seconds, worst * 1000);
    return 0;
}
