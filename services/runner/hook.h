/* The programs of a project that a job without an agent runs: its deploy hook and its staging
 * check.
 *
 * Each call has a keeper of its own, as an agent has, in a folder of the run's directory: whoever
 * comes after us finds it there at work, ended or lost, and `started` is the fence that no second
 * start passes. It runs as our own user and is told the contract's variables and nothing else. */
#ifndef ORCH_HOOK_H
#define ORCH_HOOK_H

#include "services/runner/runner.h"

struct hook_call {
    const char *folder;         /* in the run's directory */
    const char *program, *verb; /* verb NULL: the program has none */
    const char *sha;
    bool production; /* is told what names production */
};

enum hook_end {
    HOOK_ENDED,
    HOOK_REFUSED, /* it was never executed, and this run will not: fault says why */
    HOOK_STOPPED, /* we ended it, or it was not begun, because a person wanted so */
    HOOK_LOST,    /* it was started, and nobody can say how it ended */
    HOOK_LEFT,    /* we quit; it goes on, and the next runner looks for it */
};

struct hook_result {
    enum hook_end end;
    int exit_code; /* -9: it ran too long */
    bool timed_out;
    int64_t started_ms, ended_ms;
    char *output; /* last lines of what it said, bounded; never NULL after a call */
    char *fault;
};

/* ---- hook_call.c ---- */

/* From whatever its folder shows to its end. The caller frees result with hook_result_free. */
void hook_call_run(struct run *run, const struct hook_call *call, struct hook_result *result);
void hook_result_free(struct hook_result *result);
/* Whether an earlier runner, or we, have begun it. */
bool hook_call_begun(const struct run *run, const struct hook_call *call);
/* A question that changes nothing, without a keeper: asked again by whoever comes after us.
 * exit_code in *result, which is freed in the same way; HOOK_REFUSED where it cannot be asked. */
void hook_ask(struct run *run, const struct hook_call *call, struct hook_result *result);

/* The program that a name of the configuration means: an absolute path, or found through PATH. NULL
 * and *fault (caller frees both) where it is none that could be executed. */
char *hook_find(const char *name, char **fault);

/* ---- hook_context.c ---- */

/* What the hook builds from: the files of exactly this commit at <run>/context, ours, without any
 * git metadata, from our own repository. Made once; fetched where the commit is not known yet. */
enum step hook_context_make(struct run *run, const char *sha, char **fault);
char *hook_context_path(const struct run *run); /* caller frees */
void hook_context_remove(const struct run *run);

/* ---- hook.c ---- */

/* The job kinds deploy and stage; false: it is none of them. */
bool hook_job_run(struct run *run);

/* ---- deploy_log.c: 14-deploy-log.md, a record under home/artefacts/<task>/ ---- */

struct deploy_log {
    bool success;
    const char *revision;
    const char *words;  /* what was done */
    const char *output; /* last lines of the hook; NULL or "": none */
};

/* Written, read back, and run->gate is what was read: check_deploy_status passes with SUCCESS.
 * findings: borrowed, for a failure; NULL: the reason. */
enum step deploy_log_write(struct run *run, const struct deploy_log *log, json_t *findings,
                           char **fault);

#endif
