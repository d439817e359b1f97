/* The outbox.
 *
 * Mutations tried, each red: a newer status leaves the pending one (status_is_a_register), drops
 * what is in flight (what_is_in_flight_is_left), what is with the notifier does not hold up what
 * follows (order_survives_a_lost_answer), what is not due does not (what_waits_holds_up_the_rest),
 * a terminal transition drops findings too (the_end_drops_what_nobody_saw), display_confirmed
 * without its entry or its display (only_the_last_display_counts), a retry that is outdated comes
 * back (outdated_is_not_repeated), attempts counted for keeping order (order_costs_no_attempt), an
 * outcome taken twice (an_outcome_counts_once), an alert raised twice (alerts). */
#include "tests/unit/scheduler_kit.h"

static void order(struct kit *kit, int64_t task, const struct effect_order *effect)
{
    struct task row;
    struct wording_facts facts = {.usage = WORDING_USAGE_UNKNOWN,
                                  .from = STAGE_CREATED,
                                  .to = STAGE_ANALYSIS,
                                  .reason = REASON_STARTED};
    kit_begin(kit);
    assert_true(task_load(&kit->scheduler, task, &row));
    effects_order(&kit->scheduler, &row, effect, &facts);
    task_free(&row);
    kit_commit(kit);
}

static void show(struct kit *kit, int64_t task, enum status status)
{
    bool kept = status == STATUS_DONE || status == STATUS_CANCELLED || status == STATUS_APPROVED;
    order(kit, task,
          &(struct effect_order){
              .kind = EFFECT_STATUS, .status = status, .author = "stream", .droppable = !kept});
}

static void say(struct kit *kit, int64_t task, bool droppable)
{
    order(kit, task,
          &(struct effect_order){.kind = EFFECT_COMMENT,
                                 .template = TEMPLATE_TRANSITION,
                                 .author = "stream",
                                 .droppable = droppable});
}

/* A task in analysis whose first effects are delivered. */
static int64_t quiet_task(struct kit *kit, const char *key)
{
    int64_t task = kit_issue(kit, key, "To Analyse");
    kit_deliver(kit);
    return task;
}

/* What the notifier is given: "t1-3:analysis t1-4:comment". Caller frees. */
static char *given(struct kit *kit, bool fresh)
{
    struct buffer text = {0};
    json_t *items = kit_ask(kit, "notifier", 32, fresh), *item;
    size_t index;
    json_array_foreach(items, index, item)
    {
        const char *status = message_text(item, "status", NULL);
        buffer_format(&text, "%s%s:%s", text.size ? " " : "", message_text(item, "external_id", ""),
                      status ? status : message_text(item, "effect_kind", ""));
    }
    json_decref(items);
    return buffer_take(&text);
}

#define assert_given(kit, fresh, expected)                                                         \
    do {                                                                                           \
        char *given_text = given(kit, fresh);                                                      \
        assert_string_equal(given_text, expected);                                                 \
        free(given_text);                                                                          \
    } while (0)

/* The outcome of the effect with this external id. True where it counted. */
static bool outcome(struct kit *kit, const char *external, const char *what, const char *reason,
                    int64_t after_ms)
{
    int64_t id = kit_number(kit, "SELECT id FROM effects WHERE external_id = '%s'", external);
    return !kit_flag(kit, effects_take,
                     message_new(MESSAGE_effect_result, NULL, "{sI ss ss sI}", "effect", id,
                                 "outcome", what, "reason", reason, "retry_after_ms", after_ms),
                     "duplicate");
}

#define assert_effect(kit, external, expected)                                                     \
    assert_text(kit, expected, "SELECT state FROM effects WHERE external_id = '%s'", external)

