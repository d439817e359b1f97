/* Merging in the built-in forge: plumbing only, one move of the base's ref with its old value. The
 * ref is the truth and the file follows: a kill between the two is found by the trailer, or by the
 * pinned commit being in the base already. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/crash.h"
#include "lib/forge/forge_internal.h"
#include "lib/log.h"
#include "lib/utf8.h"

enum { ROUNDS = 5, CONFLICT_TEXT_MAX = 4000, SUBJECT_MAX = 200 };

struct merge {
    struct forge *forge;
    const struct merge_request *request;
    struct pull_request pull;
    struct git_call call;
    char *base_ref, *base; /* the base's ref and its commit now */
    struct merge_report *report;
};

static enum merge_outcome fail(struct merge *merge, enum merge_outcome outcome, char *fault)
{
    free(merge->report->fault);
    merge->report->fault = fault;
    return outcome;
}

static bool style_is(const struct merge *merge, const char *style)
{
    return strcmp(merge->request->style, style) == 0;
}

/* ---- traces of an earlier call ---- */

/* The commit in base that carries this pull request's trailer and this head. On the base's own
 * line: what a branch brought with it may say what it likes. */
static char *find_trace(struct merge *merge)
{
    char *out = NULL;
    char *number = xformat("--grep=^Orch-Pull-Request: %lld$", (long long)merge->request->number);
    char *head = xformat("--grep=^Orch-Head: %s$", merge->request->pinned);
    char *range = xformat("^%s", merge->request->pinned);
    int code = git_run(&merge->call, &out, NULL, "log", "-1", "--first-parent", "--format=%H",
                       "--all-match", number, head, merge->base, range, "--", NULL);
    free(number);
    free(head);
    free(range);
    if (code == 0 && git_is_object_name(out))
        return out;
    free(out);
    return NULL;
}

/* The merge commit where an earlier call had moved the ref; NULL where it had not. */
static char *find_merged(struct merge *merge)
{
    char *trace = find_trace(merge);
    if (trace)
        return trace;
    if (git_is_ancestor(&merge->call, merge->request->pinned, merge->base) == 1)
        return xstrdup(merge->request->pinned); /* fast-forwarded, or merged by another hand */
    return NULL;
}

/* ---- the merge ---- */

/* The tree of both; conflicts: NULL and a text that names the files. */
static char *merge_tree(struct merge *merge, enum merge_outcome *outcome)
{
    char *out = NULL, *fault = NULL;
    int code = git_run(&merge->call, &out, &fault, "merge-tree", "--write-tree", "--name-only",
                       "--no-messages", merge->base, merge->request->pinned, NULL);
    const char *list = out ? strchr(out, '\n') : NULL;
    if (code == 0) {
        free(fault);
        return out;
    }
    if (code == 1) {
        list = list ? list + 1 : "(no file named)";
        char *files = utf8_text(list, strlen(list), CONFLICT_TEXT_MAX);
        *outcome = fail(merge, MERGE_CONFLICT,
                        xformat("conflicts with %s in:\n%s", merge->pull.base, files));
        free(files);
    } else
        *outcome = fail(merge, MERGE_FAILED, xformat("git merge-tree: %s", fault ? fault : ""));
    free(out);
    free(fault);
    return NULL;
}

/* One line: a title is people's text, and trailers of ours stand below it. */
static char *subject_of(const struct merge *merge)
{
    const char *title =
        merge->pull.title && *merge->pull.title ? merge->pull.title : merge->pull.head;
    char *subject = utf8_text(title, strlen(title), SUBJECT_MAX);
    for (char *at = subject; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    }
    return subject;
}

static char *commit_tree(struct merge *merge, const char *tree)
{
    bool squash = style_is(merge, "squash");
    char *out = NULL, *fault = NULL, *subject = subject_of(merge);
    char *message = xformat("%s%s\n\nOrch-Pull-Request: %lld\nOrch-Head: %s\n",
                            squash ? "" : "Merge pull request: ", subject,
                            (long long)merge->request->number, merge->request->pinned);
    free(subject);
    struct git_call call = merge->call;
    call.input = message;
    call.identity = &merge->request->identity;
    int code = squash ? git_run(&call, &out, &fault, "commit-tree", "-p", merge->base, "-F", "-",
                                tree, NULL)
                      : git_run(&call, &out, &fault, "commit-tree", "-p", merge->base, "-p",
                                merge->request->pinned, "-F", "-", tree, NULL);
    free(message);
    if (code != 0 || !git_is_object_name(out)) {
        fail(merge, MERGE_FAILED, xformat("git commit-tree: %s", fault ? fault : ""));
        free(out);
        out = NULL;
    }
    free(fault);
    return out;
}

/* The commit that base is to become; NULL and *outcome where there is none. */
static char *make_commit(struct merge *merge, enum merge_outcome *outcome)
{
    if (style_is(merge, "fast-forward-only")) {
        if (git_is_ancestor(&merge->call, merge->base, merge->request->pinned) == 1)
            return xstrdup(merge->request->pinned);
        *outcome = fail(
            merge, MERGE_CONFLICT,
            xformat("%s is not ahead of %s: no fast-forward", merge->pull.head, merge->pull.base));
        return NULL;
    }
    char *tree = merge_tree(merge, outcome);
    if (!tree)
        return NULL;
    char *commit = commit_tree(merge, tree);
    free(tree);
    if (!commit)
        *outcome = MERGE_FAILED;
    return commit;
}

