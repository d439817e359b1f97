#include "supervisor/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif

enum { CHILD_STACK_SIZE = 64 * 1024 };

struct child_argument {
    const struct process_start *start;
    pid_t parent;
    sigset_t no_signals;
    volatile int error;
    const char *volatile step;
};

/* Raw system calls: glibc's wrappers would tell "the other threads" of a change of user, and this
 * child shares the parent's memory. */
static int change_user(const struct definition *definition)
{
    if (syscall(SYS_setgroups, definition->group_count, definition->groups) ||
        syscall(SYS_setresgid, definition->gid, definition->gid, definition->gid) ||
        syscall(SYS_setresuid, definition->uid, definition->uid, definition->uid))
        return -1;
    return 0;
}

/* Ambient ones, which a program without any of its own inherits. What this process does not have
 * cannot be given; who needs it says so. */
static int give_capabilities(const struct definition *definition)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capget, &header, data) < 0)
        return -1;
    uint32_t given = definition ? definition->capabilities & data[0].permitted : 0;
    if (!given)
        return 0;
    data[0].inheritable = data[0].permitted = data[0].effective = given;
    data[1] = (struct __user_cap_data_struct){0};
    if (syscall(SYS_capset, &header, data) < 0)
        return -1;
    for (int number = 0; number < 32; number++) {
        if (given & (1U << number) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) < 0)
            return -1;
    }
    return 0;
}

static int place_descriptors(const struct process_start *start)
{
    if (dup2(start->input_fd, 0) < 0 || dup2(start->output_fd, 1) < 0 ||
        dup2(start->output_fd, 2) < 0)
        return -1;
    if (start->notify_fd < 0)
        return 0;
    if (start->notify_fd == start->notify_target) /* dup2 would leave it close-on-exec */
        return fcntl(start->notify_fd, F_SETFD, 0);
    return dup2(start->notify_fd, start->notify_target) < 0 ? -1 : 0;
}

/* Runs in the parent's memory while the parent stands still: system calls only. */
__attribute__((no_sanitize("address", "undefined"))) static int child_main(void *data)
{
    struct child_argument *child = data;
    const struct process_start *start = child->start;
    const struct definition *definition = start->definition;
#define DO(name, call)                                                                             \
    do {                                                                                           \
        child->step = name;                                                                        \
        if ((call) < 0)                                                                            \
            goto failed;                                                                           \
    } while (0)
    DO("setsid", setsid());
    DO("working directory", chdir(start->cwd));
    DO("descriptors", place_descriptors(start));
    for (size_t i = 0; definition && i < definition->limit_count; i++) {
        struct rlimit limit = {definition->limits[i].value, definition->limits[i].value};
        DO("limits", setrlimit((__rlimit_resource_t)definition->limits[i].resource, &limit));
    }
    if (definition && definition->has_user) {
        DO("user", prctl(PR_SET_KEEPCAPS, definition->capabilities != 0, 0, 0, 0));
        DO("user", change_user(definition));
    }
    if (geteuid() != 0) /* root's programs have all of them */
        DO("capabilities", give_capabilities(definition));
    /* After the change of user, which clears it; before the look at who our parent is, or its death
     * in between would go unnoticed. */
    DO("parent death signal", prctl(PR_SET_PDEATHSIG, SIGKILL));
    if (getppid() != child->parent)
        syscall(SYS_exit_group, 1);
    DO("signal mask", sigprocmask(SIG_SETMASK, &child->no_signals, NULL));
    child->step = "exec";
    execve(start->path, start->argv, start->envp);
#undef DO
failed:
    child->error = errno ? errno : EINVAL;
    syscall(SYS_exit_group, 127);
    return 127;
}

int process_start(const struct process_start *start, struct process_started *started)
{
    static _Alignas(16) char stack[CHILD_STACK_SIZE];
    struct child_argument child = {.start = start, .parent = getpid(), .step = "clone"};
    int pidfd = -1;
    sigemptyset(&child.no_signals);
    pid_t pid = clone(child_main, stack + sizeof stack,
                      CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &child, &pidfd);
    *started = (struct process_started){.pid = pid, .pidfd = pidfd, .step = child.step};
    if (pid < 0) {
        started->pidfd = -1;
        started->error = errno;
        return -1;
    }
    if (!child.error)
        return 0;
    started->error = child.error;
    started->pid = -1;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    close(pidfd);
    started->pidfd = -1;
    return -1;
}

void process_signal(pid_t pid, int pidfd, int signal)
{
    if (pid <= 0)
        return;
    if (pidfd < 0 || (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) && errno != ESRCH))
        kill(pid, signal);
}

static bool mask_has(const char *status, const char *field, int signal)
{
    const char *at = strstr(status, field);
    if (!at)
        return false;
    return (strtoull(at + strlen(field), NULL, 16) >> (signal - 1)) & 1;
}

bool process_handles(pid_t pid, int signal)
{
    char path[40], status[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, status, sizeof status - 1);
    close(fd);
    if (size <= 0)
        return false;
    status[size] = '\0';
    return mask_has(status, "\nSigCgt:", signal) || mask_has(status, "\nSigBlk:", signal);
}

pid_t process_reap(int *exit_code, int *signal)
{
    int status;
    pid_t pid;
    do
        pid = waitpid(-1, &status, WNOHANG);
    while (pid < 0 && errno == EINTR);
    if (pid <= 0)
        return 0;
    *signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return pid;
}
