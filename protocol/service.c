#include "protocol/service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "lib/mask.h"

enum { EXIT_USAGE = 100, EXIT_LOCKED = 111, LOCK_RETRY_MS = 20 };

static const char *parse_options(const char *name, int argc, char **argv)
{
    const char *path = NULL;
    int option;
    while ((option = getopt(argc, argv, "c:")) != -1) {
        if (option != 'c') {
            fprintf(stderr, "usage: orch-%s [-c FILE]\n", name);
            exit(EXIT_USAGE);
        }
        path = optarg;
    }
    return config_path(path);
}

static int block_signals(void)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGHUP);
    sigaddset(&wanted, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    sigdelset(&wanted, SIGPIPE);
    return signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
}

static enum log_level level_by_name(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0)
            return (enum log_level)i;
    }
    return LOG_LEVEL_INFO;
}

static struct config *load(const char *path)
{
    char *faults = NULL, *warnings = NULL;
    struct config *config = config_load(path, &faults, &warnings);
    if (!config) {
        log_error("config", "%s", faults);
        fprintf(stderr, "%s\n", faults);
        exit(EXIT_USAGE);
    }
    if (strcmp(config->log_format, "text") == 0)
        setenv("ORCH_LOG_FORMAT", "text", 0);
    if (warnings)
        log_warn("config", "%s", warnings);
    free(warnings);
    return config;
}

/* Before anything else is said. A token that is made later in this first start is known from the
 * next one on. */
static void hide_secrets(const struct config *config)
{
    char *path = config_home_path(config, "operator_token");
    char *token = *config->http_operator_token ? NULL : file_read(path, 4096, NULL);
    if (token)
        token[strcspn(token, "\r\n")] = '\0';
    mask_add_config(config, token);
    log_mask_with(mask_text);
    free(token);
    free(path);
}

static void make_dirs(const struct config *config)
{
    char *locks = config_home_path(config, "lock");
    /* 0700 before any socket stands in it: a socket's mode is set only after its bind. */
    if (file_make_dirs(locks, 0700) < 0 || file_make_dirs(config->run_dir, 0700) < 0) {
        log_error("start", "cannot make %s or %s: %s", locks, config->run_dir, strerror(errno));
        exit(EXIT_USAGE);
    }
    free(locks);
}

/* Waits for the lock at most lock_wait_s: after a kill -9 the predecessor may still be dying. */
static int take_lock(struct service *service)
{
    char *path = config_home_path(service->config, "lock/%s.lock", service->name);
    char *holder = xformat("%s pid %d", service->name, (int)getpid());
    int64_t until = clock_mono_ms() + service->config->lock_wait_s * 1000;
    bool said = false;
    int fd;
    while ((fd = lock_take(path, holder)) < 0) {
        char by[256];
        if (errno != EWOULDBLOCK) {
            log_error("lock", "%s cannot be locked: %s", path, strerror(errno));
            exit(EXIT_USAGE);
        }
        lock_holder(path, by, sizeof by);
        if (clock_mono_ms() >= until) {
            log_error("lock", "%s is held by %s", path, *by ? by : "somebody");
            exit(EXIT_LOCKED);
        }
        if (!said)
            log_warn("lock", "%s is held by %s; waiting", path, *by ? by : "somebody");
        said = true;
        struct pollfd signals = {service->signal_fd, POLLIN, 0};
        if (poll(&signals, 1, LOCK_RETRY_MS) > 0 && service_stopping(service))
            service_end(service, 0);
    }
    free(path);
    free(holder);
    return fd;
}

/* What we start before we are ready must not hold the supervisor's pipe open. */
static int notify_fd(void)
{
    const char *text = getenv("ORCH_NOTIFY_FD");
    int fd = text ? atoi(text) : -1;
    if (fd <= STDERR_FILENO)
        return -1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

void service_begin(struct service *service, const char *name, int argc, char **argv)
{
    service->name = name;
    notify_fd();
    service->signal_fd = block_signals();
    log_init(name, LOG_LEVEL_INFO);
    service->config = load(parse_options(name, argc, argv));
    log_init(name, level_by_name(service->config->log_level));
    hide_secrets(service->config);
    make_dirs(service->config);
    service->lock_fd = take_lock(service);
    service->bus = bus_open(service->config->run_dir, name, false);
    if (!service->bus) {
        log_error("bus", "cannot listen in %s: %s", service->config->run_dir, strerror(errno));
        exit(EXIT_USAGE);
    }
}

void service_ready(struct service *service)
{
    int fd = notify_fd();
    bus_set_status(service->bus, "ready", "idle", NULL);
    log_info("ready", "ready");
    if (fd >= 0) {
        if (write(fd, "\n", 1) != 1)
            log_warn("ready", "the supervisor was not told: %s", strerror(errno));
        close(fd);
    }
    unsetenv("ORCH_NOTIFY_FD");
}

bool service_stopping(struct service *service)
{
    struct signalfd_siginfo info;
    while (read(service->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            return true;
    }
    return false;
}

void service_end(struct service *service, int code)
{
    log_info("stop", "%s stopped", service->name);
    _exit(code);
}
