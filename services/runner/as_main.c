/* orch-as UID GID DIRECTORY PROGRAM [ARGUMENT...]: the program there, as that user and without any
 * right of ours. For git in a workspace that belongs to the agents' user; an agent itself is
 * started by its keeper. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/identity.h"

enum { EXIT_USAGE = 2, EXIT_NO_CHANGE = 126, EXIT_NO_PROGRAM = 127 };

static int number(const char *text, unsigned *out)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    *out = (unsigned)value;
    return errno || end == text || *end || value == 0 || value >= (unsigned)-1 ? -1 : 0;
}

int main(int argc, char **argv)
{
    unsigned uid, gid;
    if (argc < 5 || number(argv[1], &uid) < 0 || number(argv[2], &gid) < 0) {
        fprintf(stderr,
                "usage: orch-as UID GID DIRECTORY PROGRAM [ARGUMENT...]; neither id is 0\n");
        return EXIT_USAGE;
    }
    if (identity_become(uid, gid) < 0) {
        fprintf(stderr, "orch-as: cannot become user %u: %s\n", uid, strerror(errno));
        return EXIT_NO_CHANGE;
    }
    if (chdir(argv[3]) == 0)
        execvp(argv[4], argv + 4);
    fprintf(stderr, "orch-as: %s in %s: %s\n", argv[4], argv[3], strerror(errno));
    return EXIT_NO_PROGRAM;
}
