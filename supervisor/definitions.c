#include "supervisor/definitions.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/file.h"

enum { SCRIPT_MAX = 4 * 1024 * 1024 };

static bool name_fits(const char *name)
{
    return strlen(name) < SERVICE_NAME_SIZE &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               strlen(name);
}

/* FNV-1a: only "the same as before?" is asked of it. */
static uint64_t mix(uint64_t hash, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)data[i]) * 1099511628211u;
    return (hash ^ 0xff) * 1099511628211u;
}

static uint64_t mix_file(uint64_t hash, const char *path)
{
    struct stat status;
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof target);
    if (length >= 0)
        return mix(hash, target, (size_t)length);
    if (stat(path, &status) || status.st_size > SCRIPT_MAX)
        return mix(hash, "", 0);
    size_t size = 0;
    char *content = file_read(path, SCRIPT_MAX, &size);
    hash = mix(hash, content ? content : "", content ? size : 0);
    free(content);
    return hash;
}

static int load_one(struct definition *definition, const char *sv_dir, const char *name,
                    char *fault, size_t size)
{
    char path[PATH_MAX];
    memset(definition, 0, sizeof *definition);
    snprintf(definition->name, sizeof definition->name, "%s", name);
    if (snprintf(definition->folder, sizeof definition->folder, "%s/%s", sv_dir, name) >=
        PATH_MAX - 16) {
        snprintf(fault, size, "%s/%s: path too long", sv_dir, name);
        return -1;
    }
#define IN_FOLDER(file)                                                                            \
    (snprintf(path, sizeof path, "%.*s/" file, PATH_MAX - 16, definition->folder), path)
    if (access(IN_FOLDER("run"), X_OK)) {
        snprintf(fault, size, "%s: %s", path, errno == EACCES ? "not executable" : strerror(errno));
        return -1;
    }
    definition->down = file_exists(IN_FOLDER("down"));
    definition->has_finish = access(IN_FOLDER("finish"), X_OK) == 0;
    definition->fingerprint = mix_file(14695981039346656037u, IN_FOLDER("run"));
    definition->fingerprint = mix_file(definition->fingerprint, IN_FOLDER("finish"));
    size_t length = 0;
    char *text = file_read(IN_FOLDER("service.yaml"), YAML_SIZE - 1, &length);
    if (!text && errno != ENOENT) {
        snprintf(fault, size, "%s: %s", path, strerror(errno));
        return -1;
    }
    if (text)
        snprintf(definition->yaml, sizeof definition->yaml, "%s", text);
    free(text);
    definition->fingerprint =
        mix(definition->fingerprint, definition->yaml, strlen(definition->yaml));
    return definition_parse(definition, definition->yaml, fault, size);
#undef IN_FOLDER
}

static struct definition *find(struct definitions *definitions, const char *name)
{
    for (size_t i = 0; i < definitions->count; i++)
        if (strcmp(definitions->items[i].name, name) == 0)
            return &definitions->items[i];
    return NULL;
}

static int compare(const void *left, const void *right)
{
    const struct definition *a = left, *b = right;
    return a->depth != b->depth ? a->depth - b->depth : strcmp(a->name, b->name);
}

/* Puts one service below all it waits for. 1: it had to move, -1: it waits for one that is not
 * there. */
static int sink(struct definitions *definitions, struct definition *item, char *fault, size_t size)
{
    int moved = 0;
    for (size_t i = 0; i < item->after_count; i++) {
        const struct definition *before = find(definitions, item->after[i]);
        if (!before) {
            snprintf(fault, size, "%s/service.yaml: after: %s: no such service", item->folder,
                     item->after[i]);
            return -1;
        }
        if (item->depth <= before->depth) {
            item->depth = before->depth + 1;
            moved = 1;
        }
    }
    return moved;
}

int definitions_order(struct definitions *definitions, char *fault, size_t size)
{
    for (size_t i = 0; i < definitions->count; i++)
        definitions->items[i].depth = 0;
    /* Longest path by relaxation: without a circle it is stable after count passes. */
    bool changed = true;
    for (size_t pass = 0; changed; pass++) {
        changed = false;
        for (size_t i = 0; i < definitions->count; i++) {
            struct definition *item = &definitions->items[i];
            int moved = sink(definitions, item, fault, size);
            if (moved < 0)
                return -1;
            if (moved && pass > definitions->count) {
                snprintf(fault, size,
                         "%s/service.yaml: after: %s: the services wait for each other in a circle",
                         item->folder, item->after[0]);
                return -1;
            }
            changed = changed || moved;
        }
    }
    qsort(definitions->items, definitions->count, sizeof definitions->items[0], compare);
    return 0;
}

int definitions_load(struct definitions *definitions, const char *sv_dir, char *fault, size_t size)
{
    int result = -1;
    struct dirent *entry;
    definitions->count = 0;
    DIR *directory = opendir(sv_dir);
    if (!directory) {
        snprintf(fault, size, "%s: %s", sv_dir, strerror(errno));
        return -1;
    }
    while ((entry = readdir(directory))) {
        char path[PATH_MAX];
        struct stat status;
        if (entry->d_name[0] == '.') /* as runsvdir */
            continue;
        if (snprintf(path, sizeof path, "%s/%s", sv_dir, entry->d_name) >= PATH_MAX ||
            stat(path, &status) || !S_ISDIR(status.st_mode))
            continue;
        if (!name_fits(entry->d_name) || strcmp(entry->d_name, "supervisor") == 0) {
            snprintf(fault, size,
                     "%s: a name is letters, digits, - _ . and under %d long, not supervisor", path,
                     SERVICE_NAME_SIZE);
            goto close_directory;
        }
        if (definitions->count == SERVICES_MAX) {
            snprintf(fault, size, "%s: more than %d services", sv_dir, SERVICES_MAX);
            goto close_directory;
        }
        if (load_one(&definitions->items[definitions->count], sv_dir, entry->d_name, fault, size))
            goto close_directory;
        definitions->count++;
    }
    if (!definitions->count) {
        snprintf(fault, size, "%s: no services there", sv_dir);
        goto close_directory;
    }
    result = definitions_order(definitions, fault, size);
close_directory:
    closedir(directory);
    return result;
}
