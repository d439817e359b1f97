/* Performs what policy.c decides for one child. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/log.h"
#include "supervisor/process.h"
#include "supervisor/supervisor.h"

enum {
    DOOR_CLOSED_MS = 1000, /* sv exit; runsvdir takes up to 5 s to start a runsv again */
    PUBLISH_LAG_MS = 10,   /* of a start, or until it is ready */
};

static void step(struct supervisor *supervisor, struct slot *slot,
                 const struct policy_event *event);

static struct policy_event event_for(const struct supervisor *supervisor, const struct slot *slot,
                                     enum policy_event_kind kind)
{
    int64_t own = slot->definition.stop_ms;
    if (supervisor->hurried)
        own = supervisor->hurried > 1 ? 0 : own < 1000 ? own : 1000;
    return (struct policy_event){
        .kind = kind,
        .exit_code = -1,
        .stop_ms = policy_stop_allowance(own, clock_mono_ms(), supervisor->stop_deadline,
                                         slot->definition.depth),
        .has_finish = slot->definition.has_finish,
    };
}

void child_feed(struct supervisor *supervisor, struct slot *slot, enum policy_event_kind kind)
{
    struct policy_event event = event_for(supervisor, slot, kind);
    step(supervisor, slot, &event);
}

/* ---- starting ---- */

static void close_notify(struct slot *slot)
{
    if (slot->notify_fd >= 0)
        close(slot->notify_fd);
    slot->notify_fd = -1;
}

/* Nothing was started: the policy sees a death, people the reason. */
static void start_failed(struct supervisor *supervisor, struct slot *slot, const char *what,
                         int error)
{
    snprintf(slot->last.reason, sizeof slot->last.reason, "%s: %s", what, strerror(error));
    snprintf(slot->last.said, sizeof slot->last.said, "%.*s: %s", LOG_LAST_SIZE - 40,
             slot->instance.program, strerror(error));
    close_notify(slot);
    instance_resolve(&slot->instance, &slot->definition, supervisor->path);
    struct policy_event event = event_for(supervisor, slot, POLICY_EVENT_GONE);
    event.has_finish = false;
    step(supervisor, slot, &event);
}

static void spawn(struct supervisor *supervisor, struct slot *slot)
{
    char *argv[] = {slot->instance.argv0, NULL};
    char variable[32];
    int pipe_ends[2] = {-1, -1};
    struct process_started started;
    struct process_start start = {
        .path = slot->instance.program,
        .argv = argv,
        .envp = supervisor->environment,
        .cwd = slot->instance.folder,
        .input_fd = supervisor->null_fd,
        .output_fd = slot->log.write_fd,
        .notify_fd = -1,
        .notify_target = slot->definition.notify_fd,
        .definition = &slot->definition,
    };
    close_notify(slot); /* of the one before: a grandchild of it may hold the other end */
    if (slot->definition.notify_fd >= 0) {
        if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK)) {
            start_failed(supervisor, slot, "pipe", errno);
            return;
        }
        fcntl(pipe_ends[1], F_SETFL, 0);
        start.notify_fd = pipe_ends[1];
        snprintf(variable, sizeof variable, "ORCH_NOTIFY_FD=%d", slot->definition.notify_fd);
        supervisor->environment[supervisor->environment_count] = variable;
    }
    int result = process_start(&start, &started);
    supervisor->environment[supervisor->environment_count] = NULL;
    if (pipe_ends[1] >= 0)
        close(pipe_ends[1]);
    slot->notify_fd = pipe_ends[0];
    if (result) {
        start_failed(supervisor, slot, started.step, started.error);
        return;
    }
    slot->pid = started.pid;
    slot->pidfd = started.pidfd;
    slot->paused = false;
    slot->started_ms = clock_wall_ms();
    slot->ready_ms = 0;
    if (!supervisor->publish_at)
        supervisor->publish_at = clock_mono_ms() + PUBLISH_LAG_MS;
    if (slot->notify_fd >= 0)
        loop_watch(supervisor, slot->notify_fd, WATCH_NOTIFY, slot);
    else
        child_feed(supervisor, slot, POLICY_EVENT_READY);
}

