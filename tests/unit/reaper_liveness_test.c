/* Hung is dead, down and starting are not. Mutations tried, each turns a test red: the pid of
 * before and after not compared; starting judged; misses not reset by an answer; a ping that we
 * ourselves were late with counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "protocol/liveness.h"
#include "supervisor/text.h"

static const int64_t wall = INT64_C(1800000000000);

static struct liveness_record running(int pid)
{
    return (struct liveness_record){
        .known = true, .runs = true, .pid = pid, .changed_ms = wall - 60000};
}

static struct liveness_look look(enum liveness_ping ping)
{
    return (struct liveness_look){.before = running(10),
                                  .after = running(10),
                                  .label = LIVENESS_LABEL_READY,
                                  .ping = ping,
                                  .wall_ms = wall};
}

static enum liveness_verdict judge(struct liveness *liveness, struct liveness_look seen)
{
    return liveness_judge(liveness, &seen, 2);
}

/* Read back what our own supervisor writes for `sv`. */
static void the_record_is_runits(void **state)
{
    (void)state;
    unsigned char bytes[STATUS_SIZE];
    struct status_facts facts = {.changed_ms = wall + 123, .pid = 70000, .want_up = true};
    status_bytes(&facts, bytes);
    struct liveness_record record = liveness_record_read(bytes, sizeof bytes);
    assert_true(record.known && record.runs);
    assert_int_equal(record.pid, 70000);
    assert_int_equal(record.changed_ms, wall + 123);
    facts.finishing = true;
    status_bytes(&facts, bytes);
    assert_false(liveness_record_read(bytes, sizeof bytes).runs);
    facts.finishing = false;
    facts.paused = true;
    status_bytes(&facts, bytes);
    assert_false(liveness_record_read(bytes, sizeof bytes).runs);
    facts = (struct status_facts){.changed_ms = wall};
    status_bytes(&facts, bytes);
    assert_false(liveness_record_read(bytes, sizeof bytes).runs);
    assert_false(liveness_record_read(bytes, 19).known);
}

static void two_misses_in_a_row_of_one_process_are_a_hang(void **state)
{
    (void)state;
    struct liveness liveness = {0};
    assert_int_equal(judge(&liveness, look(LIVENESS_ANSWERED)), LIVENESS_NOTHING);
    assert_int_equal(judge(&liveness, look(LIVENESS_MISSED)), LIVENESS_NOTHING);
    assert_int_equal(judge(&liveness, look(LIVENESS_ANSWERED)), LIVENESS_NOTHING);
    assert_int_equal(judge(&liveness, look(LIVENESS_MISSED)), LIVENESS_NOTHING);
    assert_int_equal(judge(&liveness, look(LIVENESS_MISSED)), LIVENESS_KILL);
    assert_int_equal(judge(&liveness, look(LIVENESS_ANSWERED)), LIVENESS_RECOVERED);
    assert_int_equal(judge(&liveness, look(LIVENESS_ANSWERED)), LIVENESS_NOTHING);
    /* Killed in vain: it is tried again. */
    judge(&liveness, look(LIVENESS_MISSED));
    assert_int_equal(judge(&liveness, look(LIVENESS_MISSED)), LIVENESS_KILL);
    judge(&liveness, look(LIVENESS_MISSED));
    assert_int_equal(judge(&liveness, look(LIVENESS_MISSED)), LIVENESS_KILL);
}

static void a_restart_in_between_is_no_hang(void **state)
{
    (void)state;
    struct liveness liveness = {0};
    struct liveness_look seen = look(LIVENESS_MISSED);
    judge(&liveness, seen);
    seen.after = running(11);
    assert_int_equal(judge(&liveness, seen), LIVENESS_NOTHING);
    seen.before = seen.after = running(11);
    assert_int_equal(judge(&liveness, seen), LIVENESS_NOTHING);
    assert_int_equal(judge(&liveness, seen), LIVENESS_KILL);
}

static void what_is_down_starting_or_unknown_is_never_killed(void **state)
{
    (void)state;
    struct liveness_look seen[6];
    for (int i = 0; i < 6; i++)
        seen[i] = look(LIVENESS_MISSED);
    seen[0].label = LIVENESS_LABEL_STARTING;
    seen[1].before.runs = seen[1].after.runs = false;
    seen[2].before.known = seen[2].after.known = false;
    seen[3].after.runs = false;
    seen[4].ping = LIVENESS_NOT_TOLD;
    seen[5].label = LIVENESS_LABEL_NONE; /* plain runit: young is starting */
    seen[5].before.changed_ms = seen[5].after.changed_ms = wall - LIVENESS_SETTLE_MS + 1;
    for (int i = 0; i < 6; i++) {
        struct liveness liveness = {0};
        for (int round = 0; round < 5; round++)
            assert_int_equal(judge(&liveness, seen[i]), LIVENESS_NOTHING);
    }
    seen[5].before.changed_ms = seen[5].after.changed_ms = wall - LIVENESS_SETTLE_MS;
    struct liveness liveness = {0};
    judge(&liveness, seen[5]);
    assert_int_equal(judge(&liveness, seen[5]), LIVENESS_KILL);
}

static void failed_is_said_once_and_its_end_too(void **state)
{
    (void)state;
    struct liveness liveness = {0};
    struct liveness_look seen = look(LIVENESS_NOT_TOLD);
    seen.label = liveness_label_by_name("failed");
    assert_int_equal(judge(&liveness, seen), LIVENESS_FAILED);
    assert_int_equal(judge(&liveness, seen), LIVENESS_NOTHING);
    seen.label = liveness_label_by_name("starting");
    assert_int_equal(judge(&liveness, seen), LIVENESS_NOTHING);
    assert_int_equal(judge(&liveness, look(LIVENESS_ANSWERED)), LIVENESS_RECOVERED);
    seen.label = LIVENESS_LABEL_FAILED;
    assert_int_equal(judge(&liveness, seen), LIVENESS_FAILED);
}

static void only_ready_of_our_supervisor_may_be_judged(void **state)
{
    (void)state;
    static const char *const others[] = {"down",    "waiting",   "starting", "stopping",
                                         "killing", "finishing", "backoff"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(liveness_label_by_name(others[i]), LIVENESS_LABEL_STARTING);
    assert_int_equal(liveness_label_by_name("ready"), LIVENESS_LABEL_READY);
    assert_int_equal(liveness_label_by_name(NULL), LIVENESS_LABEL_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_record_is_runits),
        cmocka_unit_test(two_misses_in_a_row_of_one_process_are_a_hang),
        cmocka_unit_test(a_restart_in_between_is_no_hang),
        cmocka_unit_test(what_is_down_starting_or_unknown_is_never_killed),
        cmocka_unit_test(failed_is_said_once_and_its_end_too),
        cmocka_unit_test(only_ready_of_our_supervisor_may_be_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