static void status_is_a_register(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1");
    show(kit, task, STATUS_ARCHITECTURE);
    say(kit, task, false);
    show(kit, task, STATUS_DEVELOPMENT);
    show(kit, task, STATUS_CODE_REVIEW);
    assert_given(kit, false, "t1-4:comment t1-6:code_review");
    assert_effect(kit, "t1-3", "dropped");
    assert_effect(kit, "t1-5", "dropped");
    assert_text(kit, "replaced: a newer status took its place",
                "SELECT reason FROM effects WHERE external_id = 't1-3'");
    assert_text(kit, "code_review", "SELECT display FROM tasks");
}

static void what_is_in_flight_is_left(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1");
    show(kit, task, STATUS_ARCHITECTURE);
    assert_given(kit, false, "t1-3:architecture");
    show(kit, task, STATUS_DEVELOPMENT);
    assert_effect(kit, "t1-3", "handed");
    assert_true(outcome(kit, "t1-3", "delivered", "", 0));
    assert_effect(kit, "t1-3", "delivered");
    assert_given(kit, false, "t1-4:development");
}

/* Approved, Done and Cancelled go out before what replaces them. */
static void some_statuses_are_never_replaced(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1");
    show(kit, task, STATUS_APPROVED);
    show(kit, task, STATUS_ARCHITECTURE);
    assert_given(kit, false, "t1-3:approved t1-4:architecture");
}

static void in_order_per_task(void **state)
{
    struct kit *kit = *state;
    int64_t first = quiet_task(kit, "DEMO-1"), second = quiet_task(kit, "DEMO-2");
    say(kit, first, false);
    say(kit, second, false);
    say(kit, first, false);
    assert_given(kit, false, "t1-3:comment t1-4:comment t2-3:comment");
}

static void what_waits_holds_up_the_rest(void **state)
{
    struct kit *kit = *state;
    int64_t first = quiet_task(kit, "DEMO-1"), second = quiet_task(kit, "DEMO-2");
    say(kit, first, false);
    assert_given(kit, false, "t1-3:comment");
    assert_true(outcome(kit, "t1-3", "retry", "transient: 503", 60000));
    say(kit, first, false);
    say(kit, second, false);
    assert_given(kit, false, "t2-3:comment");
    assert_int_equal(work_wait_ms(&kit->scheduler) > 50000, true);
    kit->skew_ms = 70000;
    assert_given(kit, true, "t1-3:comment t1-4:comment t2-3:comment");
}

/* The answer that carried the first one is lost; what was ordered since must not overtake it. */
static void order_survives_a_lost_answer(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1");
    say(kit, task, false);
    assert_given(kit, false, "t1-3:comment");
    say(kit, task, false);
    assert_given(kit, false, ""); /* it is with the same process, as far as we know */
    assert_given(kit, true, "t1-3:comment t1-4:comment");
    assert_number(kit, 2, "SELECT attempts FROM effects WHERE external_id = 't1-3'");
}

static void the_end_drops_what_nobody_saw(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1");
    show(kit, task, STATUS_ARCHITECTURE); /* intermediate */
    say(kit, task, true);                 /* a start comment */
    say(kit, task, false);                /* findings, a finish comment */
    kit_operator(kit, "stop", "DEMO-1");
    assert_effect(kit, "t1-3", "dropped");
    assert_effect(kit, "t1-4", "dropped");
    assert_text(kit, "task-ended: the task has ended",
                "SELECT reason FROM effects WHERE external_id = 't1-4'");
    assert_given(kit, false, "t1-5:comment t1-6:cancelled t1-7:comment");
}

/* The issue of a cancelled task is still the same one outside. */
static void a_cancelled_task_speaks_under_its_key(void **state)
{
    struct kit *kit = *state;
    quiet_task(kit, "DEMO-1");
    kit_operator(kit, "stop", "DEMO-1");
    json_t *items = kit_ask(kit, "notifier", 32, true);
    assert_int_equal(json_array_size(items), 2);
    assert_string_equal(message_text(json_array_get(items, 0), "key", ""), "DEMO-1");
    assert_string_equal(message_text(json_array_get(items, 0), "issue", ""), "local-1");
    json_decref(items);
}

