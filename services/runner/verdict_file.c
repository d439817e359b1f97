/* The verdict file of a stage, before an agent works there: what was left by an earlier entry, or
 * by an earlier run of this one that looked at other code, must never pass for this run's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "services/runner/prompt.h"
#include "services/runner/runner.h"

enum { RECORD_MAX_BYTES = 1024 };

static const char *file_of(const char *stage)
{
    static const struct {
        const char *stage, *file;
    } table[] = {{"review", "12-review.md"},
                 {"testing", "13-test-report.md"},
                 {"deploy-staging", "15-staging-log.md"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(stage, table[i].stage) == 0)
            return table[i].file;
    }
    return NULL;
}

static bool same_code(struct run *run, const char *before, const char *now)
{
    if (strcmp(before, now) == 0)
        return true;
    /* In the workspace: what an earlier run committed need not be anywhere else yet. */
    struct git_call call = workspace_call(&run->workspace);
    char *dir = prompt_artefact_dir(run->key), *exclude = xformat(":(exclude,top)%s", dir);
    int code = git_run(&call, NULL, NULL, "diff", "--quiet", "--no-ext-diff", "--no-textconv",
                       before, now, "--", ".", exclude, NULL);
    free(exclude);
    free(dir);
    return code == 0;
}

static char *record_path(const struct run *run)
{
    return xformat("%s/verdicts/%lld", run->runner->config->home, (long long)run->task);
}

/* Whether what is there may be this entry's: a run of it began, on the same code. */
static bool counts(struct run *run, const char *path, const char *start)
{
    char *text = file_read(path, RECORD_MAX_BYTES, NULL);
    json_t *record = text ? json_loads(text, 0, NULL) : NULL;
    const char *before = message_text(record, "start", "");
    bool counted = !message_flag(run->spec, "first_of_entry", false) &&
                   message_integer(record, "entry", -1) == run->entry &&
                   git_is_object_name(before) && same_code(run, before, start);
    json_decref(record);
    free(text);
    return counted;
}

/* The record follows the removal: without it, or with one that a power cut took back, the file is
 * removed once more. */
static int begin_anew(struct run *run, const char *file, const char *path, const char *start)
{
    if (workspace_remove_artefact(&run->workspace, run->key, file) < 0)
        return -1;
    char *folder = xformat("%s/verdicts", run->runner->config->home);
    char *text = xformat("{\"entry\":%lld,\"start\":\"%s\"}\n", (long long)run->entry, start);
    int result =
        file_make_dirs(folder, 0700) == 0 ? file_write_atomic(path, text, strlen(text), 0600) : -1;
    int saved = errno;
    free(folder);
    free(text);
    errno = saved;
    return result;
}

int verdict_file_prepare(struct run *run, const char *start, char **fault)
{
    const char *file = file_of(run->stage);
    if (!file)
        return 0;
    char *path = record_path(run);
    int result = counts(run, path, start) ? 0 : begin_anew(run, file, path, start);
    if (result < 0)
        *fault = xformat("%s: %s", file, strerror(errno));
    free(path);
    return result;
}

int verdict_file_forget(const struct run *run)
{
    char *path = record_path(run);
    int result = file_remove_tree(path), saved = errno;
    free(path);
    errno = saved;
    return result;
}
