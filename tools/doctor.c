/* check-config and doctor: both work on a system that does not run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <nng/nng.h>
#include "lib/file.h"
#include "lib/process.h"
#include "tools/orchctl.h"

enum { ASK_MS = 10000 };

/* ---- check-config ---- */

static json_t *lines_of(const char *text)
{
    json_t *lines = json_array();
    while (text && *text) {
        size_t length = strcspn(text, "\n");
        if (length)
            json_array_append_new(lines, json_stringn(text, length));
        text += length + (text[length] == '\n');
    }
    return lines;
}

enum ctl_exit ctl_check_config(struct ctl *ctl)
{
    char *faults = NULL, *warnings = NULL;
    const char *path = config_path(ctl->request.config);
    struct config *config = config_load(path, &faults, &warnings);
    char *shown = config ? config_show(config) : NULL;
    if (ctl->request.json) {
        print_json(json_pack("{s:s,s:b,s:o,s:o,s:s?}", "file", path, "valid", config != NULL,
                             "faults", lines_of(faults), "warnings", lines_of(warnings),
                             "effective", shown));
    } else {
        if (warnings)
            fprintf(stderr, "%s\n", warnings);
        if (faults)
            fprintf(stderr, "%s\n", faults);
        if (shown)
            fputs(shown, stdout);
    }
    free(shown);
    free(faults);
    free(warnings);
    ctl->config = config;
    return config ? CTL_DONE : CTL_REFUSED;
}

/* ---- doctor ---- */

struct doctor {
    const struct config *config;
    json_t *checks; /* {name, state: ok|warning|failed, detail, cure} */
    int failed;
};

enum finding { GOOD, WARNING, BAD };

/* Takes detail. cure: what to do; NULL where it is good. */
static void note(struct doctor *doctor, enum finding finding, const char *name, char *detail,
                 const char *cure)
{
    static const char *const states[] = {"ok", "warning", "failed"};
    json_array_append_new(doctor->checks,
                          json_pack("{s:s,s:s,s:s,s:s?}", "name", name, "state", states[finding],
                                    "detail", detail, "cure", finding == GOOD ? NULL : cure));
    doctor->failed += finding == BAD;
    free(detail);
}

/* First line of what a program says; NULL where it cannot be run. Caller frees. */
static char *first_words(const char *const *argv)
{
    struct process_spec spec = {.argv = argv, .timeout_ms = ASK_MS};
    struct process_result result;
    if (process_run(&spec, &result) < 0)
        return NULL;
    char *words = NULL;
    if (result.exit_code == 0) {
        words = xstrdup(result.out);
        words[strcspn(words, "\r\n")] = '\0';
    }
    process_result_free(&result);
    return words;
}

