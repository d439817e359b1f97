/* The local executor: a keeper process per run. The keeper's lock says whether it lives, the pid in
 * the lock file only serves to be woken by its end. */
#include "services/runner/executor.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/file.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "lib/process.h"
#include "services/runner/local_leftovers.h"
#include "services/runner/local_watch.h"

enum {
    STATUS_MAX_BYTES = 64 * 1024,
    START_WAIT_MS = 20 * 1000,
    ABANDON_WAIT_MS = 2000,
    CONTROL_FD = 3,
};

static char *in_dir(const char *dir, const char *name)
{
    return xformat("%s/%s", dir, name);
}

static bool has(const char *dir, const char *name)
{
    char *path = in_dir(dir, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

static int prepare(const char *dir, const struct run_launch *launch)
{
    json_t *object = json_pack(
        "{sO sO ss sb sI sI sI sI}", "argv", launch->argv, "env", launch->env, "cwd", launch->cwd,
        "trusted", (int)launch->trusted, "timeout_ms", (json_int_t)launch->timeout_ms, "grace_ms",
        (json_int_t)launch->grace_ms, "stall_ms", (json_int_t)launch->stall_ms, "log_max_bytes",
        (json_int_t)launch->log_max_bytes);
    if (launch->as)
        json_object_set_new(object, "user",
                            json_pack("{ss sI sI}", "name", launch->as->name, "uid",
                                      (json_int_t)launch->as->uid, "gid",
                                      (json_int_t)launch->as->gid));
    if (launch->cage)
        json_object_set(object, "cage", launch->cage);
    if (launch->limits)
        json_object_set(object, "limits", launch->limits);
    if (launch->extra)
        json_object_update(object, launch->extra);
    char *text = json_dumps(object, JSON_COMPACT);
    char *prompt = in_dir(dir, "prompt"), *path = in_dir(dir, "launch.json");
    /* Not fsynced: lost in a power cut before the start, they are written anew. */
    int result = file_write_atomic(prompt, launch->prompt, strlen(launch->prompt), 0600);
    if (result == 0)
        result = file_write_atomic(path, text, strlen(text), 0600);
    int saved = errno;
    json_decref(object);
    free(text);
    free(prompt);
    free(path);
    errno = saved;
    return result;
}

/* A keeper reads launch.json under its lock, so one that is late finds nothing to start. */
static int withdraw(const char *dir)
{
    char *path = in_dir(dir, "launch.json");
    int result = unlink(path) < 0 && errno != ENOENT ? -1 : 0;
    int saved = errno;
    free(path);
    errno = saved;
    return result;
}

enum run_state local_observe(const char *dir)
{
    char *lock = in_dir(dir, "lock");
    /* The lock first: a keeper that ends between the two looks has left its status. */
    enum lock_state held = lock_ask(lock);
    free(lock);
    if (has(dir, "status"))
        return RUN_STATE_ENDED;
    if (held == LOCK_UNKNOWN)
        return RUN_STATE_UNKNOWN;
    bool started = has(dir, "started");
    if (held == LOCK_HELD)
        return started ? RUN_STATE_RUNNING : RUN_STATE_STARTING;
    return started ? RUN_STATE_LOST : RUN_STATE_NEW;
}

/* ---- start ---- */

/* A keeper that has been spawned and waits for its word. */
struct run_warm {
    pid_t pid; /* the process that goes into the background at once */
    int control;
};

static int spawn_keeper(const char *dir, int control, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, control, CONTROL_FD);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDERR_FILENO);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    /* The keeper's environment can be read by its agent: nothing of ours is in it. */
    const char *path = getenv("PATH"), *crash = getenv(CRASH_VARIABLE);
    char *path_entry = xformat("PATH=%s", path ? path : "/usr/bin:/bin");
    char *crash_entry = crash ? xformat(CRASH_VARIABLE "=%s", crash) : NULL; /* under test alone */
    char control_text[] = "3", option[] = "--control";
    char *program = process_beside("orch-keeper"), *directory = xstrdup(dir);
    char *argv[] = {program, option, control_text, directory, NULL};
    char *env[] = {path_entry, crash_entry, NULL};
    identity_lend(); /* it starts the agent as another, and has to be able to kill it */
    int failure = posix_spawnp(pid, program, &actions, &attributes, argv, env);
    identity_keep();
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(path_entry);
    free(crash_entry);
    free(program);
    free(directory);
    errno = failure;
    return failure ? -1 : 0;
}

static struct run_warm *warm_up(const char *dir)
{
    struct run_warm *warm = NULL;
    int ends[2];
    pid_t pid;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return NULL;
    int result = spawn_keeper(dir, ends[1], &pid);
    int saved = errno;
    close(ends[1]);
    if (result == 0) {
        warm = xcalloc(1, sizeof *warm);
        *warm = (struct run_warm){.pid = pid, .control = ends[0]};
    } else {
        close(ends[0]);
    }
    errno = saved;
    return warm;
}

/* The keeper's word, or that it ended. */
static bool hear(const struct run_warm *warm, int wait_ms)
{
    struct pollfd waiting = {warm->control, POLLIN, 0};
    char word;
    return poll(&waiting, 1, wait_ms) == 1 && read(warm->control, &word, 1) == 1;
}

