/* PURE: no I/O */
/* Why a run failed: from its result record first, then exit code and signal, then what it wrote.
 * Chapter 03, Failures; contracts/claude-cli.md 1.3 and 1.5. */
#ifndef ORCH_CLASSIFY_H
#define ORCH_CLASSIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

struct run_facts {
    bool needs_result;    /* of the driver: success needs a result record */
    const json_t *result; /* NULL: none */
    int exit_code;
    int signal; /* 0: none */
    bool timed_out, stalled, cancelled;
    bool interrupted;       /* cancelled because we stop, not because of STOP */
    const char *exec_error; /* the program could not be executed; "" or NULL */
    const char *text;       /* last lines of standard error and output; may be NULL */
    bool limit_rejected;    /* the provider announced that the allowance is spent */
    int64_t limit_resets;   /* unix seconds; 0 unknown */
};

struct run_verdict {
    bool succeeded;
    const char *class; /* as in run_result; static */
    char reason[300];  /* "code: text" */
    int64_t resets_at; /* usage_limit: unix seconds of the stated reset; 0 unknown */
};

void classify_run(const struct run_facts *facts, struct run_verdict *verdict);

#endif
