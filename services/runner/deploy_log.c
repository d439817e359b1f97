/* 14-deploy-log.md: comes into being after the merge, so it is kept beside the repository. */
#include "services/runner/hook.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "services/runner/frontmatter.h"
#include "services/runner/gates.h"
#include "services/runner/verdicts.h"

static const char name[] = "14-deploy-log.md";

/* As an indented block, which nothing in it can close. */
static void add_output(struct buffer *out, const char *output)
{
    buffer_text(out, "\nWhat the hook said last:\n\n");
    for (const char *at = output; *at;) {
        size_t size = strcspn(at, "\n");
        buffer_format(out, "    %.*s\n", (int)size, at);
        at += size + (at[size] == '\n');
    }
}

static char *compose(const struct run *run, const struct deploy_log *log)
{
    struct buffer out = {0};
    char now[CLOCK_TEXT_SIZE];
    clock_text(clock_wall_ms(), now);
    buffer_format(&out,
                  "---\nwork_item: %s\nstage: deploy\nauthor_agent: deployer\nstatus: done\n"
                  "created_at: %s\ndeploy_status: %s\nmerge_commit: %s\n---\n\n# Deploy of %s\n\n"
                  "%s\n",
                  run->key, now, log->success ? "SUCCESS" : "FAILED", log->revision, run->key,
                  log->words);
    if (log->output && *log->output)
        add_output(&out, log->output);
    return buffer_take(&out);
}

static void judge(struct run *run, const char *text, size_t size, json_t *findings)
{
    struct verdict verdict;
    verdict_status(name, "deploy_status", text, size, &verdict);
    json_t *why = verdict.pass ? NULL
                  : findings   ? json_incref(findings)
                               : json_pack("[s]", verdict.reason);
    gate_set(run, "check_deploy_status", verdict.pass ? "pass" : "fail", verdict.reason, why);
    json_object_set_new(run->detail, "deploy_log",
                        json_sprintf("artefacts/%lld/%s", (long long)run->task, name));
}

enum step deploy_log_write(struct run *run, const struct deploy_log *log, json_t *findings,
                           char **fault)
{
    const char *home = run->runner->config->home;
    char *folder = xformat("%s/artefacts/%lld", home, (long long)run->task);
    char *path = xformat("%s/%s", folder, name), *text = compose(run, log), *back = NULL;
    size_t size = 0;
    if (file_make_dirs(folder, 0755) == 0 &&
        file_write_durable(path, text, strlen(text), 0644) == 0)
        back = file_read(path, FRONTMATTER_FILE_MAX, &size);
    if (back)
        judge(run, back, size, findings);
    else
        *fault = xformat("%s: %s", path, strerror(errno));
    enum step step = back ? STEP_OK : STEP_AGAIN;
    free(back);
    free(text);
    free(path);
    free(folder);
    return step;
}
