#include "services/reaper/traces.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/lock.h"
#include "protocol/message.h"

enum { STATUS_MAX = 64 * 1024 };

static enum judge_lock ask_lock(const char *path)
{
    switch (lock_ask(path)) {
    case LOCK_FREE:
        return JUDGE_LOCK_FREE;
    case LOCK_HELD:
        return JUDGE_LOCK_HELD;
    case LOCK_UNKNOWN:
        break;
    }
    return JUDGE_LOCK_UNKNOWN;
}

static enum judge_file find_file(const char *path)
{
    struct stat status;
    if (stat(path, &status) == 0)
        return JUDGE_FILE_THERE;
    return errno == ENOENT ? JUDGE_FILE_NONE : JUDGE_FILE_UNKNOWN;
}

static void read_status(const char *path, struct judge_traces *traces)
{
    size_t size;
    char *text = file_read(path, STATUS_MAX, &size);
    if (!text) {
        traces->status = errno == ENOENT ? JUDGE_FILE_NONE : JUDGE_FILE_UNKNOWN;
        return;
    }
    json_t *status = json_loadb(text, size, 0, NULL);
    traces->status = status ? JUDGE_FILE_THERE : JUDGE_FILE_UNKNOWN;
    traces->exit_known = json_is_integer(json_object_get(status, "exit_code"));
    traces->exit_code = (int)message_integer(status, "exit_code", 0);
    traces->ended_ms = message_integer(status, "ended_ms", 0);
    json_decref(status);
    free(text);
}

struct judge_traces traces_read(const struct config *config, const char *run)
{
    struct judge_traces traces = {.lock = JUDGE_LOCK_UNKNOWN,
                                  .spec = JUDGE_FILE_UNKNOWN,
                                  .started = JUDGE_FILE_UNKNOWN,
                                  .status = JUDGE_FILE_UNKNOWN};
    if (!*run || strchr(run, '/') || run[0] == '.')
        return traces; /* no run id of ours */
    char *all = config_home_path(config, "runs"), *folder = xformat("%s/%s", all, run);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/spec.json", folder);
    /* where the folder of all is away nothing can be said of one */
    if (find_file(all) == JUDGE_FILE_THERE)
        traces.spec = find_file(path);
    free(all);
    snprintf(path, sizeof path, "%s/started", folder);
    traces.started = find_file(path);
    snprintf(path, sizeof path, "%s/lock", folder);
    traces.lock = ask_lock(path);
    snprintf(path, sizeof path, "%s/status", folder);
    read_status(path, &traces);
    free(folder);
    return traces;
}
