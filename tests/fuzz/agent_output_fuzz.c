/* What an agent's CLI says: read the same however the pipe cut it, and judged whatever it was. */
#include <jansson.h>
#include "lib/utf8.h"
#include "services/runner/agent_output.h"
#include "services/runner/classify.h"
#include "tests/fuzz/fuzz.h"

static void feed(struct agent_output *output, const char *text, size_t size, size_t step)
{
    for (size_t at = 0; at < size; at += step)
        output_feed(output, text + at, size - at < step ? size - at : step);
    output_end(output);
}

static void check_same(const struct agent_output *a, const struct agent_output *b)
{
    REQUIRE(strcmp(a->session, b->session) == 0 && strcmp(a->model, b->model) == 0);
    REQUIRE(a->turns == b->turns && a->output_tokens == b->output_tokens);
    REQUIRE(a->tail_count == b->tail_count && a->limit_rejected == b->limit_rejected);
    REQUIRE(!a->result == !b->result);
    char *tail = output_tail(a), *other = output_tail(b);
    REQUIRE(strcmp(tail, other) == 0);
    for (size_t at = 0, n; tail[at]; at += n)
        REQUIRE((n = utf8_character(tail + at, strlen(tail + at))));
    free(tail);
    free(other);
}

static void judge(const struct agent_output *output, unsigned how)
{
    char *tail = output_own_tail(output);
    struct run_verdict verdict = {0};
    struct run_facts facts = {.needs_result = how & 1,
                              .result = output->result,
                              .exit_code = how & 2 ? 1 : 0,
                              .signal = how & 4 ? 9 : 0,
                              .timed_out = how & 8,
                              .stalled = how & 16,
                              .cancelled = how & 32,
                              .text = tail,
                              .limit_rejected = output->limit_rejected,
                              .limit_resets = output->limit_resets};
    classify_run(&facts, &verdict);
    REQUIRE(verdict.class && verdict.class[0]);
    REQUIRE(verdict.succeeded || strchr(verdict.reason, ':'));
    REQUIRE(!verdict.succeeded || (!facts.signal && !facts.timed_out && !facts.cancelled));
    REQUIRE(!verdict.succeeded || !facts.needs_result || output->result);
    json_t *reason = json_string(verdict.reason); /* NULL where it is no UTF-8 */
    REQUIRE(reason);
    json_decref(reason);
    free(tail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct agent_output whole = {0}, cut = {0};
    if (!size)
        return 0;
    char *text = fuzz_text(data + 1, size - 1);
    feed(&whole, text, size - 1, size);
    feed(&cut, text, size - 1, 1 + data[0] % 7u);
    check_same(&whole, &cut);
    judge(&whole, data[0]);
    json_decref(output_usage(whole.result));
    json_t *denied = output_denied_tools(whole.result);
    REQUIRE(json_is_array(denied));
    json_decref(denied);
    double total = output_total_cost(whole.result);
    REQUIRE(output_run_cost(total, -1) >= -1);
    output_free(&whole);
    output_free(&cut);
    free(text);
    return 0;
}
