/* Statuses of CI in the built-in forge: statuses/<commit>/<context>.json, written by rename by
 * whatever CI the owner hangs on the repository. Nobody of ours writes them, so a file may be
 * anything: what is no status counts as a pending one, and is named. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/buffer.h"
#include "lib/forge/forge_internal.h"
#include "lib/utf8.h"

enum {
    FILES_MAX = 1000,
    FILE_MAX_BYTES = 64 * 1024,
    NAME_MAX_BYTES = 200,
    DESCRIPTION_MAX_BYTES = 2000,
    URL_MAX_BYTES = 500,
};

/* As Gitea's commit statuses; a warning is a success that says something. */
static const struct {
    const char *name;
    enum forge_ci means;
} states[] = {
    {"success", FORGE_CI_GREEN}, {"warning", FORGE_CI_GREEN}, {"pending", FORGE_CI_PENDING},
    {"error", FORGE_CI_RED},     {"failure", FORGE_CI_RED},
};

/* ---- contexts ---- */

static char *bounded(const char *text, size_t max)
{
    return text ? utf8_text(text, strlen(text), max) : xstrdup("");
}

static void keep(struct forge_contexts *contexts, const char *context, const char *state,
                 const char *description, const char *target_url)
{
    if (contexts->count++ < FORGE_CONTEXTS_MAX)
        contexts->list[contexts->count - 1] = (struct forge_context){
            bounded(context, NAME_MAX_BYTES), bounded(state, NAME_MAX_BYTES),
            bounded(description, DESCRIPTION_MAX_BYTES), bounded(target_url, URL_MAX_BYTES)};
}

static void forget(struct forge_contexts *contexts)
{
    for (size_t i = 0; i < contexts->count && i < FORGE_CONTEXTS_MAX; i++) {
        free(contexts->list[i].context);
        free(contexts->list[i].state);
        free(contexts->list[i].description);
        free(contexts->list[i].target_url);
    }
    contexts->count = 0;
}

void forge_statuses_free(struct forge_statuses *statuses)
{
    forget(&statuses->failing);
    forget(&statuses->pending);
    *statuses = (struct forge_statuses){0};
}

/* ---- file names ---- */

static bool is_status(const char *name)
{
    size_t size = strlen(name);
    return size > 5 && strcmp(name + size - 5, ".json") == 0;
}

