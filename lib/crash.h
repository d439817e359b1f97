/* Named crash points: the storm stops a process exactly here (chapter 07).
 *
 * Active only where ORCH_CRASH_DIR is set: when the file <dir>/<name> is there, it is unlinked and
 * this process gets SIGKILL. So one file is one kill, whoever comes first. */
#ifndef ORCH_CRASH_H
#define ORCH_CRASH_H

#define CRASH_VARIABLE "ORCH_CRASH_DIR"

enum crash_point {
#define CRASH_POINT(id, name, where) CRASH_##id,
#include "lib/crash_points.def"
#undef CRASH_POINT
    CRASH_POINT_COUNT
};

void crash_point(enum crash_point point);
const char *crash_point_name(enum crash_point point);

#endif
