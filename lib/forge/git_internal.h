/* What the files of git share; nobody else includes it. */
#ifndef ORCH_GIT_INTERNAL_H
#define ORCH_GIT_INTERNAL_H

#include "lib/forge/git.h"

/* The fixed part of every call's environment, NULL-terminated; lives as long as git. */
const char *const *git_environment(const struct git *git);

#endif
