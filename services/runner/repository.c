#include "services/runner/repository.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"

enum { NAME_MAX_BYTES = 150 };

/* One mutex per repository, made at first use and kept: a slow remote of one project makes nobody
 * else wait. */
static struct repository_mutex {
    char *dir;
    pthread_mutex_t mutex;
    struct repository_mutex *next;
} * mutexes;
static pthread_mutex_t mutexes_guard = PTHREAD_MUTEX_INITIALIZER;

static pthread_mutex_t *mutex_of(const char *dir)
{
    pthread_mutex_lock(&mutexes_guard);
    struct repository_mutex *at = mutexes;
    while (at && strcmp(at->dir, dir) != 0)
        at = at->next;
    if (!at) {
        at = xcalloc(1, sizeof *at);
        at->dir = xstrdup(dir);
        pthread_mutex_init(&at->mutex, NULL);
        at->next = mutexes;
        mutexes = at;
    }
    pthread_mutex_unlock(&mutexes_guard);
    return &at->mutex;
}

void repository_lock(const struct repository *repository)
{
    pthread_mutex_lock(mutex_of(repository->dir));
}

void repository_unlock(const struct repository *repository)
{
    pthread_mutex_unlock(mutex_of(repository->dir));
}

static uint32_t hash_of(const char *text)
{
    uint32_t hash = 2166136261u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

/* A file name from a repo value; the hash keeps apart what the cut or the replacing made equal. */
static char *file_name(const char *name)
{
    struct buffer out = {0};
    size_t size = strlen(name), from = size > NAME_MAX_BYTES ? size - NAME_MAX_BYTES : 0;
    bool changed = from > 0;
    for (const char *at = name + from; *at; at++) {
        bool plain =
            isalnum((unsigned char)*at) || *at == '_' || *at == '-' || (*at == '.' && out.size > 0);
        changed = changed || !plain;
        buffer_add(&out, plain ? at : "-", 1);
    }
    if (changed)
        buffer_format(&out, "-%08x", hash_of(name));
    return buffer_take(&out);
}

struct git_call repository_call(const struct repository *repository)
{
    return (struct git_call){.git = repository->git, .git_dir = repository->dir};
}

int repository_open(struct repository *repository, const struct git *git, const char *home,
                    const char *name, const char *remote, const char *base, char **fault)
{
    char *file = file_name(name), *parent = xformat("%s/repos", home);
    *fault = NULL;
    *repository = (struct repository){.git = git,
                                      .dir = xformat("%s/%s.git", parent, file),
                                      .remote = xstrdup(remote),
                                      .base = xstrdup(base)};
    char *head = xformat("%s/HEAD", repository->dir);
    int result = 0;
    if (!file_exists(head)) {
        struct git_call call = {.git = git};
        repository_lock(repository);
        if (file_make_dirs(parent, 0700) < 0) {
            *fault = xformat("%s: %s", parent, strerror(errno));
            result = -1;
        } else if (git_run(&call, NULL, fault, "init", "-q", "--bare",
                           "--template=", repository->dir, NULL) != 0) {
            result = -1;
        }
        repository_unlock(repository);
    }
    free(head);
    free(file);
    free(parent);
    return result;
}

void repository_close(struct repository *repository)
{
    free(repository->dir);
    free(repository->remote);
    free(repository->base);
    *repository = (struct repository){0};
}

int repository_fetch(const struct repository *repository, char **fault)
{
    struct git_call call = repository_call(repository);
    return git_run(&call, NULL, fault, "fetch", "--quiet", "--no-tags", "--prune",
                   "--no-write-fetch-head", "--no-recurse-submodules", repository->remote,
                   "+refs/heads/*:refs/remotes/origin/*", NULL) == 0
               ? 0
               : -1;
}

char *repository_ref(const struct repository *repository, const char *format, ...)
{
    char name[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(name, sizeof name, format, list);
    va_end(list);
    struct git_call call = repository_call(repository);
    return git_resolve(&call, name);
}

int repository_remote_head(const struct repository *repository, const char *branch, char **commit,
                           char **fault)
{
    struct git_call call = repository_call(repository);
    char *ref = xformat("refs/heads/%s", branch), *out = NULL;
    *commit = NULL;
    int code = git_run(&call, &out, fault, "ls-remote", repository->remote, ref, NULL);
    /* The pattern matches the ends of names: the right line is looked for. */
    for (char *line = out, *next; code == 0 && line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        char *tab = strchr(line, '\t');
        if (tab && strcmp(tab + 1, ref) == 0) {
            *tab = '\0';
            *commit = git_is_object_name(line) ? xstrdup(line) : NULL;
        }
    }
    free(out);
    free(ref);
    return code != 0 ? -1 : *commit ? 1 : 0;
}

/* Whether the remote's commit is known here and contained in head. */
static bool contains(const struct repository *repository, const char *head, const char *remote)
{
    struct git_call call = repository_call(repository);
    return git_is_ancestor(&call, remote, head) == 1;
}

/* Why a push was not taken: the remote is asked. */
static enum push_outcome explain(const struct repository *repository, const char *head,
                                 const char *branch, char **fault)
{
    char *there = NULL, *asked = NULL;
    enum push_outcome outcome = PUSH_FAILED;
    int found = repository_remote_head(repository, branch, &there, &asked);
    if (found > 0 && strcmp(there, head) == 0) {
        outcome = PUSH_DONE;
        free(*fault);
        *fault = NULL;
    } else if (found > 0 && !contains(repository, head, there)) {
        outcome = PUSH_REFUSED;
        free(*fault);
        *fault = xformat("the remote's %s is at %s, which is not part of %s", branch, there, head);
    }
    free(asked);
    free(there);
    return outcome;
}

/* git compares with what the remote shows, sends nothing where that is head already, and refuses
 * what is no fast-forward: one conversation instead of two. */
enum push_outcome repository_push(const struct repository *repository, const char *head,
                                  const char *branch, char **fault)
{
    struct git_call call = repository_call(repository);
    if (strcmp(branch, repository->base) == 0)
        log_abort("push", "a push to the default branch %s was asked for", branch);
    char *spec = xformat("%s:refs/heads/%s", head, branch);
    int code = git_run(&call, NULL, fault, "push", "--quiet", "--no-verify", repository->remote,
                       spec, NULL);
    free(spec);
    return code == 0 ? PUSH_DONE : explain(repository, head, branch, fault);
}

enum push_outcome repository_delete_branch(const struct repository *repository, const char *branch,
                                           const char *expected, char **fault)
{
    char *there = NULL;
    if (strcmp(branch, repository->base) == 0)
        log_abort("push", "deletion of the default branch %s was asked for", branch);
    int found = repository_remote_head(repository, branch, &there, fault);
    if (found <= 0)
        return found < 0 ? PUSH_FAILED : PUSH_DONE;
    enum push_outcome outcome = PUSH_FAILED;
    if (strcmp(there, expected) != 0) {
        outcome = PUSH_REFUSED;
        *fault = xformat("%s moved to %s", branch, there);
    } else {
        struct git_call call = repository_call(repository);
        char *lease = xformat("--force-with-lease=refs/heads/%s:%s", branch, expected);
        char *spec = xformat(":refs/heads/%s", branch);
        if (git_run(&call, NULL, fault, "push", "--quiet", "--no-verify", lease, repository->remote,
                    spec, NULL) == 0)
            outcome = PUSH_DONE;
        free(lease);
        free(spec);
    }
    free(there);
    return outcome;
}

void repositories_clean(const char *home)
{
    char *path = xformat("%s/repos", home);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        char *repository = xformat("%s/%s", path, entry->d_name);
        git_remove_stale_locks(repository, 0);
        free(repository);
    }
    if (dir)
        closedir(dir);
    free(path);
}
