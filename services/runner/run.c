#include "services/runner/runner.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/file.h"
#include "lib/mask.h"
#include "lib/utf8.h"
#include "services/runner/agent.h"

enum {
    RESULT_MAX_BYTES = MESSAGE_MAX_BYTES,
    BRANCH_MAX = 200,
    TEXT_MAX_BYTES = 8000,
    BACKOFF_MS = 200,
    BACKOFF_MAX_MS = 20 * 1000,
    GIVE_UP_MS = 10 * 60 * 1000,
};

bool run_id_ok(const char *id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._~-";
    size_t size = strlen(id);
    return size > 0 && size <= 200 && id[0] != '.' && strspn(id, letters) == size;
}

/* As `git check-ref-format --branch` would have it, and nothing that a refspec or an option could
 * be made of. */
bool run_branch_ok(const char *branch)
{
    size_t size = strlen(branch);
    if (size == 0 || size > BRANCH_MAX || strpbrk(branch, " ~^:?*[\\\x7f") ||
        strchr("-/.", branch[0]) || strchr("/.", branch[size - 1]) || strstr(branch, "..") ||
        strstr(branch, "//") || strstr(branch, "@{") || strstr(branch, "/.") ||
        strstr(branch, ".lock/") || strcmp(branch, "HEAD") == 0)
        return false;
    for (const char *at = branch; *at; at++) {
        if ((unsigned char)*at < ' ')
            return false;
    }
    return size < 5 || strcmp(branch + size - 5, ".lock") != 0;
}

/* Key and role become part of paths as well. Caller frees what does not fit; NULL: all does. */
static char *misfit(const struct run *run)
{
    if (!run_id_ok(run->id) || !run_id_ok(run->key))
        return xformat("permanent: run or key is no safe file name: %s, %s", run->id, run->key);
    if (*run->role && !run_id_ok(run->role))
        return xformat("permanent: no role %s", run->role);
    if (!run_branch_ok(run->branch))
        return xformat("permanent: %s is no name of a branch", run->branch);
    if (!run->project)
        return xformat("operator: project %s is not configured",
                       message_text(run->spec, "project", ""));
    if (strcmp(run->branch, run->project->default_branch) == 0)
        return xformat("permanent: the task's branch is the default branch %s", run->branch);
    return NULL;
}

struct run *run_new(struct runner *runner, json_t *spec, char **fault)
{
    struct run *run = xcalloc(1, sizeof *run);
    run->runner = runner;
    run->spec = spec;
    run->id = xstrdup(message_text(spec, "run", ""));
    run->dir = xformat("%s/%s", runner->runs_dir, run->id);
    run->job_kind = message_text(spec, "job_kind", "");
    run->key = message_text(spec, "key", "");
    run->stage = message_text(spec, "stage", "");
    run->role = message_text(spec, "role", "");
    run->branch = message_text(spec, "branch", "");
    run->task = message_integer(spec, "task", 0);
    run->entry = message_integer(spec, "entry", 0);
    run->project = config_project(runner->config, message_text(spec, "project", ""));
    run->executor = &executor_local;
    run->called_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    run->log.fd = -1;
    const struct agent_driver *driver = run->project ? agent_driver(run->project->agent) : NULL;
    run->output.take = driver ? driver->take : NULL;
    run->doing = "starting";
    run->detail = json_object();
    *fault = misfit(run);
    if (*fault) {
        run_free(run);
        run = NULL;
    }
    return run;
}

void run_free(struct run *run)
{
    output_free(&run->output);
    run->executor->unwatch(run->watch);
    if (run->log.fd >= 0)
        close(run->log.fd);
    if (run->opened) {
        workspace_close(&run->workspace);
        repository_close(&run->repository);
        forge_close(run->forge);
    }
    forge_pull_free(&run->pull);
    json_decref(run->launch);
    json_decref(run->gate);
    json_decref(run->detail);
    json_decref(run->spec);
    close(run->called_fd);
    free(run->log_tail);
    free(run->head);
    free(run->dir);
    free(run->id);
    free(run);
}

char *run_path(const struct run *run, const char *name)
{
    return xformat("%s/%s", run->dir, name);
}

