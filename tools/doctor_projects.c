/* What each project needs: its agent, its repository; and which gates hold it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/file.h"
#include "tools/doctor.h"

/* What a driver's own program says of itself; of another's nothing is known but that it is there.
 */
static void check_agent(struct doctor *doctor, const struct project *project)
{
    bool own = strcmp(project->agent, "command") == 0;
    const char *first = json_string_value(json_array_get(project->agent_command, 0));
    const char *program = own ? first : doctor->config->agent_command;
    char *name = xformat("%s: agent", project->key);
    char *found = program ? doctor_find_program(program) : NULL, *version = NULL, *detail;
    char *cure = own ? xformat("set agent_command of project %s to a program", project->key)
                     : xformat("install the %s CLI, or set agent.command", project->agent);
    if (found && !own) {
        const char *const argv[] = {found, "--version", NULL};
        version = doctor_first_words(argv);
    }
    bool good = found && (own || version);
    if (!found)
        detail = xformat("%s: not found", program ? program : "no agent_command");
    else if (own)
        detail = xstrdup(found);
    else
        detail = xformat("%s: %s", found, version ? version : "does not tell its version");
    doctor_note(doctor, good ? GOOD : BAD, name, detail, cure);
    free(version);
    free(found);
    free(cure);
    free(name);
}

static void check_repository(struct doctor *doctor, const struct project *project)
{
    char *name = xformat("%s: repository", project->key);
    if (strcmp(project->forge, "local") != 0) {
        doctor_note(
            doctor, BAD, name,
            xformat("%s at %s: this version has no driver for it", project->repo, project->forge),
            "use forge: local, or a version that has one");
        free(name);
        return;
    }
    size_t length = strlen(project->repo);
    bool bare = length > 4 && strcmp(project->repo + length - 4, ".git") == 0;
    char *path = project->repo[0] == '/' ? xstrdup(project->repo)
                                         : config_home_path(doctor->config, "forge/%s%s",
                                                            project->repo, bare ? "" : ".git");
    char *ref = xformat("refs/heads/%s", project->default_branch);
    const char *const argv[] = {"git", "--git-dir", path, "rev-parse", "--verify", ref, NULL};
    char *head = file_exists(path) ? doctor_first_words(argv) : NULL;
    char *cure = xformat("orchctl repo create %s [--from DIR]", project->repo);
    if (head)
        doctor_note(doctor, GOOD, name,
                    xformat("%s, %s at %.12s", path, project->default_branch, head), NULL);
    else
        doctor_note(doctor, BAD, name,
                    file_exists(path)
                        ? xformat("%s has no branch %s", path, project->default_branch)
                        : xformat("%s is not there", path),
                    cure);
    free(cure);
    free(head);
    free(ref);
    free(path);
    free(name);
}

static void check_tracker(struct doctor *doctor, const struct project *project)
{
    char *name = xformat("%s: tracker", project->key);
    bool good = strcmp(project->tracker, "local") == 0;
    doctor_note(doctor, good ? GOOD : BAD, name,
                good ? xstrdup("built in: orchctl task new")
                     : xformat("%s: this version has no driver for it", project->tracker),
                "use tracker: local, or a version that has one");
    free(name);
}

/* A program of the project that the runner calls. words: where there is none; NULL: not told of. */
static void check_program(struct doctor *doctor, const char *project, const char *key,
                          const char *program, const char *words)
{
    char *name = xformat("%s: %s", project, key);
    bool is_path = strchr(program, '/') != NULL;
    char *found = *program ? doctor_find_program(program) : NULL;
    if (!*program && words)
        doctor_note(doctor, GOOD, name, xstrdup(words), NULL);
    else if (*program && is_path && program[0] != '/')
        doctor_note(doctor, BAD, name, xformat("%s: no absolute path", program),
                    "give an absolute path, or a name to be found through PATH");
    else if (*program && !found)
        doctor_note(doctor, BAD, name, xformat("%s: not there, or not executable", program),
                    "jobs that call it wait until it is there");
    else if (*program)
        doctor_note(doctor, GOOD, name, xstrdup(found), NULL);
    free(found);
    free(name);
}

/* ---- gates ---- */

/* GATE(feature, part of this version) */
#define GATES(GATE)                                                                                \
    GATE(serial_gate, true)                                                                        \
    GATE(auto_label, true)                                                                         \
    GATE(security_gate, false)                                                                     \
    GATE(merge_gate, true)                                                                         \
    GATE(staging, true)                                                                            \
    GATE(image_freshness, false)                                                                   \
    GATE(self_deploy, false)                                                                       \
    GATE(deploy_status_guard, false)                                                               \
    GATE(post_deploy, false)

/* Names of those that the configuration puts in force and that are, or are not, built. Caller
 * frees; NULL where there are none. */
static char *gates_of(const struct config *config, const struct project *project, bool built)
{
    struct buffer words = {0};
#define GATE(name, is_built)                                                                       \
    if ((is_built) == built &&                                                                     \
        config_feature_applies(config->name##_enabled, config->name##_repos, project))             \
        buffer_format(&words, "%s%s", words.size ? " " : "", #name);
    GATES(GATE)
#undef GATE
    return words.size ? buffer_take(&words) : NULL;
}

static void show_gates(struct doctor *doctor, const struct project *project)
{
    char *in_force = gates_of(doctor->config, project, true);
    char *missing = gates_of(doctor->config, project, false);
    char *name = xformat("%s: gates", project->key);
    doctor_note(doctor, GOOD, name, in_force ? in_force : xstrdup("none beside CI and verdicts"),
                NULL);
    if (missing) {
        doctor_note(doctor, WARNING, name, xformat("not in this version: %s", missing),
                    "nothing is held up or checked by them yet; switch them off to say so");
        free(missing);
    }
    free(name);
    check_program(doctor, project->key, "deploy_hook", project->deploy_hook,
                  "no deploy_hook: delivered by its merge");
    check_program(doctor, project->key, "staging_check", project->staging_check, NULL);
}

void doctor_projects(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->config->project_count; i++) {
        const struct project *project = &doctor->config->projects[i];
        check_agent(doctor, project);
        check_tracker(doctor, project);
        check_repository(doctor, project);
        show_gates(doctor, project);
    }
}
