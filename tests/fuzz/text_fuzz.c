/* Texts of people and agents on their way into prompts, comments, branch names and JSON. */
#include <jansson.h>
#include "lib/buffer.h"
#include "lib/utf8.h"
#include "services/runner/prompt.h"
#include "services/scheduler/findings.h"
#include "services/scheduler/slug.h"
#include "services/scheduler/wording.h"
#include "tests/fuzz/fuzz.h"

static void check_cuts(const char *text, size_t size, size_t max)
{
    REQUIRE(utf8_cut(text, size, max) <= (max < size ? max : size));
    char *clean = utf8_text(text, size, max);
    json_t *value = json_string(clean);
    REQUIRE(value && strlen(clean) <= max);
    REQUIRE(text_cut(clean, max / 2) <= max / 2);
    json_decref(value);
    free(clean);
}

/* A fence must be longer than any inside: no line of the text closes it. */
static void check_fence(const char *text, size_t room)
{
    struct buffer out = {0};
    if (fenced_write(text, room, &out)) {
        size_t ticks = strspn(out.data, "`");
        REQUIRE(out.size <= room && ticks >= 3);
        for (const char *at = text; (at = strchr(at, '`')); at += strspn(at, "`"))
            REQUIRE(strspn(at, "`") < ticks);
    } else {
        REQUIRE(out.size == 0);
    }
    buffer_free(&out);
}

static void check_findings(const char *clean, size_t room)
{
    json_t *given = json_loads(clean, JSON_DECODE_ANY, NULL);
    json_t *findings = findings_bounded(given, clean);
    char *stored = findings_encode(findings);
    json_t *again = findings_decode(stored), *odd = findings_decode(clean);
    struct buffer out = {0};
    REQUIRE(json_equal(findings, again) && json_is_array(odd));
    REQUIRE(json_array_size(findings) <= FINDINGS_COUNT_MAX + 1);
    findings_write(findings, room, &out);
    REQUIRE(out.size <= room);
    buffer_free(&out);
    json_decref(again);
    json_decref(odd);
    free(stored);
    json_decref(findings);
    json_decref(given);
}

static void check_words(const char *clean, unsigned which)
{
    json_t *findings = json_pack("[ss]", clean, clean);
    struct wording_facts facts = {.key = clean,
                                  .title = clean,
                                  .role = which & 1 ? clean : NULL,
                                  .kind = clean,
                                  .usage = WORDING_USAGE_UNKNOWN,
                                  .reason_text = clean,
                                  .findings = findings,
                                  .log_tail = clean,
                                  .command = clean,
                                  .actor = clean,
                                  .branch = clean};
    struct buffer out = {0};
    wording_write((enum message_template)(which % TEMPLATE_COUNT), &facts, &out);
    REQUIRE(out.size <= WORDING_MAX);
    buffer_free(&out);
    json_decref(findings);
}

static void check_names(const char *clean)
{
    char slug[SLUG_MAX + 1], branch[BRANCH_SIZE];
    slug_of(clean, slug);
    REQUIRE(slug[0] && slug[0] != '-' && slug[strlen(slug) - 1] != '-' && !strstr(slug, "--"));
    REQUIRE(strspn(slug, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(slug));
    slug_branch(clean, clean, branch);
    REQUIRE(strncmp(branch, "feature/", 8) == 0 && !strstr(branch, "..") && !strchr(branch, ' '));
}

static void check_prompt(const char *clean)
{
    json_t *spec = json_pack("{ss ss ss ss ss ss si s[{ss ss}] s[s]}", "key", "SHOP-1", "title",
                             clean, "description", clean, "stage", "development", "role",
                             "developer", "branch", "feature/x", "attempt", 1, "comments", "author",
                             clean, "body", clean, "findings", clean);
    json_t *artefacts = json_pack("[s]", clean);
    struct prompt_parts parts = {
        .spec = spec, .brief = clean, .base_branch = "main", .artefacts = artefacts};
    char *prompt = prompt_build(&parts);
    REQUIRE(prompt && strstr(prompt, "SHOP-1"));
    free(prompt);
    json_decref(artefacts);
    json_decref(spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    char *text = fuzz_text(data + 1, size - 1);
    check_cuts(text, size - 1, data[0] * 2);
    char *clean = utf8_text(text, size - 1, size);
    check_fence(clean, data[0] * 8);
    check_findings(clean, 100 + data[0] * 8);
    check_words(clean, data[0]);
    check_names(clean);
    check_prompt(clean);
    free(clean);
    free(text);
    return 0;
}