static bool is_program(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

/* Where a program is found, as exec would. Caller frees; NULL. */
static char *find_program(const char *name)
{
    const char *path = getenv("PATH");
    if (strchr(name, '/'))
        return is_program(name) ? xstrdup(name) : NULL;
    for (const char *at = path ? path : ""; *at;) {
        size_t length = strcspn(at, ":");
        char *full = xformat("%.*s/%s", (int)length, at, name);
        if (length && is_program(full))
            return full;
        free(full);
        at += length + (at[length] == ':');
    }
    return NULL;
}

static void check_folder(struct doctor *doctor, const char *name, const char *path)
{
    /* Where it is not there yet it will be made: then its nearest parent counts. */
    char *folder = xstrdup(path);
    while (!file_exists(folder) && strlen(folder) > 1) {
        char *slash = strrchr(folder, '/');
        if (!slash)
            break;
        slash[slash == folder] = '\0';
    }
    bool good = access(folder, R_OK | W_OK | X_OK) == 0;
    bool there = strcmp(folder, path) == 0;
    char *detail = good ? xformat("%s%s", path, there ? "" : " (made at the first start)")
                        : xformat("%s: %s", folder, strerror(errno));
    note(doctor, good ? GOOD : BAD, name, detail,
         "make the folder and give it to the user that runs the orchestrator");
    free(folder);
}

static void check_disk(struct doctor *doctor)
{
    struct statvfs disk;
    char *folder = xstrdup(doctor->config->home);
    while (statvfs(folder, &disk) < 0 && strrchr(folder, '/') && strlen(folder) > 1)
        strrchr(folder, '/')[strrchr(folder, '/') == folder] = '\0';
    long long free_mb = (long long)disk.f_bavail * (long long)disk.f_frsize / (1024 * 1024);
    bool good = free_mb >= doctor->config->disk_low_water_mb;
    note(doctor, good ? GOOD : BAD, "disk",
         xformat("%lld MB free, disk.low_water_mb is %lld", free_mb,
                 (long long)doctor->config->disk_low_water_mb),
         "make room: no job is claimed under disk.low_water_mb");
    free(folder);
}

static void check_git(struct doctor *doctor)
{
    static const char *const argv[] = {"git", "--version", NULL};
    char *words = first_words(argv);
    int major = 0, minor = 0;
    bool read = words && sscanf(words, "git version %d.%d", &major, &minor) == 2;
    bool good = read && (major > 2 || (major == 2 && minor >= 31));
    note(doctor, good ? GOOD : BAD, "git", words ? words : xstrdup("git cannot be run"),
         "install git 2.31 or newer (apt-get install git)");
}

static void check_agent(struct doctor *doctor, const struct project *project)
{
    bool own = strcmp(project->agent, "command") == 0;
    const char *first = json_string_value(json_array_get(project->agent_command, 0));
    const char *program = own ? first : doctor->config->agent_command;
    char *name = xformat("%s: agent", project->key);
    char *found = program ? find_program(program) : NULL;
    bool good = found != NULL;
    char *cure = own ? xformat("set agent_command of project %s to a program", project->key)
                     : xformat("install the %s CLI, or set agent.command", project->agent);
    note(doctor, good ? GOOD : BAD, name,
         good ? found : xformat("%s: not found", program ? program : "no agent_command"), cure);
    free(cure);
    free(name);
}

static void check_repository(struct doctor *doctor, const struct project *project)
{
    char *name = xformat("%s: repository", project->key);
    if (strcmp(project->forge, "local") != 0) {
        note(doctor, WARNING, name,
             xformat("%s at %s: not looked at", project->repo, project->forge),
             "reachability of this forge is not checked by this version");
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
    char *head = file_exists(path) ? first_words(argv) : NULL;
    char *cure = xformat("orchctl repo create %s [--from DIR]", project->repo);
    if (head)
        note(doctor, GOOD, name, xformat("%s, %s at %.12s", path, project->default_branch, head),
             NULL);
    else
        note(doctor, BAD, name,
             file_exists(path) ? xformat("%s has no branch %s", path, project->default_branch)
                               : xformat("%s is not there", path),
             cure);
    free(cure);
    free(head);
    free(ref);
    free(path);
    free(name);
}

/* ---- gates ---- */

#define GATES(GATE)                                                                                \
    GATE(serial_gate)                                                                              \
    GATE(auto_label)                                                                               \
    GATE(security_gate)                                                                            \
    GATE(merge_gate)                                                                               \
    GATE(staging)                                                                                  \
    GATE(image_freshness)                                                                          \
    GATE(self_deploy)                                                                              \
    GATE(deploy_status_guard)                                                                      \
    GATE(post_deploy)

static json_t *gates_of(const struct config *config, const struct project *project)
{
    json_t *gates = json_array();
#define GATE(name)                                                                                 \
    if (config_feature_applies(config->name##_enabled, config->name##_repos, project))             \
        json_array_append_new(gates, json_string(#name));
    GATES(GATE)
#undef GATE
    return gates;
}

static bool is_in_force(const struct config *config, bool enabled, const char *repos)
{
    for (size_t i = 0; i < config->project_count; i++) {
        if (config_feature_applies(enabled, repos, &config->projects[i]))
            return true;
    }
    return false;
}

static void check_scanner(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    char *found = find_program(config->security_gitleaks);
    bool needed = is_in_force(config, config->security_gate_enabled, config->security_gate_repos);
    const char *cure = "install gitleaks 8.16 or newer, or set security.gitleaks";
    if (found)
        note(doctor, GOOD, "gitleaks", found, NULL);
    else if (needed)
        note(doctor, BAD, "gitleaks",
             xstrdup("not found: nothing is pushed where the security "
                     "gate is in force"),
             cure);
    else
        note(doctor, GOOD, "gitleaks", xstrdup("not found; the security gate is in force nowhere"),
             NULL);
}

static void show_gates(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->config->project_count; i++) {
        const struct project *project = &doctor->config->projects[i];
        json_t *gates = gates_of(doctor->config, project), *gate;
        struct buffer words = {0};
        size_t index;
        json_array_foreach(gates, index, gate)
        {
            buffer_format(&words, "%s%s", index ? " " : "", json_string_value(gate));
        }
        char *name = xformat("%s: gates", project->key);
        note(doctor, GOOD, name,
             words.size ? buffer_take(&words)
                        : xstrdup("none beside CI and "
                                  "verdicts"),
             NULL);
        if (!*project->deploy_hook) {
            free(name);
            name = xformat("%s: deploy", project->key);
            note(doctor, GOOD, name, xstrdup("no deploy_hook: delivered by its merge"), NULL);
        }
        json_decref(gates);
        free(name);
    }
}

/* ---- kernel and libraries ---- */

static void check_kernel(struct doctor *doctor)
{
    int pid_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    note(doctor, pid_fd >= 0 ? GOOD : BAD, "kernel: pidfd",
         xstrdup(pid_fd >= 0 ? "there" : strerror(errno)), "Linux 5.4 or newer is needed");
    if (pid_fd >= 0)
        close(pid_fd);
    /* landlock_create_ruleset(NULL, 0, VERSION) */
    long abi = syscall(444, NULL, 0, 1U);
    note(doctor, abi > 0 ? GOOD : WARNING, "kernel: landlock",
         abi > 0 ? xformat("ABI %ld", abi) : xstrdup(strerror(errno)),
         "agents run without a cage; a kernel with Landlock (5.13, lsm=landlock) gives one");
}

static void check_nng(struct doctor *doctor)
{
    const char *version = nng_version();
    int major = 0, minor = 0;
    bool read = sscanf(version, "%d.%d", &major, &minor) == 2;
    bool whole = read && (major > 1 || minor >= 6);
    note(doctor, GOOD, "nng",
         xformat("%s%s", version,
                 whole ? "" : ": listeners may go deaf (nanomsg/nng#1518); the pings heal it"),
         NULL);
}

static enum style finding_style(const char *state)
{
    if (state && strcmp(state, "failed") == 0)
        return STYLE_BAD;
    return state && strcmp(state, "ok") == 0 ? STYLE_GOOD : STYLE_WARNING;
}

/* The cure of what is wrong stands below it. */
static void show_checks(const struct doctor *doctor)
{
    const struct view view = output_view();
    struct buffer out = {0};
    struct table table;
    size_t index;
    const json_t *check;
    table_begin(&table, &view, 3, NULL);
    json_array_foreach(doctor->checks, index, check)
    {
        const char *cure = text_field(check, "cure"), *state = text_field(check, "state");
        table_add_style(&table, state, finding_style(state));
        table_add(&table, text_field(check, "name"));
        table_add(&table, text_field(check, "detail"));
        if (cure) {
            char *words = xformat("→ %s", cure);
            table_add(&table, " ");
            table_add(&table, " ");
            table_add_style(&table, words, STYLE_STRONG);
            free(words);
        }
    }
    table_end(&table, "", &out);
    if (doctor->failed)
        buffer_format(&out, "%d of %zu checks failed\n", doctor->failed,
                      json_array_size(doctor->checks));
    else
        buffer_text(&out, "nothing is missing\n");
    print_text(&out);
}

/* Not running is no fault: this is asked before the first start too. */
static void check_running(struct doctor *doctor, struct ctl *ctl)
{
    struct http_answer health;
    if (instance_find(ctl) != CTL_DONE)
        return;
    http_call(ctl, "GET", "/health", NULL, &health);
    const char *status = text_field(health.json, "status");
    if (health.status == 0)
        note(doctor, GOOD, "running", xformat("not now (nobody answers at %s)", ctl->url), NULL);
    else if (status && strcmp(status, "ok") == 0)
        note(doctor, GOOD, "running", xformat("at %s, all services ready", ctl->url), NULL);
    else
        note(doctor, WARNING, "running", xformat("at %s: %s", ctl->url, status ? status : "?"),
             "orchctl status says which service, orchctl tail SERVICE why");
    http_answer_free(&health);
}

static void check_config_file(struct doctor *doctor, struct ctl *ctl)
{
    char *faults = NULL, *warnings = NULL;
    const char *path = config_path(ctl->request.config);
    ctl->config = config_load(path, &faults, &warnings);
    doctor->config = ctl->config;
    if (!ctl->config)
        note(doctor, BAD, "configuration", faults, "mend the file; orchctl check-config shows it");
    else if (warnings)
        note(doctor, WARNING, "configuration", warnings, "remove or rename what is not known");
    else
        note(doctor, GOOD, "configuration", xstrdup(path), NULL);
}

enum ctl_exit ctl_doctor(struct ctl *ctl)
{
    struct doctor doctor = {.checks = json_array()};
    check_config_file(&doctor, ctl);
    check_git(&doctor);
    check_kernel(&doctor);
    check_nng(&doctor);
    if (doctor.config) {
        check_folder(&doctor, "home", doctor.config->home);
        check_folder(&doctor, "run_dir", doctor.config->run_dir);
        check_disk(&doctor);
        check_scanner(&doctor);
        for (size_t i = 0; i < doctor.config->project_count; i++) {
            check_agent(&doctor, &doctor.config->projects[i]);
            check_repository(&doctor, &doctor.config->projects[i]);
        }
        show_gates(&doctor);
        check_running(&doctor, ctl);
    }
    if (ctl->request.json)
        print_json(json_pack("{s:b,s:O}", "well", doctor.failed == 0, "checks", doctor.checks));
    else
        show_checks(&doctor);
    json_decref(doctor.checks);
    return doctor.failed ? CTL_REFUSED : CTL_DONE;
}