/* A keeper that has not even gone into the background by now never will have been one. */
static void warm_free(struct run_warm *warm)
{
    close(warm->control);
    if (waitpid(warm->pid, NULL, WNOHANG) == 0) {
        kill(warm->pid, SIGKILL);
        while (waitpid(warm->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    free(warm);
}

/* Waits until it is gone: it holds the lock. */
static void abandon(struct run_warm *warm)
{
    if (!warm)
        return;
    shutdown(warm->control, SHUT_WR);
    hear(warm, ABANDON_WAIT_MS);
    warm_free(warm);
}

/* The keeper's word comes when the agent is to be executed, and the connection's end when it ended
 * without. */
static int start(const char *dir, struct run_warm *warm)
{
    if (!warm)
        warm = warm_up(dir);
    if (!warm)
        return -1;
    int saved = EAGAIN;
    if (send(warm->control, "g", 1, MSG_NOSIGNAL) == 1 && hear(warm, START_WAIT_MS))
        saved = 0;
    enum run_state state = local_observe(dir);
    warm_free(warm);
    errno = saved;
    return state == RUN_STATE_NEW ? -1 : 0;
}

/* ---- end ---- */

static int cancel(const char *dir)
{
    char *path = in_dir(dir, "cancelled");
    int result = file_create_exclusive(path, "", 0, 0600);
    int saved = errno;
    free(path);
    errno = saved;
    return result < 0 && saved == EEXIST ? 0 : result;
}

/* `cancelled` where nothing has started; a keeper that is starting meanwhile sees it under its
 * lock, before `started` or right after. `stop` for one that runs. */
static int end_run(const char *dir, int64_t grace_ms)
{
    char text[32] = "";
    enum run_state state = local_observe(dir);
    if (state == RUN_STATE_ENDED || state == RUN_STATE_LOST)
        return 0;
    if (state != RUN_STATE_RUNNING && cancel(dir) < 0)
        return -1;
    if (grace_ms > 0)
        snprintf(text, sizeof text, "%lld", (long long)grace_ms);
    else if (has(dir, "stop"))
        return 0;
    /* By rename: the keeper wakes when it is there and must find all of it. */
    char *path = in_dir(dir, "stop");
    int result = file_write_durable(path, text, strlen(text), 0600);
    int saved = errno;
    free(path);
    errno = saved;
    return result;
}

/* agent.pid; caller decrefs, NULL where it is not there. */
static json_t *read_agent_pid(const char *dir)
{
    char *path = in_dir(dir, "agent.pid");
    size_t size;
    char *text = file_read(path, STATUS_MAX_BYTES, &size);
    json_t *object = text ? json_loadb(text, size, 0, NULL) : NULL;
    free(text);
    free(path);
    return object;
}

static int started(const char *dir, int64_t *id, int64_t *started_ms)
{
    char *path = in_dir(dir, "started");
    struct stat info;
    int result = stat(path, &info);
    json_t *object = read_agent_pid(dir);
    *id = json_integer_value(json_object_get(object, "pid"));
    if (result == 0)
        *started_ms = (int64_t)info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1000000;
    json_decref(object);
    free(path);
    return result;
}

static void end_leftovers(const char *dir, const char *run, const char *workspace,
                          const struct identity *as)
{
    json_t *object = read_agent_pid(dir);
    struct leftover_agent agent = {
        .pid = (int)json_integer_value(json_object_get(object, "pid")),
        .start_ticks = (uint64_t)json_integer_value(json_object_get(object, "start_ticks")),
    };
    const char *boot = json_string_value(json_object_get(object, "boot_id"));
    char now[37];
    process_boot_id(now);
    agent.known = boot && strcmp(boot, now) == 0 && agent.pid > 0;
    leftovers_end(&agent, run, workspace, as);
    json_decref(object);
}

static int collect(const char *dir, struct run_status *status)
{
    char *path = in_dir(dir, "status");
    size_t size;
    char *text = file_read(path, STATUS_MAX_BYTES, &size);
    free(path);
    json_t *object = text ? json_loadb(text, size, 0, NULL) : NULL;
    free(text);
    *status = (struct run_status){.executed = true};
    if (!object || !json_is_integer(json_object_get(object, "exit_code"))) {
        json_decref(object);
        errno = EBADMSG;
        return -1;
    }
    const json_t *executed = json_object_get(object, "executed");
    const char *error = json_string_value(json_object_get(object, "error"));
    status->swept = !json_is_false(json_object_get(object, "swept"));
    status->executed = !executed || json_is_true(executed); /* older directories lack it */
    status->exit_code = (int)json_integer_value(json_object_get(object, "exit_code"));
    status->signal = (int)json_integer_value(json_object_get(object, "signal"));
    status->timed_out = json_is_true(json_object_get(object, "timed_out"));
    status->stalled = json_is_true(json_object_get(object, "stalled"));
    status->cancelled = json_is_true(json_object_get(object, "cancelled"));
    status->started_ms = json_integer_value(json_object_get(object, "started_ms"));
    status->ended_ms = json_integer_value(json_object_get(object, "ended_ms"));
    snprintf(status->error, sizeof status->error, "%s", error ? error : "");
    json_decref(object);
    return 0;
}

const struct executor executor_local = {
    .name = "local",
    .prepare = prepare,
    .withdraw = withdraw,
    .warm_up = warm_up,
    .abandon = abandon,
    .start = start,
    .observe = local_observe,
    .watch = local_watch,
    .unwatch = local_unwatch,
    .wait = local_wait,
    .started = started,
    .end = end_run,
    .end_leftovers = end_leftovers,
    .collect = collect,
};
