/* The scheduler's view of the inbox beside its real writer.
 *
 * Mutations tried, each red: sqlite3_reset left out after a batch (leaves_the_log_free), the moved
 * file not noticed (follows_a_replaced_file), `seq >= ?1` (reads_in_order). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/file.h"
#include "services/ingress/inbox.h"
#include "services/ingress/inbox_db.h"
#include "services/ingress/inbox_read.h"

struct fixture {
    char folder[64], path[100], fault[200];
    struct inbox_db writer;
    struct inbox_read *reader;
    const struct inbox_row *rows;
};

static int set_up(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/inbox-read.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/inbox.db", f->folder);
    f->reader = inbox_read_new(f->path);
    *context = f;
    return 0;
}

static int tear_down(void **context)
{
    struct fixture *f = *context;
    if (f->writer.db)
        inbox_db_close(&f->writer);
    inbox_read_free(f->reader);
    file_remove_tree(f->folder);
    free(f);
    return 0;
}

static void open_writer(struct fixture *f)
{
    assert_int_equal(inbox_db_open(&f->writer, f->path, f->fault, sizeof f->fault), 0);
}

static int64_t write_row(struct fixture *f, const char *delivery, const void *body, size_t size)
{
    struct inbox_event event = {.source = "local", .body = body, .size = size, .received_at = 1234};
    snprintf(event.delivery, sizeof event.delivery, "%s", delivery);
    assert_int_equal(inbox_db_begin(&f->writer, f->fault, sizeof f->fault), 0);
    assert_int_equal(inbox_db_insert(&f->writer, &event, f->fault, sizeof f->fault), 0);
    assert_int_equal(inbox_db_commit(&f->writer, f->fault, sizeof f->fault), 0);
    return event.seq;
}

static int read_after(struct fixture *f, int64_t after, int max)
{
    return inbox_read_next(f->reader, after, max, &f->rows, f->fault, sizeof f->fault);
}

static void a_file_that_is_not_there_has_no_rows(void **context)
{
    struct fixture *f = *context;
    assert_int_equal(read_after(f, 0, 10), 0);
    open_writer(f);
    assert_int_equal(read_after(f, 0, 10), 0);
    write_row(f, "one", "{}", 2);
    assert_int_equal(read_after(f, 0, 10), 1);
}

static void reads_in_order(void **context)
{
    struct fixture *f = *context;
    char delivery[20];
    open_writer(f);
    for (int i = 1; i <= 10; i++) {
        snprintf(delivery, sizeof delivery, "d%d", i);
        assert_int_equal(write_row(f, delivery, delivery, strlen(delivery)), i);
    }
    int64_t position = 0;
    for (int expected[] = {4, 4, 2, 0}, turn = 0; turn < 4; turn++) {
        int count = read_after(f, position, 4);
        assert_int_equal(count, expected[turn]);
        for (int i = 0; i < count; i++) {
            assert_int_equal(f->rows[i].seq, position + 1);
            position = f->rows[i].seq;
            snprintf(delivery, sizeof delivery, "d%d", (int)position);
            assert_string_equal(f->rows[i].delivery, delivery);
            assert_string_equal(f->rows[i].body, delivery);
            assert_string_equal(f->rows[i].source, "local");
            assert_string_equal(f->rows[i].headers, "{}");
            assert_int_equal(f->rows[i].received_at, 1234);
        }
    }
    assert_int_equal(position, 10);
}

static void bytes_come_as_they_went(void **context)
{
    struct fixture *f = *context;
    static const char bytes[] = "{\0\xff\xfe\"\n";
    open_writer(f);
    write_row(f, "bytes", bytes, sizeof bytes - 1);
    write_row(f, "none", "", 0);
    assert_int_equal(read_after(f, 0, 2), 2);
    assert_int_equal(f->rows[0].size, sizeof bytes - 1);
    assert_memory_equal(f->rows[0].body, bytes, sizeof bytes);
    assert_int_equal(f->rows[1].size, 0);
    assert_string_equal(f->rows[1].body, "");
}

static void large_bodies_come_in_several_calls(void **context)
{
    struct fixture *f = *context;
    size_t size = 3 * 1024 * 1024;
    char *body = malloc(size);
    memset(body, 'x', size);
    open_writer(f);
    for (int i = 0; i < 5; i++)
        write_row(f, (char[]){(char)('a' + i), '\0'}, body, size);
    int64_t position = 0;
    int calls = 0, count;
    while ((count = read_after(f, position, 64)) > 0) {
        assert_true(count <= 2);
        assert_int_equal(f->rows[count - 1].size, size);
        position = f->rows[count - 1].seq;
        calls++;
    }
    assert_int_equal(position, 5);
    assert_int_equal(calls, 3);
    free(body);
}

/* A checkpoint that truncates needs every reader gone. */
static void leaves_the_log_free(void **context)
{
    struct fixture *f = *context;
    open_writer(f);
    for (int i = 0; i < 5; i++)
        write_row(f, (char[]){(char)('a' + i), '\0'}, "{}", 2);
    assert_int_equal(read_after(f, 0, 2), 2);
    sqlite3_busy_timeout(f->writer.db, 0);
    assert_int_equal(
        sqlite3_wal_checkpoint_v2(f->writer.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(read_after(f, 2, 9), 3);
}

static void follows_a_replaced_file(void **context)
{
    struct fixture *f = *context;
    open_writer(f);
    write_row(f, "old", "{}", 2);
    assert_int_equal(read_after(f, 0, 10), 1);
    inbox_db_close(&f->writer);
    unlink(f->path);
    assert_int_equal(read_after(f, 0, 10), 0);
    open_writer(f);
    write_row(f, "new", "{}", 2);
    assert_int_equal(read_after(f, 0, 10), 1);
    assert_string_equal(f->rows[0].delivery, "new");
}

static void a_file_of_another_kind_is_a_fault(void **context)
{
    struct fixture *f = *context;
    assert_int_equal(file_write_atomic(f->path,
                                       "not a database, but long enough to be read as one "
                                       "by someone who does not look at its first bytes",
                                       98, 0600),
                     0);
    assert_int_equal(read_after(f, 0, 10), -1);
    assert_non_null(strstr(f->fault, "not a database"));
    unlink(f->path);
    open_writer(f);
    write_row(f, "one", "{}", 2);
    assert_int_equal(read_after(f, 0, 10), 1);
    sqlite3_exec(f->writer.db, "PRAGMA user_version = 1001", NULL, NULL, NULL);
    inbox_read_free(f->reader);
    f->reader = inbox_read_new(f->path);
    assert_int_equal(read_after(f, 0, 10), -1);
    assert_non_null(strstr(f->fault, "major version"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_that_is_not_there_has_no_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_come_as_they_went, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_bodies_come_in_several_calls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_the_log_free, set_up, tear_down),
        cmocka_unit_test_setup_teardown(follows_a_replaced_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_of_another_kind_is_a_fault, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