/* Moves the base. MERGE_MOVED here: somebody else moved it first, look again. */
static enum merge_outcome move_base(struct merge *merge, const char *commit)
{
    char *fault = NULL;
    int code = git_run(&merge->call, NULL, &fault, "update-ref", "-m", "orchestrator: merge",
                       merge->base_ref, commit, merge->base, NULL);
    enum merge_outcome outcome = code == 0 ? MERGE_DONE : MERGE_FAILED;
    if (code != 0) {
        char *now = git_resolve(&merge->call, merge->base_ref);
        if (now && strcmp(now, merge->base) != 0)
            outcome = MERGE_MOVED;
        else
            fail(merge, MERGE_FAILED, xformat("git update-ref: %s", fault ? fault : ""));
        if (outcome == MERGE_FAILED)
            forge_mend(merge->forge);
        free(now);
    }
    free(fault);
    return outcome;
}

static enum merge_outcome record(struct merge *merge, char *commit, bool already)
{
    merge->report->commit = commit;
    merge->report->already = already;
    merge->pull.open = false;
    merge->pull.merged = true;
    free(merge->pull.head_sha);
    merge->pull.head_sha = xstrdup(merge->request->pinned);
    free(merge->pull.merge_commit);
    merge->pull.merge_commit = xstrdup(commit);
    if (local_pull_write(merge->forge, &merge->pull, true) < 0)
        return fail(
            merge, MERGE_FAILED,
            xformat("pull request %lld: %s", (long long)merge->pull.number, strerror(errno)));
    return MERGE_DONE;
}

static enum merge_outcome merge_round(struct merge *merge)
{
    free(merge->base);
    merge->base = git_resolve(&merge->call, merge->base_ref);
    if (!merge->base)
        return fail(merge, MERGE_FAILED, xformat("no branch %s", merge->pull.base));
    char *merged = find_merged(merge);
    if (merged)
        return record(merge, merged, true);
    if (!merge->pull.open)
        return fail(merge, MERGE_CLOSED, xstrdup("the pull request was closed without a merge"));
    if (!merge->pull.head_sha || strcmp(merge->pull.head_sha, merge->request->pinned) != 0)
        return fail(merge, MERGE_MOVED,
                    xformat("the head of %s is %s, not the judged %s", merge->pull.head,
                            merge->pull.head_sha ? merge->pull.head_sha : "gone",
                            merge->request->pinned));
    enum merge_outcome outcome = MERGE_FAILED;
    char *commit = make_commit(merge, &outcome);
    if (!commit)
        return outcome;
    outcome = move_base(merge, commit);
    if (outcome != MERGE_DONE) {
        free(commit);
        return outcome;
    }
    crash_point(CRASH_MERGE_AFTER_REF);
    return record(merge, commit, false);
}

/* Merged is merged; but not with another head, which nobody judged. */
static enum merge_outcome closed_before(struct merge *merge)
{
    const char *sha = merge->pull.head_sha;
    if (!sha || strcmp(sha, merge->request->pinned) != 0)
        return fail(merge, MERGE_MOVED,
                    xformat("merged before, with the head %s and not the judged %s",
                            sha ? sha : "unknown", merge->request->pinned));
    merge->report->commit =
        xstrdup(merge->pull.merge_commit ? merge->pull.merge_commit : merge->request->pinned);
    merge->report->already = true;
    return MERGE_DONE;
}

int forge_merge_is_done(struct forge *forge, int64_t number, const char *pinned, char **fault)
{
    const struct merge_request request = {.number = number, .pinned = pinned};
    struct merge merge = {.forge = forge, .request = &request, .call = local_call(forge)};
    int result = forge_pull_get(forge, number, &merge.pull, fault);
    if (result > 0 && !merge.pull.merged) {
        char *ref = xformat("refs/heads/%s", merge.pull.base);
        merge.base = git_resolve(&merge.call, ref);
        char *merged = merge.base ? find_merged(&merge) : NULL;
        result = merged ? 1 : 0;
        free(merged);
        free(merge.base);
        free(ref);
    }
    forge_pull_free(&merge.pull);
    return result;
}

enum merge_outcome forge_merge(struct forge *forge, const struct merge_request *request,
                               struct merge_report *report)
{
    struct merge merge = {
        .forge = forge, .request = request, .report = report, .call = local_call(forge)};
    *report = (struct merge_report){0};
    int found = forge_pull_get(forge, request->number, &merge.pull, &report->fault);
    if (found < 0)
        return MERGE_FAILED;
    if (found == 0)
        return fail(&merge, MERGE_CLOSED,
                    xformat("there is no pull request %lld", (long long)request->number));
    enum merge_outcome outcome;
    merge.base_ref = xformat("refs/heads/%s", merge.pull.base);
    if (merge.pull.merged) {
        outcome = closed_before(&merge);
    } else {
        outcome = MERGE_MOVED;
        for (int round = 0; round < ROUNDS && outcome == MERGE_MOVED && !report->fault; round++)
            outcome = merge_round(&merge);
    }
    if (outcome == MERGE_MOVED && !report->fault) /* the base kept moving under us */
        outcome = fail(&merge, MERGE_FAILED, xstrdup("the base moves faster than it is merged"));
    free(merge.base_ref);
    free(merge.base);
    forge_pull_free(&merge.pull);
    return outcome;
}
