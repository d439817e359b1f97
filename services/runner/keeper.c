#include "services/runner/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/file.h"
#include "lib/lock.h"
#include "lib/log.h"

enum {
    SWEEP_MS = 10 * 1000,
    EXIT_CODE_TIMEOUT = -9,
    LOOK_MS = 500,
    DRAIN_MS = 2000,
};

enum ending { RUNNING, BY_STOP, BY_TIMEOUT, BY_STALL };

struct keeper {
    struct keeper_launch launch;
    struct keeper_log log, err;
    struct keeper_watch watch;
    struct keeper_agent agent;
    bool executed, agent_ended, told_rest;
    int agent_status, exec_error; /* errno of a failed exec */
    int signal_fd, inotify_fd;
    enum ending ending;
    int64_t started_wall, deadline, stall_at, kill_at; /* monotonic but the first; 0: none */
};

static void on_child(void *context, pid_t pid, int status)
{
    struct keeper *keeper = context;
    if (pid != keeper->agent.pid)
        return;
    keeper->agent_ended = true;
    keeper->agent_status = status;
}

/* ---- start ---- */

static int prepare_signals(void)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGCHLD);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Order: agent.pid on the disk, `started` and the names of both on the disk, exec. `cancelled` that
 * came between the first look at it and `started` is seen by the second look: then nothing is ever
 * executed. */
static int start_agent(struct keeper *keeper, const char *launch, size_t size)
{
    crash_point(CRASH_KEEPER_BEFORE_STARTED);
    if (file_create_exclusive("started", "", 0, 0600) < 0) {
        log_error("start", "cannot start: %s", strerror(errno));
        return -1;
    }
    crash_point(CRASH_KEEPER_AFTER_STARTED);
    int64_t now = clock_mono_ms();
    keeper->started_wall = clock_wall_ms();
    keeper->deadline = keeper->launch.timeout_ms > 0 ? now + keeper->launch.timeout_ms : 0;
    keeper->stall_at = keeper->launch.stall_ms > 0 ? now + keeper->launch.stall_ms : 0;
    if (file_exists("cancelled")) {
        keeper->ending = BY_STOP;
        keeper_forget_agent(&keeper->agent);
    } else if (keeper_release_agent(&keeper->agent, launch, size) < 0) {
        log_error("start", "the agent's child is gone: %s", strerror(errno));
    } else {
        keeper->executed = true;
    }
    return 0;
}

/* ---- running ---- */

static void begin_end(struct keeper *keeper, enum ending ending)
{
    if (keeper->ending != RUNNING)
        return;
    static const char *const words[] = {"", "asked to stop", "timeout", "no output for too long"};
    log_info("end", "ending the agent: %s", words[ending]);
    keeper->ending = ending;
    keeper->kill_at = clock_mono_ms() + keeper->launch.grace_ms;
    keeper->deadline = keeper->stall_at = 0;
    /* The group in one go, so that a fork that is under way takes part; then what left it. */
    kill(-keeper->agent.pid, SIGTERM);
    keeper_signal_descendants(SIGTERM, keeper->agent.pid);
}

static void take_signals(struct keeper *keeper)
{
    struct signalfd_siginfo info;
    while (read(keeper->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM)
            begin_end(keeper, BY_STOP);
    }
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        on_child(keeper, pid, status);
}

/* True while there may be more. */
static bool take_output(struct keeper *keeper, int *fd, struct keeper_log *log)
{
    char chunk[65536];
    ssize_t n = read(*fd, chunk, sizeof chunk);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return errno == EINTR;
    if (n <= 0) {
        close(*fd);
        *fd = -1;
        return false;
    }
    keeper_log_write(log, chunk, (size_t)n);
    int64_t wait =
        fd == &keeper->agent.out ? keeper_watch_feed(&keeper->watch, chunk, (size_t)n) : 0;
    if (keeper->stall_at) {
        int64_t at = clock_mono_ms() + keeper->launch.stall_ms + wait;
        keeper->stall_at = wait || at > keeper->stall_at ? at : keeper->stall_at;
    }
    return true;
}

