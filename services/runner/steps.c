/* A run from whatever its directory shows to its result. Start-up and recovery are this same code:
 * nothing here remembers what an earlier runner did. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/buffer.h"
#include "lib/crash.h"
#include "lib/file.h"
#include "services/runner/agent.h"
#include "services/runner/agent_user.h"
#include "services/runner/classify.h"
#include "services/runner/gates.h"
#include "services/runner/hook.h"
#include "services/runner/runner.h"

enum { ERR_MAX_BYTES = 64 * 1024 * 1024, ERR_TAIL = 2000, STARTS_MAX = 3, UNKNOWN_MS = 200 };

static bool has(const struct run *run, const char *name)
{
    char *path = run_path(run, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

static void finish_cancelled(struct run *run)
{
    run_finish(run, "cancelled", "none", "stopped: stopped by a person");
}

static bool left_something(const struct run *run, const struct workspace_state *state)
{
    const char *start = message_text(run->launch, "start_head", "");
    return state->changed_size || state->half_done ||
           (state->head && strcmp(state->head, start) != 0);
}

/* What a run that did not succeed leaves is saved before anybody may overwrite it. */
static void save_work(struct run *run)
{
    char *fault = NULL, *ref = NULL;
    struct workspace_state state = {0};
    if (run_open(run, &fault) < 0 || !workspace_exists(&run->workspace) ||
        workspace_secure(&run->workspace, &fault) < 0 ||
        workspace_look(&run->workspace, &state, &fault) < 0)
        goto done;
    if (!left_something(run, &state))
        goto done;
    repository_lock(&run->repository);
    if (workspace_save(&run->workspace, run->id, &ref, &fault) == 0)
        json_object_set_new(run->detail, "preserved", json_string(ref));
    repository_unlock(&run->repository);

done:
    if (fault)
        log_warn("save", "run %s: %s", run->id, fault);
    workspace_state_free(&state);
    free(fault);
    free(ref);
}

static void finish_failed(struct run *run, const char *class, const char *reason)
{
    save_work(run);
    run_finish(run, "failed", class, reason);
}

/* A step that did not come to its good end. */
static void finish_step(struct run *run, enum step step, const char *fault)
{
    if (step == STEP_STOPPED) {
        if (atomic_load(&run->stopping))
            finish_cancelled(run);
        return; /* else we quit: the next runner goes on from here */
    }
    const char *class = run->fault_class ? run->fault_class : "operator";
    char *reason = xformat("%s: %s", class, fault ? fault : "failed");
    finish_failed(run, class, reason);
    free(reason);
}

/* ---- after the agent ---- */

static const struct {
    const char *doing;
    enum step (*work)(struct run *run, char **fault);
    enum crash_point after;
} publishing[] = {
    {"committing", publish_commit, CRASH_RUN_AFTER_COMMIT},
    {"pushing", publish_push, CRASH_RUN_AFTER_PUSH},
    {"opening the pull request", publish_pull_request, CRASH_RUN_AFTER_PULL_REQUEST},
    {"judging the gate", gate_of_stage, CRASH_POINT_COUNT},
};

static void publish(struct run *run)
{
    char *fault = NULL;
    if (run_open(run, &fault) < 0) {
        finish_step(run, STEP_FAILED, fault);
        free(fault);
        return;
    }
    for (size_t i = 0; i < sizeof publishing / sizeof *publishing; i++) {
        enum step step = run_repeat(run, publishing[i].doing, publishing[i].work, &fault);
        if (step != STEP_OK) {
            finish_step(run, step, fault);
            free(fault);
            return;
        }
        if (publishing[i].after != CRASH_POINT_COUNT)
            crash_point(publishing[i].after);
    }
    run_finish(run, "succeeded", "none", "ok: done");
}

/* The last of what the agent said, for the classification: errors stand on standard error. */
static char *last_words(struct run *run)
{
    char *path = run_path(run, "err"), *tail = output_own_tail(&run->output);
    size_t size = 0;
    char *err = file_read(path, ERR_MAX_BYTES, &size);
    size_t from = size > ERR_TAIL ? size - ERR_TAIL : 0;
    char *text = xformat("%s%s%s", err ? err + from : "", err && size ? "\n" : "", tail);
    free(err);
    free(tail);
    free(path);
    return text;
}

static void judge_agent(struct run *run, struct run_verdict *verdict)
{
    const struct agent_driver *driver = agent_driver(run->project->agent);
    char *text = last_words(run);
    struct run_facts facts = {.needs_result = !driver || driver->needs_result,
                              .result = run->output.result,
                              .exit_code = run->status.exit_code,
                              .signal = run->status.signal,
                              .timed_out = run->status.timed_out,
                              .stalled = run->status.stalled,
                              .cancelled = run->status.cancelled,
                              .interrupted = run->status.cancelled && has(run, "interrupted"),
                              .exec_error = run->status.error,
                              .text = text,
                              .limit_rejected = run->output.limit_rejected,
                              .limit_resets = run->output.limit_resets};
    classify_run(&facts, verdict);
    free(text);
}

