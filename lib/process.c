#include "lib/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"

enum { DEFAULT_MAX_OUTPUT = 1024 * 1024, DRAIN_MS = 200 };

struct child {
    pid_t pid;
    int pid_fd;       /* readable when it has ended */
    int in, out, err; /* our ends; -1 once closed */
    const char *input;
    size_t input_left;
    size_t max_output;
    struct buffer out_text, err_text;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int pipe_cloexec(int ends[2])
{
    return pipe2(ends, O_CLOEXEC);
}

/* The arguments with orch-as in front; caller frees the array and its first three. */
static const char **as_another(const struct process_spec *spec)
{
    size_t count = 0;
    while (spec->argv[count])
        count++;
    const char **argv = xcalloc(count + 5, sizeof *argv);
    argv[0] = process_beside("orch-as");
    argv[1] = xformat("%u", (unsigned)spec->as->uid);
    argv[2] = xformat("%u", (unsigned)spec->as->gid);
    argv[3] = spec->cwd ? spec->cwd : "/"; /* ours may be closed to that user */
    memcpy(argv + 4, spec->argv, (count + 1) * sizeof *argv);
    return argv;
}

static int spawn(const struct process_spec *spec, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, pid_t *pid)
{
    char *const *env = spec->env ? (char *const *)(uintptr_t)spec->env : environ;
    const char **longer = spec->as ? as_another(spec) : NULL;
    const char *const *argv = longer ? longer : spec->argv;
    if (longer)
        identity_lend();
    int failure =
        posix_spawnp(pid, argv[0], actions, attributes, (char *const *)(uintptr_t)argv, env);
    if (longer)
        identity_keep();
    for (int i = 0; longer && i < 3; i++)
        free((void *)(uintptr_t)longer[i]);
    free(longer);
    return failure;
}

/* dup2 in the child drops close-on-exec, so only these descriptors reach it. */
static int spawn_child(const struct process_spec *spec, int in, int out, int err, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    if (spec->socket)
        posix_spawn_file_actions_adddup2(&actions, spec->socket, PROCESS_SOCKET);
    if (spec->cwd && !spec->as)
        posix_spawn_file_actions_addchdir_np(&actions, spec->cwd);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    int failure = spawn(spec, &actions, &attributes, pid);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    errno = failure;
    return failure ? -1 : 0;
}

static int start_child(const struct process_spec *spec, struct child *child)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    int result = -1;
    if (pipe_cloexec(out) < 0 || pipe_cloexec(err) < 0)
        goto done;
    if (spec->input) {
        if (pipe_cloexec(in) < 0)
            goto done;
    } else if ((in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) {
        goto done;
    }
    if (spawn_child(spec, in[0], out[1], err[1], &child->pid) < 0)
        goto done;
    child->pid_fd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    if (child->pid_fd < 0) {
        /* No descriptor left: without it nobody would read what the child writes. */
        int failure = errno;
        kill(-child->pid, SIGKILL);
        while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        errno = failure;
        goto done;
    }
    child->in = in[1];
    child->out = out[0];
    child->err = err[0];
    in[1] = out[0] = err[0] = -1;
    result = 0;

done:;
    int saved = errno;
    close_fd(&in[0]);
    close_fd(&in[1]);
    close_fd(&out[0]);
    close_fd(&out[1]);
    close_fd(&err[0]);
    close_fd(&err[1]);
    errno = saved;
    return result;
}

/* A child that closes its input early must not end us with SIGPIPE: the service's threads have it
 * blocked or ignored, and a plain program gets it ignored here for the write. */
static void feed(struct child *child)
{
    sigset_t pipe_only, before;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    ssize_t n = write(child->in, child->input, child->input_left);
    if (n < 0 && errno == EPIPE) {
        struct timespec at_once = {0, 0};
        sigtimedwait(&pipe_only, NULL, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (n > 0) {
        child->input += n;
        child->input_left -= (size_t)n;
    }
    if (child->input_left == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_fd(&child->in);
}

static void drain(int *fd, struct buffer *text, size_t max)
{
    char chunk[65536];
    ssize_t n = read(*fd, chunk, sizeof chunk);
    if (n > 0) {
        size_t room = max - text->size;
        buffer_add(text, chunk, (size_t)n < room ? (size_t)n : room);
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        close_fd(fd);
    }
}

/* Waits at most wait_ms (-1: for ever) and serves whatever is ready. True once the child ended. */
static bool serve(struct child *child, int wait_ms)
{
    struct pollfd fds[4] = {{child->pid_fd, POLLIN, 0},
                            {child->out, POLLIN, 0},
                            {child->err, POLLIN, 0},
                            {child->in, POLLOUT, 0}};
    if (poll(fds, 4, wait_ms) <= 0)
        return false;
    if (fds[1].revents)
        drain(&child->out, &child->out_text, child->max_output);
    if (fds[2].revents)
        drain(&child->err, &child->err_text, child->max_output);
    if (fds[3].revents)
        feed(child);
    return fds[0].revents != 0;
}

/* What stands in the pipes after the child's end; a grandchild that keeps them open must not hold
 * us for ever. */
static void drain_rest(struct child *child)
{
    child->pid_fd = -1;
    close_fd(&child->in);
    int64_t until = clock_mono_ms() + DRAIN_MS;
    while (child->out >= 0 || child->err >= 0) {
        int64_t left = until - clock_mono_ms();
        if (left <= 0)
            break;
        serve(child, (int)left);
    }
}

static void wait_for_end(const struct process_spec *spec, struct child *child, bool *timed_out)
{
    int64_t deadline = spec->timeout_ms ? clock_mono_ms() + spec->timeout_ms : 0;
    for (;;) {
        int wait_ms = -1;
        if (deadline && !*timed_out) {
            int64_t left = deadline - clock_mono_ms();
            if (left <= 0) {
                *timed_out = true;
                kill(-child->pid, SIGKILL);
                continue;
            }
            wait_ms = left > 60000 ? 60000 : (int)left;
        }
        if (serve(child, wait_ms))
            return;
    }
}

int process_run(const struct process_spec *spec, struct process_result *result)
{
    memset(result, 0, sizeof *result);
    struct child child = {.pid_fd = -1, .in = -1, .out = -1, .err = -1};
    child.input = spec->input;
    child.input_left = spec->input_size ? spec->input_size : spec->input ? strlen(spec->input) : 0;
    child.max_output = spec->max_output ? spec->max_output : DEFAULT_MAX_OUTPUT;
    if (start_child(spec, &child) < 0)
        return -1;
    if (child.in >= 0) {
        fcntl(child.in, F_SETFL, O_NONBLOCK);
        if (child.input_left == 0)
            close_fd(&child.in);
    }
    int pid_fd = child.pid_fd;
    wait_for_end(spec, &child, &result->timed_out);
    if (result->timed_out)
        kill(-child.pid, SIGKILL); /* what it left in its group; before the pid is free again */
    int status = 0;
    while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
        continue;
    drain_rest(&child);
    close_fd(&pid_fd);
    close_fd(&child.out);
    close_fd(&child.err);
    result->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result->out_size = child.out_text.size;
    result->out = buffer_take(&child.out_text);
    result->err_size = child.err_text.size;
    result->err = buffer_take(&child.err_text);
    return 0;
}

pid_t process_serve(const struct process_spec *spec, int socket)
{
    pid_t pid = -1;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0)
        return -1;
    int result = spawn_child(spec, socket, socket, null, &pid);
    int saved = errno;
    close(null);
    errno = saved;
    return result < 0 ? -1 : pid;
}

void process_end(pid_t pid, int64_t wait_ms)
{
    int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd end = {pid_fd, POLLIN, 0};
    if (pid_fd < 0 || poll(&end, 1, (int)wait_ms) <= 0)
        kill(-pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    close_fd(&pid_fd);
}

void process_result_free(struct process_result *result)
{
    free(result->out);
    free(result->err);
    memset(result, 0, sizeof *result);
}

char *process_beside(const char *name)
{
    char self[4096];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size > 0 ? size : 0] = '\0';
    char *slash = strrchr(self, '/');
    char *beside = slash ? xformat("%.*s/%s", (int)(slash - self), self, name) : NULL;
    if (beside && access(beside, X_OK) == 0)
        return beside;
    free(beside);
    return xstrdup(name);
}

uint64_t process_start_ticks(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    char *text = file_read(path, 4096, NULL);
    if (!text)
        return 0;
    uint64_t ticks = 0;
    /* The name in parentheses may hold spaces and parentheses: count from its last ')'. */
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at, ' ');
        if (at)
            at++;
    }
    if (at)
        ticks = strtoull(at, NULL, 10);
    free(text);
    return ticks;
}

void process_boot_id(char out[37])
{
    out[0] = '\0';
    char *text = file_read("/proc/sys/kernel/random/boot_id", 256, NULL);
    if (text)
        snprintf(out, 37, "%.36s", text);
    free(text);
}
