#include "services/runner/cage.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/sandbox.h"

/* Without /tmp, /home, /root, /run and /var. Of /dev what every program may need and nothing that
 * leads to a disk or to memory. */
static const char *const system_read[] = {"/usr",
                                          "/bin",
                                          "/sbin",
                                          "/lib",
                                          "/lib32",
                                          "/lib64",
                                          "/libx32",
                                          "/etc",
                                          "/opt",
                                          "/proc",
                                          "/sys",
                                          "/run/systemd/resolve",
                                          "/run/resolvconf",
                                          "/nix/store",
                                          "/dev/random",
                                          "/dev/urandom",
                                          "/var/lib/dpkg",
                                          NULL};
static const char *const system_write[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/tty",
                                           "/dev/ptmx", "/dev/pts",  "/dev/shm",  NULL};

enum { DEEPEST = 32 };

/* ---- paths ---- */

/* Whether path is within folder, or is it. */
static bool is_within(const char *path, const char *folder)
{
    size_t size = strlen(folder);
    while (size > 1 && folder[size - 1] == '/')
        size--;
    return strncmp(path, folder, size) == 0 &&
           (path[size] == '\0' || path[size] == '/' || strcmp(folder, "/") == 0);
}

/* As the kernel sees it, where it is there. Caller frees. */
static char *real(const char *path)
{
    char *found = realpath(path, NULL);
    return found ? found : xstrdup(path);
}

static void add(json_t *list, const char *path)
{
    json_t *text = json_string(path);
    if (text)
        json_array_append_new(list, text);
}

/* What no agent may see: home, run_dir, the configuration and the files of secrets. */
static json_t *closed_paths(const struct config *config)
{
    json_t *closed = json_array(), *secret;
    const char *own[] = {config->home, config->run_dir, config->file};
    size_t index;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        char *path = real(own[i]);
        add(closed, path);
        free(path);
    }
    json_array_foreach(config->secret_files, index, secret)
    {
        char *path = real(json_string_value(secret));
        add(closed, path);
        free(path);
    }
    return closed;
}

enum relation { APART, HOLDS_CLOSED, IS_CLOSED };

static enum relation relation_of(const char *path, const json_t *closed)
{
    size_t index;
    json_t *entry;
    enum relation relation = APART;
    json_array_foreach(closed, index, entry)
    {
        const char *other = json_string_value(entry);
        if (is_within(path, other))
            return IS_CLOSED;
        if (is_within(other, path))
            relation = HOLDS_CLOSED;
    }
    return relation;
}

/* Landlock's rules only add: of a folder that holds something closed its other entries are named.
 */
static void open_up(json_t *list, const char *path, const json_t *closed, int depth)
{
    enum relation relation = relation_of(path, closed);
    if (relation == APART)
        add(list, path);
    DIR *dir = relation == HOLDS_CLOSED && depth < DEEPEST ? opendir(path) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_type == DT_LNK)
            continue; /* where it leads is open or closed by itself */
        char *name = xformat("%s/%s", strcmp(path, "/") == 0 ? "" : path, entry->d_name);
        open_up(list, name, closed, depth + 1);
        free(name);
    }
    if (dir)
        closedir(dir);
}

static void open_path(json_t *list, const char *path, const json_t *closed)
{
    char *found = real(path);
    open_up(list, found, closed, 0);
    free(found);
}

/* ---- the agent's program ---- */

/* Where PATH finds it. Caller frees; NULL: nowhere. */
static char *find_program(const char *name)
{
    if (strchr(name, '/'))
        return xstrdup(name);
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t size = strcspn(at, ":");
        char *path = xformat("%.*s/%s", (int)size, at, name);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
        at += size + (at[size] == ':');
    }
    return NULL;
}

/* Its own folder: what it is made of lies there. A program in a folder that holds something of ours
 * is named alone. */
static void open_program(json_t *read, const char *name, const json_t *closed)
{
    char *path = find_program(name);
    if (!path)
        return;
    char *found = real(path), *slash = strrchr(found, '/');
    add(read, path);
    add(read, found);
    if (slash && slash != found) {
        *slash = '\0';
        if (relation_of(found, closed) == APART && strchr(found + 1, '/'))
            add(read, found);
    }
    free(found);
    free(path);
}

/* ---- the cage ---- */

static void open_listed(json_t *list, const json_t *paths, const json_t *closed)
{
    size_t index;
    json_t *path;
    json_array_foreach(paths, index, path) open_path(list, json_string_value(path), closed);
}

int cage_build(const struct cage_request *request, json_t **cage, char **fault)
{
    const struct config *config = request->config;
    *cage = NULL;
    if (strcmp(config->agent_sandbox, "none") == 0)
        return 0;
    bool demanded = strcmp(config->agent_sandbox, "auto") != 0;
    if (strcmp(config->agent_sandbox, "namespaces") == 0 || (demanded && sandbox_abi() == 0)) {
        *fault = xformat("agent.sandbox: %s is not to be had here; auto takes what there is",
                         config->agent_sandbox);
        return -1;
    }
    if (sandbox_abi() == 0)
        return 0;
    json_t *closed = closed_paths(config), *read = json_array(), *write = json_array();
    const char *own[] = {request->workspace, request->home, request->tmp, request->config_dir};
    for (size_t i = 0; system_read[i]; i++)
        open_path(read, system_read[i], closed);
    for (size_t i = 0; system_write[i]; i++)
        add(write, system_write[i]);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (own[i])
            add(write, own[i]);
    }
    open_program(read, request->program, closed);
    open_listed(read, config->agent_sandbox_read, closed);
    open_listed(write, config->agent_sandbox_write, closed);
    *cage = json_pack("{so so}", "read", read, "write", write);
    json_decref(closed);
    return 0;
}

/* ---- for people ---- */

static int64_t limit(const struct config *config, const char *name)
{
    return json_integer_value(json_object_get(config->agent_limits, name));
}

char *cage_describe(const struct config *config, const char *user)
{
    bool on = strcmp(config->agent_sandbox, "none") != 0 && sandbox_abi() > 0;
    struct buffer out = {0};
    buffer_format(&out, "user: %s; files: %s", *user ? user : "ours",
                  on ? "landlock" : "not protected");
    if (on)
        buffer_format(&out, " (ABI %d)", sandbox_abi());
    buffer_format(&out, "; sockets: %s", *user ? "protected" : "not protected");
    buffer_format(&out, "; limits: memory %lld MiB, %lld processes%s, files of %lld MiB (0: none)",
                  (long long)limit(config, "memory_mb"), (long long)limit(config, "processes"),
                  *user ? "" : " (not kept: they are our user's)",
                  (long long)limit(config, "file_mb"));
    return buffer_take(&out);
}
