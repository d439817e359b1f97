/* A run's result on its way to a decision: whatever a runner says of it, the job is done, waits or
 * ends, and a gate passes by its exact word only. */
#include <jansson.h>
#include "protocol/message.h"
#include "services/scheduler/findings.h"
#include "services/scheduler/retry.h"
#include "tests/fuzz/fuzz.h"

enum { NOW_MS = 1000000 };

static const struct retry_limits limits = {.base_ms = 1000, .max_ms = 60000, .probe_ms = 30000};

static void decide(const json_t *message, const struct retry_job *job, uint64_t seed)
{
    const json_t *gate = json_object_get(message, "gate");
    const char *word = json_string_value(json_object_get(gate, "verdict"));
    struct retry_result result = {
        .outcome = run_outcome_by_name(message_text(message, "outcome", "")),
        .class = failure_class_by_name(message_text(message, "class", "")),
        .verdict = gate_verdict_by_name(word),
        .retry_after_ms = message_integer(message, "retry_after_ms", 0)};
    struct retry_decision decision = {0};
    REQUIRE((result.verdict == GATE_PASS) == (word && strcmp(word, "pass") == 0));
    retry_decide(job, &result, &limits, NOW_MS, seed, &decision);
    REQUIRE(decision.action <= RETRY_CANCELLED);
    REQUIRE(decision.action != RETRY_ACCEPT || result.outcome == RUN_SUCCEEDED);
    if (decision.action != RETRY_REQUEUE)
        return;
    REQUIRE(decision.not_before_ms == 0 || decision.not_before_ms >= NOW_MS);
    enum failure_class class = result.outcome == RUN_LOST ? FAILURE_CLASS_LOST : result.class;
    if (decision.not_before_ms && class < FAILURE_CLASS_COUNT)
        REQUIRE(decision.not_before_ms - NOW_MS <= retry_wait_max_ms(class, &limits));
    REQUIRE(decision.attempt >= job->attempt && decision.attempt <= job->attempt + 1);
}

static void bound(const json_t *message)
{
    const json_t *gate = json_object_get(message, "gate");
    const char *reason = json_string_value(json_object_get(gate, "reason"));
    json_t *findings = findings_bounded(json_object_get(gate, "findings"), reason);
    char *stored = findings_encode(findings);
    REQUIRE(strlen(stored) <= 6 * (FINDINGS_ALL_MAX + FINDINGS_ONE_MAX));
    free(stored);
    json_decref(findings);
    (void)failure_class_of_reason(message_text(message, "reason", NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    struct retry_job job = {.kind = (enum job_kind)(data[0] % JOB_KIND_COUNT),
                            .stage = (enum stage)(data[1] % STAGE_COUNT),
                            .attempt = 1 + data[2] % 4,
                            .max_attempts = 3,
                            .transient = data[2] >> 4,
                            .max_transient = 5,
                            .losses = data[3] % 5,
                            .resumed = data[3] & 64,
                            .stopped = data[3] & 128};
    json_t *message = json_loadb((const char *)data + 4, size - 4, 0, NULL);
    if (message) {
        decide(message, &job, data[2] * 977u);
        bound(message);
    }
    json_decref(message);
    return 0;
}