static int hex_digit(char digit)
{
    static const char digits[] = "0123456789abcdef";
    char small = digit >= 'A' && digit <= 'F' ? (char)(digit - 'A' + 'a') : digit;
    const char *at = small ? strchr(digits, small) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The context that a file's name stands for. Caller frees. */
static char *context_of(const char *name)
{
    struct buffer out = {0};
    for (const char *end = name + strlen(name) - 5; name < end; name++) {
        int high = *name == '%' ? hex_digit(name[1]) : -1;
        int low = high >= 0 ? hex_digit(name[2]) : -1;
        char byte = low >= 0 ? (char)(high * 16 + low) : *name;
        buffer_add(&out, &byte, 1);
        name += low >= 0 ? 2 : 0;
    }
    return buffer_take(&out);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of a folder's statuses in order, FILES_MAX + 1 of them at most. false: errno. */
static bool list_names(DIR *dir, char **names, size_t *count)
{
    struct dirent *entry;
    for (errno = 0; *count <= FILES_MAX && (entry = readdir(dir)); errno = 0) {
        if (is_status(entry->d_name))
            names[(*count)++] = xstrdup(entry->d_name);
    }
    if (errno)
        return false;
    qsort(names, *count, sizeof *names, by_name);
    return true;
}

/* ---- one status ---- */

/* The whole of a small file, or NULL and why not; "" where it is gone. */
static char *read_small(int dir, const char *name, size_t *size, const char **why)
{
    struct stat facts;
    char *text = NULL;
    /* a pipe without a writer is not waited for */
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        *why = errno == ENOENT ? "" : errno == ELOOP ? "a link" : strerror(errno);
        return NULL;
    }
    *size = 0;
    if (fstat(fd, &facts) < 0) {
        *why = strerror(errno);
    } else if (!S_ISREG(facts.st_mode)) {
        *why = "no regular file";
    } else if (facts.st_size > FILE_MAX_BYTES) {
        *why = "larger than a status is";
    } else {
        text = xrealloc(NULL, FILE_MAX_BYTES + 1);
        for (ssize_t n = 1; n > 0 && *size < FILE_MAX_BYTES;) {
            n = read(fd, text + *size, FILE_MAX_BYTES - *size);
            *size += n > 0 ? (size_t)n : 0;
            if (n < 0)
                *why = strerror(errno);
        }
    }
    close(fd);
    if (*why) {
        free(text);
        text = NULL;
    }
    return text;
}

/* What it means; PENDING and *why where it cannot be told. */
static enum forge_ci understand(const json_t *object, const char **why)
{
    const char *state = json_string_value(json_object_get(object, "state"));
    for (size_t i = 0; state && i < sizeof states / sizeof *states; i++) {
        if (strcmp(state, states[i].name) == 0)
            return states[i].means;
    }
    *why = !json_is_object(object) ? "no JSON object" : state ? "an unknown state" : "no state";
    return FORGE_CI_PENDING;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static enum forge_ci worse(enum forge_ci a, enum forge_ci b)
{
    static const int rank[] = {
        [FORGE_CI_NONE] = 0, [FORGE_CI_GREEN] = 1, [FORGE_CI_PENDING] = 2, [FORGE_CI_RED] = 3};
    return rank[a] > rank[b] ? a : b;
}

static void take(int dir, const char *name, struct forge_statuses *statuses)
{
    size_t size = 0;
    const char *why = NULL;
    char *text = read_small(dir, name, &size, &why), *from_name = context_of(name);
    json_t *object = text ? json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *context = text_of(object, "context");
    enum forge_ci state = FORGE_CI_PENDING;
    if (why && !*why) { /* taken away since the folder was read */
        free(from_name);
        return;
    }
    if (!why)
        state = understand(object, &why);
    context = context && *context ? context : from_name;
    if (why)
        keep(&statuses->pending, context, "pending", why, NULL);
    else if (state != FORGE_CI_GREEN)
        keep(state == FORGE_CI_RED ? &statuses->failing : &statuses->pending, context,
             text_of(object, "state"), text_of(object, "description"),
             text_of(object, "target_url"));
    statuses->state = worse(statuses->state, state);
    json_decref(object);
    free(from_name);
    free(text);
}

/* ---- all ---- */

/* A folder that is one, not a link to one. NULL with errno. */
static DIR *open_folder(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir && fd >= 0) {
        int saved = errno;
        close(fd);
        errno = saved;
    }
    return dir;
}

/* The statuses of one commit. false: errno. */
static bool read_commit(DIR *all, const char *commit, struct forge_statuses *statuses)
{
    DIR *dir = open_folder(dirfd(all), commit);
    if (!dir && (errno == ENOTDIR || errno == ELOOP)) {
        keep(&statuses->pending, commit, "pending", "no folder", NULL);
        statuses->state = FORGE_CI_PENDING;
        return true;
    }
    if (!dir)
        return errno == ENOENT;
    char **names = xcalloc(FILES_MAX + 1, sizeof *names);
    size_t count = 0;
    bool read = list_names(dir, names, &count);
    int saved = errno;
    for (size_t i = 0; i < count; i++) {
        if (read && i < FILES_MAX)
            take(dirfd(dir), names[i], statuses);
        free(names[i]);
    }
    if (read && count > FILES_MAX) {
        keep(&statuses->pending, commit, "pending", "more statuses than are read", NULL);
        statuses->state = worse(statuses->state, FORGE_CI_PENDING);
    }
    free(names);
    closedir(dir);
    errno = saved;
    return read;
}

/* A commit's folder is a trace of CI, also one that somebody has emptied. false: errno. */
static bool look_for_any(DIR *all, bool *ever)
{
    struct dirent *entry;
    for (errno = 0; !*ever && (entry = readdir(all)); errno = 0)
        *ever = entry->d_name[0] != '.';
    return errno == 0;
}

int forge_statuses_get(struct forge *forge, const char *commit, struct forge_statuses *statuses,
                       char **fault)
{
    *statuses = (struct forge_statuses){0};
    *fault = NULL;
    if (!git_is_object_name(commit)) {
        *fault = xstrdup("no commit is given to ask CI about");
        return -1;
    }
    /* a repository that is gone is not one without statuses */
    DIR *repository = open_folder(AT_FDCWD, forge->path);
    DIR *all = repository ? open_folder(dirfd(repository), "statuses") : NULL;
    bool read = all ? look_for_any(all, &statuses->ever) && read_commit(all, commit, statuses)
                    : repository && errno == ENOENT;
    if (!read) {
        *fault = xformat("%s/statuses: %s", forge->path, strerror(errno));
        forge_statuses_free(statuses);
    }
    if (all)
        closedir(all);
    if (repository)
        closedir(repository);
    return read ? 0 : -1;
}
