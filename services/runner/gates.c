#include "services/runner/gate_files.h"
#include "services/runner/gates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/utf8.h"
#include "protocol/vocabulary.h"
#include "services/runner/frontmatter.h"
#include "services/runner/prompt.h"
#include "services/runner/verdicts.h"

enum {
    BODY_MAX_BYTES = 8000,
    REASON_MAX_BYTES = 1000,
    SHOWN_MAX = 100, /* names of artefacts in the result */
    NAME_MAX_BYTES = 300,
};

void gate_set(struct run *run, const char *gate, const char *verdict, const char *reason,
              json_t *findings)
{
    char *clean = utf8_text(reason, strlen(reason), REASON_MAX_BYTES);
    json_decref(run->gate);
    run->gate =
        json_pack("{ss sI ss ss so}", "gate", gate, "entry", (json_int_t)run->entry, "verdict",
                  verdict, "reason", clean, "findings", findings ? findings : json_array());
    free(clean);
    json_object_set_new(run->gate, "judged_commit",
                        run->head ? json_string(run->head) : json_null());
    /* The commit on which the work began: what was judged is bound to it. */
    const char *start = message_text(run->launch, "start_head", NULL);
    json_object_set_new(run->gate, "started_commit", start ? json_string(start) : json_null());
}

static void note_artefacts(struct run *run, struct gate_files *files)
{
    json_t *names = json_array();
    for (size_t i = 0; i < files->count && i < SHOWN_MAX; i++) {
        const char *file = files->list[i].name;
        char *name = utf8_text(file, strlen(file), NAME_MAX_BYTES);
        json_array_append_new(names, json_sprintf("docs/work-items/%s/%s", run->key, name));
        free(name);
    }
    json_object_set_new(run->detail, "artefacts", names);
}

/* ---- the gates ---- */

static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!strchr(" \t\r\n", text[i]) || text[i] == '\0')
            return false;
    }
    return true;
}

static enum step analysis_complete(struct run *run, struct gate_files *files, const char *gate,
                                   char **fault)
{
    static const char *const wanted[] = {"01-brd.md", "02-requirements.md",
                                         "03-acceptance-criteria.md", "04-test-plan.md"};
    json_t *findings = json_array();
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        size_t size = 0;
        const char *why;
        const char *text = gate_files_read(run, files, wanted[i], &size, &why, fault);
        if (*fault) {
            json_decref(findings);
            return STEP_AGAIN;
        }
        if (!text || is_blank(text, size)) {
            const char *word = text ? "is empty" : *why ? why : "is missing";
            json_array_append_new(
                findings, json_sprintf("docs/work-items/%s/%s: %s", run->key, wanted[i], word));
        }
    }
    bool pass = json_array_size(findings) == 0;
    gate_set(run, gate, pass ? "pass" : "fail",
             pass ? "gate-passed: the artefacts 01 to 04 are there"
                  : "gate-failed: artefacts are missing or empty",
             findings);
    return STEP_OK;
}

static enum step architecture_done(struct run *run, struct gate_files *files, const char *gate)
{
    for (size_t i = 0; i < files->count; i++) {
        const char *name = files->list[i].name;
        size_t size = strlen(name);
        if (strncmp(name, "06-adr/ADR-", 11) == 0 && size > 14 &&
            strcmp(name + size - 3, ".md") == 0 && files->list[i].regular &&
            files->list[i].size > 0 && !strchr(name + 7, '/')) {
            gate_set(run, gate, "pass", "gate-passed: a decision is recorded", NULL);
            return STEP_OK;
        }
    }
    gate_set(
        run, gate, "fail", "gate-failed: no decision is recorded",
        json_pack("[o]", json_sprintf("docs/work-items/%s/06-adr/ holds no ADR-*.md", run->key)));
    return STEP_OK;
}

/* Branch pushed and pull request open are what the steps before have just read back. */
static enum step ci_green(struct run *run, const char *gate, char **fault)
{
    bool shown = run->pull.number && run->pull.open && run->pull.head_sha && run->head &&
                 strcmp(run->pull.head_sha, run->head) == 0;
    if (shown)
        return gate_ci_green(run, 0, fault);
    gate_set(run, gate, "fail", "gate-failed: no open pull request shows the branch's head",
             json_pack("[s]", "There is nothing to review: the branch holds no commit that "
                              "the default branch lacks."));
    return STEP_OK;
}

/* The findings of a verdict file: its body, word for word; else its reason alone. */
static json_t *body_as_findings(const char *text, size_t size, const char *reason)
{
    char *body = text ? verdict_body(text, size, BODY_MAX_BYTES) : xstrdup("");
    json_t *finding = json_string(*body ? body : reason);
    free(body);
    return json_pack("[o]", finding);
}

