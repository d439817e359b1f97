#include "lib/forge/ci.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/utf8.h"

enum { SHORT_COMMIT = 12, NAMED_MAX = 5, WHY_MAX_BYTES = 80 };

void ci_answer_free(struct ci_answer *answer)
{
    free(answer->words);
    json_decref(answer->findings);
    *answer = (struct ci_answer){0};
}

/* ---- words ---- */

static size_t kept(const struct forge_contexts *contexts)
{
    return contexts->count < FORGE_CONTEXTS_MAX ? contexts->count : FORGE_CONTEXTS_MAX;
}

/* ": a, b (why), 3 more" */
static void name_contexts(const struct forge_contexts *contexts, bool with_why, struct buffer *out)
{
    size_t shown = kept(contexts) < NAMED_MAX ? kept(contexts) : NAMED_MAX;
    for (size_t i = 0; i < shown; i++) {
        const struct forge_context *one = &contexts->list[i];
        buffer_format(out, "%s%s", i ? ", " : ": ", one->context);
        if (with_why && *one->description)
            buffer_format(out, " (%.*s)",
                          (int)utf8_cut(one->description, strlen(one->description), WHY_MAX_BYTES),
                          one->description);
    }
    if (contexts->count > shown)
        buffer_format(out, ", %zu more", contexts->count - shown);
}

static char *say(const struct forge_statuses *statuses, enum ci_verdict verdict, const char *commit)
{
    struct buffer out = {0};
    if (statuses->state == FORGE_CI_NONE && verdict == CI_PASS) {
        buffer_text(&out, "no CI: this repository never had a status");
    } else if (statuses->state == FORGE_CI_NONE) {
        buffer_format(&out, "CI has said nothing of %.*s yet", SHORT_COMMIT, commit);
    } else if (verdict == CI_PASS) {
        buffer_text(&out, "CI is green");
    } else {
        bool red = verdict == CI_FAIL;
        buffer_format(&out, "CI of %.*s is %s", SHORT_COMMIT, commit, red ? "red" : "pending");
        name_contexts(red ? &statuses->failing : &statuses->pending, !red, &out);
    }
    return buffer_take(&out);
}

/* Word for word: what CI calls it and what it says of it. */
static json_t *findings_of(const struct forge_contexts *failing)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < kept(failing); i++) {
        const struct forge_context *one = &failing->list[i];
        json_array_append_new(findings,
                              json_sprintf("CI, %s (%s): %s%s%s", one->context, one->state,
                                           one->description, *one->target_url ? "\n" : "",
                                           one->target_url));
    }
    if (failing->count > kept(failing))
        json_array_append_new(findings, json_sprintf("CI: %zu more failing contexts",
                                                     failing->count - kept(failing)));
    return findings;
}

/* ---- the look ---- */

int ci_look(struct forge *forge, const struct config *config, const struct project *project,
            const char *commit, int64_t pushed_ms, struct ci_answer *answer, char **fault)
{
    struct forge_statuses statuses = {0};
    struct ci_facts facts = {.setting = ci_setting_by_name(project->ci)};
    *answer = (struct ci_answer){0};
    *fault = NULL;
    if (facts.setting == CI_NONE) {
        *answer = (struct ci_answer){CI_PASS, xstrdup("no CI"), json_array()};
        return 0;
    }
    if (forge_statuses_get(forge, commit, &statuses, fault) < 0)
        return -1;
    facts.state = statuses.state;
    facts.ever = statuses.ever;
    facts.age_ms = pushed_ms > 0 ? clock_wall_ms() - pushed_ms : 0;
    facts.grace_ms = config->ci_grace_s * 1000;
    answer->verdict = ci_judge(&facts);
    answer->words = say(&statuses, answer->verdict, commit);
    answer->findings = answer->verdict == CI_FAIL ? findings_of(&statuses.failing) : json_array();
    forge_statuses_free(&statuses);
    return 0;
}