/* runsv's arguments: exit code (-1 of a signal) and the low byte of the wait status. */
static void spawn_finish(struct supervisor *supervisor, struct slot *slot)
{
    char name[] = "./finish", code[16], low[16];
    char *argv[] = {name, code, low, NULL};
    struct process_started started;
    snprintf(code, sizeof code, "%d", slot->last.exit_code);
    snprintf(low, sizeof low, "%d", slot->last.signal);
    struct process_start start = {
        .path = slot->instance.finish,
        .argv = argv,
        .envp = supervisor->environment,
        .cwd = slot->instance.folder,
        .input_fd = supervisor->null_fd,
        .output_fd = slot->log.write_fd,
        .notify_fd = -1,
        .definition = &slot->definition,
    };
    if (process_start(&start, &started)) {
        log_warn("finish", "%s: finish: %s: %s", slot->definition.name, started.step,
                 strerror(started.error));
        child_feed(supervisor, slot, POLICY_EVENT_FINISHED);
        return;
    }
    slot->pid = started.pid;
    slot->pidfd = started.pidfd;
}

/* ---- doing ---- */

static void perform(struct supervisor *supervisor, struct slot *slot, unsigned actions)
{
    if (actions & POLICY_SPAWN)
        spawn(supervisor, slot);
    if (actions & POLICY_TERM) {
        process_signal(slot->pid, slot->pidfd, SIGTERM);
        process_signal(slot->pid, slot->pidfd, SIGCONT); /* a stopped one would not hear it */
        slot->paused = false;
    }
    if (actions & POLICY_KILL)
        process_signal(slot->pid, slot->pidfd, SIGKILL);
    if (actions & POLICY_FINISH)
        spawn_finish(supervisor, slot);
    if (actions & POLICY_FAILED)
        log_error(
            "failed",
            "%s: more than %lld deaths in %lld s; tried again every %lld ms, the others go on",
            slot->definition.name, (long long)supervisor->policy.intensity,
            (long long)(supervisor->policy.period_ms / 1000),
            (long long)supervisor->policy.backoff_max_ms);
    if (actions & POLICY_SETTLED)
        log_info("recovered", "%s: ready for %lld ms, no longer failed", slot->definition.name,
                 (long long)supervisor->policy.reset_ms);
    if (actions & POLICY_LEFT) {
        control_close(&slot->control);
        slot->door_at = clock_mono_ms() + DOOR_CLOSED_MS;
    }
}

static void note_change(struct supervisor *supervisor, struct slot *slot, bool changed)
{
    if (changed)
        slot->changed_ms = clock_wall_ms();
    if (!slot->pid)
        slot->started_ms = 0;
    if (!slot->policy.ready_at)
        slot->ready_ms = 0;
    else if (!slot->ready_ms)
        slot->ready_ms = clock_wall_ms();
    slot->dirty = true;
    supervisor->dirty = true;
}

static void step(struct supervisor *supervisor, struct slot *slot, const struct policy_event *event)
{
    int64_t now = clock_mono_ms();
    enum policy_state before = slot->policy.state;
    int64_t started_at = slot->policy.started_at;
    unsigned actions = policy_step(&slot->policy, &supervisor->policy, event, now);
    struct obituary death;
    if (actions & POLICY_OBITUARY) {
        obituary_write(slot, event, started_at ? now - started_at : 0);
        death = slot->last;
    }
    perform(supervisor, slot, actions);
    if (actions & POLICY_OBITUARY)
        obituary_tell(supervisor, slot, &death);
    note_change(supervisor, slot, slot->policy.state != before || actions);
}

/* ---- what comes in ---- */

void child_ended(struct supervisor *supervisor, struct slot *slot, int exit_code, int signal)
{
    bool was_finish = slot->policy.state == POLICY_STATE_FINISHING;
    int pidfd = slot->pidfd;
    slot->pid = 0;
    slot->pidfd = -1;
    slot->paused = false;
    if (supervisor->stop && !was_finish && exit_code != 0 && exit_code != 128 + SIGTERM &&
        signal != SIGTERM)
        supervisor->unclean = true;
    if (supervisor->stop) /* whoever ends while everything stops is not started again */
        slot->policy.want = POLICY_WANT_DOWN;
    struct policy_event event =
        event_for(supervisor, slot, was_finish ? POLICY_EVENT_FINISHED : POLICY_EVENT_GONE);
    event.exit_code = exit_code;
    event.signal = signal;
    step(supervisor, slot, &event);
    if (pidfd >= 0)
        close(pidfd);
    if (!slot->pid)
        close_notify(slot);
}

