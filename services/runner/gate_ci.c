#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/forge/ci.h"
#include "services/runner/gates.h"

enum step gate_ci_green(struct run *run, int64_t pushed_ms, char **fault)
{
    static const char *const codes[] = {
        [CI_PASS] = "gate-passed", [CI_FAIL] = "gate-failed", [CI_WAITING] = "waiting-ci"};
    struct ci_answer answer;
    if (ci_look(run->forge, run->runner->config, run->project, run->head, pushed_ms, &answer,
                fault) < 0)
        return STEP_AGAIN;
    char *reason = xformat("%s: %s", codes[answer.verdict], answer.words);
    gate_set(run, "check_ci_green", ci_verdict_names[answer.verdict], reason,
             json_incref(answer.findings));
    free(reason);
    ci_answer_free(&answer);
    return STEP_OK;
}

enum step gate_ci_before_merge(struct run *run, int64_t number, bool *go, char **fault)
{
    int done = forge_merge_is_done(run->forge, number, run->head, fault);
    *go = done > 0;
    if (done != 0)
        return done > 0 ? STEP_OK : STEP_AGAIN;
    enum step step = gate_ci_green(run, message_integer(run->spec, "head_since_ms", 0), fault);
    *go = step == STEP_OK && strcmp(message_text(run->gate, "verdict", ""), "pass") == 0;
    if (*go) { /* the end of a merge is the forge's word, not CI's */
        json_decref(run->gate);
        run->gate = NULL;
    }
    return step;
}
