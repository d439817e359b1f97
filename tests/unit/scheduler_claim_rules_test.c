/* Why a queued job waits.
 *
 * Mutations tried, each red: any line of claim_rules.c that compares taken out or turned round
 * (each_rule_alone), two rules changed in order (the_first_rule_speaks), a rule of the first job
 * asked of others or of reserved jobs (rules_of_the_first_job), limits asked of reserved jobs
 * (reserved_jobs_know_no_limits), `>` for `>=` (each_rule_alone). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "services/scheduler/claim_rules.h"

/* An analyst's job that nothing holds back. */
static struct claim_facts eligible(void)
{
    return (struct claim_facts){.kind = JOB_AGENT,
                                .stage = STAGE_ANALYSIS,
                                .due = true,
                                .project_known = true,
                                .predecessor_cleaned = true,
                                .agents = 1,
                                .agents_max = 2,
                                .project_agents = 1,
                                .project_agents_max = 2,
                                .role_agents = 1,
                                .role_agents_max = 2};
}

/* One reason each to wait, in the order in which a person would want to hear of them. */
static const enum reason order[] = {
    REASON_COUNT,       REASON_UNKNOWN_PROJECT, REASON_STARTING,     REASON_PAUSED,
    REASON_PAUSED,      REASON_DRAINING,        REASON_DISK_LOW,     REASON_TASK_BUSY,
    REASON_PREDECESSOR, REASON_DEPENDS_ON,      REASON_FROZEN,       REASON_SERIAL_GATE,
    REASON_BUDGET_TASK, REASON_USAGE_LIMIT,     REASON_LIMIT_GLOBAL, REASON_LIMIT_PROJECT,
    REASON_LIMIT_ROLE,
};
enum { RULES = sizeof order / sizeof *order };

static void break_rule(struct claim_facts *facts, int rule)
{
    switch (rule) {
    case 0:
        facts->due = false;
        break;
    case 1:
        facts->project_known = false;
        break;
    case 2:
        facts->starting = true;
        break;
    case 3:
        facts->paused = true;
        break;
    case 4:
        facts->project_paused = true;
        break;
    case 5:
        facts->draining = true;
        break;
    case 6:
        facts->disk_low = true;
        break;
    case 7:
        facts->task_runs = true;
        break;
    case 8:
        facts->predecessor_cleaned = false;
        break;
    case 9:
        facts->dependency = REASON_DEPENDS_ON;
        break;
    case 10:
        facts->is_frozen = true;
        break;
    case 11:
        facts->is_gated = true;
        break;
    case 12:
        facts->budget = REASON_BUDGET_TASK;
        break;
    case 13:
        facts->provider = REASON_USAGE_LIMIT;
        break;
    case 14:
        facts->agents = facts->agents_max;
        break;
    case 15:
        facts->project_agents = facts->project_agents_max;
        break;
    default:
        facts->role_agents = facts->role_agents_max;
    }
}

static void each_rule_alone(void **state)
{
    struct claim_facts facts = eligible();
    (void)state;
    assert_int_equal(claim_judge(&facts), REASON_OK);
    for (int rule = 0; rule < RULES; rule++) {
        facts = eligible();
        break_rule(&facts, rule);
        assert_int_equal(claim_judge(&facts), order[rule]);
    }
}

static void the_first_rule_speaks(void **state)
{
    (void)state;
    for (int first = 0; first < RULES; first++) {
        struct claim_facts facts = eligible();
        for (int rule = first; rule < RULES; rule++)
            break_rule(&facts, rule);
        assert_int_equal(claim_judge(&facts), order[first]);
    }
}

/* Other tasks hold back only a task that has not begun; what has begun goes on. */
static void rules_of_the_first_job(void **state)
{
    (void)state;
    for (int kind = 0; kind < JOB_QUERY; kind++) {
        for (int stage = 0; stage < STAGE_COUNT; stage++) {
            struct claim_facts facts = eligible();
            bool begins = kind == JOB_AGENT && stage == STAGE_ANALYSIS;
            facts.kind = (enum job_kind)kind;
            facts.stage = (enum stage)stage;
            facts.lease_held = true;
            facts.is_frozen = true;
            assert_int_equal(claim_judge(&facts), begins ? REASON_FROZEN : REASON_OK);
            facts.is_frozen = false;
            facts.is_gated = true;
            assert_int_equal(claim_judge(&facts), begins ? REASON_SERIAL_GATE : REASON_OK);
            facts.is_gated = false;
            facts.predecessor_cleaned = false;
            assert_int_equal(claim_judge(&facts), begins ? REASON_PREDECESSOR : REASON_OK);
            assert_int_equal(claim_begins_task(facts.kind, facts.stage), begins);
        }
    }
}

static void reserved_jobs_know_no_limits(void **state)
{
    (void)state;
    for (int kind = JOB_AGENT; kind < JOB_QUERY; kind++) {
        struct claim_facts facts = eligible();
        facts.kind = (enum job_kind)kind;
        facts.stage = STAGE_DEPLOY;
        facts.lease_held = true;
        facts.agents = facts.project_agents = facts.role_agents = 9;
        facts.budget = kind == JOB_AGENT ? REASON_OK : REASON_BUDGET_DAY;
        facts.provider = kind == JOB_AGENT ? REASON_OK : REASON_OPERATOR;
        assert_int_equal(claim_judge(&facts), kind == JOB_AGENT ? REASON_LIMIT_GLOBAL : REASON_OK);
    }
}

static void a_role_without_a_limit_has_none(void **state)
{
    struct claim_facts facts = eligible();
    (void)state;
    facts.role_agents = 1000;
    facts.role_agents_max = 0;
    assert_int_equal(claim_judge(&facts), REASON_OK);
}

/* The gate takes the lease, the merge needs it, a deploy takes it again where it was lost
 * meanwhile, and nobody else asks. */
static void leases(void **state)
{
    static const struct {
        enum job_kind kind;
        bool busy, held;
        enum reason reason;
    } table[] = {
        {JOB_MERGE_GATE, false, false, REASON_OK},
        {JOB_MERGE_GATE, false, true, REASON_OK},
        {JOB_MERGE_GATE, true, false, REASON_LEASE_BUSY},
        {JOB_MERGE, false, true, REASON_OK},
        {JOB_MERGE, false, false, REASON_LEASE_LOST},
        {JOB_MERGE, true, false, REASON_LEASE_LOST},
        {JOB_DEPLOY, false, false, REASON_OK},
        {JOB_DEPLOY, false, true, REASON_OK},
        {JOB_DEPLOY, true, false, REASON_LEASE_BUSY},
        {JOB_STAGE, true, false, REASON_OK},
        {JOB_FINALIZER, true, false, REASON_OK},
        {JOB_CLEANUP, true, false, REASON_OK},
        {JOB_AGENT, true, false, REASON_OK},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct claim_facts facts = eligible();
        facts.kind = table[i].kind;
        facts.stage = STAGE_DEPLOY;
        facts.lease_busy = table[i].busy;
        facts.lease_held = table[i].held;
        assert_int_equal(claim_judge(&facts), table[i].reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_alone),
        cmocka_unit_test(the_first_rule_speaks),
        cmocka_unit_test(rules_of_the_first_job),
        cmocka_unit_test(reserved_jobs_know_no_limits),
        cmocka_unit_test(a_role_without_a_limit_has_none),
        cmocka_unit_test(leases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
