/* The inbox with its own two threads: many senders, one writer, a checkpointer beside it.
 *
 * Mutations tried, each red: kept said of what failed; a queue without a bound; the log never
 * started over (no checkpoint); old rows deleted that nobody has acted on; the newest row deleted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "lib/file.h"
#include "services/ingress/inbox.h"
#include "services/ingress/inbox_db.h"
#include "services/ingress/inbox_read.h"

enum { SENDERS = 4, EACH = 500 };

struct fixture {
    char folder[64], path[100], store[100];
    int doorbell;
    struct inbox *inbox;
};

struct sent {
    struct inbox_event event;
    atomic_int *left;
    char body[64];
    bool kept;
    int64_t seq;
};

static int set_up(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/inbox.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/inbox.db", f->folder);
    snprintf(f->store, sizeof f->store, "%s/main.db", f->folder);
    f->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    *context = f;
    return 0;
}

static int tear_down(void **context)
{
    struct fixture *f = *context;
    close(f->doorbell);
    file_remove_tree(f->folder);
    free(f);
    return 0;
}

static void on_done(struct inbox_event *event)
{
    struct sent *sent = (struct sent *)event;
    sent->kept = event->kept;
    sent->seq = event->seq;
    atomic_fetch_sub(sent->left, 1);
}

static void fill(struct sent *sent, atomic_int *left, const char *source, const char *delivery)
{
    memset(sent, 0, sizeof *sent);
    sent->left = left;
    snprintf(sent->body, sizeof sent->body, "{\"of\":\"%s\"}", delivery);
    sent->event = (struct inbox_event){.source = source,
                                       .body = sent->body,
                                       .size = strlen(sent->body),
                                       .received_at = clock_wall_ms(),
                                       .done = on_done};
    snprintf(sent->event.delivery, sizeof sent->event.delivery, "%s", delivery);
}

static void wait_for(atomic_int *left)
{
    for (int i = 0; i < 20000 && atomic_load(left) > 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(left), 0);
}

struct sender {
    struct inbox *inbox;
    struct sent *sent;
    atomic_int *left;
    int number;
    pthread_t thread;
};

static void *send_all(void *context)
{
    struct sender *sender = context;
    for (int i = 0; i < EACH; i++) {
        char delivery[40];
        /* every tenth is sent by all of them */
        if (i % 10)
            snprintf(delivery, sizeof delivery, "%d-%d", sender->number, i);
        else
            snprintf(delivery, sizeof delivery, "x-%d", i);
        fill(&sender->sent[i], sender->left, "local", delivery);
        while (!inbox_submit(sender->inbox, &sender->sent[i].event))
            usleep(1000);
    }
    return NULL;
}

static void everything_that_is_reported_is_in_the_file(void **context)
{
    struct fixture *f = *context;
    static struct sent sent[SENDERS][EACH];
    struct sender senders[SENDERS];
    atomic_int left = SENDERS * EACH;
    struct inbox_stats stats;
    f->inbox = inbox_start(f->path, f->store, f->doorbell);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] =
            (struct sender){.inbox = f->inbox, .sent = sent[i], .left = &left, .number = i};
        pthread_create(&senders[i].thread, NULL, send_all, &senders[i]);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(senders[i].thread, NULL);
    wait_for(&left);
    inbox_stats(f->inbox, &stats);
    assert_int_equal(stats.kept + stats.duplicates, SENDERS * EACH);
    assert_int_equal(stats.duplicates, (SENDERS - 1) * EACH / 10);
    assert_true(stats.batches < SENDERS * EACH); /* they were committed in groups */
    struct inbox_read *reader = inbox_read_new(f->path);
    const struct inbox_row *rows;
    char fault[200];
    int64_t position = 0;
    int count, all = 0;
    while ((count = inbox_read_next(reader, position, 100, &rows, fault, sizeof fault)) > 0) {
        for (int i = 0; i < count; i++, all++) {
            int number, index;
            position = rows[i].seq;
            if (sscanf(rows[i].delivery, "%d-%d", &number, &index) != 2)
                continue;
            assert_true(sent[number][index].kept);
            assert_int_equal(sent[number][index].seq, rows[i].seq);
            assert_string_equal(sent[number][index].body, rows[i].body);
        }
    }
    assert_int_equal(count, 0);
    assert_int_equal(all, SENDERS * EACH - (SENDERS - 1) * EACH / 10);
    for (int i = 1; i < SENDERS; i++) {
        for (int n = 0; n < EACH; n += 10)
            assert_int_equal(sent[i][n].seq, sent[0][n].seq); /* the duplicate names the first */
    }
    inbox_read_free(reader);
    inbox_stop(f->inbox);
    inbox_free(f->inbox);
}

static void what_cannot_be_written_is_reported_as_not_kept(void **context)
{
    struct fixture *f = *context;
    struct sent sent;
    struct inbox_stats stats;
    atomic_int left = 1;
    assert_int_equal(mkdir(f->path, 0700), 0); /* a directory where the file should be */
    f->inbox = inbox_start(f->path, f->store, f->doorbell);
    fill(&sent, &left, "local", "one");
    assert_true(inbox_submit(f->inbox, &sent.event));
    wait_for(&left);
    assert_false(sent.kept);
    inbox_stats(f->inbox, &stats);
    assert_false(stats.writable);
    assert_true(stats.error[0] != '\0');
    assert_int_equal(rmdir(f->path), 0);
    inbox_probe(f->inbox, 0, 3000, &stats);
    assert_true(stats.writable);
    atomic_store(&left, 1);
    fill(&sent, &left, "local", "one");
    assert_true(inbox_submit(f->inbox, &sent.event));
    wait_for(&left);
    assert_true(sent.kept);
    inbox_stop(f->inbox);
    inbox_free(f->inbox);
}

