/* PURE: no I/O */
/* What an artefact's frontmatter says, as pass or fail. Words in the body never count. A file that
 * is missing, broken or says nothing is a failure with its reason. */
#ifndef ORCH_VERDICTS_H
#define ORCH_VERDICTS_H

#include <stdbool.h>
#include <stddef.h>

enum { VERDICT_REASON = 240 };

struct verdict {
    bool pass;
    char reason[VERDICT_REASON]; /* "code: text" */
};

/* text: the whole file, NULL where there is none. name: for the reason. */
void verdict_reviewer(const char *name, const char *text, size_t size, struct verdict *verdict);
void verdict_tester(const char *name, const char *text, size_t size, struct verdict *verdict);
/* key: deploy_status | staging_status; passes with exactly SUCCESS. */
void verdict_status(const char *name, const char *key, const char *text, size_t size,
                    struct verdict *verdict);

/* The body of an artefact (what follows its frontmatter, or all where it has none), without
 * surrounding blank lines, at most max bytes, as utf8_text. Caller frees. */
char *verdict_body(const char *text, size_t size, size_t max);

#endif
