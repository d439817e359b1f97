#include "services/runner/gate_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/log.h"
#include "services/runner/frontmatter.h"
#include "services/runner/gates.h"
#include "services/runner/prompt.h"

void gate_files_free(struct gate_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->list[i].name);
        free(files->list[i].object);
        free(files->list[i].text);
    }
    free(files);
}

/* "<mode> <type> <object> <size>\t<path>" */
static void add_file(struct gate_files *files, const char *entry, size_t prefix)
{
    char mode[8], type[12], object[72];
    long long size = 0;
    const char *tab = strchr(entry, '\t');
    if (!tab || strlen(tab + 1) <= prefix || files->count == GATE_FILES_MAX ||
        sscanf(entry, "%7s %11s %71s %lld", mode, type, object, &size) < 3)
        return;
    files->list[files->count++] = (struct gate_file){.name = xstrdup(tab + 1 + prefix),
                                                     .object = xstrdup(object),
                                                     .size = (size_t)size,
                                                     .regular = strncmp(mode, "100", 3) == 0};
}

struct gate_files *gate_files_list(struct run *run, char **fault)
{
    struct git_call call = repository_call(&run->repository);
    char *dir = prompt_artefact_dir(run->key), *path = xformat("%s/", dir), *out = NULL;
    size_t size = 0, prefix = strlen(path);
    const char *const arguments[] = {"ls-tree", "-r", "-l", "-z", "--full-tree",
                                     run->head, "--", path, NULL};
    struct gate_files *files = NULL;
    if (git_run_list(&call, &out, &size, fault, arguments) == 0) {
        files = xcalloc(1, sizeof *files);
        for (size_t at = 0; at < size; at += strlen(out + at) + 1)
            add_file(files, out + at, prefix);
    }
    free(out);
    free(path);
    free(dir);
    return files;
}

static struct gate_file *find_file(struct gate_files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->list[i].name, name) == 0)
            return &files->list[i];
    }
    return NULL;
}

const char *gate_files_read(struct run *run, struct gate_files *files, const char *name,
                            size_t *size, const char **why, char **fault)
{
    struct gate_file *file = find_file(files, name);
    *why = "";
    if (!file)
        return NULL;
    if (!file->regular || file->size > FRONTMATTER_FILE_MAX) {
        *why = file->regular ? "the file is too large" : "not a regular file";
        return NULL;
    }
    if (!file->text) {
        struct git_call call = repository_call(&run->repository);
        call.max_output = FRONTMATTER_FILE_MAX + 2;
        const char *const arguments[] = {"cat-file", "blob", file->object, NULL};
        if (git_run_list(&call, &file->text, &file->text_size, fault, arguments) != 0) {
            free(file->text);
            file->text = NULL;
        }
    }
    *size = file->text_size;
    return file->text;
}

/* ---- what every artefact has ---- */

/* Those whose frontmatter is read by machines. */
static const struct {
    const char *gate, *files[5];
} artefacts[] = {
    {"check_analysis_complete",
     {"01-brd.md", "02-requirements.md", "03-acceptance-criteria.md", "04-test-plan.md"}},
    {"check_reviewer_verdict", {"12-review.md"}},
    {"check_tests_passed", {"13-test-report.md"}},
    {"check_staging_status", {"15-staging-log.md"}},
};

/* What is wrong with it, "" where nothing is; caller frees. */
static char *look_at_keys(const char *text, size_t size)
{
    struct frontmatter front;
    char reason[FRONTMATTER_REASON];
    if (frontmatter_parse(text, size, &front, reason) < 0)
        return xstrdup(reason);
    char *missing = frontmatter_missing(&front);
    char *words = *missing ? xformat("lacks %s", missing) : xstrdup("");
    free(missing);
    frontmatter_free(&front);
    return words;
}

static enum step look_at_all(struct run *run, struct gate_files *files, const char *const *names,
                             json_t *faults, char **fault)
{
    for (; *names; names++) {
        size_t size = 0;
        const char *why;
        const char *text = gate_files_read(run, files, *names, &size, &why, fault);
        if (*fault)
            return STEP_AGAIN;
        char *words = text ? look_at_keys(text, size) : xstrdup("");
        if (*words)
            json_array_append_new(
                faults, json_sprintf("docs/work-items/%s/%s: %s", run->key, *names, words));
        free(words);
    }
    return STEP_OK;
}

enum step gate_schema(struct run *run, struct gate_files *files, const char *gate, char **fault)
{
    json_t *faults = json_array();
    enum step step = STEP_OK;
    for (size_t i = 0; i < sizeof artefacts / sizeof *artefacts && step == STEP_OK; i++) {
        if (strcmp(artefacts[i].gate, gate) == 0)
            step = look_at_all(run, files, artefacts[i].files, faults, fault);
    }
    if (step == STEP_OK && json_array_size(faults)) {
        const struct log_about about = run_about(run);
        log_line(LOG_LEVEL_WARN, "artefacts", &about, "%zu artefacts lack keys, %s first",
                 json_array_size(faults), json_string_value(json_array_get(faults, 0)));
        json_object_set(run->detail, "schema", faults);
        if (run->runner->config->frontmatter_validation_strict &&
            strcmp(message_text(run->gate, "verdict", ""), "pass") == 0)
            gate_set(run, gate, "fail", "gate-failed: artefacts lack required keys",
                     json_incref(faults));
    }
    json_decref(faults);
    return step;
}
