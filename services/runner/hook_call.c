/* One call of a project's program under a keeper of its own. */
#include "services/runner/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/crash.h"
#include "lib/file.h"
#include "lib/process.h"
#include "lib/utf8.h"

enum {
    TAIL_BYTES = 3500, /* of each stream: both of them fit a result's log_tail */
    LOG_MIN_BYTES = 1024 * 1024,
    STARTS_MAX = 3,
    UNKNOWN_MS = 200,
    ENDING_MS = 1000,
    ASK_OUTPUT_MAX = 256 * 1024,
};

/* ---- what is executed ---- */

static bool is_program(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

static char *find_in_path(const char *name)
{
    const char *path = getenv("PATH");
    for (const char *at = path ? path : "/usr/bin:/bin"; *at;) {
        size_t size = strcspn(at, ":");
        char *file = xformat("%.*s/%s", (int)size, at, name);
        if (size && is_program(file))
            return file;
        free(file);
        at += size + (at[size] == ':');
    }
    return NULL;
}

char *hook_find(const char *name, char **fault)
{
    if (name[0] == '/' && is_program(name))
        return xstrdup(name);
    char *found = name[0] == '/' || strchr(name, '/') ? NULL : find_in_path(name);
    if (found)
        return found;
    if (name[0] != '/' && strchr(name, '/'))
        *fault =
            xformat("%s is neither an absolute path nor a name to be found through PATH", name);
    else if (name[0] == '/' && file_exists(name))
        *fault = xformat("%s is no file that may be executed", name);
    else
        *fault = xformat("%s is not there", name);
    return NULL;
}

/* ---- what it is told ---- */

static void set(json_t *env, const char *name, const char *value)
{
    if (value && *value)
        json_array_append_new(env, json_sprintf("%s=%s", name, value));
}

/* Exactly the contract's, and what any program needs: nothing of ours is in it. What the project
 * does not set is not there either. SOURCE_IMAGE names an image that staging built and promoted. */
static json_t *environment(const struct run *run, const struct hook_call *call)
{
    const struct project *project = run->project;
    const char *lang = getenv("LANG");
    char *context = hook_context_path(run), port[24] = "";
    json_t *env = json_array();
    set(env, "PATH", getenv("PATH"));
    set(env, "HOME", getenv("HOME"));
    set(env, "LANG", lang && *lang ? lang : "C.UTF-8");
    set(env, "BUILD_CONTEXT", context);
    set(env, "GIT_SHA", call->sha);
    if (call->production) {
        if (project->target_port)
            snprintf(port, sizeof port, "%lld", (long long)project->target_port);
        set(env, "TARGET_IMAGE", project->target_image);
        set(env, "TARGET_SERVICE", project->target_service);
        set(env, "TARGET_PORT", port);
        set(env, "COMPOSE_PROFILE", project->compose_profile);
    }
    free(context);
    return env;
}

/* ---- what it said ---- */

/* The last bytes of a file, from a line's start where there is more than that. */
static void add_tail(struct buffer *out, const char *dir, const char *name)
{
    char *path = xformat("%s/%s", dir, name), *text = xcalloc(1, TAIL_BYTES + 1);
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t from = 0;
    ssize_t size = 0;
    if (fd >= 0 && fstat(fd, &info) == 0) {
        from = info.st_size > TAIL_BYTES ? info.st_size - TAIL_BYTES : 0;
        size = pread(fd, text, TAIL_BYTES, from);
    }
    if (size > 0) {
        const char *line = from ? memchr(text, '\n', (size_t)size) : NULL;
        const char *at = line ? line + 1 : text;
        char *clean = utf8_text(at, (size_t)(text + size - at), TAIL_BYTES);
        for (char *c = clean; *c; c++) {
            if ((unsigned char)*c < ' ' && *c != '\n' && *c != '\t')
                *c = ' ';
        }
        buffer_text(out, clean);
        if (*clean && clean[strlen(clean) - 1] != '\n')
            buffer_text(out, "\n");
        free(clean);
    }
    if (fd >= 0)
        close(fd);
    free(text);
    free(path);
}

static char *read_output(const char *dir)
{
    struct buffer out = {0};
    char *log = xformat("%s/log", dir);
    struct stat info;
    if (stat(log, &info) < 0 || info.st_size == 0)
        add_tail(&out, dir, "log.1"); /* it has just been rotated */
    add_tail(&out, dir, "log");
    add_tail(&out, dir, "err");
    free(log);
    return out.data ? buffer_take(&out) : xstrdup("");
}

void hook_result_free(struct hook_result *result)
{
    free(result->output);
    free(result->fault);
    *result = (struct hook_result){0};
}

/* ---- its start ---- */

static int write_launch(struct run *run, const struct hook_call *call, const char *dir,
                        const char *program)
{
    const struct config *config = run->runner->config;
    char *context = hook_context_path(run);
    json_t *env = environment(run, call);
    json_t *argv = call->verb ? json_pack("[s s]", program, call->verb) : json_pack("[s]", program);
    int64_t max = config->log_max_bytes > LOG_MIN_BYTES ? config->log_max_bytes : LOG_MIN_BYTES;
    struct run_launch launch = {.argv = argv,
                                .env = env,
                                .cwd = context,
                                .prompt = "",
                                .trusted = true,
                                .timeout_ms = message_integer(run->spec, "timeout_ms", 0),
                                .grace_ms = config->agent_kill_grace_seconds * 1000,
                                .log_max_bytes = max};
    int result = run->executor->prepare(dir, &launch);
    int saved = errno;
    json_decref(argv);
    json_decref(env);
    free(context);
    errno = saved;
    return result;
}

/* The folder's name is on the disk before anything in it may count. */
static int make_folder(const struct run *run, const char *dir)
{
    return file_make_dirs(dir, 0700) < 0 || file_sync_dir(run->dir) < 0 ? -1 : 0;
}

static enum step start_once(struct run *run, char **fault)
{
    const struct hook_call *call = run->hook;
    char *dir = run_path(run, call->folder), *program = hook_find(call->program, fault);
    struct run_warm *warm = NULL;
    enum step step = STEP_AGAIN;
    if (!program) {
        step = STEP_FAILED;
    } else if (make_folder(run, dir) < 0 || run->executor->withdraw(dir) < 0) {
        *fault = xformat("%s: %s", dir, strerror(errno));
    } else if (run->executor->observe(dir) != RUN_STATE_NEW) {
        step = STEP_OK; /* a keeper that an earlier runner spawned came through */
    } else {
        warm = run->executor->warm_up(dir);
        if (write_launch(run, call, dir, program) < 0) {
            *fault = xformat("%s: %s", dir, strerror(errno));
            run->executor->abandon(warm);
        } else {
            crash_point(CRASH_HOOK_BEFORE_START);
            step = run->executor->start(dir, warm) == 0 ? STEP_OK : STEP_AGAIN;
            if (step == STEP_AGAIN)
                *fault = xformat("the hook's keeper does not start: %s", strerror(errno));
            else
                crash_point(CRASH_HOOK_AFTER_START);
        }
    }
    free(program);
    free(dir);
    return step;
}

/* False: it has not been executed and will not be, result says why. */
static bool start(struct run *run, const char *dir, int *starts, struct hook_result *result)
{
    enum step step = STEP_FAILED;
    char *fault = NULL;
    if (atomic_load(&run->runner->quitting)) {
        result->end = HOOK_LEFT;
        return false;
    }
    if (++*starts > STARTS_MAX)
        fault = xstrdup("its keeper ends before it starts it; see keeper.log");
    else if (!atomic_load(&run->stopping))
        step = run_repeat(run, "starting a hook", start_once, &fault);
    if (step == STEP_OK || (step == STEP_STOPPED && !atomic_load(&run->stopping))) {
        free(fault);
        return true;
    }
    /* From here on no keeper that is late starts it. */
    run->executor->end(dir, 0);
    if (run->executor->observe(dir) != RUN_STATE_NEW) {
        free(fault);
        return true;
    }
    result->end = atomic_load(&run->stopping) ? HOOK_STOPPED : HOOK_REFUSED;
    result->fault = fault;
    return false;
}

/* ---- its life and end ---- */

static bool look_out(struct run *run, const char *dir, struct run_watch **watch, bool *ordered)
{
    if (atomic_load(&run->runner->quitting))
        return false;
    if (!*watch)
        *watch = run->executor->watch(dir);
    if (atomic_load(&run->stopping) && !*ordered)
        *ordered = run->executor->end(dir, 0) == 0;
    run->executor->wait(*watch, *ordered ? -1 : run->called_fd, false, *ordered ? ENDING_MS : -1);
    return true;
}

static void end_leftovers(struct run *run, const char *dir)
{
    char *context = hook_context_path(run);
    run->executor->end_leftovers(dir, NULL, context, NULL);
    free(context);
}

static void take_end(struct run *run, const char *dir, struct hook_result *result)
{
    struct run_status status;
    if (run->executor->collect(dir, &status) < 0) {
        result->end = HOOK_LOST;
        end_leftovers(run, dir);
        return;
    }
    crash_point(CRASH_HOOK_AFTER_END);
    if (!status.swept)
        end_leftovers(run, dir);
    result->exit_code = status.exit_code;
    result->timed_out = status.timed_out;
    result->started_ms = status.started_ms;
    result->ended_ms = status.ended_ms;
    result->end = HOOK_ENDED;
    if (status.cancelled && atomic_load(&run->stopping)) {
        result->end = HOOK_STOPPED;
    } else if (!status.executed || *status.error) {
        result->end = HOOK_REFUSED;
        result->fault = xformat("it could not be executed: %s",
                                *status.error ? status.error : "its process ended before");
    }
}

static void follow(struct run *run, const char *dir, struct hook_result *result)
{
    const struct timespec moment = {.tv_nsec = UNKNOWN_MS * 1000000L};
    struct run_watch *watch = NULL;
    bool ordered = false;
    for (int starts = 0;;) {
        enum run_state state = run->executor->observe(dir);
        if (state == RUN_STATE_NEW && !start(run, dir, &starts, result))
            break;
        if (state == RUN_STATE_ENDED) {
            take_end(run, dir, result);
            break;
        }
        if (state == RUN_STATE_LOST) {
            result->end = HOOK_LOST;
            end_leftovers(run, dir);
            break;
        }
        if (state == RUN_STATE_UNKNOWN)
            nanosleep(&moment, NULL);
        if (state != RUN_STATE_NEW && !look_out(run, dir, &watch, &ordered)) {
            result->end = HOOK_LEFT;
            break;
        }
    }
    run->executor->unwatch(watch);
}

void hook_call_run(struct run *run, const struct hook_call *call, struct hook_result *result)
{
    struct log_about about = run_about(run);
    char *dir = run_path(run, call->folder);
    *result = (struct hook_result){0};
    run->hook = call;
    run_set_doing(run, "a hook is at work");
    follow(run, dir, result);
    run->hook = NULL;
    result->output = read_output(dir);
    if (result->end == HOOK_ENDED)
        log_line(LOG_LEVEL_INFO, "hook", &about, "%s %s ended with %d", call->program,
                 call->verb ? call->verb : "", result->exit_code);
    free(dir);
}

bool hook_call_begun(const struct run *run, const struct hook_call *call)
{
    char *dir = run_path(run, call->folder);
    bool begun = run->executor->observe(dir) != RUN_STATE_NEW;
    free(dir);
    return begun;
}

/* ---- a question ---- */

void hook_ask(struct run *run, const struct hook_call *call, struct hook_result *result)
{
    *result = (struct hook_result){.end = HOOK_REFUSED};
    char *program = hook_find(call->program, &result->fault), *context = hook_context_path(run);
    json_t *list = environment(run, call), *entry;
    const char **env = xcalloc(json_array_size(list) + 1, sizeof *env);
    const char *argv[] = {program, call->verb, NULL};
    struct process_result answer = {0};
    size_t index;
    json_array_foreach(list, index, entry) env[index] = json_string_value(entry);
    const struct process_spec spec = {.argv = argv,
                                      .env = env,
                                      .cwd = context,
                                      .timeout_ms = message_integer(run->spec, "timeout_ms", 0),
                                      .max_output = ASK_OUTPUT_MAX};
    if (program && process_run(&spec, &answer) == 0) {
        result->end = HOOK_ENDED;
        result->exit_code = answer.timed_out ? -9 : answer.exit_code;
        result->timed_out = answer.timed_out;
    } else if (program) {
        result->fault = xformat("%s: %s", program, strerror(errno));
    }
    char *out = utf8_text(answer.out ? answer.out : "", answer.out_size, TAIL_BYTES);
    char *err = utf8_text(answer.err ? answer.err : "", answer.err_size, TAIL_BYTES);
    result->output = xformat("%s%s", out, err);
    free(out);
    free(err);
    process_result_free(&answer);
    free(env);
    json_decref(list);
    free(context);
    free(program);
}
