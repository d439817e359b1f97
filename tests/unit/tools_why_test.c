/* Every reason that a queued job can wait with has words for people: what it waits for, who can
 * act, what comes next. Red when a row of protocol/waits.def is left out, or of blocks.def, or a
 * rule of the claim or a class of failures comes without one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "protocol/blocks.h"
#include "services/scheduler/claim_rules.h"
#include "services/scheduler/stage.h"
#include "tools/why.h"

static void assert_known(enum reason reason)
{
    if (!why_knows(reason_code(reason)))
        fail_msg("no words for a job that waits with \"%s\"", reason_code(reason));
}

/* Every combination of the claim's facts. */
static void every_rule_of_the_claim(void **state)
{
    (void)state;
    static const enum reason dependencies[] = {REASON_OK, REASON_DEPENDS_ON,
                                               REASON_DEPENDENCY_UNKNOWN, REASON_DEPENDENCY_CYCLE};
    int seen[REASON_COUNT + 1] = {0}, kinds = 0;
    for (unsigned bits = 0; bits < 1U << 15; bits++) {
        for (int kind = 0; kind < JOB_KIND_COUNT; kind++) {
            const struct claim_facts facts = {
                .kind = (enum job_kind)kind,
                .stage = bits & 1 ? STAGE_ANALYSIS : STAGE_REVIEW,
                .due = true,
                .starting = bits & 2,
                .paused = bits & 4,
                .draining = bits & 8,
                .disk_low = bits & 16,
                .project_known = !(bits & 32),
                .task_runs = bits & 64,
                .predecessor_cleaned = !(bits & 128),
                .is_gated = bits & 256,
                .is_frozen = bits & 512,
                .dependency = dependencies[(bits >> 10) & 3],
                .lease_busy = bits & 4096,
                .lease_held = bits & 8192,
                .agents = 1,
                .agents_max = bits & 16384 ? 1 : 2,
                .project_agents = 1,
                .project_agents_max = bits & 16384 ? 2 : 1,
                .role_agents = 1,
                .role_agents_max = 1,
            };
            enum reason reason = claim_judge(&facts);
            kinds += reason != REASON_OK && !seen[reason]++;
            if (reason != REASON_OK)
                assert_known(reason);
        }
    }
    assert_int_equal(kinds, 16); /* all but limit-role, which the two before it hide */
    assert_known(REASON_LIMIT_ROLE);
}

static void every_class_of_failures(void **state)
{
    (void)state;
#define FAILURE_CLASS(id, name, reason, budget, session) assert_known(REASON_##reason);
#include "services/scheduler/failure_classes.def"
#undef FAILURE_CLASS
    assert_known(REASON_TIMEOUT);
    assert_known(REASON_GATE_FAILED);
    assert_known(REASON_GATE_UNKNOWN);
    assert_known(REASON_REAPED);
    assert_known(REASON_QUEUED);
    assert_known(REASON_ASKING);
}

/* Whatever the stage machine blocks with, over all stages and ends. */
static void every_block(void **state)
{
    (void)state;
    static const enum reason causes[] = {REASON_PULL_CLOSED, REASON_BRANCH_GONE,
                                         REASON_BRANCH_REWRITTEN, REASON_ISSUE_CLOSED};
    int seen[REASON_COUNT] = {0}, kinds = 0;
    for (unsigned bits = 0; bits < 1U << 17; bits++) {
        const struct stage_facts facts = {
            .exists = true,
            .stage = (enum stage)((bits & 15) % STAGE_COUNT),
            .entry = 1,
            .parked = bits & 16 ? PARKED_CI : PARKED_NONE,
            .rollbacks = bits & 32 ? 3 : 0,
            .returns = bits & 32 ? STAGE_RETURNS_MAX : 0,
            .max_rollbacks = 3,
        };
        const struct stage_event event = {
            .kind = (enum stage_event_kind)(((bits >> 6) & 15) % STAGE_EVENT_COUNT),
            .source = bits & 1U << 16 ? SOURCE_RECONCILER : SOURCE_RUNNER,
            .entry = 1,
            .job = (enum job_kind)(((bits >> 10) & 7) % JOB_KIND_COUNT),
            .verdict = (enum gate_verdict)(((bits >> 13) & 7) % (GATE_WAITING + 1)),
            .timed_out = bits & 32,
            .cause = causes[(bits >> 13) & 3],
        };
        struct stage_decision decision;
        stage_decide(&facts, &event, &decision);
        if (!decision.block)
            continue;
        kinds += !seen[decision.reason]++;
        if (!block_words_of(reason_code(decision.reason)))
            fail_msg("no words for a task that is blocked with \"%s\"",
                     reason_code(decision.reason));
    }
    assert_int_equal(kinds, 13);
    assert_null(block_words_of(NULL));
    assert_null(block_words_of("moved-on: text"));
    assert_string_equal(block_words_of("moved: text")->code, "moved");
}

/* A code of no reason would never be found. */
static void every_row_is_a_reason(void **state)
{
    (void)state;
    static const char *const codes[] = {
#define WAIT(code, waits_for, who, next) code,
#include "protocol/waits.def"
#undef WAIT
#define BLOCK(code, first, then) code,
#include "protocol/blocks.def"
#undef BLOCK
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (reason_by_code(codes[i]) == REASON_COUNT)
            fail_msg("\"%s\" is no reason", codes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_of_the_claim),
        cmocka_unit_test(every_class_of_failures),
        cmocka_unit_test(every_block),
        cmocka_unit_test(every_row_is_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
