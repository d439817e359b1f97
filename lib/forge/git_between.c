/* A fetch from one user's repository into another's: git upload-pack as the one, git fetch as the
 * other, a socket between them. So neither needs to read what is the other's, and what stands in a
 * repository's configuration is never run by the other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/forge/git.h"
#include "lib/forge/git_internal.h"

enum { REFSPECS_MAX = 4, END_MS = 10000 };

static int fetch(const struct git_call *call, const char *from, const char *const *refspecs,
                 char **fault)
{
    const char *arguments[6 + REFSPECS_MAX + 1] = {
        "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", from};
    for (size_t i = 0; i < REFSPECS_MAX && refspecs[i]; i++)
        arguments[6 + i] = refspecs[i];
    return git_run_list(call, NULL, NULL, fault, arguments) == 0 ? 0 : -1;
}

int git_fetch_between(const struct git_call *call, const char *dir, const struct identity *theirs,
                      const char *const *refspecs, char **fault)
{
    if (!call->as && !theirs)
        return fetch(call, dir, refspecs, fault);
    int ends[2], result = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        *fault = xformat("no socket for a fetch: %s", strerror(errno));
        return -1;
    }
    const char *const argv[] = {"git", "upload-pack", "--strict", dir, NULL};
    const struct process_spec server = {
        .argv = argv, .env = git_environment(call->git), .cwd = theirs ? dir : NULL, .as = theirs};
    pid_t pid = process_serve(&server, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        *fault = xformat("git cannot be run: %s", strerror(errno));
    } else {
        struct git_call asking = *call;
        asking.socket = ends[0];
        result = fetch(&asking, "fd::3", refspecs, fault);
    }
    close(ends[0]);
    if (pid >= 0)
        process_end(pid, END_MS);
    return result;
}
