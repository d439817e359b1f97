/* orch-keeper [--control FD] RUN_DIRECTORY: goes into the background at once. This file only wires.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/log.h"
#include "services/runner/keeper.h"

enum { EXIT_USAGE = 2 };

/* Nothing of whoever started us may stay open here: its log pipe would never end. */
static void close_others(int keep)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= STDERR_FILENO && null >= 0; fd++)
        dup2(null, fd);
    if (keep > STDERR_FILENO) {
        if (keep > STDERR_FILENO + 1)
            close_range(STDERR_FILENO + 1, (unsigned)keep - 1, 0);
        close_range((unsigned)keep + 1, ~0U, 0);
        fcntl(keep, F_SETFD, FD_CLOEXEC);
    } else {
        close_range(STDERR_FILENO + 1, ~0U, 0);
    }
}

int main(int argc, char **argv)
{
    int control = -1;
    if (argc == 4 && strcmp(argv[1], "--control") == 0)
        control = atoi(argv[2]);
    else if (argc != 2) {
        fprintf(stderr, "usage: orch-keeper [--control FD] RUN_DIRECTORY\n");
        return EXIT_USAGE;
    }
    if (chdir(argv[argc - 1]) < 0) {
        fprintf(stderr, "orch-keeper: %s: %s\n", argv[argc - 1], strerror(errno));
        return EXIT_USAGE;
    }
    /* A session of its own, led by nobody that lives: no signal to a group or a terminal of the
     * one that started us ever comes here. */
    setsid();
    pid_t child = fork();
    if (child != 0)
        return child < 0 ? 1 : 0;
    close_others(control);
    prctl(PR_SET_NAME, "orch-keeper");
    int own_log = open("keeper.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (own_log >= 0)
        dup2(own_log, STDERR_FILENO);
    log_init("keeper", LOG_LEVEL_INFO);
    _exit(keeper_run(control));
}
