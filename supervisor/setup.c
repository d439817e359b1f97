/* From configuration and sv/ to a supervisor that is ready to run. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "supervisor/supervisor.h"

enum { LOCK_ASK_MS = 100 };

void setup_apply_config(struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    supervisor->policy = (struct policy_settings){
        /* 0 would make a program that is missing a loop without a pause */
        .backoff_ms = config->supervisor_backoff_ms > 0 ? config->supervisor_backoff_ms : 1,
        .backoff_max_ms =
            config->supervisor_backoff_max_ms > 0 ? config->supervisor_backoff_max_ms : 1,
        .reset_ms = config->supervisor_reset_s * 1000,
        .intensity = config->supervisor_intensity,
        .period_ms = config->supervisor_period_s * 1000,
    };
    supervisor->log_settings = (struct logs_settings){
        .max_bytes = config->log_max_bytes,
        .keep = config->log_keep,
        .text = strcmp(config->log_format, "text") == 0,
    };
    supervisor->stop_budget_ms = config->supervisor_stop_budget_s * 1000;
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    enum log_level least = LOG_LEVEL_INFO;
    for (int i = 0; i < 4; i++)
        if (strcmp(config->log_level, levels[i]) == 0)
            least = (enum log_level)i;
    /* log_init reads the variable; left there, it would stand above the file at the next SIGHUP. */
    bool given = getenv("ORCH_LOG_FORMAT");
    setenv("ORCH_LOG_FORMAT", config->log_format, 1);
    log_init("supervisor", least);
    if (!given)
        unsetenv("ORCH_LOG_FORMAT");
}

/* ---- environment of the services ---- */

static bool is_ours(const char *variable)
{
    static const char *const names[] = {
        "PATH=",
        "ORCH_CONFIG=",
        "ORCH_RUN_DIR=",
        "ORCH_SV_DIR=",
        "ORCH_PID1=",
        STATE_FD_VARIABLE "=",
        STATE_VERSION_VARIABLE "=",
        "ORCH_NOTIFY_FD=",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static int add_variable(struct supervisor *supervisor, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    if (supervisor->environment_count == ENVIRONMENT_MAX)
        return -1;
    char *text = malloc(size);
    if (!text)
        return -1;
    snprintf(text, size, "%s=%s", name, value);
    supervisor->environment[supervisor->environment_count++] = text;
    return 0;
}

int setup_environment(struct supervisor *supervisor)
{
    const char *path = getenv("PATH");
    if (!path || !*path)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    /* after an upgrade our own folder is there already */
    size_t own = strlen(supervisor->programs);
    bool there =
        strncmp(path, supervisor->programs, own) == 0 && (path[own] == ':' || path[own] == '\0');
    int size = there ? snprintf(supervisor->path, sizeof supervisor->path, "%s", path)
                     : snprintf(supervisor->path, sizeof supervisor->path, "%s:%s",
                                supervisor->programs, path);
    if (size < 0 || (size_t)size >= sizeof supervisor->path)
        return -1;
    for (size_t i = 0; i < supervisor->environment_count; i++)
        free(supervisor->environment[i]);
    supervisor->environment_count = 0;
    for (char **at = environ; *at; at++) {
        const char *equals = strchr(*at, '=');
        if (!equals || is_ours(*at))
            continue;
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(equals - *at), *at);
        if (add_variable(supervisor, name, equals + 1))
            return -1;
    }
    if (add_variable(supervisor, "PATH", supervisor->path) ||
        add_variable(supervisor, "ORCH_CONFIG", supervisor->config_file) ||
        add_variable(supervisor, "ORCH_RUN_DIR", supervisor->run_dir) ||
        add_variable(supervisor, "ORCH_SV_DIR", supervisor->sv_dir) ||
        (supervisor->is_init && add_variable(supervisor, "ORCH_PID1", "1")))
        return -1;
    supervisor->environment[supervisor->environment_count] = NULL;
    supervisor->environment[supervisor->environment_count + 1] = NULL;
    return 0;
}

/* ---- slots ---- */

struct slot *setup_find(struct supervisor *supervisor, const char *name)
{
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (strcmp(slot->definition.name, name) == 0)
            return slot;
    }
    return NULL;
}

