#include "supervisor/instance.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/file.h"
#include "supervisor/text.h"

enum { SCRIPT_SIZE = 4096 };

/* Joins; false where the result does not fit. */
static bool join(char out[PATH_MAX], const char *folder, size_t folder_size, const char *name)
{
    size_t name_size = strlen(name);
    if (folder_size + 1 + name_size >= PATH_MAX)
        return false;
    memmove(out, folder, folder_size);
    out[folder_size] = '/';
    memcpy(out + folder_size + 1, name, name_size + 1);
    return true;
}

static bool is_program(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static bool find_in_path(const char *name, const char *path, char out[PATH_MAX])
{
    for (const char *at = path; *at;) {
        size_t size = strcspn(at, ":");
        if (size && join(out, at, size, name) && is_program(out))
            return true;
        at += size;
        at += *at == ':';
    }
    return false;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* `exec NAME` in a shell and NAME itself mean the same; the shell costs 1.2 ms at each restart. */
static bool script_program(const char *script_path, const char *folder, const char *path,
                           char out[PATH_MAX])
{
    char script[SCRIPT_SIZE], name[256];
    FILE *file = fopen(script_path, "re");
    if (!file)
        return false;
    size_t size = fread(script, 1, sizeof script - 1, file);
    fclose(file);
    script[size] = '\0';
    if (size == sizeof script - 1 || memchr(script, '\0', size) ||
        !script_execs(script, name, sizeof name))
        return false;
    if (name[0] == '/')
        return snprintf(out, PATH_MAX, "%s", name) < PATH_MAX && is_program(out);
    if (strchr(name, '/'))
        return join(out, folder, strlen(folder), name) && is_program(out);
    return find_in_path(name, path, out);
}

void instance_resolve(struct instance *instance, const struct definition *definition,
                      const char *path)
{
    char run[PATH_MAX], target[PATH_MAX];
    struct stat status;
    join(run, definition->folder, strlen(definition->folder), "run");
    join(instance->finish, definition->folder, strlen(definition->folder), "finish");
    if (script_program(run, instance->folder, path, instance->program)) {
        snprintf(instance->argv0, sizeof instance->argv0, "%s", base_name(instance->program));
    } else if (lstat(run, &status) == 0 && S_ISLNK(status.st_mode) && realpath(run, target)) {
        /* a link to the program: executed by its own name, or `ps` would show "run" */
        snprintf(instance->program, sizeof instance->program, "%s", target);
        snprintf(instance->argv0, sizeof instance->argv0, "%s", base_name(target));
    } else {
        snprintf(instance->program, sizeof instance->program, "%s", run);
        snprintf(instance->argv0, sizeof instance->argv0, "./run");
    }
}

static int point(const char *link, const char *target)
{
    char now[PATH_MAX], beside[PATH_MAX];
    ssize_t size = readlink(link, now, sizeof now - 1);
    if (size >= 0) {
        now[size] = '\0';
        if (strcmp(now, target) == 0)
            return 0;
    }
    if (snprintf(beside, sizeof beside, "%s.new", link) >= PATH_MAX)
        return -1;
    unlink(beside);
    if (symlink(target, beside))
        return -1;
    return rename(beside, link);
}

/* Not ours to link: runsv's own state, and its logger (the supervisor keeps the log itself; a log
 * folder without a logger makes `sv status` complain). */
static bool is_runsvs(const char *name)
{
    return strcmp(name, "supervise") == 0 || strcmp(name, "log") == 0;
}

static int link_entries(const struct instance *instance, const struct definition *definition)
{
    int result = -1;
    struct dirent *entry;
    char link[PATH_MAX], target[PATH_MAX];
    DIR *directory = opendir(definition->folder);
    if (!directory)
        return -1;
    while ((entry = readdir(directory))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || is_runsvs(name))
            continue;
        if (!join(link, instance->folder, strlen(instance->folder), name) ||
            !join(target, definition->folder, strlen(definition->folder), name)) {
            errno = ENAMETOOLONG;
            goto close_directory;
        }
        bool to_program = strcmp(name, "run") == 0 && strcmp(instance->argv0, "./run") != 0;
        if (point(link, to_program ? instance->program : target))
            goto close_directory;
    }
    result = 0;
close_directory:
    closedir(directory);
    return result;
}

/* What is no longer in sv/<name>/ (a `down`, a renamed helper) goes. */
static void unlink_stale(const struct instance *instance, const struct definition *definition)
{
    char link[PATH_MAX], source[PATH_MAX];
    struct stat status;
    struct dirent *entry;
    DIR *directory = opendir(instance->folder);
    if (!directory)
        return;
    while ((entry = readdir(directory))) {
        if (join(link, instance->folder, strlen(instance->folder), entry->d_name) &&
            join(source, definition->folder, strlen(definition->folder), entry->d_name) &&
            lstat(link, &status) == 0 && S_ISLNK(status.st_mode) && lstat(source, &status) != 0)
            unlink(link);
    }
    closedir(directory);
}

int instance_make(struct instance *instance, const struct definition *definition,
                  const char *run_dir, const char *path, char *fault, size_t size)
{
    char supervise[PATH_MAX];
    if (snprintf(instance->folder, sizeof instance->folder, "%s/sv/%s", run_dir,
                 definition->name) >= PATH_MAX ||
        !join(supervise, instance->folder, strlen(instance->folder), "supervise")) {
        snprintf(fault, size, "%s: path too long", run_dir);
        return -1;
    }
    instance_resolve(instance, definition, path);
    /* 0700 as runsv's: whoever may write there controls the service */
    if (file_make_dirs(instance->folder, 0755) || file_make_dirs(supervise, 0700) ||
        link_entries(instance, definition)) {
        snprintf(fault, size, "%s: %s", instance->folder, strerror(errno));
        return -1;
    }
    unlink_stale(instance, definition);
    return 0;
}
