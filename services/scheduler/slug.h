/* PURE: no I/O */
#ifndef ORCH_SLUG_H
#define ORCH_SLUG_H

enum { SLUG_MAX = 40, BRANCH_SIZE = 128 };

/* Lower-case ASCII letters, digits and single hyphens from any text, cut at a word where possible;
 * "task" where nothing is left. Latin letters with marks lose them. */
void slug_of(const char *title, char out[SLUG_MAX + 1]);

/* "feature/<KEY>-<slug>": passes git check-ref-format for any key and title. */
void slug_branch(const char *key, const char *title, char out[BRANCH_SIZE]);

#endif
