/* doctor: what is missing, and what to do about it; works on a system that does not run. */
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
#include "lib/sandbox.h"
#include "tools/doctor.h"

enum { ASK_MS = 10000 };

void doctor_note(struct doctor *doctor, enum finding finding, const char *name, char *detail,
                 const char *cure)
{
    static const char *const states[] = {"ok", "warning", "failed"};
    json_array_append_new(doctor->checks,
                          json_pack("{s:s,s:s,s:s,s:s?}", "name", name, "state", states[finding],
                                    "detail", detail, "cure", finding == GOOD ? NULL : cure));
    doctor->failed += finding == BAD;
    free(detail);
}

char *doctor_first_words(const char *const *argv)
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

char *doctor_find_program(const char *name)
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
    doctor_note(doctor, good ? GOOD : BAD, name, detail,
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
    doctor_note(doctor, good ? GOOD : BAD, "disk",
                xformat("%lld MB free, disk.low_water_mb is %lld", free_mb,
                        (long long)doctor->config->disk_low_water_mb),
                "make room: no job is claimed under disk.low_water_mb");
    free(folder);
}

static void check_git(struct doctor *doctor)
{
    static const char *const argv[] = {"git", "--version", NULL};
    char *words = doctor_first_words(argv);
    int major = 0, minor = 0;
    bool read = words && sscanf(words, "git version %d.%d", &major, &minor) == 2;
    bool good = read && (major > 2 || (major == 2 && minor >= 31));
    doctor_note(doctor, good ? GOOD : BAD, "git", words ? words : xstrdup("git cannot be run"),
                "install git 2.31 or newer (apt-get install git)");
}

/* ---- kernel and libraries ---- */

static void check_kernel(struct doctor *doctor)
{
    int pid_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    doctor_note(doctor, pid_fd >= 0 ? GOOD : BAD, "kernel: pidfd",
                xstrdup(pid_fd >= 0 ? "there" : strerror(errno)), "Linux 5.4 or newer is needed");
    if (pid_fd >= 0)
        close(pid_fd);
    int abi = sandbox_abi();
    doctor_note(doctor, abi > 0 ? GOOD : WARNING, "kernel: landlock",
                abi > 0 ? xformat("ABI %d", abi) : xstrdup("not there"),
                "agents run without a cage; a kernel with Landlock (5.13, lsm=landlock) gives one");
}

/* What holds an agent off our files, as the runner decides it (cage.c). */
static void check_sandbox(struct doctor *doctor)
{
    const char *mode = doctor->config->agent_sandbox;
    bool there = sandbox_abi() > 0, off = strcmp(mode, "none") == 0;
    bool refused = strcmp(mode, "namespaces") == 0 || (strcmp(mode, "landlock") == 0 && !there);
    bool held = there && !off && !refused;
    doctor_note(doctor,
                refused ? BAD
                : held  ? GOOD
                        : WARNING,
                "agent.sandbox",
                xformat("%s. files: %s", mode,
                        refused ? "no agent is started"
                        : held  ? "protected"
                                : "not protected"),
                refused ? "auto takes what the kernel has"
                        : "auto, and a kernel with Landlock, keep agents off our files");
}

/* Whether the runner may become that user is the runner's to say: it does not start where it may
 * not. */
static void check_agents_user(struct doctor *doctor)
{
    const char *name = doctor->config->agent_user;
    struct identity user;
    if (!*name)
        doctor_note(doctor, WARNING, "agent.user",
                    xstrdup("none: agents are processes of our own user. sockets: not protected"),
                    "name a user of their own; the image and make install have one");
    else if (identity_find(name, &user) < 0)
        doctor_note(doctor, BAD, "agent.user", xformat("%s: there is no such user", name),
                    "useradd --system orchestrator-agent, and agent.user: orchestrator-agent");
    else
        doctor_note(doctor, GOOD, "agent.user", xformat("%s (%u)", name, (unsigned)user.uid), NULL);
}

static void check_nng(struct doctor *doctor)
{
    const char *version = nng_version();
    int major = 0, minor = 0;
    bool read = sscanf(version, "%d.%d", &major, &minor) == 2;
    bool whole = read && (major > 1 || minor >= 6);
    doctor_note(
        doctor, GOOD, "nng",
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
        doctor_note(doctor, GOOD, "running", xformat("not now (nobody answers at %s)", ctl->url),
                    NULL);
    else if (status && strcmp(status, "ok") == 0)
        doctor_note(doctor, GOOD, "running", xformat("at %s, all services ready", ctl->url), NULL);
    else
        doctor_note(doctor, WARNING, "running",
                    xformat("at %s: %s", ctl->url, status ? status : "?"),
                    "orchctl status says which service, orchctl tail SERVICE why");
    http_answer_free(&health);
}

/* After a restore people have to say how it goes on. */
static void check_restored(struct doctor *doctor, struct ctl *ctl)
{
    struct http_answer queue;
    if (!ctl->url)
        return;
    http_call(ctl, "GET", "/queue", NULL, &queue);
    const json_t *effects = json_object_get(queue.json, "effects");
    if (json_is_true(json_object_get(effects, "withheld")))
        doctor_note(doctor, WARNING, "restored",
                    xformat("from a backup: nothing is begun or sent, %lld effects wait (orchctl "
                            "effects list)",
                            text_number(effects, "pending") + text_number(effects, "handed")),
                    "orchctl resume sends them; orchctl effects drop drops them, where the outside "
                    "is further than the copy");
    http_answer_free(&queue);
}

static void check_config_file(struct doctor *doctor, struct ctl *ctl)
{
    char *faults = NULL, *warnings = NULL;
    const char *path = config_path(ctl->request.config);
    ctl->config = config_load(path, &faults, &warnings);
    doctor->config = ctl->config;
    if (!ctl->config)
        doctor_note(doctor, BAD, "configuration", faults,
                    "mend the file; orchctl check-config shows it");
    else if (warnings)
        doctor_note(doctor, WARNING, "configuration", warnings,
                    "remove or rename what is not known");
    else
        doctor_note(doctor, GOOD, "configuration", xstrdup(path), NULL);
}

enum ctl_exit ctl_doctor(struct ctl *ctl)
{
    struct doctor doctor = {.checks = json_array()};
    check_config_file(&doctor, ctl);
    check_git(&doctor);
    check_kernel(&doctor);
    check_nng(&doctor);
    if (doctor.config) {
        check_sandbox(&doctor);
        check_agents_user(&doctor);
        check_folder(&doctor, "home", doctor.config->home);
        check_folder(&doctor, "run_dir", doctor.config->run_dir);
        check_disk(&doctor);
        doctor_projects(&doctor);
        check_running(&doctor, ctl);
        check_restored(&doctor, ctl);
    }
    if (ctl->request.json)
        print_json(json_pack("{s:b,s:O}", "well", doctor.failed == 0, "checks", doctor.checks));
    else
        show_checks(&doctor);
    json_decref(doctor.checks);
    return doctor.failed ? CTL_REFUSED : CTL_DONE;
}
