/* The built-in forge: a bare repository, a pull request a file beside it. People act by pushing and
 * by replacing the file; so the branch's head is read from git each time, and keys that are not
 * ours are kept. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/forge/forge_internal.h"

enum { PULL_MAX_BYTES = 1024 * 1024, NUMBER_TRIES = 1000, STALE_S = 60 };

void forge_pull_free(struct pull_request *pull)
{
    free(pull->title);
    free(pull->body);
    free(pull->head);
    free(pull->base);
    free(pull->head_sha);
    free(pull->merge_commit);
    free(pull->url);
    *pull = (struct pull_request){0};
}

/* ---- opening ---- */

static char *repository_path(const struct config *config, const struct project *project)
{
    const char *repo = project->repo;
    if (repo[0] == '/' || repo[0] == '.')
        return xstrdup(repo);
    size_t size = strlen(repo);
    bool has_suffix = size > 4 && strcmp(repo + size - 4, ".git") == 0;
    return config_home_path(config, "forge/%s%s", repo, has_suffix ? "" : ".git");
}

static bool is_repository(const char *path)
{
    char *objects = xformat("%s/objects", path), *head = xformat("%s/HEAD", path);
    bool is = file_exists(objects) && file_exists(head);
    free(objects);
    free(head);
    return is;
}

struct forge *forge_open(const struct config *config, const struct project *project,
                         const struct git *git, char **fault)
{
    *fault = NULL;
    if (strcmp(project->forge, "local") != 0) {
        *fault = xformat("forge: %s has no driver (project %s)", project->forge, project->key);
        return NULL;
    }
    char *path = repository_path(config, project);
    if (!is_repository(path)) {
        *fault = xformat("there is no bare git repository %s (repo of project %s; orchctl repo "
                         "create makes one)",
                         path, project->key);
        free(path);
        return NULL;
    }
    struct forge *forge = xcalloc(1, sizeof *forge);
    forge->git = git;
    forge->path = path;
    forge->remote = xstrdup(path);
    return forge;
}

void forge_close(struct forge *forge)
{
    if (!forge)
        return;
    free(forge->path);
    free(forge->remote);
    free(forge);
}

const char *forge_remote(const struct forge *forge)
{
    return forge->remote;
}

/* A lock of a living git is gone within a moment. */
void forge_mend(struct forge *forge)
{
    git_remove_stale_locks(forge->path, STALE_S);
}

struct git_call local_call(const struct forge *forge)
{
    return (struct git_call){.git = forge->git, .git_dir = forge->path};
}

/* ---- pull requests ---- */

static char *pull_path(const struct forge *forge, int64_t number)
{
    return xformat("%s/pull-requests/%lld.json", forge->path, (long long)number);
}

static char *copy_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? xstrdup(text) : NULL;
}

/* The file as it stands. NULL and *fault ("" where there is no such file). */
static json_t *load(const struct forge *forge, int64_t number, char **fault)
{
    char *path = pull_path(forge, number);
    size_t size;
    json_t *object = NULL;
    char *text = file_read(path, PULL_MAX_BYTES, &size);
    if (!text) {
        *fault = errno == ENOENT ? xstrdup("") : xformat("%s: %s", path, strerror(errno));
        goto done;
    }
    json_error_t error;
    object = json_loadb(text, size, 0, &error);
    if (!json_is_object(object)) {
        *fault = xformat("%s:%d: %s", path, error.line, object ? "no object" : error.text);
        json_decref(object);
        object = NULL;
    }
    free(text);

done:
    free(path);
    return object;
}

static int parse(struct forge *forge, int64_t number, const json_t *object,
                 struct pull_request *pull, char **fault)
{
    const char *state = json_string_value(json_object_get(object, "state"));
    *pull = (struct pull_request){.number = number,
                                  .title = copy_text(object, "title"),
                                  .body = copy_text(object, "body"),
                                  .head = copy_text(object, "head"),
                                  .base = copy_text(object, "base"),
                                  .head_sha = copy_text(object, "head_sha"),
                                  .merge_commit = copy_text(object, "merge_commit"),
                                  .open = state && strcmp(state, "open") == 0,
                                  .merged = json_is_true(json_object_get(object, "merged"))};
    if (!state || !pull->head || !pull->base) {
        *fault = xformat("%s/pull-requests/%lld.json lacks state, head or base", forge->path,
                         (long long)number);
        forge_pull_free(pull);
        return -1;
    }
    pull->url = xformat("file://%s/pull-requests/%lld.json", forge->path, (long long)number);
    return 0;
}

