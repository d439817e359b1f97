/* doctor: its checks, in two files. */
#ifndef ORCH_CTL_DOCTOR_H
#define ORCH_CTL_DOCTOR_H

#include "tools/orchctl.h"

struct doctor {
    const struct config *config;
    json_t *checks; /* {name, state: ok|warning|failed, detail, cure} */
    int failed;
};

enum finding { GOOD, WARNING, BAD };

/* Takes detail. cure: what to do; NULL where it is good. */
void doctor_note(struct doctor *doctor, enum finding finding, const char *name, char *detail,
                 const char *cure);
/* First line of what a program says; NULL where it cannot be run. Caller frees. */
char *doctor_first_words(const char *const *argv);
/* Where a program is found, as exec would. Caller frees; NULL. */
char *doctor_find_program(const char *name);

/* doctor_projects.c: agents, repositories and gates of the configuration. */
void doctor_projects(struct doctor *doctor);

#endif
