#include "lib/forge/git_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"

enum {
    ARGUMENTS_MAX = 40,
    ENV_MAX = 32,
    TIMEOUT_MS = 10 * 60 * 1000,
    FAULT_MAX = 2000,
    OUTPUT_MAX = 8 * 1024 * 1024,
    REF_MAX_BYTES = 1024,
    PACKED_MAX_BYTES = 64 * 1024 * 1024,
};

struct git {
    char *env[ENV_MAX]; /* the fixed part, NULL-terminated */
};

/* gc on the hot path would make a fetch last minutes; safe.directory: the workspaces belong to
 * another user one day. */
static const char config_text[] = "[safe]\n\tdirectory = *\n"
                                  "[gc]\n\tauto = 0\n"
                                  "[maintenance]\n\tauto = false\n"
                                  "[protocol \"file\"]\n\tallow = always\n"
                                  "[init]\n\tdefaultBranch = main\n"
                                  "[advice]\n\tdetachedHead = false\n"
                                  "[commit]\n\tgpgSign = false\n"
                                  "[core]\n\tautocrlf = false\n";

static int write_config(const char *path)
{
    size_t size;
    char *there = file_read(path, sizeof config_text * 4, &size);
    bool same = there && strcmp(there, config_text) == 0;
    free(there);
    return same ? 0 : file_write_durable(path, config_text, sizeof config_text - 1, 0644);
}

static void add_own(struct git *git, size_t *count, const char *name)
{
    const char *value = getenv(name);
    if (value)
        git->env[(*count)++] = xformat("%s=%s", name, value);
}

struct git *git_new(const char *home)
{
    char *folder = xformat("%s/git", home), *path = xformat("%s/git/config", home);
    struct git *git = NULL;
    if (file_make_dirs(folder, 0755) < 0 || write_config(path) < 0)
        goto done;
    git = xcalloc(1, sizeof *git);
    size_t n = 0;
    add_own(git, &n, "PATH");
    add_own(git, &n, "HOME");
    add_own(git, &n, "TMPDIR");
    git->env[n++] = xformat("GIT_CONFIG_GLOBAL=%s", path);
    git->env[n++] = xformat("GIT_ORCH_HOME=%s", home);
    static const char *const fixed[] = {
        "LC_ALL=C.UTF-8",
        "GIT_CONFIG_NOSYSTEM=1",
        "GIT_TERMINAL_PROMPT=0",
        "GIT_NO_REPLACE_OBJECTS=1",
        "GIT_EDITOR=true",
        "GIT_CONFIG_COUNT=5",
        "GIT_CONFIG_KEY_0=core.hooksPath",
        "GIT_CONFIG_VALUE_0=/dev/null",
        "GIT_CONFIG_KEY_1=core.fsmonitor",
        "GIT_CONFIG_VALUE_1=false",
        "GIT_CONFIG_KEY_2=submodule.recurse",
        "GIT_CONFIG_VALUE_2=false",
        "GIT_CONFIG_KEY_3=diff.ignoreSubmodules",
        "GIT_CONFIG_VALUE_3=dirty",
        "GIT_CONFIG_KEY_4=core.untrackedCache",
        "GIT_CONFIG_VALUE_4=false",
    };
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        git->env[n++] = xstrdup(fixed[i]);

done:;
    int saved = errno;
    free(folder);
    free(path);
    errno = saved;
    return git;
}

const char *const *git_environment(const struct git *git)
{
    return (const char *const *)git->env;
}

void git_free(struct git *git)
{
    for (size_t i = 0; git && git->env[i]; i++)
        free(git->env[i]);
    free(git);
}

/* The last part of what git said, for people. */
static char *fault_text(const struct process_result *result)
{
    const char *text = result->err_size ? result->err : result->out;
    size_t size = strlen(text);
    while (size && (text[size - 1] == '\n' || text[size - 1] == ' '))
        size--;
    size_t from = size > FAULT_MAX ? size - FAULT_MAX : 0;
    if (result->timed_out)
        return xformat("git did not end in time: %.*s", (int)(size - from), text + from);
    return xstrndup(text + from, size - from);
}

/* The environment of a call; owned: what it is made of, ended by NULL, freed by the caller. */
static void make_env(const struct git_call *call, const char **env, char **owned)
{
    size_t n = 0, made = 0;
    if (call->git_dir)
        owned[made++] = xformat("GIT_DIR=%s", call->git_dir);
    if (call->work_tree)
        owned[made++] = xformat("GIT_WORK_TREE=%s", call->work_tree);
    if (call->index)
        owned[made++] = xformat("GIT_INDEX_FILE=%s", call->index);
    if (call->identity) {
        owned[made++] = xformat("GIT_AUTHOR_NAME=%s", call->identity->name);
        owned[made++] = xformat("GIT_AUTHOR_EMAIL=%s", call->identity->email);
        owned[made++] = xformat("GIT_COMMITTER_NAME=%s", call->identity->name);
        owned[made++] = xformat("GIT_COMMITTER_EMAIL=%s", call->identity->email);
    }
    owned[made] = NULL;
    for (; call->git->env[n]; n++)
        env[n] = call->git->env[n];
    for (size_t i = 0; i < made; i++)
        env[n++] = owned[i];
    env[n] = NULL;
}

