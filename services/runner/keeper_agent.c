/* The agent's process: forked while its order is still being prepared, then waiting at a pipe. The
 * order comes through that pipe, as the file may be taken back in the same moment. */
#include "services/runner/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/identity.h"
#include "lib/process.h"
#include "lib/sandbox.h"

enum { EXIT_CODE_EXEC = 127 };

/* ---- in the child ---- */

static bool read_whole(int fd, void *data, size_t size)
{
    for (char *at = data; size;) {
        ssize_t n = read(fd, at, size);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Ends where the keeper does: nothing is executed then. */
static void await_launch(int go, struct keeper_launch *launch)
{
    size_t size;
    if (!read_whole(go, &size, sizeof size))
        _exit(EXIT_CODE_EXEC);
    char *text = xcalloc(1, size + 1);
    if (!read_whole(go, text, size) || keeper_parse_launch(text, size, launch) < 0)
        _exit(EXIT_CODE_EXEC);
    free(text);
}

_Noreturn static void fail_exec(int report, int error)
{
    if (write(report, &error, sizeof error) < 0)
        _exit(EXIT_CODE_EXEC);
    _exit(EXIT_CODE_EXEC);
}

static void clear_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int set_limit(int which, int64_t value)
{
    struct rlimit limit = {(rlim_t)value, (rlim_t)value};
    return setrlimit(which, &limit);
}

/* RLIMIT_DATA and not RLIMIT_AS: JavaScript engines reserve far more addresses than they ever use.
 * A count of processes is one of all the user's, so it holds only for a user of the agents' own. */
static int take_limits(const struct keeper_launch *launch)
{
    if (set_limit(RLIMIT_CORE, 0) < 0)
        return -1;
    if (launch->memory_mb > 0 && set_limit(RLIMIT_DATA, launch->memory_mb << 20) < 0)
        return -1;
    if (launch->processes > 0 && launch->uid && set_limit(RLIMIT_NPROC, launch->processes) < 0)
        return -1;
    return launch->file_mb > 0 ? set_limit(RLIMIT_FSIZE, launch->file_mb << 20) : 0;
}

static int take_identity(const struct keeper_launch *launch)
{
    if (launch->uid)
        return identity_become(launch->uid, launch->gid);
    if (!launch->trusted)
        return identity_renounce();
    identity_drop();
    return 0;
}

_Noreturn static void become_agent(pid_t parent, int go, const int output[2], int report)
{
    struct keeper_launch launch;
    setsid();
    await_launch(go, &launch);
    int in = open("prompt", O_RDONLY | O_CLOEXEC); /* as ourselves: it is in our directory */
    if ((!launch.trusted && take_limits(&launch) < 0) || take_identity(&launch) < 0)
        fail_exec(report, errno);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user clears it */
    if (getppid() != parent)
        _exit(EXIT_CODE_EXEC); /* it died before the line above */
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(output[0], STDOUT_FILENO) < 0 ||
        dup2(output[1], STDERR_FILENO) < 0 || chdir(launch.cwd) < 0)
        fail_exec(report, errno);
    /* root's capabilities would lead out of any cage: other processes' memory, device files, mounts
     */
    if (launch.read && (identity_strip() < 0 || sandbox_enter(launch.read, launch.write) < 0))
        fail_exec(report, errno);
    clear_signals();
    for (char **variable = launch.env; *variable; variable++) {
        if (strncmp(*variable, "PATH=", 5) == 0)
            putenv(*variable); /* execvpe looks in ours */
    }
    execvpe(launch.argv[0], launch.argv, launch.env);
    fail_exec(report, errno);
}

/* ---- in the keeper ---- */

static int write_agent_pid(pid_t agent)
{
    char boot[37], text[256];
    process_boot_id(boot);
    int size =
        snprintf(text, sizeof text,
                 "{\"pid\":%d,\"start_ticks\":%llu,\"boot_id\":\"%s\",\"keeper_pid\":%d}\n",
                 (int)agent, (unsigned long long)process_start_ticks(agent), boot, (int)getpid());
    return file_write_synced("agent.pid", text, (size_t)size, 0600);
}

int keeper_fork_agent(struct keeper_agent *agent)
{
    int go[2], out[2], err[2], report[2];
    if (pipe2(go, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 ||
        pipe2(report, O_CLOEXEC) < 0)
        return -1; /* the process ends: nothing to close */
    pid_t self = getpid();
    agent->pid = fork();
    if (agent->pid < 0)
        return -1;
    if (agent->pid == 0) {
        close(go[1]);
        become_agent(self, go[0], (int[]){out[1], err[1]}, report[1]);
    }
    close(go[0]);
    close(out[1]);
    close(err[1]);
    close(report[1]);
    agent->go = go[1];
    agent->out = out[0];
    agent->err = err[0];
    agent->report = report[0];
    fcntl(agent->out, F_SETFL, O_NONBLOCK);
    fcntl(agent->err, F_SETFL, O_NONBLOCK);
    return write_agent_pid(agent->pid);
}

int keeper_release_agent(struct keeper_agent *agent, const char *launch, size_t size)
{
    char *order = xcalloc(1, sizeof size + size);
    memcpy(order, &size, sizeof size);
    memcpy(order + sizeof size, launch, size);
    size_t done = 0;
    while (done < sizeof size + size) {
        ssize_t n = write(agent->go, order + done, sizeof size + size - done);
        if (n < 0 && errno != EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    free(order);
    keeper_forget_agent(agent);
    return done == sizeof size + size ? 0 : -1;
}

void keeper_forget_agent(struct keeper_agent *agent)
{
    close(agent->go);
    agent->go = -1;
}