/* A review is bound to the commit on which it started, what follows to the review's. */
static enum step check_bound(struct run *run, const char *gate, char **fault)
{
    bool moved;
    const char *reviewed = strcmp(run->stage, "review") == 0
                               ? message_text(run->launch, "start_head", NULL)
                               : message_text(run->spec, "reviewed", NULL);
    return gate_bound(run, gate, reviewed, run->head, &moved, fault);
}

static enum step verdict_gate(struct run *run, struct gate_files *files, const char *gate,
                              const char *name, char **fault)
{
    struct verdict verdict;
    size_t size = 0;
    const char *why;
    const char *text = gate_files_read(run, files, name, &size, &why, fault);
    if (*fault)
        return STEP_AGAIN;
    if (*why) {
        verdict = (struct verdict){.pass = false};
        snprintf(verdict.reason, sizeof verdict.reason, "gate-failed: %s: %s", name, why);
    } else if (strcmp(gate, "check_reviewer_verdict") == 0) {
        verdict_reviewer(name, text, size, &verdict);
    } else if (strcmp(gate, "check_tests_passed") == 0) {
        verdict_tester(name, text, size, &verdict);
    } else {
        verdict_status(name, "staging_status", text, size, &verdict);
    }
    gate_set(run, gate, verdict.pass ? "pass" : "fail", verdict.reason,
             verdict.pass ? NULL : body_as_findings(text, size, verdict.reason));
    return verdict.pass ? check_bound(run, gate, fault) : STEP_OK;
}

enum step gate_of_stage(struct run *run, char **fault)
{
    enum stage stage = stage_by_name(run->stage);
    const char *gate = stage < STAGE_COUNT ? stage_table[stage].gate : "";
    if (!*gate)
        return STEP_OK;
    struct gate_files *files = gate_files_list(run, fault);
    if (!files)
        return STEP_AGAIN;
    enum step step = STEP_OK;
    note_artefacts(run, files);
    if (strcmp(gate, "check_analysis_complete") == 0)
        step = analysis_complete(run, files, gate, fault);
    else if (strcmp(gate, "check_architecture_done") == 0)
        step = architecture_done(run, files, gate);
    else if (strcmp(gate, "check_ci_green") == 0)
        step = ci_green(run, gate, fault);
    else if (strcmp(gate, "check_reviewer_verdict") == 0)
        step = verdict_gate(run, files, gate, "12-review.md", fault);
    else if (strcmp(gate, "check_tests_passed") == 0)
        step = verdict_gate(run, files, gate, "13-test-report.md", fault);
    else if (strcmp(gate, "check_staging_status") == 0)
        step = verdict_gate(run, files, gate, "15-staging-log.md", fault);
    if (step == STEP_OK)
        step = gate_schema(run, files, gate, fault);
    gate_files_free(files);
    return step;
}

/* ---- mergeable ---- */

static json_t *conflict_findings(const char *out, const char *base)
{
    const char *files = strchr(out, '\n');
    const char *list = files ? files + 1 : "(no file named)";
    char *names = utf8_text(list, strlen(list), BODY_MAX_BYTES);
    json_t *finding = json_sprintf("The branch conflicts with %s in:\n%s", base, names);
    free(names);
    return json_pack("[o]", finding);
}

enum step gate_branch_mergeable(struct run *run, char **fault)
{
    static const char gate[] = "check_branch_mergeable";
    struct git_call call = repository_call(&run->repository);
    const char *pinned = message_text(run->spec, "head", NULL);
    const char *reviewed = message_text(run->spec, "reviewed", pinned);
    bool moved = false;
    char *head = repository_ref(&run->repository, "refs/remotes/origin/%s", run->branch);
    char *base = repository_ref(&run->repository, "refs/remotes/origin/%s", run->repository.base);
    char *out = NULL;
    enum step step = STEP_OK;
    free(run->head);
    run->head = head ? xstrdup(head) : NULL;
    if (!head || !base) {
        gate_set(run, gate, "unknown", "gate-unknown: the branch or its base is not at the forge",
                 NULL);
    } else if ((step = gate_bound(run, gate, reviewed, head, &moved, fault)) != STEP_OK || moved) {
        /* said */
    } else {
        int code = git_run(&call, &out, fault, "merge-tree", "--write-tree", "--name-only",
                           "--no-messages", base, head, NULL);
        json_object_set_new(run->detail, "old_head", json_string(head));
        json_object_set_new(run->detail, "new_head", json_string(head));
        json_object_set_new(run->detail, "base", json_string(base));
        if (code == 0) {
            gate_set(run, gate, "pass", "gate-passed: merges cleanly", NULL);
        } else if (code == 1) {
            gate_set(run, gate, "fail", "conflict: does not merge cleanly",
                     conflict_findings(out ? out : "", run->repository.base));
        } else {
            step = STEP_AGAIN;
        }
        if (step == STEP_OK) {
            free(*fault);
            *fault = NULL;
        }
    }
    free(out);
    free(head);
    free(base);
    return step;
}