int git_run_list(const struct git_call *call, char **out, size_t *out_size, char **fault,
                 const char *const *arguments)
{
    const char *argv[ARGUMENTS_MAX + 8], *env[ENV_MAX + 8];
    char *owned[8];
    size_t argc = 0;
    argv[argc++] = "git";
    for (size_t i = 0; arguments[i]; i++) {
        if (i == ARGUMENTS_MAX)
            log_abort("git", "too many arguments");
        argv[argc++] = arguments[i];
    }
    argv[argc] = NULL;
    make_env(call, env, owned);
    struct process_spec spec = {.argv = argv,
                                .env = env,
                                .cwd = call->work_tree,
                                .as = call->as,
                                .socket = call->socket,
                                .input = call->input,
                                .input_size = call->input_size,
                                .timeout_ms = call->timeout_ms ? call->timeout_ms : TIMEOUT_MS,
                                .max_output = call->max_output ? call->max_output : OUTPUT_MAX};
    struct process_result result;
    int code = -1;
    if (out)
        *out = NULL;
    if (fault)
        *fault = NULL;
    if (process_run(&spec, &result) < 0) {
        log_error("git", "git cannot be run: %s", strerror(errno));
        if (fault)
            *fault = xformat("git cannot be run: %s", strerror(errno));
    } else {
        code = result.exit_code;
        if (fault && code != 0)
            *fault = fault_text(&result);
        if (out) {
            if (result.out_size && result.out[result.out_size - 1] == '\n')
                result.out[--result.out_size] = '\0';
            *out = result.out;
            result.out = NULL;
        }
        if (out_size)
            *out_size = result.out_size;
        process_result_free(&result);
    }
    for (char **entry = owned; *entry; entry++)
        free(*entry);
    return code;
}

int git_run(const struct git_call *call, char **out, char **fault, ...)
{
    const char *arguments[ARGUMENTS_MAX + 1];
    size_t count = 0;
    va_list list;
    va_start(list, fault);
    while ((arguments[count] = va_arg(list, const char *)) != NULL) {
        if (++count > ARGUMENTS_MAX)
            log_abort("git", "too many arguments");
    }
    va_end(list);
    return git_run_list(call, out, NULL, fault, arguments);
}

bool git_is_object_name(const char *text)
{
    size_t size = text ? strlen(text) : 0;
    return (size == 40 || size == 64) && strspn(text, "0123456789abcdef") == size;
}

/* ---- refs, without a process ---- */

/* A regular file of a repository, whoever may have written it. NULL where it is anything else. */
static char *read_regular(const char *git_dir, const char *name, size_t max)
{
    char *path = xformat("%s/%s", git_dir, name), *text = NULL;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat info;
    free(path);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (size_t)info.st_size <= max) {
        text = xcalloc((size_t)info.st_size + 1, 1);
        if (read(fd, text, (size_t)info.st_size) != info.st_size) {
            free(text);
            text = NULL;
        }
    }
    close(fd);
    return text;
}

/* "<name> <ref>" lines; "#" and "^" ones belong to none. */
static char *find_packed(const char *text, const char *ref)
{
    size_t size = strlen(ref);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *blank = line + strcspn(line, " \n");
        if (*blank == ' ' && strncmp(blank + 1, ref, size) == 0 &&
            (blank[1 + size] == '\n' || blank[1 + size] == '\0')) {
            char *commit = xstrndup(line, (size_t)(blank - line));
            if (git_is_object_name(commit))
                return commit;
            free(commit);
        }
    }
    return NULL;
}

/* Not merely out of reach: no right, no descriptor and a broken disk say nothing. */
static bool is_absent(const char *path)
{
    struct stat info;
    return lstat(path, &info) < 0 && errno == ENOENT;
}

/* A ref's own file wins over the packed ones, and is looked at first: git removes it last. Returns
 * whether the answer is certain; *commit is NULL where there is no such ref. */
static bool read_ref(const char *git_dir, const char *ref, char **commit)
{
    char *text = read_regular(git_dir, ref, REF_MAX_BYTES);
    *commit = NULL;
    if (text) {
        text[strcspn(text, "\n")] = '\0';
        if (git_is_object_name(text))
            *commit = text;
        else
            free(text); /* of another ref: git follows it */
        return *commit != NULL;
    }
    char *own = xformat("%s/%s", git_dir, ref), *tables = xformat("%s/reftable", git_dir);
    char *packed = xformat("%s/packed-refs", git_dir);
    bool certain = is_absent(own) && is_absent(tables) && file_exists(git_dir);
    if (certain && !is_absent(packed)) {
        text = read_regular(git_dir, "packed-refs", PACKED_MAX_BYTES);
        certain = text != NULL;
        *commit = find_packed(text, ref);
        free(text);
    }
    free(own);
    free(tables);
    free(packed);
    return certain;
}

int git_find(const struct git_call *call, const char *revision, char **commit)
{
    char *name;
    if (call->git_dir && strncmp(revision, "refs/", 5) == 0) {
        identity_enter(call->as);
        bool certain = read_ref(call->git_dir, revision, commit);
        identity_leave(call->as);
        if (certain)
            return *commit != NULL;
    }
    name = xformat("%s^{commit}", revision);
    int code = git_run(call, commit, NULL, "rev-parse", "--verify", "--quiet", name, NULL);
    free(name);
    if (code == 0 && git_is_object_name(*commit))
        return 1;
    free(*commit);
    *commit = NULL;
    return code == 1 ? 0 : -1;
}

char *git_resolve(const struct git_call *call, const char *revision)
{
    char *commit;
    git_find(call, revision, &commit);
    return commit;
}

int git_is_ancestor(const struct git_call *call, const char *ancestor, const char *descendant)
{
    if (strcmp(ancestor, descendant) == 0)
        return 1;
    int code = git_run(call, NULL, NULL, "merge-base", "--is-ancestor", ancestor, descendant, NULL);
    return code == 0 ? 1 : code == 1 ? 0 : -1;
}