static void take_stop(struct keeper *keeper)
{
    char *text = file_read("stop", 64, NULL);
    if (!text)
        return;
    /* It may name a shorter grace, later too: our container ends soon. */
    int64_t grace = strtoll(text, NULL, 10), by = clock_mono_ms() + grace;
    free(text);
    if (grace > 0 && grace < keeper->launch.grace_ms)
        keeper->launch.grace_ms = grace;
    if (grace > 0 && keeper->kill_at > by)
        keeper->kill_at = by;
    begin_end(keeper, BY_STOP);
}

static void take_inotify(struct keeper *keeper)
{
    char events[4096];
    while (read(keeper->inotify_fd, events, sizeof events) > 0)
        continue;
    take_stop(keeper);
}

static int next_wait(const struct keeper *keeper)
{
    const int64_t times[] = {keeper->deadline, keeper->stall_at, keeper->kill_at};
    int64_t first = 0;
    for (int i = 0; i < 3; i++) {
        if (times[i] && (!first || times[i] < first))
            first = times[i];
    }
    int64_t left = first - clock_mono_ms();
    int64_t most = keeper->inotify_fd < 0 ? LOOK_MS : 3600000;
    return first && left < most ? (left < 0 ? 0 : (int)left) : (int)most;
}

static void check_times(struct keeper *keeper)
{
    int64_t now = clock_mono_ms();
    if (keeper->deadline && now >= keeper->deadline)
        begin_end(keeper, BY_TIMEOUT);
    else if (keeper->stall_at && now >= keeper->stall_at)
        begin_end(keeper, BY_STALL);
}

/* An agent that ended by itself is done; one that we end is waited for with all that it started,
 * until the grace is over. What it started while it was told to end is told once it has. */
static bool done(struct keeper *keeper)
{
    if (!keeper->kill_at)
        return keeper->agent_ended;
    if (clock_mono_ms() >= keeper->kill_at)
        return true;
    if (!keeper->agent_ended)
        return false;
    int number = keeper->told_rest ? 0 : SIGTERM;
    keeper->told_rest = true;
    return keeper_signal_descendants(number, 0) == 0;
}

static void keep(struct keeper *keeper)
{
    while (!done(keeper)) {
        struct pollfd fds[] = {{keeper->signal_fd, POLLIN, 0},
                               {keeper->inotify_fd, POLLIN, 0},
                               {keeper->agent.out, POLLIN, 0},
                               {keeper->agent.err, POLLIN, 0}};
        poll(fds, 4, next_wait(keeper));
        if (fds[2].revents)
            take_output(keeper, &keeper->agent.out, &keeper->log);
        if (fds[3].revents)
            take_output(keeper, &keeper->agent.err, &keeper->err);
        if (fds[1].revents)
            take_inotify(keeper);
        if (fds[0].revents)
            take_signals(keeper);
        if (keeper->inotify_fd < 0 && keeper->ending == RUNNING)
            take_stop(keeper);
        check_times(keeper);
    }
}

/* ---- end ---- */

static int exit_code(const struct keeper *keeper, int *signal_number)
{
    *signal_number = WIFSIGNALED(keeper->agent_status) ? WTERMSIG(keeper->agent_status) : 0;
    if (keeper->ending == BY_TIMEOUT || keeper->ending == BY_STALL)
        return EXIT_CODE_TIMEOUT;
    if (!keeper->agent_ended)
        return 128 + SIGKILL; /* killed, and held by the kernel */
    return *signal_number ? 128 + *signal_number : WEXITSTATUS(keeper->agent_status);
}

static int write_status(const struct keeper *keeper, bool swept)
{
    int number, code = exit_code(keeper, &number);
    json_t *status = json_pack("{si ss sb sb sb sb sI sI sb}", "exit_code", code, "error",
                               keeper->exec_error ? strerror(keeper->exec_error) : "", "timed_out",
                               keeper->ending == BY_TIMEOUT, "stalled", keeper->ending == BY_STALL,
                               "cancelled", keeper->ending == BY_STOP, "executed", keeper->executed,
                               "started_ms", (json_int_t)keeper->started_wall, "ended_ms",
                               (json_int_t)clock_wall_ms(), "swept", swept);
    json_object_set_new(status, "signal", number ? json_integer(number) : json_null());
    char *text = json_dumps(status, JSON_COMPACT);
    int result = file_write_durable("status", text, strlen(text), 0600);
    if (result < 0)
        log_error("status", "cannot write status: %s", strerror(errno));
    free(text);
    json_decref(status);
    return result;
}

