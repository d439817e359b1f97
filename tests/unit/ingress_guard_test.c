/* Who is shut down when, told by the other end of a socket pair.
 *
 * Mutations tried, each red: the newest instead of the oldest evicted; a trusted one before a
 * stranger; no clock on answers; the clock on while it is served; a descriptor not taken over for
 * lingering. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <poll.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "services/ingress/guard.h"

enum { STRANGERS_MS = 300, TRUSTED_MS = 1500, LIMIT = 16, CROWDED = 15 };

/* One guard for all tests: it has a thread for life. */
static struct guard *guard;

struct pair {
    int ours, theirs;
    struct guard_connection *connection;
};

static struct pair open_pair(void)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    return (struct pair){fds[0], fds[1], guard_opened(guard, fds[0])};
}

static void close_pair(struct pair *pair)
{
    guard_closed(guard, pair->connection);
    close(pair->ours);
    if (pair->theirs >= 0)
        close(pair->theirs);
}

static bool is_shut(const struct pair *pair)
{
    char byte;
    return recv(pair->theirs, &byte, 1, MSG_DONTWAIT) == 0;
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static int set_up(void **context)
{
    static const struct guard_limits limits = {.connections = LIMIT,
                                               .patience_ms = {STRANGERS_MS, TRUSTED_MS}};
    (void)context;
    guard = guard_start(&limits);
    return 0;
}

static void a_stranger_has_its_time_and_no_more(void **context)
{
    (void)context;
    struct pair pair = open_pair();
    sleep_ms(STRANGERS_MS / 2);
    assert_false(is_shut(&pair));
    sleep_ms(STRANGERS_MS / 2 + 600); /* the guard looks every 250 ms */
    assert_true(is_shut(&pair));
    close_pair(&pair);
}

static void no_clock_runs_while_it_is_served(void **context)
{
    (void)context;
    struct pair pair = open_pair();
    guard_serving(guard, pair.connection);
    sleep_ms(STRANGERS_MS + 600);
    assert_false(is_shut(&pair));
    close_pair(&pair);
}

static void who_does_not_read_its_answer_is_shut_down(void **context)
{
    (void)context;
    struct pair pair = open_pair();
    guard_serving(guard, pair.connection);
    guard_answering(guard, pair.connection, false);
    sleep_ms(STRANGERS_MS + 600);
    assert_true(is_shut(&pair));
    close_pair(&pair);
}

static void trust_gives_time_and_stays(void **context)
{
    (void)context;
    struct pair pair = open_pair();
    guard_serving(guard, pair.connection);
    guard_answering(guard, pair.connection, true);
    guard_answered(guard, pair.connection);
    guard_serving(guard, pair.connection);
    guard_answering(guard, pair.connection, false);
    guard_answered(guard, pair.connection);
    sleep_ms(STRANGERS_MS + 600);
    assert_false(is_shut(&pair));
    sleep_ms(TRUSTED_MS - STRANGERS_MS);
    assert_true(is_shut(&pair));
    close_pair(&pair);
}

static void a_crowd_costs_the_oldest_stranger_its_place(void **context)
{
    (void)context;
    struct pair pairs[LIMIT];
    for (int i = 0; i < CROWDED; i++)
        pairs[i] = open_pair();
    for (int i = 0; i < CROWDED; i++)
        assert_false(is_shut(&pairs[i]));
    /* 0 is trusted, 1 is being served: 2 has waited longest of the others */
    guard_answering(guard, pairs[0].connection, true);
    guard_serving(guard, pairs[1].connection);
    pairs[CROWDED] = open_pair();
    for (int i = 0; i <= CROWDED; i++)
        assert_int_equal(is_shut(&pairs[i]), i == 2);
    for (int i = 0; i < LIMIT; i++)
        close_pair(&pairs[i]);
    struct guard_stats stats;
    guard_stats(guard, &stats);
    assert_int_equal(stats.open, 0);
    assert_int_equal(stats.evicted, 1);
}

static void short_memory_costs_who_holds_much_and_dawdles(void **context)
{
    static const struct guard_limits patient = {.connections = LIMIT,
                                                .patience_ms = {60000, 60000}};
    (void)context;
    struct guard *before = guard;
    guard = guard_start(&patient);
    struct pair idle = open_pair(), slow = open_pair();
    guard_holds(slow.connection, 100000);
    guard_relieve(guard);
    assert_false(is_shut(&slow)); /* not yet slow */
    sleep_ms(1100);
    struct pair quick = open_pair();
    guard_holds(quick.connection, 100000);
    guard_relieve(guard);
    assert_true(is_shut(&slow));
    assert_false(is_shut(&idle));
    guard_relieve(guard);
    assert_false(is_shut(&quick));
    close_pair(&idle);
    close_pair(&slow);
    close_pair(&quick);
    guard = before;
}

static void lingers_until_the_peer_has_sent_all(void **context)
{
    (void)context;
    struct pair pair = open_pair();
    char block[4096] = {0};
    guard_linger(pair.connection);
    guard_closed(guard, pair.connection);
    close(pair.ours);
    for (int i = 0; i < 500; i++) {
        struct pollfd writable = {.fd = pair.theirs, .events = POLLOUT};
        assert_int_equal(poll(&writable, 1, 2000), 1);
        assert_int_equal(send(pair.theirs, block, sizeof block, MSG_NOSIGNAL), sizeof block);
    }
    assert_true(is_shut(&pair)); /* it was told that no more will come */
    close(pair.theirs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crowd_costs_the_oldest_stranger_its_place),
        cmocka_unit_test(a_stranger_has_its_time_and_no_more),
        cmocka_unit_test(no_clock_runs_while_it_is_served),
        cmocka_unit_test(who_does_not_read_its_answer_is_shut_down),
        cmocka_unit_test(trust_gives_time_and_stays),
        cmocka_unit_test(short_memory_costs_who_holds_much_and_dawdles),
        cmocka_unit_test(lingers_until_the_peer_has_sent_all),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
