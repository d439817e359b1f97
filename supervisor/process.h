/* The only file that forks. A start is one clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD): no page
 * table is copied (256 MB of heap cost 8 ms with fork, nothing so), nothing is allocated, and the
 * reason of a failed exec comes back in shared memory before the call returns. */
#ifndef ORCH_SUPERVISOR_PROCESS_H
#define ORCH_SUPERVISOR_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>
#include "supervisor/definitions.h"

struct process_start {
    const char *path; /* of the program, absolute */
    char *const *argv;
    char *const *envp;
    const char *cwd;
    int input_fd, output_fd; /* become 0, and 1 and 2 */
    int notify_fd;           /* becomes notify_target; -1: none */
    int notify_target;
    const struct definition *definition; /* limits and user; NULL: none */
};

struct process_started {
    pid_t pid; /* -1: not started */
    int pidfd;
    int error;        /* errno of what failed */
    const char *step; /* which: "clone", "user", "exec", … */
};

/* Borrows everything until return. 0; -1 with error and step set (nothing is left to reap). */
int process_start(const struct process_start *start, struct process_started *started);

/* By pidfd, so that a recycled pid is never hit; by pid where there is none. */
void process_signal(pid_t pid, int pidfd, int signal);

/* True where the process catches or blocks the signal (what PID 1 forwards would kill others). */
bool process_handles(pid_t pid, int signal);

/* One ended child, whoever's it was: its pid, 0 where none is waiting. Never blocks. */
pid_t process_reap(int *exit_code, int *signal);

#endif
