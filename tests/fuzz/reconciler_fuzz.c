/* Issues and tasks as tracker and scheduler show them, compared. Two JSON documents, a line each.
 */
#include <jansson.h>
#include "protocol/message.h"
#include "services/reconciler/compare.h"
#include "services/reconciler/facts.h"
#include "tests/fuzz/fuzz.h"

static void compare(const json_t *issue, const json_t *row, const struct compare_forge *forge)
{
    struct compare_task task;
    bool known = facts_task(row, &task);
    json_t *approvers = json_pack("[s]", "ada");
    struct compare_issue seen = facts_issue(issue, row, approvers);
    struct compare_finding finding;
    static char head[] = "a", commit[] = "b";
    const struct pull_request pull = {.number = 1, .head_sha = head, .merge_commit = commit};
    compare_issue_task(&seen, known ? &task : NULL, forge, &finding);
    if (finding.kind != FINDING_NONE) {
        enum message_kind kind;
        struct message_fault fault;
        json_t *message =
            facts_finding(&finding, "SHOP", issue, known ? row : NULL, approvers, &pull);
        REQUIRE(message_check(message, &kind, &fault) == 0);
        json_decref(message);
    }
    json_decref(approvers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = fuzz_line(&data, &size), *rest = fuzz_text(data, size);
    json_t *issue = json_loads(line, 0, NULL), *row = json_loads(rest, 0, NULL);
    for (int look = 0; json_is_object(issue) && json_is_object(row) && look < 16; look++) {
        const struct compare_forge forge = {.pull = look / 4, .branch = look % 4};
        compare(issue, row, look ? &forge : NULL);
    }
    json_t *tasks = json_pack("[O?]", row);
    if (row && tasks)
        json_decref(facts_by_issue(tasks));
    json_decref(tasks);
    json_decref(issue);
    json_decref(row);
    free(rest);
    free(line);
    return 0;
}
