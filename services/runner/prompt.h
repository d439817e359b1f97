/* PURE: no I/O */
/* The prompt of a run: three lines that say what it is, the role's brief, the task as data, what
 * earlier stages left, and the findings word for word. */
#ifndef ORCH_PROMPT_H
#define ORCH_PROMPT_H

#include <stdbool.h>
#include <jansson.h>

struct prompt_parts {
    const json_t *spec;      /* the run_start message */
    const char *brief;       /* the role's file, frontmatter included */
    const char *base_branch; /* the default branch */
    const json_t *artefacts; /* names of the files under docs/work-items/<key>/ now */
    bool resumed;            /* the session goes on */
};

/* Caller frees. */
char *prompt_build(const struct prompt_parts *parts);

/* "docs/work-items/<key>". Caller frees. */
char *prompt_artefact_dir(const char *key);

#endif