/* What the keeper could not end may still write into the workspace. */
static void end_leftovers(struct run *run)
{
    char *fault = NULL;
    const char *workspace = run_open(run, &fault) == 0 ? run->workspace.dir : NULL;
    run->executor->end_leftovers(run->dir, run->id, workspace, run->runner->agents);
    free(fault);
}

static void after_agent(struct run *run)
{
    struct run_verdict verdict;
    if (run->executor->collect(run->dir, &run->status) < 0) {
        run->fault_class = "lost";
        run_finish(run, "lost", "lost", "lost: the status file cannot be read");
        return;
    }
    if (run->status.executed)
        agent_run_say_started(run); /* it may have ended before anybody watched */
    if (!run->status.swept)
        end_leftovers(run);
    agent_user_drop_tmp(run->runner->config->home, run->id);
    agent_run_read_log(run, true);
    agent_run_account(run);
    judge_agent(run, &verdict);
    bool stopped = atomic_load(&run->stopping) || (has(run, "stop") && !has(run, "interrupted"));
    if (!run->status.executed && !run->status.cancelled && !stopped) {
        run_finish(run, "lost", "lost", "lost: the agent's process ended before it was the agent");
    } else if (!run->status.executed || stopped) {
        if (run->status.executed)
            save_work(run);
        finish_cancelled(run);
    } else if (verdict.succeeded) {
        crash_point(CRASH_RUN_AFTER_END);
        publish(run);
    } else {
        /* No retry_after_ms: the delay that the program announced last is the server's own only
         * where that named one, and nothing tells which. The queue's back-off is what counts. */
        if (verdict.resets_at)
            json_object_set_new(run->detail, "resets_at_ms",
                                json_integer(verdict.resets_at * 1000));
        finish_failed(run, verdict.class, verdict.reason);
    }
}

static void after_loss(struct run *run)
{
    struct log_about about = run_about(run);
    log_line(LOG_LEVEL_WARN, "lost", &about, "the keeper is gone without a status");
    end_leftovers(run);
    agent_user_drop_tmp(run->runner->config->home, run->id);
    agent_run_read_log(run, true);
    agent_run_account(run);
    save_work(run);
    if (atomic_load(&run->stopping) || (has(run, "stop") && !has(run, "interrupted")))
        finish_cancelled(run);
    else
        run_finish(run, "lost", "lost", "lost: the run's keeper is gone without a status");
}

/* ---- before ---- */

/* false: the run came to its end, or we quit. */
static bool start(struct run *run, int *starts)
{
    char *fault = NULL;
    if (atomic_load(&run->stopping) || has(run, "cancelled")) {
        run->executor->end(run->dir, 0);
        if (run->executor->observe(run->dir) != RUN_STATE_NEW)
            return true; /* a keeper was faster */
        finish_cancelled(run);
        return false;
    }
    enum step step = STEP_FAILED;
    if (!runner_take_workspace(run))
        step = STEP_STOPPED;
    else if (++*starts > STARTS_MAX)
        fault = xstrdup("the agent's keeper ends before it starts the agent; see keeper.log");
    else
        step = run_repeat(run, "preparing the workspace", agent_run_start, &fault);
    if (step == STEP_STOPPED && atomic_load(&run->stopping)) {
        free(fault);
        return true; /* once more round: to `cancelled` */
    }
    if (step != STEP_OK)
        finish_step(run, step, fault);
    free(fault);
    return step == STEP_OK;
}

static void wait_a_moment(void)
{
    const struct timespec moment = {.tv_nsec = UNKNOWN_MS * 1000000L};
    nanosleep(&moment, NULL);
}

static void agent_steps(struct run *run)
{
    for (int starts = 0;;) {
        switch (run->executor->observe(run->dir)) {
        case RUN_STATE_NEW:
            if (!start(run, &starts))
                return;
            break;
        case RUN_STATE_STARTING:
        case RUN_STATE_RUNNING:
            run_set_doing(run, "an agent is at work");
            agent_run_watch(run);
            break;
        case RUN_STATE_ENDED:
            run_set_doing(run, "finishing");
            after_agent(run);
            return;
        case RUN_STATE_LOST:
            after_loss(run);
            return;
        case RUN_STATE_UNKNOWN:
            if (run_stopped(run))
                return;
            wait_a_moment();
            break;
        }
    }
}

void run_steps(struct run *run)
{
    if (strcmp(run->job_kind, "agent") == 0)
        agent_steps(run);
    else if (!hook_job_run(run))
        reserved_run(run);
}