/* An open one follows its branch, as it would anywhere. */
static void follow_branch(struct forge *forge, struct pull_request *pull)
{
    struct git_call call = local_call(forge);
    char *ref = xformat("refs/heads/%s", pull->head);
    char *now = git_resolve(&call, ref);
    free(ref);
    if (!now)
        return;
    free(pull->head_sha);
    pull->head_sha = now;
}

int forge_pull_get(struct forge *forge, int64_t number, struct pull_request *pull, char **fault)
{
    *pull = (struct pull_request){0};
    *fault = NULL;
    json_t *object = load(forge, number, fault);
    if (!object) {
        bool absent = (*fault)[0] == '\0';
        if (absent) {
            free(*fault);
            *fault = NULL;
        }
        return absent ? 0 : -1;
    }
    int result = parse(forge, number, object, pull, fault);
    json_decref(object);
    if (result == 0 && pull->open)
        follow_branch(forge, pull);
    return result == 0 ? 1 : -1;
}

/* The number of a pull request's file name, else 0. */
static int64_t number_of(const char *name)
{
    char *end;
    long long number = strtoll(name, &end, 10);
    return number > 0 && strcmp(end, ".json") == 0 ? number : 0;
}

static int compare_descending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* All numbers, the newest first; caller frees. */
static int64_t *list_numbers(const struct forge *forge, size_t *count)
{
    int64_t *numbers = NULL;
    size_t room = 0;
    *count = 0;
    char *path = xformat("%s/pull-requests", forge->path);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        int64_t number = number_of(entry->d_name);
        if (!number)
            continue;
        if (*count == room)
            numbers = xrealloc(numbers, (room = room ? room * 2 : 64) * sizeof *numbers);
        numbers[(*count)++] = number;
    }
    if (dir)
        closedir(dir);
    free(path);
    if (numbers)
        qsort(numbers, *count, sizeof *numbers, compare_descending);
    return numbers;
}

static bool matches(const struct pull_request *pull, const char *head, const char *base)
{
    return pull->open && strcmp(pull->head, head) == 0 && strcmp(pull->base, base) == 0;
}

int forge_pull_find(struct forge *forge, const char *head, const char *base,
                    struct pull_request *pull, char **fault)
{
    size_t count;
    int64_t *numbers = list_numbers(forge, &count);
    int result = 0;
    *pull = (struct pull_request){0};
    *fault = NULL;
    for (size_t i = 0; i < count && result == 0; i++) {
        /* A file that people broke hides its own pull request, nobody else's. */
        char *broken = NULL;
        struct pull_request one;
        json_t *object = load(forge, numbers[i], &broken);
        if (object && parse(forge, numbers[i], object, &one, &broken) == 0) {
            result = matches(&one, head, base);
            if (result == 1)
                *pull = one;
            else
                forge_pull_free(&one);
        }
        json_decref(object);
        free(broken);
    }
    free(numbers);
    if (result == 1)
        follow_branch(forge, pull);
    return result;
}

static json_t *text_or_null(const char *text)
{
    json_t *value = text ? json_string(text) : NULL;
    return value ? value : json_null();
}

static void fill(json_t *object, const struct pull_request *pull)
{
    json_object_set_new(object, "number", json_integer(pull->number));
    json_object_set_new(object, "title", text_or_null(pull->title));
    json_object_set_new(object, "body", text_or_null(pull->body));
    json_object_set_new(object, "head", text_or_null(pull->head));
    json_object_set_new(object, "base", text_or_null(pull->base));
    json_object_set_new(object, "head_sha", text_or_null(pull->head_sha));
    json_object_set_new(object, "state", json_string(pull->open ? "open" : "closed"));
    json_object_set_new(object, "merged", json_boolean(pull->merged));
    json_object_set_new(object, "merge_commit", text_or_null(pull->merge_commit));
    if (!json_object_get(object, "comments"))
        json_object_set_new(object, "comments", json_array());
}

int local_pull_write(struct forge *forge, const struct pull_request *pull, bool durable)
{
    char *fault = NULL, *path = pull_path(forge, pull->number);
    json_t *object = load(forge, pull->number, &fault);
    if (!object)
        object = json_object();
    fill(object, pull);
    char *text = json_dumps(object, JSON_INDENT(2));
    int result = durable ? file_write_durable(path, text, strlen(text), 0644)
                         : file_write_atomic(path, text, strlen(text), 0644);
    int saved = errno;
    json_decref(object);
    free(text);
    free(path);
    free(fault);
    errno = saved;
    return result;
}