static void outdated_is_not_repeated(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1");
    show(kit, task, STATUS_ARCHITECTURE);
    assert_given(kit, false, "t1-3:architecture");
    show(kit, task, STATUS_DEVELOPMENT);
    assert_true(outcome(kit, "t1-3", "retry", "transient: 503", 0));
    assert_effect(kit, "t1-3", "dropped");
    assert_given(kit, false, "t1-4:development");
    say(kit, task, true);
    kit_operator(kit, "stop", "DEMO-1");
    assert_true(outcome(kit, "t1-4", "retry", "transient: 503", 0));
    assert_text(kit, "task-ended: the task has ended",
                "SELECT reason FROM effects WHERE external_id = 't1-4'");
    /* what people must hear is repeated whatever happened since */
    assert_given(kit, false, "t1-6:cancelled t1-7:comment");
    assert_true(outcome(kit, "t1-6", "retry", "transient: 503", 0));
    assert_effect(kit, "t1-6", "pending");
}

static void a_comment_is_repeated_for_ever(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1"), before = 0;
    say(kit, task, false);
    for (int i = 1; i <= 40; i++) {
        assert_given(kit, false, "t1-3:comment");
        assert_true(outcome(kit, "t1-3", "retry", "transient: 503", 0));
        assert_number(kit, i, "SELECT attempts FROM effects WHERE external_id = 't1-3'");
        int64_t wait =
            kit_number(kit, "SELECT not_before FROM effects WHERE external_id = 't1-3'") -
            kit->scheduler.now_ms;
        /* 30 s doubled up to half an hour, of which up to half is jitter */
        assert_true(wait >= 15000 && wait <= 1800 * 1000);
        assert_true(i < 10 || wait >= 900 * 1000);
        assert_true(i > 2 || wait >= before);
        before = wait;
        kit->skew_ms += 1800 * 1000;
    }
    assert_text(kit, "transient: 503", "SELECT reason FROM effects WHERE external_id = 't1-3'");
}

static void order_costs_no_attempt(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1");
    say(kit, task, false);
    say(kit, task, false);
    assert_given(kit, false, "t1-3:comment t1-4:comment");
    assert_true(outcome(kit, "t1-3", "retry", "transient: 503", 5000));
    assert_true(outcome(kit, "t1-4", "retry", "order: an earlier effect of DEMO-1 waits", 0));
    assert_number(kit, 0, "SELECT attempts FROM effects WHERE external_id = 't1-4'");
    assert_number(kit, 1, "SELECT attempts FROM effects WHERE external_id = 't1-3'");
    assert_number(kit, 1,
                  "SELECT count(*) FROM effects WHERE external_id = 't1-4' AND not_before <= %lld",
                  (long long)kit->scheduler.now_ms);
}

static void an_outcome_counts_once(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1");
    say(kit, task, false);
    assert_given(kit, false, "t1-3:comment");
    assert_true(outcome(kit, "t1-3", "delivered", "", 0));
    assert_false(outcome(kit, "t1-3", "delivered", "", 0));
    assert_false(outcome(kit, "t1-3", "retry", "transient: late", 0));
    assert_effect(kit, "t1-3", "delivered");
    assert_false(outcome(kit, "no such effect", "delivered", "", 0));
    say(kit, task, false);
    assert_given(kit, false, "t1-4:comment");
    assert_true(outcome(kit, "t1-4", "dropped", "refused: 404", 0));
    assert_text(kit, "refused: 404", "SELECT reason FROM effects WHERE external_id = 't1-4'");
    assert_given(kit, true, "");
}

