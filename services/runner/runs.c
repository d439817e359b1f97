/* The runs of this process: a thread for each, what the scheduler orders, and at start what an
 * earlier runner left. */
#include "services/runner/loop.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/crash.h"
#include "lib/file.h"
#include "services/runner/agent_user.h"

enum { THREAD_STACK = 512 * 1024, SPEC_MAX_BYTES = MESSAGE_MAX_BYTES };

/* ---- runs and their threads ---- */

static void *run_main(void *argument)
{
    struct run *run = argument;
    struct runner *runner = run->runner;
    run_steps(run);
    pthread_mutex_lock(&runner->mutex);
    struct run **link = &runner->runs;
    while (*link != run)
        link = &(*link)->next;
    *link = run->next;
    runner->active--;
    runner->ended_runs++;
    pthread_cond_broadcast(&runner->ended);
    pthread_mutex_unlock(&runner->mutex);
    run_free(run);
    return NULL;
}

static struct run *find_run(struct runner *runner, const char *id)
{
    struct run *run = runner->runs;
    while (run && strcmp(run->id, id) != 0)
        run = run->next;
    return run;
}

static bool another_has_workspace(const struct run *run)
{
    for (const struct run *other = run->runner->runs; other; other = other->next) {
        if (other != run && other->task == run->task && other->has_workspace)
            return true;
    }
    return false;
}

bool runner_take_workspace(struct run *run)
{
    struct runner *runner = run->runner;
    bool said = false;
    pthread_mutex_lock(&runner->mutex);
    while (!run->has_workspace && !run_stopped(run)) {
        if (!another_has_workspace(run)) {
            run->has_workspace = true;
            break;
        }
        struct log_about about = run_about(run);
        if (!said)
            log_line(LOG_LEVEL_WARN, "wait", &about, "another run is in the workspace");
        said = true;
        run->doing = "waiting for another run of the task to end";
        pthread_cond_wait(&runner->ended, &runner->mutex);
    }
    pthread_mutex_unlock(&runner->mutex);
    return run->has_workspace;
}

bool runner_wait_on_disk(struct run *run)
{
    struct runner *runner = run->runner;
    pthread_mutex_lock(&runner->mutex);
    while (!run->on_disk && !run_stopped(run))
        pthread_cond_wait(&runner->ended, &runner->mutex);
    bool on_disk = run->on_disk;
    pthread_mutex_unlock(&runner->mutex);
    return on_disk;
}

/* In the list, its thread not started. Takes spec. NULL: *fault says why there is none. */
static struct run *add_run(struct runner *runner, json_t *spec, char **fault)
{
    struct run *run = run_new(runner, spec, fault);
    if (!run)
        return NULL;
    /* Whatever was started has been given the workspace by an earlier runner. */
    run->has_workspace =
        strcmp(run->job_kind, "agent") == 0 && run->executor->observe(run->dir) != RUN_STATE_NEW;
    pthread_mutex_lock(&runner->mutex);
    run->next = runner->runs;
    runner->runs = run;
    runner->active++;
    pthread_mutex_unlock(&runner->mutex);
    return run;
}

static void start_thread(struct run *run)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    if (pthread_create(&thread, &attributes, run_main, run) != 0)
        log_abort("thread", "no thread for run %s", run->id);
    pthread_attr_destroy(&attributes);
}

static bool is_active(struct runner *runner, const char *id)
{
    pthread_mutex_lock(&runner->mutex);
    bool active = find_run(runner, id) != NULL;
    pthread_mutex_unlock(&runner->mutex);
    return active;
}

/* ---- commands ---- */

static char *file_of(const struct runner *runner, const char *id, const char *name)
{
    return xformat("%s/%s/%s", runner->runs_dir, id, name);
}