struct log_about run_about(const struct run *run)
{
    return (struct log_about){
        .task = run->key, .job = message_integer(run->spec, "job", 0), .run = run->id};
}

bool run_stopped(const struct run *run)
{
    return atomic_load(&run->stopping) || atomic_load(&run->runner->quitting);
}

int run_open(struct run *run, char **fault)
{
    const struct config *config = run->runner->config;
    if (run->opened)
        return 0;
    run->forge = forge_open(config, run->project, run->runner->git, fault);
    if (!run->forge)
        return -1;
    if (repository_open(&run->repository, run->runner->git, config->home, run->project->repo,
                        forge_remote(run->forge), run->project->default_branch, fault) < 0) {
        repository_close(&run->repository);
        forge_close(run->forge);
        run->forge = NULL;
        return -1;
    }
    workspace_open(&run->workspace, &run->repository, run->runner->agents, config->home, run->key,
                   run->task, run->branch);
    run->opened = true;
    return 0;
}

void run_set_doing(struct run *run, const char *doing)
{
    pthread_mutex_lock(&run->runner->mutex);
    run->doing = doing;
    pthread_mutex_unlock(&run->runner->mutex);
}

enum step run_repeat(struct run *run, const char *doing,
                     enum step (*work)(struct run *run, char **fault), char **fault)
{
    int64_t until = clock_mono_ms() + GIVE_UP_MS;
    int wait = BACKOFF_MS;
    bool said = false;
    struct log_about about = run_about(run);
    run_set_doing(run, doing);
    for (;;) {
        *fault = NULL;
        enum step step = run_stopped(run) ? STEP_STOPPED : work(run, fault);
        if (step != STEP_AGAIN)
            return step;
        if (clock_mono_ms() >= until)
            return STEP_FAILED;
        if (!said)
            log_line(LOG_LEVEL_WARN, "again", &about, "%s: %s; trying again", doing,
                     *fault ? *fault : "failed");
        bus_set_error(run->runner->service.bus, *fault ? *fault : doing);
        said = true;
        free(*fault);
        *fault = NULL;
        struct pollfd called = {run->called_fd, POLLIN, 0};
        poll(&called, 1, wait);
        wait = wait * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : wait * 2;
    }
}

/* ---- result ---- */

static json_t *number_or_null(bool known, int64_t value)
{
    return known ? json_integer(value) : json_null();
}

/* Texts of the world may be long, and no UTF-8; the result has to go out all the same. */
static json_t *text_value(const char *text)
{
    char *clean = utf8_text(text, strlen(text), TEXT_MAX_BYTES);
    json_t *value = json_string(clean);
    free(clean);
    return value;
}

static json_t *pull_value(const struct pull_request *pull)
{
    if (!pull->number)
        return json_null();
    return json_pack("{sI ss* ss*}", "number", (json_int_t)pull->number, "url", pull->url, "head",
                     pull->head_sha);
}

static void add_agent_fields(struct run *run, json_t *fields)
{
    bool ran = run->status.ended_ms > 0 && run->status.executed;
    json_t *account = json_object_get(run->detail, "account");
    json_t *usage = json_object_get(account, "usage"), *cost = json_object_get(account, "cost_usd");
    json_t *session = json_object_get(account, "session");
    json_object_set_new(fields, "exit_code", number_or_null(ran, run->status.exit_code));
    json_object_set_new(fields, "started_ms", number_or_null(ran, run->status.started_ms));
    json_object_set_new(fields, "ended_ms", number_or_null(ran, run->status.ended_ms));
    json_object_set(fields, "session", session ? session : json_null());
    json_object_set(fields, "usage", usage ? usage : json_null());
    json_object_set(fields, "cost_usd", cost ? cost : json_null());
    json_object_del(run->detail, "account");
}

