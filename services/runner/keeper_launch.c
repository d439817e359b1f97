/* Reading launch.json, the order that the runner wrote for the keeper. */
#include "services/runner/keeper.h"

#include <stdlib.h>

#include <jansson.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"

enum { LAUNCH_MAX_BYTES = 8 * 1024 * 1024 };

static char **read_list(const json_t *root, const char *name)
{
    const json_t *list = json_object_get(root, name);
    size_t count = json_array_size(list);
    char **out = xcalloc(count + 1, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        out[i] = xstrdup(text ? text : "");
    }
    return out;
}

int keeper_parse_launch(const char *text, size_t size, struct keeper_launch *launch)
{
    json_t *root = json_loadb(text, size, 0, NULL);
    const char *cwd = json_string_value(json_object_get(root, "cwd"));
    if (!root || !cwd || json_array_size(json_object_get(root, "argv")) == 0) {
        json_decref(root);
        return -1;
    }
    launch->argv = read_list(root, "argv");
    launch->env = read_list(root, "env");
    launch->cwd = xstrdup(cwd);
    const json_t *user = json_object_get(root, "user");
    launch->uid = (uid_t)json_integer_value(json_object_get(user, "uid"));
    launch->gid = (gid_t)json_integer_value(json_object_get(user, "gid"));
    const json_t *cage = json_object_get(root, "cage"), *limits = json_object_get(root, "limits");
    launch->read = cage ? read_list(cage, "read") : NULL;
    launch->write = cage ? read_list(cage, "write") : NULL;
    launch->memory_mb = json_integer_value(json_object_get(limits, "memory_mb"));
    launch->processes = json_integer_value(json_object_get(limits, "processes"));
    launch->file_mb = json_integer_value(json_object_get(limits, "file_mb"));
    launch->trusted = json_is_true(json_object_get(root, "trusted"));
    launch->timeout_ms = json_integer_value(json_object_get(root, "timeout_ms"));
    launch->grace_ms = json_integer_value(json_object_get(root, "grace_ms"));
    launch->stall_ms = json_integer_value(json_object_get(root, "stall_ms"));
    launch->log_max_bytes = json_integer_value(json_object_get(root, "log_max_bytes"));
    json_decref(root);
    return 0;
}

char *keeper_read_launch(struct keeper_launch *launch, size_t *size)
{
    char *text = file_read("launch.json", LAUNCH_MAX_BYTES, size);
    if (!text || keeper_parse_launch(text, *size, launch) < 0) {
        log_error("launch", "launch.json cannot be read, or has no argv or cwd");
        free(text);
        return NULL;
    }
    return text;
}