static bool has(const struct runner *runner, const char *id, const char *name)
{
    char *path = file_of(runner, id, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

/* The directory with its spec.json. 0, or -1 with errno. */
static int write_spec(const struct runner *runner, const char *id, const json_t *spec)
{
    char *dir = xformat("%s/%s", runner->runs_dir, id), *path = file_of(runner, id, "spec.json");
    size_t size;
    char *text = message_encode(spec, &size);
    int result = file_make_dirs(dir, 0700);
    if (result == 0)
        result = file_write_atomic(path, text, size, 0600);
    int saved = errno;
    free(text);
    free(path);
    free(dir);
    errno = saved;
    return result;
}

/* On the disk, with all names on the way to it. A disk that fails here is no disk to go on with. */
static void sync_spec(const struct runner *runner, const char *id)
{
    char *dir = xformat("%s/%s", runner->runs_dir, id), *path = file_of(runner, id, "spec.json");
    if (file_sync(path) < 0 || file_sync_dir(dir) < 0 || file_sync_dir(runner->runs_dir) < 0)
        log_abort("run", "%s: %s", path, strerror(errno));
    free(path);
    free(dir);
}

static void accept_run(struct runner *runner, const char *id)
{
    runner_send(runner, id, message_new(MESSAGE_run_accepted, NULL, "{ss}", "run", id), NULL);
}

/* Takes fault: "class: text". What a hook may have done already is never tried anew by itself. */
static void refuse_misfit(struct runner *runner, const char *id, char *fault)
{
    char class[20];
    snprintf(class, sizeof class, "%.*s", (int)strcspn(fault, ":"), fault);
    if (has(runner, id, "hook/started"))
        snprintf(class, sizeof class, "permanent");
    run_refuse(runner, id, "failed", class, fault);
    free(fault);
}

/* The specification of a run whose thread may be preparing its workspace already: acknowledged once
 * it is on the disk, and nothing is started before. run NULL: it has no thread. */
static void accept_on_disk(struct runner *runner, const char *id, struct run *run)
{
    sync_spec(runner, id);
    accept_run(runner, id);
    if (!run)
        return;
    pthread_mutex_lock(&runner->mutex);
    run->on_disk = true;
    pthread_cond_broadcast(&runner->ended);
    pthread_mutex_unlock(&runner->mutex);
}

/* Its directory cannot be written (a full disk): kept until it can. */
static void keep_unwritten(struct runner *runner, json_t *item)
{
    log_error("run", "run %s: %s", message_text(item, "run", ""), strerror(errno));
    bus_set_error(runner->service.bus, "a run's directory cannot be written");
    json_array_append(runner->unwritten, item);
}

void runs_retry(struct runner *runner)
{
    if (json_array_size(runner->unwritten) == 0)
        return;
    json_t *items = runner->unwritten, *item;
    size_t index;
    runner->unwritten = json_array();
    json_array_foreach(items, index, item) runs_start(runner, item);
    json_decref(items);
}

void runs_start(struct runner *runner, json_t *item)
{
    const char *id = message_text(item, "run", "");
    if (!run_id_ok(id)) {
        log_error("run", "a run id that is no safe file name is not taken: %s", id);
        return;
    }
    bool known = has(runner, id, "spec.json");
    if (!known) {
        crash_point(CRASH_RUN_BEFORE_SPEC);
        if (write_spec(runner, id, item) < 0) {
            keep_unwritten(runner, item);
            return;
        }
        crash_point(CRASH_RUN_AFTER_SPEC);
    }
    if (has(runner, id, "result.json") || is_active(runner, id)) {
        accept_on_disk(runner, id, NULL);
        if (is_active(runner, id) || run_resend(runner, id))
            return;
    }
    char *fault;
    struct run *run = add_run(runner, json_deep_copy(item), &fault); /* shared with nobody */
    if (run)
        start_thread(run);
    accept_on_disk(runner, id, run);
    if (!run)
        refuse_misfit(runner, id, fault);
}

static void call_run(struct run *run)
{
    uint64_t one = 1;
    atomic_store(&run->stopping, true);
    if (write(run->called_fd, &one, sizeof one) < 0)
        log_warn("stop", "run %s is not woken: %s", run->id, strerror(errno));
    pthread_cond_broadcast(&run->runner->ended);
}

void runs_stop(struct runner *runner, const json_t *item)
{
    const char *id = message_text(item, "run", "");
    if (!run_id_ok(id))
        return;
    log_info("stop", "run %s: %s", id, message_text(item, "reason", ""));
    pthread_mutex_lock(&runner->mutex);
    struct run *run = find_run(runner, id);
    if (run)
        call_run(run);
    pthread_mutex_unlock(&runner->mutex);
    if (run || (has(runner, id, "result.json") && run_resend(runner, id)))
        return;
    /* One that we never had: nothing was started and nothing ever will be. */
    if (!has(runner, id, "spec.json"))
        run_refuse(runner, id, "cancelled", "none", "stopped: it had not begun");
    /* else its thread ended without a result: we quit, the next runner reads `stop` again */
}

/* ---- start ---- */

/* An older runner's specification may lack what is asked for today; what it names is started or
 * running, so it is taken as it is. */
static json_t *read_spec(const struct runner *runner, const char *id)
{
    char *path = file_of(runner, id, "spec.json");
    size_t size;
    char *text = file_read(path, SPEC_MAX_BYTES, &size);
    json_t *spec = text ? json_loadb(text, size, 0, NULL) : NULL;
    enum message_kind kind;
    struct message_fault fault;
    if (spec && strcmp(message_text(spec, "run", ""), id) != 0) {
        log_error("adopt", "%s names another run", path);
        json_decref(spec);
        spec = NULL;
    } else if (spec && message_check(spec, &kind, &fault) < 0) {
        log_warn("adopt", "%s: %s", path, fault.text);
    }
    free(text);
    free(path);
    return spec;
}

static void adopt(struct runner *runner, const char *id)
{
    char *fault;
    if (!run_id_ok(id) || has(runner, id, "acked"))
        return;
    if (has(runner, id, "result.json") && run_resend(runner, id))
        return;
    json_t *spec = read_spec(runner, id);
    if (!spec)
        return; /* never acknowledged: the command comes again */
    log_info("adopt", "run %s is taken over", id);
    struct run *run = add_run(runner, spec, &fault);
    accept_on_disk(runner, id, run);
    if (!run)
        refuse_misfit(runner, id, fault);
}

void runner_adopt(struct runner *runner)
{
    git_end_leftovers(runner->config->home, runner->agents);
    repositories_clean(runner->config->home);
    agent_user_clean_tmp(runner->config->home);
    DIR *dir = opendir(runner->runs_dir);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        adopt(runner, entry->d_name);
    if (dir)
        closedir(dir);
    /* All are known before the first goes on: who has a workspace keeps it. */
    pthread_mutex_lock(&runner->mutex);
    struct run **list = xcalloc((size_t)runner->active + 1, sizeof *list);
    size_t count = 0;
    for (struct run *run = runner->runs; run; run = run->next)
        list[count++] = run;
    pthread_mutex_unlock(&runner->mutex);
    for (size_t i = 0; i < count; i++)
        start_thread(list[i]);
    free(list);
}