static json_t *build_result(struct run *run, const char *outcome, const char *class,
                            const char *reason)
{
    char *tail = run->log_tail ? xstrdup(run->log_tail) : output_tail(&run->output);
    json_t *fields = json_pack("{ss ss ss so so so}", "run", run->id, "outcome", outcome, "class",
                               class, "reason", text_value(reason), "log_tail", text_value(tail),
                               "pull_request", pull_value(&run->pull));
    free(tail);
    add_agent_fields(run, fields);
    /* What the forge has not got is no head of the branch: whoever compares would find it
     * rewritten. */
    bool known = run->head && !run->head_is_local;
    json_object_set_new(fields, "head", known ? json_string(run->head) : json_null());
    json_object_set(fields, "gate", run->gate ? run->gate : json_null());
    json_object_set(fields, "detail", run->detail);
    json_t *message = message_new(MESSAGE_run_result, NULL, "O", fields);
    json_decref(fields);
    /* The main loop will own it: nothing in it is shared with this thread. */
    json_t *own = json_deep_copy(message);
    json_decref(message);
    mask_json(own); /* an agent may have printed what it was given */
    return own;
}

static void send_result(struct runner *runner, const char *id, json_t *message)
{
    char *acked = xformat("%s/%s/acked", runner->runs_dir, id);
    runner_send(runner, id, message, acked);
    free(acked);
}

void run_finish(struct run *run, const char *outcome, const char *class, const char *reason)
{
    struct log_about about = run_about(run);
    char *path = run_path(run, "result.json");
    runner_wait_on_disk(run);
    json_t *message = build_result(run, outcome, class, reason);
    size_t size;
    char *text = message_encode(message, &size);
    crash_point(CRASH_RUN_BEFORE_RESULT);
    /* On a full disk the result waits here: nothing is reported that a successor could not repeat.
     */
    for (int wait = BACKOFF_MS; file_write_atomic(path, text, size, 0600) < 0;) {
        log_line(LOG_LEVEL_ERROR, "result", &about, "%s: %s", path, strerror(errno));
        bus_set_error(run->runner->service.bus, "result.json cannot be written");
        usleep((unsigned)wait * 1000);
        wait = wait * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : wait * 2;
    }
    crash_point(CRASH_RUN_AFTER_RESULT);
    log_line(LOG_LEVEL_INFO, "result", &about, "%s (%s) %s", outcome, class, reason);
    send_result(run->runner, run->id, message);
    /* Beside its delivery: until this returns the run has its workspace, so what a power cut takes
     * from the disk can be found anew and comes out the same. */
    if (file_sync(path) < 0 || file_sync_dir(run->dir) < 0)
        log_line(LOG_LEVEL_ERROR, "result", &about, "%s: %s", path, strerror(errno));
    free(text);
    free(path);
}

int run_refuse(struct runner *runner, const char *id, const char *outcome, const char *class,
               const char *reason)
{
    char *dir = xformat("%s/%s", runner->runs_dir, id), *path = xformat("%s/result.json", dir);
    json_t *message =
        message_new(MESSAGE_run_result, NULL, "{ss ss ss so sn sn sn sn sn sn sn sn sn s{} ss}",
                    "run", id, "outcome", outcome, "class", class, "reason", text_value(reason),
                    "exit_code", "started_ms", "ended_ms", "session", "usage", "cost_usd", "head",
                    "pull_request", "gate", "detail", "log_tail", "");
    size_t size;
    char *text = message_encode(message, &size);
    log_warn("run", "run %s: %s", id, reason);
    int result = file_make_dirs(dir, 0700) == 0 ? file_write_durable(path, text, size, 0600) : -1;
    if (result == 0)
        send_result(runner, id, message);
    else
        json_decref(message);
    free(text);
    free(dir);
    free(path);
    return result;
}

bool run_resend(struct runner *runner, const char *id)
{
    char *path = xformat("%s/%s/result.json", runner->runs_dir, id);
    size_t size;
    char *text = file_read(path, RESULT_MAX_BYTES, &size);
    json_t *message = text ? json_loadb(text, size, 0, NULL) : NULL;
    struct message_fault fault;
    enum message_kind kind;
    bool whole =
        message && message_check(message, &kind, &fault) == 0 && kind == MESSAGE_run_result;
    if (whole)
        send_result(runner, id, message);
    else
        json_decref(message);
    free(text);
    free(path);
    return whole;
}
