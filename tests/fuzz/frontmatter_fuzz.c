/* Artefacts as agents leave them: a pass only by the frontmatter's word, and always a reason. */
#include "services/runner/frontmatter.h"
#include "services/runner/verdicts.h"
#include "lib/utf8.h"
#include "tests/fuzz/fuzz.h"

static void check_parse(const char *text, size_t size)
{
    struct frontmatter front;
    char reason[FRONTMATTER_REASON] = "";
    if (frontmatter_parse(text, size, &front, reason) != 0) {
        REQUIRE(reason[0]);
        return;
    }
    REQUIRE(size >= 4 && memcmp(text, "---", 3) == 0);
    REQUIRE(front.body <= size && front.count <= FRONTMATTER_KEYS_MAX);
    for (size_t i = 0; i < front.count; i++)
        REQUIRE(frontmatter_get(&front, front.keys[i]));
    char *missing = frontmatter_missing(&front);
    REQUIRE(missing);
    free(missing);
    frontmatter_free(&front);
}

static void check_verdicts(const char *text, size_t size)
{
    struct verdict verdict;
    verdict_reviewer("review.md", text, size, &verdict);
    REQUIRE(verdict.pass || verdict.reason[0]);
    REQUIRE(!verdict.pass || strstr(text, "verdict") || strstr(text, "status"));
    verdict_tester("test-report.md", text, size, &verdict);
    REQUIRE(verdict.pass || verdict.reason[0]);
    verdict_status("deploy-log.md", "deploy_status", text, size, &verdict);
    REQUIRE(verdict.pass || verdict.reason[0]);
    REQUIRE(!verdict.pass || (strstr(text, "deploy_status") && strcasestr(text, "SUCCESS")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    check_parse(text, size);
    if (strlen(text) == size)
        check_verdicts(text, size);
    char *body = verdict_body(text, size, 500);
    REQUIRE(strlen(body) <= 500);
    for (size_t at = 0, n; body[at]; at += n)
        REQUIRE((n = utf8_character(body + at, strlen(body + at))));
    free(body);
    free(text);
    return 0;
}