static void the_queue_has_a_bound_and_stopping_refuses(void **context)
{
    struct fixture *f = *context;
    enum { MANY = 9000 };
    struct sent *sent = calloc(MANY, sizeof *sent);
    atomic_int left = 0;
    int taken = 0;
    struct inbox_stats stats;
    assert_int_equal(mkdir(f->path, 0700), 0);
    f->inbox = inbox_start(f->path, f->store, f->doorbell);
    /* 64 MiB of bodies are the other bound: the size counts, not what is there */
    for (int i = 0; i < MANY; i++) {
        fill(&sent[i], &left, "local", "many");
        sent[i].event.size = 8 * 1024 * 1024;
        atomic_fetch_add(&left, 1);
        if (inbox_submit(f->inbox, &sent[i].event))
            taken++;
        else
            atomic_fetch_sub(&left, 1);
    }
    wait_for(&left);
    inbox_stats(f->inbox, &stats);
    assert_true(stats.refused > 0);
    assert_int_equal(stats.refused, MANY - taken);
    assert_int_equal(stats.failed, taken);
    inbox_stop(f->inbox);
    assert_false(inbox_submit(f->inbox, &sent[0].event));
    inbox_free(f->inbox);
    free(sent);
}

static void the_log_is_started_over(void **context)
{
    struct fixture *f = *context;
    enum { SIZE = 64 * 1024, ROWS = 1200 };
    char *body = calloc(1, SIZE);
    char log[120];
    struct stat file;
    struct inbox_stats stats;
    f->inbox = inbox_start(f->path, f->store, f->doorbell);
    for (int i = 0; i < ROWS; i++) {
        struct sent sent;
        atomic_int left = 1;
        char delivery[20];
        snprintf(delivery, sizeof delivery, "%d", i);
        fill(&sent, &left, "local", delivery);
        sent.event.body = body;
        sent.event.size = SIZE;
        assert_true(inbox_submit(f->inbox, &sent.event));
        wait_for(&left);
        assert_true(sent.kept);
    }
    inbox_stats(f->inbox, &stats);
    snprintf(log, sizeof log, "%s-wal", f->path);
    assert_int_equal(stat(log, &file), 0);
    assert_true(stats.checkpoints > 0);
    assert_true(file.st_size < 64 * 1024 * 1024); /* of the 75 MiB of bodies alone */
    inbox_stop(f->inbox);
    inbox_free(f->inbox);
    free(body);
}

static void news_come_once_each(void **context)
{
    struct fixture *f = *context;
    uint64_t rings = 0;
    f->inbox = inbox_start(f->path, f->store, f->doorbell);
    for (int turn = 0; turn < 3; turn++) {
        struct sent sent[2];
        atomic_int left = 2;
        for (int i = 0; i < 2; i++) {
            char delivery[20];
            snprintf(delivery, sizeof delivery, "%d-%d", turn, i);
            fill(&sent[i], &left, "local", delivery);
            assert_true(inbox_submit(f->inbox, &sent[i].event));
        }
        wait_for(&left);
        assert_int_equal(read(f->doorbell, &rings, sizeof rings), sizeof rings);
        assert_int_equal(rings, 1);
        assert_int_equal(inbox_take_news(f->inbox), 2 * turn + 2);
        assert_int_equal(inbox_take_news(f->inbox), 0);
    }
    inbox_stop(f->inbox);
    inbox_free(f->inbox);
}

static void only_old_rows_that_were_acted_on_go(void **context)
{
    struct fixture *f = *context;
    struct inbox_db db;
    char fault[200];
    assert_int_equal(inbox_db_open(&db, f->path, fault, sizeof fault), 0);
    for (int i = 1; i <= 10; i++) {
        struct inbox_event event = {.source = "plane", .body = "{}", .size = 2, .received_at = i};
        snprintf(event.delivery, sizeof event.delivery, "%d", i);
        inbox_db_begin(&db, fault, sizeof fault);
        inbox_db_insert(&db, &event, fault, sizeof fault);
        inbox_db_commit(&db, fault, sizeof fault);
    }
    assert_int_equal(inbox_db_prune(&db, 0, 100, 100, fault, sizeof fault), 0);
    assert_int_equal(inbox_db_prune(&db, 6, 4, 100, fault, sizeof fault), 3);
    assert_int_equal(inbox_db_prune(&db, 6, 100, 2, fault, sizeof fault), 2);
    assert_int_equal(inbox_db_prune(&db, 6, 100, 100, fault, sizeof fault), 1);
    assert_int_equal(inbox_db_prune(&db, 6, 100, 100, fault, sizeof fault), 0);
    assert_int_equal(inbox_db_prune(&db, 10, 100, 100, fault, sizeof fault), 3);
    assert_int_equal(inbox_db_newest(&db), 10); /* numbering goes on from it */
    inbox_db_close(&db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_that_is_reported_is_in_the_file, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_reported_as_not_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_queue_has_a_bound_and_stopping_refuses, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_log_is_started_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(news_come_once_each, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_old_rows_that_were_acted_on_go, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
