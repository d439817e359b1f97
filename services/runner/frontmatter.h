/* PURE: no I/O */
/* The frontmatter of an artefact: a YAML mapping between `---` fences, the first of them the file's
 * first line. Scalars only. Whatever is odd about a file is a clear negative reason, never a crash
 * and never a pass. */
#ifndef ORCH_FRONTMATTER_H
#define ORCH_FRONTMATTER_H

#include <stdbool.h>
#include <stddef.h>

enum {
    FRONTMATTER_FILE_MAX = 1024 * 1024, /* a larger artefact is refused */
    FRONTMATTER_MAX = 64 * 1024,        /* bytes between the fences */
    FRONTMATTER_KEYS_MAX = 100,
    FRONTMATTER_REASON = 160,
};

struct frontmatter {
    size_t count;
    char *keys[FRONTMATTER_KEYS_MAX], *values[FRONTMATTER_KEYS_MAX];
    size_t body; /* offset of what follows the closing fence */
};

/* 0, or -1 and why. text may hold any bytes. On success frontmatter_free is the caller's. */
int frontmatter_parse(const char *text, size_t size, struct frontmatter *front,
                      char reason[FRONTMATTER_REASON]);
void frontmatter_free(struct frontmatter *front);

/* The value of a key (exact case); NULL where it is absent. Borrowed. */
const char *frontmatter_get(const struct frontmatter *front, const char *key);

/* Names of the keys that every artefact should have and this one lacks, ", " between; "" where it
 * has all. Caller frees. */
char *frontmatter_missing(const struct frontmatter *front);

#endif
