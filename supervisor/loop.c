/* One thread, one epoll: deaths first, then letters, readiness, logs, clocks; what people and `sv`
 * read is written last, when the next start is already under way. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/log.h"
#include "supervisor/process.h"
#include "supervisor/supervisor.h"

enum {
    EVENTS_MAX = 64,
    LETTERS_MAX = 64,
    SIGNALS_MAX = 16,
    CONSOLE_RETRY_MS = 100, /* standard output is full */
    WATCH_BITS = 8,
    NO_SLOT = SERVICES_MAX,
};

/* ---- descriptors ---- */

static uint64_t key_of(const struct supervisor *supervisor, enum watch watch,
                       const struct slot *slot)
{
    uint64_t number = slot ? (uint64_t)(slot - supervisor->slots) : NO_SLOT;
    return number << WATCH_BITS | (uint64_t)watch;
}

void loop_watch(struct supervisor *supervisor, int fd, enum watch watch, const struct slot *slot)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = key_of(supervisor, watch, slot)};
    if (epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_ADD, fd, &event) && errno != EEXIST)
        log_error("loop", "descriptor %d cannot be watched: %s", fd, strerror(errno));
}

static const int taken[] = {SIGCHLD, SIGTERM, SIGINT,  SIGQUIT, SIGHUP,
                            SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};

int loop_open(struct supervisor *supervisor)
{
    sigset_t signals;
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        sigaddset(&signals, taken[i]);
    supervisor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (supervisor->epoll_fd < 0)
        return -1;
    supervisor->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (supervisor->signal_fd < 0)
        return -1;
    loop_watch(supervisor, supervisor->signal_fd, WATCH_SIGNAL, NULL);
    return 0;
}

/* ---- signals ---- */

static struct slot *slot_of_pid(struct supervisor *supervisor, pid_t pid)
{
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (slot->pid == pid)
            return slot;
    }
    return NULL;
}

/* SIGCHLD is one for many deaths: until none is left. */
static void reap(struct supervisor *supervisor)
{
    int exit_code, signal;
    pid_t pid;
    while ((pid = process_reap(&exit_code, &signal))) {
        struct slot *slot = slot_of_pid(supervisor, pid);
        if (slot) {
            child_ended(supervisor, slot, exit_code, signal);
        } else if (!reexec_checked(supervisor, pid, exit_code)) {
            supervisor->orphans++;
            supervisor->dirty = true;
        }
    }
}

/* What PID 1 of a container is sent is meant for what runs in it; whoever does not handle it would
 * die. */
static void forward(struct supervisor *supervisor, int signal)
{
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (slot->pid && process_handles(slot->pid, signal))
            process_signal(slot->pid, slot->pidfd, signal);
    }
}

static void take_signal(struct supervisor *supervisor, int signal)
{
    switch (signal) {
    case SIGCHLD:
        break; /* reaped before anything else */
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
        stop_begin(supervisor, strsignal(signal));
        break;
    case SIGHUP:
        reload(supervisor);
        break;
    case SIGUSR2:
        reexec_begin(supervisor);
        break;
    default:
        forward(supervisor, signal);
    }
}

static void take_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo infos[SIGNALS_MAX];
    ssize_t size = read(supervisor->signal_fd, infos, sizeof infos);
    reap(supervisor);
    for (ssize_t i = 0; i < size / (ssize_t)sizeof infos[0]; i++)
        take_signal(supervisor, (int)infos[i].ssi_signo);
}

/* ---- the rest ---- */

static void take_letters(struct supervisor *supervisor, struct slot *slot)
{
    char letters[LETTERS_MAX];
    size_t count = control_read(&slot->control, letters, sizeof letters);
    for (size_t i = 0; i < count; i++)
        child_letter(supervisor, slot, letters[i]);
}

/* A key may be older than its slot is (freed or started anew in this very round): every reader here
 * is non-blocking and takes no descriptor for nothing to read. */
static void take_event(struct supervisor *supervisor, uint64_t key)
{
    enum watch watch = (enum watch)(key & ((1u << WATCH_BITS) - 1));
    uint64_t number = key >> WATCH_BITS;
    struct slot *slot = number < SERVICES_MAX ? &supervisor->slots[number] : NULL;
    if (watch == WATCH_CHECK)
        reexec_heard(supervisor);
    if (!slot || !slot->used)
        return;
    if (watch == WATCH_CONTROL)
        take_letters(supervisor, slot);
    else if (watch == WATCH_NOTIFY)
        child_notified(supervisor, slot);
    else if (watch == WATCH_LOG)
        logs_read(&slot->log, &supervisor->log_settings, &supervisor->console);
}

static void take_events(struct supervisor *supervisor, const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++)
        if (events[i].data.u64 == key_of(supervisor, WATCH_SIGNAL, NULL))
            take_signals(supervisor);
    for (int i = 0; i < count; i++)
        if (events[i].data.u64 != key_of(supervisor, WATCH_SIGNAL, NULL))
            take_event(supervisor, events[i].data.u64);
}

static void take_deadlines(struct supervisor *supervisor)
{
    int64_t now = clock_mono_ms();
    FOR_EACH_SLOT(supervisor, slot)
    child_deadline(supervisor, slot, now);
    reexec_deadline(supervisor, now);
}

static int64_t sooner(int64_t deadline, int64_t other)
{
    return !other || (deadline && deadline < other) ? deadline : other;
}

/* Milliseconds for epoll_wait; -1: nothing is due. */
static int time_left(struct supervisor *supervisor)
{
    int64_t deadline = supervisor->rolling_slot >= 0 ? supervisor->rolling_deadline : 0;
    int64_t now = clock_mono_ms();
    deadline = sooner(deadline, supervisor->check_pid ? supervisor->check_deadline : 0);
    deadline = sooner(deadline, supervisor->stop == STOP_ORPHANS ? supervisor->orphan_deadline : 0);
    FOR_EACH_SLOT(supervisor, slot)
    deadline = sooner(sooner(deadline, slot->policy.deadline), slot->door_at);
    deadline = sooner(deadline, supervisor->dirty ? supervisor->publish_at : 0);
    if (supervisor->console.used)
        deadline = sooner(deadline, now + CONSOLE_RETRY_MS);
    if (!deadline)
        return -1;
    int64_t left = deadline - now;
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* What follows from all that came in; then what others read of it. */
static void settle(struct supervisor *supervisor)
{
    if (!supervisor->stop) {
        child_clear_waiting(supervisor);
        reload_advance(supervisor);
    }
    stop_advance(supervisor);
    state_publish(supervisor);
    logs_own_tick(&supervisor->own_log, &supervisor->log_settings, &supervisor->console);
    console_flush(&supervisor->console);
}

int loop_run(struct supervisor *supervisor)
{
    struct epoll_event events[EVENTS_MAX];
    reap(supervisor); /* whoever died while an upgrade replaced us */
    for (;;) {
        settle(supervisor);
        if (supervisor->stop == STOP_DONE)
            break;
        int count = epoll_wait(supervisor->epoll_fd, events, EVENTS_MAX, time_left(supervisor));
        take_events(supervisor, events, count < 0 ? 0 : count);
        take_deadlines(supervisor);
    }
    supervisor->publish_at = 0;
    state_publish(supervisor);
    log_info("stopped", "all services ended%s",
             supervisor->unclean ? ", not all of them cleanly" : "");
    logs_own_tick(&supervisor->own_log, &supervisor->log_settings, &supervisor->console);
    console_flush(&supervisor->console);
    return supervisor->unclean ? EXIT_UNCLEAN : 0;
}
