/* PURE: no I/O */
#include "lib/forge/ci_judge.h"

#include <string.h>

const char *const ci_verdict_names[] = {
    [CI_PASS] = "pass", [CI_FAIL] = "fail", [CI_WAITING] = "waiting"};

enum ci_setting ci_setting_by_name(const char *name)
{
    if (strcmp(name, "none") == 0)
        return CI_NONE;
    return strcmp(name, "auto") == 0 ? CI_AUTO : CI_REQUIRED;
}

static bool is_without_ci(const struct ci_facts *facts)
{
    return facts->setting == CI_AUTO && !facts->ever && facts->age_ms >= facts->grace_ms;
}

enum ci_verdict ci_judge(const struct ci_facts *facts)
{
    if (facts->setting == CI_NONE)
        return CI_PASS;
    switch (facts->state) {
    case FORGE_CI_GREEN:
        return CI_PASS;
    case FORGE_CI_RED:
        return CI_FAIL;
    case FORGE_CI_NONE:
        return is_without_ci(facts) ? CI_PASS : CI_WAITING;
    case FORGE_CI_PENDING:
        break;
    }
    return CI_WAITING;
}