/* A number is taken by the link of a whole file: nobody ever sees half a pull request. */
static int take_number(struct forge *forge, struct pull_request *pull, const char *folder)
{
    size_t count;
    int64_t *numbers = list_numbers(forge, &count);
    int64_t number = count ? numbers[0] + 1 : 1;
    free(numbers);
    char *temporary = xformat("%s/.new.%d", folder, (int)gettid());
    int result = -1;
    bool taken = false;
    for (int tries = 0; tries < NUMBER_TRIES && !taken; tries++, number++) {
        pull->number = number;
        json_t *object = json_object();
        fill(object, pull);
        char *text = json_dumps(object, JSON_INDENT(2)), *path = pull_path(forge, number);
        json_decref(object);
        if (file_write_durable(temporary, text, strlen(text), 0644) < 0)
            tries = NUMBER_TRIES;
        else if ((taken = link(temporary, path) == 0))
            result =
                file_sync_dir(folder); /* failed: it is there all the same, and found next time */
        else if (errno != EEXIST)
            tries = NUMBER_TRIES;
        free(text);
        free(path);
    }
    int saved = errno;
    unlink(temporary);
    free(temporary);
    errno = saved;
    return result;
}

int forge_pull_create(struct forge *forge, const char *title, const char *body, const char *head,
                      const char *base, struct pull_request *pull, char **fault)
{
    *fault = NULL;
    *pull = (struct pull_request){.title = xstrdup(title),
                                  .body = xstrdup(body),
                                  .head = xstrdup(head),
                                  .base = xstrdup(base),
                                  .open = true};
    char *folder = xformat("%s/pull-requests", forge->path);
    follow_branch(forge, pull);
    int result = -1;
    if (!pull->head_sha)
        *fault = xformat("%s has no branch %s", forge->path, head);
    else if (file_make_dirs(folder, 0755) < 0 || take_number(forge, pull, folder) < 0)
        *fault = xformat("%s: %s", folder, strerror(errno));
    else
        result = 0;
    free(folder);
    if (result < 0)
        forge_pull_free(pull);
    else
        pull->url =
            xformat("file://%s/pull-requests/%lld.json", forge->path, (long long)pull->number);
    return result;
}

int forge_pull_sync(struct forge *forge, const struct pull_request *pull, char **fault)
{
    json_t *object = load(forge, pull->number, fault);
    if (!object)
        return -1;
    const char *shown = json_string_value(json_object_get(object, "head_sha"));
    int result = 0;
    if (pull->open && pull->head_sha && (!shown || strcmp(shown, pull->head_sha) != 0))
        result = local_pull_write(forge, pull, false); /* what it follows is read from git */
    if (result < 0)
        *fault = xformat("pull request %lld: %s", (long long)pull->number, strerror(errno));
    json_decref(object);
    return result;
}

/* Where the branch is now, seen from the commit that it held. */
static enum forge_branch compare(const struct git_call *call, const char *commit, const char *now)
{
    int before = git_is_ancestor(call, commit, now);
    if (before >= 0)
        return before ? FORGE_BRANCH_FOLLOWS : FORGE_BRANCH_REWRITTEN;
    char *there;
    int found = git_find(call, commit, &there); /* it goes with a history that was rewritten */
    free(there);
    return found == 0 ? FORGE_BRANCH_REWRITTEN : FORGE_BRANCH_FAILED;
}

enum forge_branch forge_branch_look(struct forge *forge, const char *branch, const char *commit,
                                    char **fault)
{
    struct git_call call = local_call(forge);
    char *ref = xformat("refs/heads/%s", branch), *now;
    int there = git_find(&call, ref, &now);
    enum forge_branch found = there == 1   ? compare(&call, commit, now)
                              : there == 0 ? FORGE_BRANCH_GONE
                                           : FORGE_BRANCH_FAILED;
    *fault = found != FORGE_BRANCH_FAILED
                 ? NULL
                 : xformat("%s: git cannot tell where %s stands", forge->path, branch);
    free(now);
    free(ref);
    return found;
}

int forge_pull_close(struct forge *forge, int64_t number, char **fault)
{
    struct pull_request pull;
    int found = forge_pull_get(forge, number, &pull, fault);
    if (found <= 0)
        return found;
    int result = 0;
    if (pull.open) {
        pull.open = false;
        result = local_pull_write(forge, &pull, true);
        if (result < 0)
            *fault = xformat("pull request %lld: %s", (long long)number, strerror(errno));
    }
    forge_pull_free(&pull);
    return result;
}
