/* The least a supervisor can do: start a program, wait for its death, start it again at once.
 * Usage: bare_loop PROGRAM [ARGUMENT...]; the program's descriptor 3 is the FIFO named by BENCH_READY
 * where that is set, announced by ORCH_NOTIFY_FD=3. Writes the child's pid to BENCH_PID at each start. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_pid(const char *path, pid_t pid)
{
    char text[16];
    int size = snprintf(text, sizeof text, "%d\n", (int)pid);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, (size_t)size) != size)
        _exit(1);
    close(fd);
}

int main(int argc, char **argv)
{
    const char *ready = getenv("BENCH_READY");
    const char *pid_file = getenv("BENCH_PID");
    if (argc < 2 || !pid_file)
        return 2;
    static int ready_fd = -1; /* static: a vfork child shares our frame */
    if (ready) {
        ready_fd = open(ready, O_RDWR | O_CLOEXEC);
        if (ready_fd < 0)
            return 1;
        setenv("ORCH_NOTIFY_FD", "3", 1);
    }
    for (;;) {
        pid_t child = vfork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (ready_fd == 3)
                fcntl(3, F_SETFD, 0);
            else if (ready_fd >= 0)
                dup2(ready_fd, 3);
            execvp(argv[1], argv + 1);
            _exit(127);
        }
        write_pid(pid_file, child);
        int status;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            continue;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
            return 127;
    }
}
