/* orchestrator: the root supervisor. Usage in usage(). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "lib/log.h"
#include "supervisor/supervisor.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

static struct supervisor supervisor; /* not on the stack, and zero */

static void usage(FILE *out)
{
    fputs(
        "usage: orchestrator run [-c FILE] [--sv DIR]      start, watch, restart, stop the "
        "services\n"
        "       orchestrator check-config [-c FILE]        what is in force, secrets masked\n"
        "       orchestrator --check [-c FILE] [--sv DIR]  could this program take over? "
        "(upgrade)\n"
        "       orchestrator --version | --help\n"
        "The configuration is -c FILE, else ORCH_CONFIG, else the installed default; the service\n"
        "definitions are --sv DIR, else ORCH_SV_DIR, else " ORCH_PREFIX "/share/orchestrator/sv.\n"
        "Signals: TERM INT QUIT stop (again: hurry), HUP reload, USR2 upgrade in place.\n"
        "Exit codes: 0 all ended cleanly, 1 not so, 100 usage, configuration or definitions "
        "invalid,\n"
        "111 another supervisor has this home.\n",
        out);
}

struct options {
    const char *command;
    const char *config, *sv; /* NULL: not given */
};

static int parse(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char **value = strcmp(argv[i], "-c") == 0     ? &options->config
                             : strcmp(argv[i], "--sv") == 0 ? &options->sv
                                                            : NULL;
        if (!value && !options->command) {
            options->command = argv[i];
        } else if (!value) {
            fprintf(stderr, "orchestrator: %s: unexpected\n", argv[i]);
            return -1;
        } else if (i + 1 == argc) {
            fprintf(stderr, "orchestrator: %s: a value is missing\n", argv[i]);
            return -1;
        } else {
            *value = argv[++i];
        }
    }
    return options->command ? 0 : -1;
}

/* ---- where things are ---- */

/* Links stay unresolved: an upgrade or a new configuration may come by turning one. */
static int make_absolute(const char *path, char out[PATH_MAX])
{
    char folder[PATH_MAX];
    int size;
    if (*path == '/')
        size = snprintf(out, PATH_MAX, "%s", path);
    else if (getcwd(folder, sizeof folder))
        size = snprintf(out, PATH_MAX, "%s/%s", folder, path);
    else
        return -1;
    errno = ENAMETOOLONG;
    return size < PATH_MAX ? 0 : -1;
}

/* Our program by the path it was called by. */
static int find_self(const char *called, char out[PATH_MAX])
{
    if (strchr(called, '/'))
        return make_absolute(called, out);
    const char *path = getenv("PATH");
    for (const char *at = path ? path : ""; *at;) {
        size_t size = strcspn(at, ":");
        int length = snprintf(out, PATH_MAX, "%.*s/%s", (int)size, at, called);
        if (size && *at == '/' && length < PATH_MAX && access(out, X_OK) == 0)
            return 0;
        at += size;
        at += *at == ':';
    }
    ssize_t size = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (size < 0)
        return -1;
    out[size] = '\0';
    return 0;
}

static int find_programs(char out[PATH_MAX])
{
    char *slash;
    if (!realpath("/proc/self/exe", out) || !(slash = strrchr(out, '/')))
        return -1;
    slash[slash == out] = '\0';
    return 0;
}

static const char *sv_path(const struct options *options)
{
    const char *given = options->sv ? options->sv : getenv("ORCH_SV_DIR");
    return given && *given ? given : ORCH_PREFIX "/share/orchestrator/sv";
}

static int find_all(const struct options *options, char **argv)
{
    const char *config = config_path(options->config), *sv = sv_path(options);
    if (find_self(argv[0], supervisor.self) || find_programs(supervisor.programs)) {
        fprintf(stderr, "orchestrator: its own program can't be found: %s\n", strerror(errno));
        return -1;
    }
    if (make_absolute(config, supervisor.config_file)) {
        fprintf(stderr, "orchestrator: %s: %s\n", config, strerror(errno));
        return -1;
    }
    if (make_absolute(sv, supervisor.sv_dir)) {
        fprintf(stderr, "orchestrator: %s: %s\n", sv, strerror(errno));
        return -1;
    }
    return 0;
}

/* Says what is wrong with it and returns NULL, or the configuration. */
static struct config *load_config(const char *path)
{
    char *faults = NULL, *warnings = NULL;
    struct config *config = config_load(path, &faults, &warnings);
    if (warnings)
        fprintf(stderr, "%s\n", warnings);
    if (faults)
        fprintf(stderr, "%s\n", faults);
    free(faults);
    free(warnings);
    return config;
}

/* ---- the commands ---- */

static int check_config(const struct options *options)
{
    struct config *config = load_config(config_path(options->config));
    if (!config)
        return EXIT_CONFIG;
    char *text = config_show(config);
    fputs(text, stdout);
    free(text);
    config_free(config);
    return fflush(stdout) ? EXIT_UNCLEAN : 0;
}

static int check(const struct options *options, char **argv)
{
    static struct definitions definitions;
    char fault[512];
    if (find_all(options, argv))
        return EXIT_CONFIG;
    struct config *config = load_config(supervisor.config_file);
    if (!config)
        return EXIT_CONFIG;
    config_free(config);
    if (definitions_load(&definitions, supervisor.sv_dir, fault, sizeof fault)) {
        fprintf(stderr, "%s\n", fault);
        return EXIT_CONFIG;
    }
    return reexec_answer_check();
}

/* Blocked first of all, and from whatever it was back to the default: one that our parent ignored
 * would never come out of the signalfd, and the services would inherit it. */
static void prepare_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&all, faults[i]);
    sigdelset(&all, SIGTSTP);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int signal_number = 1; signal_number < NSIG; signal_number++)
        signal(signal_number, SIG_DFL);
}

/* What our parent left open is not for the services; 0, 1 and 2 are taken by something. */
static void prepare_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
    syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
}

/* The state of the program we replace, -1: we are the first. */
static int take_state_fd(void)
{
    const char *text = getenv(STATE_FD_VARIABLE);
    int fd = text && *text ? atoi(text) : -1;
    unsetenv(STATE_FD_VARIABLE);
    return fd > STDERR_FILENO && fcntl(fd, F_GETFD) >= 0 ? fd : -1;
}

static int run(const struct options *options, char **argv)
{
    prepare_signals();
    prepare_descriptors();
    int state_fd = take_state_fd();
    if (find_all(options, argv))
        return EXIT_CONFIG;
    supervisor.argv = argv;
    supervisor.is_init = getpid() == 1;
    supervisor.rolling_slot = -1;
    supervisor.check_pidfd = supervisor.check_fd = -1;
    supervisor.config = load_config(supervisor.config_file);
    if (!supervisor.config)
        return EXIT_CONFIG;
    setup_apply_config(&supervisor);
    int code = setup_run(&supervisor, state_fd);
    return code ? code : loop_run(&supervisor);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    if (parse(&options, argc, argv) == 0) {
        if (strcmp(options.command, "run") == 0)
            return run(&options, argv);
        if (strcmp(options.command, "check-config") == 0)
            return check_config(&options);
        if (strcmp(options.command, "--check") == 0)
            return check(&options, argv);
        if (strcmp(options.command, "--version") == 0)
            return printf("orchestrator %s\n", ORCH_VERSION) < 0;
        if (strcmp(options.command, "--help") == 0 || strcmp(options.command, "help") == 0) {
            usage(stdout);
            return 0;
        }
        fprintf(stderr, "orchestrator: %s: no such command\n", options.command);
    }
    usage(stderr);
    return EXIT_CONFIG;
}
