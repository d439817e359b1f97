/* The task's artefacts at the judged commit, read from our own repository. */
#ifndef ORCH_GATE_FILES_H
#define ORCH_GATE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include "services/runner/runner.h"

enum { GATE_FILES_MAX = 500 };

struct gate_file {
    char *name; /* below the artefact directory */
    char *object;
    size_t size;
    bool regular;
    char *text; /* once it was read */
    size_t text_size;
};

struct gate_files {
    struct gate_file list[GATE_FILES_MAX];
    size_t count;
};

/* What stands under docs/work-items/<key>/ at run->head. NULL and *fault. */
struct gate_files *gate_files_list(struct run *run, char **fault);
void gate_files_free(struct gate_files *files);

/* The content of a regular file of a readable size. NULL where there is none: *why is "" where it
 * is absent, else what is wrong; *fault where git could not be asked. Borrowed from files. */
const char *gate_files_read(struct run *run, struct gate_files *files, const char *name,
                            size_t *size, const char **why, char **fault);

/* Whether the stage's artefacts have the keys that every artefact has. What is missing is logged
 * and noted in run->detail; with frontmatter.validation_strict it turns a pass into a fail.
 * STEP_AGAIN and *fault where git could not be asked. */
enum step gate_schema(struct run *run, struct gate_files *files, const char *gate, char **fault);

#endif