/* A command answers what the tracker showed, so it counts from then on. */
static void only_the_last_display_counts(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1");
    assert_number(kit, 1, "SELECT display_confirmed = entry FROM tasks");
    show(kit, task, STATUS_ARCHITECTURE);
    assert_number(kit, 0, "SELECT display_confirmed FROM tasks");
    assert_given(kit, false, "t1-3:architecture");
    show(kit, task, STATUS_AWAITING_APPROVAL);
    assert_true(outcome(kit, "t1-3", "delivered", "", 0)); /* not what was ordered last */
    assert_number(kit, 0, "SELECT display_confirmed FROM tasks");
    assert_given(kit, false, "t1-4:awaiting_approval");
    kit_number(kit, "UPDATE tasks SET entry = entry + 100"); /* another entry meanwhile */
    assert_true(outcome(kit, "t1-4", "delivered", "", 0));
    assert_number(kit, 0, "SELECT display_confirmed FROM tasks");
    show(kit, task, STATUS_AWAITING_APPROVAL);
    assert_given(kit, false, "t1-5:awaiting_approval");
    assert_true(outcome(kit, "t1-5", "dropped", "refused: 404", 0));
    assert_number(kit, 0, "SELECT display_confirmed FROM tasks");
    show(kit, task, STATUS_AWAITING_APPROVAL);
    assert_given(kit, false, "t1-6:awaiting_approval");
    assert_true(outcome(kit, "t1-6", "delivered", "", 0));
    assert_number(kit, 1, "SELECT display_confirmed = entry FROM tasks");
}

static void alerts(void **state)
{
    struct kit *kit = *state;
    int64_t task = quiet_task(kit, "DEMO-1");
    const struct effect_order alert = {
        .kind = EFFECT_ALERT, .template = TEMPLATE_BLOCKED, .author = "stream"};
    order(kit, task, &alert);
    order(kit, task, &alert); /* the same key: one alert, one comment */
    assert_number(kit, 1, "SELECT count(*) FROM alerts");
    assert_number(kit, 1, "SELECT count(*) FROM effects WHERE kind = 'alert'");
    assert_number(kit, 1, "SELECT count(*) FROM journal WHERE event = 'alert'");
    assert_given(kit, false, "t1-3:alert");
    kit_begin(kit);
    alert_raise(&kit->scheduler, "disk-low", "disk-low: 3 MiB");
    alert_raise(&kit->scheduler, "disk-low", "disk-low: 2 MiB");
    kit_commit(kit);
    assert_text(kit, "disk-low: 3 MiB", "SELECT text FROM alerts WHERE key = 'disk-low'");
    kit_begin(kit);
    alert_clear(&kit->scheduler, "disk-low");
    alert_clear(&kit->scheduler, "disk-low");
    alert_raise(&kit->scheduler, "disk-low", "disk-low: 1 MiB"); /* anew */
    kit_commit(kit);
    assert_text(kit, "disk-low: 1 MiB", "SELECT text FROM alerts WHERE key = 'disk-low'");
    assert_number(kit, 1, "SELECT count(*) FROM journal WHERE event = 'alert-cleared'");
    assert_number(kit, 3, "SELECT count(*) FROM journal WHERE event = 'alert'");
}

static void external_ids_belong_to_the_task(void **state)
{
    struct kit *kit = *state;
    quiet_task(kit, "DEMO-1");
    kit_operator(kit, "stop", "DEMO-1");
    kit_status(kit, "DEMO-1", "To Analyse"); /* the same key anew */
    assert_number(kit, 0,
                  "SELECT count(*) FROM effects WHERE task = 2 AND external_id NOT LIKE"
                  " 't2-%%'");
    assert_number(kit, 0, "SELECT count(*) - count(DISTINCT external_id) FROM effects");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(status_is_a_register),
        TEST(what_is_in_flight_is_left),
        TEST(some_statuses_are_never_replaced),
        TEST(in_order_per_task),
        TEST(what_waits_holds_up_the_rest),
        TEST(order_survives_a_lost_answer),
        TEST(the_end_drops_what_nobody_saw),
        TEST(a_cancelled_task_speaks_under_its_key),
        TEST(outdated_is_not_repeated),
        TEST(a_comment_is_repeated_for_ever),
        TEST(order_costs_no_attempt),
        TEST(an_outcome_counts_once),
        TEST(only_the_last_display_counts),
        TEST(alerts),
        TEST(external_ids_belong_to_the_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
