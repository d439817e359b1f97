/* PURE: no I/O */
#include "services/ingress/route.h"

#include <string.h>

const struct route route_table[ROUTE_COUNT] = {
    {"POST", "/webhook/plane", ROUTE_SIGNED, true, {.source = SOURCE_PLANE}},
    {"POST", "/webhook/gitea", ROUTE_SIGNED, true, {.source = SOURCE_GITEA}},
    {"POST", "/webhook/local", ROUTE_LOCAL, false, {0}},
    {"GET", "/health", ROUTE_PAGE, true, {.page = PAGE_HEALTH}},
    {"GET", "/queue", ROUTE_PAGE, false, {.page = PAGE_QUEUE}},
    {"GET", "/tasks", ROUTE_PAGE, false, {.page = PAGE_TASKS}},
    {"GET", "/tasks/{key}", ROUTE_PAGE, false, {.page = PAGE_TASK}},
    {"GET", "/metrics", ROUTE_PAGE, true, {.page = PAGE_METRICS}},
    {"GET", "/events", ROUTE_EVENTS, false, {0}},
    {"GET", "/local/issues", ROUTE_PAGE, false, {.page = PAGE_ISSUES}},
    {"GET", "/local/issues/{key}", ROUTE_PAGE, false, {.page = PAGE_ISSUE}},
    {"POST", "/tasks/{key}/approve", ROUTE_COMMAND, false, {.command = COMMAND_APPROVE}},
    {"POST",
     "/tasks/{key}/confirm-deploy",
     ROUTE_COMMAND,
     false,
     {.command = COMMAND_CONFIRM_DEPLOY}},
    {"POST", "/tasks/{key}/stop", ROUTE_COMMAND, false, {.command = COMMAND_STOP}},
    {"POST", "/tasks/{key}/retry", ROUTE_COMMAND, false, {.command = COMMAND_RETRY}},
    {"POST", "/tasks/{key}/comment", ROUTE_COMMAND, false, {.command = COMMAND_COMMENT}},
    {"POST", "/serial-gate/freeze", ROUTE_COMMAND, false, {.command = COMMAND_FREEZE}},
    {"POST", "/serial-gate/unfreeze", ROUTE_COMMAND, false, {.command = COMMAND_UNFREEZE}},
    {"POST", "/pause", ROUTE_COMMAND, false, {.command = COMMAND_PAUSE}},
    {"POST", "/resume", ROUTE_COMMAND, false, {.command = COMMAND_RESUME}},
    {"POST", "/drain", ROUTE_COMMAND, false, {.command = COMMAND_DRAIN}},
    {"GET", "/effects", ROUTE_PAGE, false, {.page = PAGE_EFFECTS}},
    {"POST", "/effects/drop", ROUTE_COMMAND, false, {.command = COMMAND_DROP_EFFECTS}},
};

/* key takes the segment that stands where the pattern has {key}. */
static bool path_matches(const char *pattern, const char *path, char key[ROUTE_KEY_MAX + 1])
{
    const char *hole = strstr(pattern, "{key}");
    key[0] = '\0';
    if (!hole)
        return strcmp(pattern, path) == 0;
    size_t before = (size_t)(hole - pattern);
    if (strncmp(pattern, path, before) != 0)
        return false;
    path += before;
    size_t length = strcspn(path, "/");
    if (length == 0 || length > ROUTE_KEY_MAX || strcmp(hole + strlen("{key}"), path + length) != 0)
        return false;
    memcpy(key, path, length);
    key[length] = '\0';
    return true;
}

const struct route *route_find(const char *method, const char *path, char key[ROUTE_KEY_MAX + 1],
                               bool *path_known)
{
    *path_known = false;
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!path_matches(route_table[i].path, path, key))
            continue;
        *path_known = true;
        if (strcmp(route_table[i].method, method) == 0)
            return &route_table[i];
    }
    key[0] = '\0';
    return NULL;
}
