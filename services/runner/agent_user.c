#include "services/runner/agent_user.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"

enum { PASS_MODE = 0711 };

/* ---- who ---- */

static int find(const struct config *config, struct identity *user, char **fault)
{
    const char *name = config->agent_user;
    if (identity_find(name, user) < 0)
        *fault = xformat("agent.user: %s: %s", name,
                         errno == ENOENT ? "there is no such user" : strerror(errno));
    else if (user->uid == 0 || user->uid == geteuid())
        *fault = xformat("agent.user: %s is %s: agents need a user of their own", name,
                         user->uid == 0 ? "root" : "our own user");
    else if (!identity_may_change())
        *fault = xformat("agent.user: we may not start programs as %s: that needs CAP_SETUID, "
                         "CAP_SETGID, CAP_CHOWN and CAP_KILL (docs/operations.md)",
                         name);
    return *fault ? -1 : 0;
}

/* ---- the way ---- */

static int open_way(const char *path, mode_t mode)
{
    struct stat info;
    if (file_make_dirs(path, mode) < 0 || stat(path, &info) < 0)
        return -1;
    return (info.st_mode & mode) == mode ? 0 : chmod(path, (info.st_mode & 07777) | mode);
}

static int open_ways(const struct config *config, char **fault)
{
    static const char *const folders[] = {"", "/agents", "/workspaces", "/git", "/tmp"};
    int result = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && result == 0; i++) {
        char *path = xformat("%s%s", config->home, folders[i]);
        result = open_way(path, PASS_MODE);
        if (result < 0)
            *fault = xformat("agent.user: %s: %s", path, strerror(errno));
        free(path);
    }
    return result;
}

static bool is_way(const char *name)
{
    return strcmp(name, "agents") == 0 || strcmp(name, "workspaces") == 0 ||
           strcmp(name, "git") == 0 || strcmp(name, "tmp") == 0;
}

/* What stands beside the ways and was made before home could be passed through. */
static int close_others(const struct config *config, char **fault)
{
    int result = 0;
    struct stat info;
    DIR *dir = opendir(config->home);
    for (struct dirent *entry; dir && result == 0 && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            is_way(entry->d_name))
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            !S_ISLNK(info.st_mode) && info.st_uid == geteuid() && (info.st_mode & 07))
            result = fchmodat(dirfd(dir), entry->d_name, info.st_mode & 07770, 0);
        if (result < 0)
            *fault = xformat("agent.user: %s/%s: %s", config->home, entry->d_name, strerror(errno));
    }
    if (dir)
        closedir(dir);
    return result;
}

int agent_user_open(const struct config *config, struct identity *user, char **fault)
{
    *user = (struct identity){0};
    *fault = NULL;
    identity_keep();
    if (!*config->agent_user) {
        identity_drop();
        return 0;
    }
    return find(config, user, fault) < 0 || close_others(config, fault) < 0 ||
                   open_ways(config, fault) < 0
               ? -1
               : 0;
}

char *agent_user_home(const struct config *config, const struct identity *user, const char *project,
                      char **fault)
{
    char *path = xformat("%s/agents/%s", config->home, project);
    if (file_make_dirs(path, 0700) == 0 && (!user || agent_user_give(path, user) == 0))
        return path;
    *fault = xformat("%s: %s", path, strerror(errno));
    free(path);
    return NULL;
}

char *agent_user_tmp(const struct config *config, const struct identity *user, const char *run,
                     char **fault)
{
    char *path = xformat("%s/tmp/%s", config->home, run);
    if (file_make_dirs(path, 0700) == 0 && (!user || agent_user_give(path, user) == 0))
        return path;
    *fault = xformat("%s: %s", path, strerror(errno));
    free(path);
    return NULL;
}

void agent_user_drop_tmp(const char *home, const char *run)
{
    char *path = xformat("%s/tmp/%s", home, run);
    if (agent_user_remove(path) < 0)
        log_warn("tmp", "%s: %s", path, strerror(errno));
    free(path);
}

void agent_user_clean_tmp(const char *home)
{
    char *folder = xformat("%s/tmp", home);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char *runs = xformat("%s/runs/%s", home, entry->d_name);
        char *result = xformat("%s/result.json", runs);
        if (entry->d_name[0] != '.' && (file_exists(result) || !file_exists(runs)))
            agent_user_drop_tmp(home, entry->d_name);
        free(result);
        free(runs);
    }
    if (dir)
        closedir(dir);
    free(folder);
}

/* ---- handing over ---- */

static int give_at(int parent, const char *name, uid_t uid, gid_t gid);

/* Takes fd. A folder is ours while we are in it: only its owner may look into a closed one. */
static int give_folder(int fd, uid_t uid, gid_t gid)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -1;
    }
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = give_at(fd, entry->d_name, uid, gid);
    }
    if (result == 0)
        result = fchown(fd, uid, gid);
    int saved = errno;
    closedir(dir);
    errno = saved;
    return result;
}

/* By a handle: what a name means may change while its owner still runs. */
static int give_at(int parent, const char *name, uid_t uid, gid_t gid)
{
    struct stat info;
    int handle = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), fd = -1;
    if (handle < 0)
        return -1;
    int result = fstat(handle, &info);
    bool folder = result == 0 && S_ISDIR(info.st_mode);
    if (folder) {
        result = fchownat(handle, "", geteuid(), getegid(), AT_EMPTY_PATH);
        if (result == 0)
            result = fd = file_open_dir(handle);
    } else if (result == 0 && info.st_nlink == 1 && (info.st_uid != uid || info.st_gid != gid)) {
        result = fchownat(handle, "", uid, gid, AT_EMPTY_PATH);
    }
    int saved = errno;
    close(handle); /* before the way down: each level costs one descriptor */
    errno = saved;
    return result < 0 || !folder ? result : give_folder(fd, uid, gid);
}

int agent_user_give(const char *path, const struct identity *user)
{
    struct stat info;
    if (lstat(path, &info) < 0)
        return errno == ENOENT ? 0 : -1;
    return info.st_uid == user->uid ? 0 : give_at(AT_FDCWD, path, user->uid, user->gid);
}

/* The top tells nothing here: it is ours from the first moment on, whoever is killed while taking
 * the rest. */
int agent_user_remove(const char *path)
{
    if (give_at(AT_FDCWD, path, geteuid(), getegid()) < 0 && errno != ENOENT)
        return -1;
    return file_remove_tree(path);
}
