#include "lib/crash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const names[CRASH_POINT_COUNT] = {
#define CRASH_POINT(id, name, where) [CRASH_##id] = name,
#include "lib/crash_points.def"
#undef CRASH_POINT
};

const char *crash_point_name(enum crash_point point)
{
    return names[point];
}

void crash_point(enum crash_point point)
{
    const char *dir = getenv(CRASH_VARIABLE);
    if (!dir)
        return;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, names[point]);
    /* unlink is atomic: of several processes at this point exactly one is killed. */
    if (unlink(path) == 0)
        kill(getpid(), SIGKILL);
}