struct slot *setup_add(struct supervisor *supervisor, const struct definition *definition)
{
    for (size_t i = 0; i < SERVICES_MAX; i++) {
        struct slot *slot = &supervisor->slots[i];
        if (slot->used)
            continue;
        memset(slot, 0, sizeof *slot);
        slot->used = true;
        slot->dirty = true;
        slot->pidfd = slot->notify_fd = -1;
        slot->control.control_fd = slot->control.ok_fd = -1;
        slot->log.read_fd = slot->log.write_fd = slot->log.file_fd = -1;
        slot->definition = *definition;
        slot->changed_ms = clock_wall_ms();
        policy_init(&slot->policy, !definition->down);
        return slot;
    }
    return NULL;
}

int setup_open(struct supervisor *supervisor, struct slot *slot, char *fault, size_t size)
{
    if (!slot->removing && instance_make(&slot->instance, &slot->definition, supervisor->run_dir,
                                         supervisor->path, fault, size))
        return -1;
    if (slot->removing) /* its source is gone; the folder it runs in is not */
        snprintf(slot->instance.folder, sizeof slot->instance.folder, "%.*s/sv/%s",
                 PATH_MAX - SERVICE_NAME_SIZE - 8, supervisor->run_dir, slot->definition.name);
    if (slot->log.file_fd < 0 && logs_open(&slot->log, supervisor->home, slot->definition.name)) {
        snprintf(fault, size, "%s/log/%s: %s", supervisor->home, slot->definition.name,
                 strerror(errno));
        return -1;
    }
    if (slot->control.control_fd < 0 && !slot->door_at &&
        control_open(&slot->control, slot->instance.folder)) {
        snprintf(fault, size, "%s/supervise: %s", slot->instance.folder, strerror(errno));
        return -1;
    }
    loop_watch(supervisor, slot->log.read_fd, WATCH_LOG, slot);
    if (slot->control.control_fd >= 0)
        loop_watch(supervisor, slot->control.control_fd, WATCH_CONTROL, slot);
    if (slot->notify_fd >= 0)
        loop_watch(supervisor, slot->notify_fd, WATCH_NOTIFY, slot);
    slot->dirty = supervisor->dirty = true;
    return 0;
}

/* ---- a disk that cannot be written yet ---- */

/* What may pass by itself: read-only after a fault, full. Anything else is said where it is met. */
static bool may_pass(int error)
{
    return error == EROFS || error == ENOSPC || error == EDQUOT || error == EIO;
}

static int try_home(const char *home)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/lock", home) >= PATH_MAX || file_make_dirs(path, 0700) < 0)
        return -1;
    if (snprintf(path, sizeof path, "%s/lock/.written", home) >= PATH_MAX)
        return -1;
    /* in place: what is there already is enough to start with on a disk that is full */
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int result = write(fd, "\n", 1) == 1 ? 0 : -1;
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

/* A pause between two tries; true where we were asked to end before we began. */
static bool told_to_end(void)
{
    const struct timespec pause = {.tv_nsec = LOCK_ASK_MS * 1000000L};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    return sigtimedwait(&signals, NULL, &pause) > 0;
}

/* Nobody is there to start us again when the disk is well: we wait for it. -1: asked to end. */
static int wait_for_home(const char *home)
{
    bool said = false;
    while (try_home(home) < 0 && may_pass(errno)) {
        if (!said)
            log_error("start", "%s cannot be written: %s; tried again until it can", home,
                      strerror(errno));
        said = true;
        if (told_to_end())
            return -1;
    }
    if (said)
        log_info("start", "%s can be written", home);
    return 0;
}

/* ---- one supervisor per home and per run directory ---- */

static int wait_for_lock(const char *path, int64_t wait_ms)
{
    char holder[256], words[PATH_MAX];
    bool said = false;
    int64_t end = clock_mono_ms() + wait_ms;
    snprintf(words, sizeof words, "supervisor pid %d\n", (int)getpid());
    for (;;) {
        int fd = lock_take(path, words);
        if (fd >= 0)
            return fd;
        if (errno != EWOULDBLOCK && errno != EAGAIN) {
            log_error("lock", "%s: %s", path, strerror(errno));
            return -1;
        }
        lock_holder(path, holder, sizeof holder);
        if (!said)
            log_warn("lock", "%s is held by %s; waiting %lld ms", path,
                     *holder ? holder : "another", (long long)wait_ms);
        said = true;
        if (clock_mono_ms() >= end) {
            log_error("lock", "%s is still held by %s", path, *holder ? holder : "another");
            return -1;
        }
        if (told_to_end())
            return -1;
    }
}

