/* The artefacts in a workspace, looked at without following a link. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "services/runner/workspace.h"

enum { ARTEFACTS_MAX = 200 };

/* docs/work-items/<key> without following a link on the way; -1 where it is not there. */
static int open_artefacts(struct workspace *workspace, const char *key)
{
    const char *const parts[] = {"docs", "work-items", key};
    int fd = open(workspace->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (int i = 0; i < 3 && fd >= 0; i++) {
        int next = openat(fd, parts[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int saved = errno;
        close(fd);
        errno = saved;
        fd = next;
    }
    return fd;
}

static int remove_artefact(struct workspace *workspace, const char *key, const char *name)
{
    int fd = open_artefacts(workspace, key);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
    int result = unlinkat(fd, name, 0);
    if (result < 0 && errno == ENOENT)
        result = 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

int workspace_remove_artefact(struct workspace *workspace, const char *key, const char *name)
{
    identity_enter(workspace->owner);
    int result = remove_artefact(workspace, key, name);
    identity_leave(workspace->owner);
    return result;
}

static void list_names(int fd, const char *prefix, json_t *names)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) && json_array_size(names) < ARTEFACTS_MAX;) {
        struct stat info;
        if (entry->d_name[0] == '.' ||
            fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        char *name = xformat("%s%s", prefix, entry->d_name);
        if (S_ISREG(info.st_mode)) {
            json_t *text = json_string(name); /* NULL where it is no UTF-8 */
            if (text)
                json_array_append_new(names, text);
        } else if (S_ISDIR(info.st_mode) && *prefix == '\0') {
            int below =
                openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            char *deeper = xformat("%s/", name);
            if (below >= 0)
                list_names(below, deeper, names);
            free(deeper);
        }
        free(name);
    }
    closedir(dir);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

json_t *workspace_artefacts(struct workspace *workspace, const char *key)
{
    json_t *names = json_array(), *sorted = json_array(), *list[ARTEFACTS_MAX];
    identity_enter(workspace->owner);
    int fd = open_artefacts(workspace, key);
    if (fd >= 0)
        list_names(fd, "", names);
    identity_leave(workspace->owner);
    size_t count = json_array_size(names);
    for (size_t i = 0; i < count; i++)
        list[i] = json_array_get(names, i);
    if (count)
        qsort(list, count, sizeof *list, compare_names);
    for (size_t i = 0; i < count; i++)
        json_array_append(sorted, list[i]);
    json_decref(names);
    return sorted;
}