static void pass_signal(struct slot *slot, int signal)
{
    if (!slot->pid)
        return;
    slot->policy.asked_signal = signal;
    process_signal(slot->pid, slot->pidfd, signal);
}

static void pause_or_go(struct supervisor *supervisor, struct slot *slot, bool pause)
{
    if (slot->pid)
        process_signal(slot->pid, slot->pidfd, pause ? SIGSTOP : SIGCONT);
    slot->paused = pause && slot->pid;
    slot->dirty = supervisor->dirty = true;
}

void child_letter(struct supervisor *supervisor, struct slot *slot, char letter)
{
    static const char letters[] = "udotkx";
    static const enum policy_event_kind kinds[] = {
        POLICY_EVENT_UP,      POLICY_EVENT_DOWN, POLICY_EVENT_ONCE,
        POLICY_EVENT_RESTART, POLICY_EVENT_KILL, POLICY_EVENT_LEAVE,
    };
    _Static_assert(sizeof letters - 1 == sizeof kinds / sizeof kinds[0], "one event per letter");
    const char *at = letter ? strchr(letters, letter) : NULL;
    if (at) {
        enum policy_event_kind kind = kinds[at - letters];
        /* Nothing is started while everything stops, or while its definition goes. */
        if ((supervisor->stop || slot->removing) && strchr("uot", letter))
            return;
        log_info("control", "%s: %c (%s)", slot->definition.name, letter, policy_event_name(kind));
        child_feed(supervisor, slot, kind);
        return;
    }
    switch (letter) {
    case 'p':
        pause_or_go(supervisor, slot, true);
        break;
    case 'c':
        pause_or_go(supervisor, slot, false);
        break;
    case 'h':
        pass_signal(slot, SIGHUP);
        break;
    case 'a':
        pass_signal(slot, SIGALRM);
        break;
    case 'i':
        pass_signal(slot, SIGINT);
        break;
    case 'q':
        pass_signal(slot, SIGQUIT);
        break;
    case '1':
        pass_signal(slot, SIGUSR1);
        break;
    case '2':
        pass_signal(slot, SIGUSR2);
        break;
    default:
        break; /* as runsv: what is no letter of ours is nothing */
    }
}

void child_notified(struct supervisor *supervisor, struct slot *slot)
{
    char text[64];
    ssize_t size = read(slot->notify_fd, text, sizeof text);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        close_notify(slot);
        return;
    }
    if (!memchr(text, '\n', (size_t)size))
        return;
    close_notify(slot);
    supervisor->publish_at = 0;
    child_feed(supervisor, slot, POLICY_EVENT_READY);
}

void child_deadline(struct supervisor *supervisor, struct slot *slot, int64_t now)
{
    char fault[512];
    if (slot->policy.deadline && slot->policy.deadline <= now)
        child_feed(supervisor, slot, POLICY_EVENT_DEADLINE);
    if (!slot->door_at || slot->door_at > now)
        return;
    slot->door_at = 0;
    if (supervisor->stop || slot->removing)
        return;
    if (setup_open(supervisor, slot, fault, sizeof fault)) {
        log_error("control", "%s", fault);
        slot->door_at = now + DOOR_CLOSED_MS;
        return;
    }
    if (!slot->definition.down)
        child_feed(supervisor, slot, POLICY_EVENT_UP);
}

/* A service that is down on purpose, or failed, holds nobody up: the others go on. */
static bool holds_up(struct supervisor *supervisor, const char *name)
{
    const struct slot *slot = setup_find(supervisor, name);
    if (!slot || slot->policy.state == POLICY_STATE_UP)
        return false;
    return slot->policy.want == POLICY_WANT_UP && !slot->policy.failed;
}

void child_clear_waiting(struct supervisor *supervisor)
{
    bool started = true;
    while (started) {
        started = false;
        FOR_EACH_SLOT(supervisor, slot)
        {
            if (slot->policy.state != POLICY_STATE_WAITING)
                continue;
            size_t i = 0;
            while (i < slot->definition.after_count &&
                   !holds_up(supervisor, slot->definition.after[i]))
                i++;
            if (i < slot->definition.after_count)
                continue;
            child_feed(supervisor, slot, POLICY_EVENT_CLEAR);
            started = true;
        }
    }
}