static int take_locks(struct supervisor *supervisor)
{
    char path[PATH_MAX];
    int64_t wait_ms = supervisor->config->lock_wait_s * 1000;
    if (snprintf(path, sizeof path, "%s/lock/supervisor.lock", supervisor->home) >= PATH_MAX)
        return EXIT_CONFIG;
    supervisor->home_lock = wait_for_lock(path, wait_ms);
    if (supervisor->home_lock < 0)
        return EXIT_HELD;
    if (snprintf(path, sizeof path, "%s/supervisor.lock", supervisor->run_dir) >= PATH_MAX)
        return EXIT_CONFIG;
    supervisor->run_lock = wait_for_lock(path, wait_ms);
    return supervisor->run_lock < 0 ? EXIT_HELD : 0;
}

static int make_folder(const char *configured, mode_t mode, const char *below, char out[PATH_MAX])
{
    char path[PATH_MAX];
    if (file_make_dirs(configured, mode) || !realpath(configured, out)) {
        log_error("start", "%s: %s", configured, strerror(errno));
        return -1;
    }
    if (snprintf(path, sizeof path, "%s/%s", out, below) >= PATH_MAX ||
        file_make_dirs(path, 0755)) {
        log_error("start", "%s/%s: %s", out, below, strerror(errno));
        return -1;
    }
    return 0;
}

/* ---- all of it ---- */

static int open_services(struct supervisor *supervisor, const struct definitions *definitions)
{
    char fault[512];
    for (size_t i = 0; i < definitions->count; i++) {
        struct slot *slot = setup_find(supervisor, definitions->items[i].name);
        if (slot) /* kept over an upgrade */
            slot->definition = definitions->items[i];
        else
            slot = setup_add(supervisor, &definitions->items[i]);
        if (slot)
            slot->removing = false;
        else
            log_error("start", "%s: no room for more than %d services", definitions->items[i].name,
                      SERVICES_MAX);
    }
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (setup_open(supervisor, slot, fault, sizeof fault)) {
            log_error("start", "%s", fault);
            return -1;
        }
        if (slot->removing)
            child_feed(supervisor, slot, POLICY_EVENT_DOWN);
    }
    return 0;
}

int setup_run(struct supervisor *supervisor, int state_fd)
{
    static struct definitions definitions;
    char fault[512];
    bool adopted = state_fd >= 0;

    if (definitions_load(&definitions, supervisor->sv_dir, fault, sizeof fault)) {
        log_error("start", "%s", fault);
        if (!adopted)
            return EXIT_CONFIG;
        definitions.count = 0; /* it became invalid since --check: the old definitions go on */
    }
    if (!adopted && wait_for_home(supervisor->config->home) < 0)
        return EXIT_HELD;
    /* run_dir is closed before any socket stands in it: a socket's mode is set only after its bind
     */
    if (make_folder(supervisor->config->home, 0755, "lock", supervisor->home) ||
        make_folder(supervisor->config->run_dir, 0700, "sv", supervisor->run_dir))
        return EXIT_CONFIG;
    if (!supervisor->is_init && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        log_warn("start", "no subreaper: %s", strerror(errno));
    if (adopted && reexec_adopt(supervisor, state_fd)) {
        log_error("upgrade", "the state left by the old program can't be read");
        return EXIT_UNCLEAN;
    }
    int code = adopted ? 0 : take_locks(supervisor);
    if (code)
        return code;
    if (setup_environment(supervisor)) {
        log_error("start", "more than %d environment variables, or PATH too long", ENVIRONMENT_MAX);
        return EXIT_CONFIG;
    }
    if (!adopted)
        log_info("start", "version %s, pid %d; log: %s/log/supervisor/current", ORCH_VERSION,
                 (int)getpid(), supervisor->home);
    supervisor->console.fd = -1;
    if (supervisor->is_init)
        console_open(&supervisor->console);
    if (logs_own_open(&supervisor->own_log, supervisor->home)) {
        log_error("start", "%s/log/supervisor: %s", supervisor->home, strerror(errno));
        return EXIT_CONFIG;
    }
    supervisor->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (supervisor->null_fd < 0 || loop_open(supervisor)) {
        log_error("start", "%s", strerror(errno));
        return EXIT_UNCLEAN;
    }
    if (!adopted)
        supervisor->started_ms = clock_wall_ms();
    if (adopted && !definitions.count)
        FOR_EACH_SLOT(supervisor, slot) slot->removing = false;
    if (open_services(supervisor, &definitions))
        return EXIT_UNCLEAN;
    log_info(adopted ? "upgraded" : "started", "version %s, pid %d, services from %s", ORCH_VERSION,
             (int)getpid(), supervisor->sv_dir);
    return 0;
}
