/* PURE: no I/O */
/* What CI's statuses are worth: chapter 02. Right after a push they are empty everywhere, so empty
 * is "no CI" only where that is configured, or after a while in a repository that never had one. */
#ifndef ORCH_CI_JUDGE_H
#define ORCH_CI_JUDGE_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/forge/forge.h"

enum ci_setting { CI_NONE, CI_AUTO, CI_REQUIRED };
enum ci_setting ci_setting_by_name(const char *name); /* an unknown one: CI_REQUIRED */

struct ci_facts {
    enum ci_setting setting; /* of the project */
    enum forge_ci state;     /* all statuses of the commit together */
    bool ever;               /* the repository ever had a status */
    int64_t age_ms;          /* since the commit was pushed, as far as is known */
    int64_t grace_ms;        /* ci.grace_s */
};

enum ci_verdict { CI_PASS, CI_FAIL, CI_WAITING };
extern const char *const ci_verdict_names[]; /* as in a gate: pass fail waiting */

enum ci_verdict ci_judge(const struct ci_facts *facts);

#endif