/* What stands in a pipe. Somebody who got hold of its other end must not keep us. */
static void drain(struct keeper *keeper, int *fd, struct keeper_log *log)
{
    int64_t until = clock_mono_ms() + DRAIN_MS;
    while (*fd >= 0 && take_output(keeper, fd, log) && clock_mono_ms() < until)
        continue;
}

static int finish(struct keeper *keeper)
{
    bool swept = keeper_sweep(SWEEP_MS, on_child, keeper);
    drain(keeper, &keeper->agent.out, &keeper->log);
    drain(keeper, &keeper->agent.err, &keeper->err);
    int error;
    if (read(keeper->agent.report, &error, sizeof error) == sizeof error)
        keeper->exec_error = error;
    keeper_log_close(&keeper->log);
    keeper_log_close(&keeper->err);
    crash_point(CRASH_KEEPER_BEFORE_STATUS);
    /* Without a status the run is lost and done anew, so a full disk is waited for a while. */
    for (int tries = 0; tries < 60; tries++) {
        if (write_status(keeper, swept) == 0)
            return 0;
        sleep(1);
    }
    return 1;
}

/* -1 where all of the user's are taken: then the directory is looked at from time to time. */
static int open_inotify(void)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd >= 0 && inotify_add_watch(fd, ".", IN_CREATE | IN_MOVED_TO) < 0) {
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        log_warn("start", "no inotify: %s", strerror(errno));
    return fd;
}

static bool may_start(void)
{
    return !file_exists("cancelled") && !file_exists("started") && !file_exists("status");
}

/* Whoever spawned us prepares the workspace meanwhile; where it dies, its successor starts anew. */
static bool may_go(int control)
{
    char word;
    ssize_t n = control < 0 ? 1 : -1;
    while (n < 0) {
        n = read(control, &word, 1);
        if (n < 0 && errno != EINTR)
            return false;
    }
    return n == 1;
}

/* What goes beside the preparation of the workspace: the logs, and the agent's child with its
 * agent.pid on the disk. 0 or -1. */
static int get_ready(struct keeper *keeper)
{
    if (keeper_log_open(&keeper->log, "log") < 0 || keeper_log_open(&keeper->err, "err") < 0 ||
        keeper_fork_agent(&keeper->agent) < 0) {
        log_error("start", "cannot get ready: %s", strerror(errno));
        return -1;
    }
    return 0;
}

/* launch.json, read under the lock: whoever took it back before has nothing started. 0 or -1. */
static int start(struct keeper *keeper)
{
    size_t size;
    char *text = keeper_read_launch(&keeper->launch, &size);
    if (!text)
        return -1;
    keeper->log.max = keeper->err.max = keeper->launch.log_max_bytes;
    keeper->inotify_fd = open_inotify();
    int result = start_agent(keeper, text, size);
    free(text);
    return result;
}

int keeper_run(int control)
{
    struct keeper keeper = {.agent = {.pid = -1, .go = -1, .out = -1, .err = -1, .report = -1}};
    char holder[64];
    keeper.signal_fd = prepare_signals();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    snprintf(holder, sizeof holder, "%d", (int)getpid());
    if (lock_take("lock", holder) < 0)
        return errno == EWOULDBLOCK ? 0 : 1;
    if (!may_start())
        return 0;
    if (get_ready(&keeper) < 0)
        return 1;
    if (!may_go(control) || !may_start())
        return 0;
    if (start(&keeper) < 0)
        return 1; /* nothing was executed: the child sees its pipe end */
    if (control >= 0) {
        if (send(control, "s", 1, MSG_NOSIGNAL) < 0)
            log_warn("start", "nobody waits for the start");
        close(control);
    }
    if (keeper.ending == RUNNING) {
        take_stop(&keeper); /* one that came before the watch */
        keep(&keeper);
    }
    return finish(&keeper);
}
