/* The end: in the reverse order of `after`, each with its timeout; as PID 1 within one budget. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/log.h"
#include "supervisor/supervisor.h"

enum {
    BUDGET_MARGIN_MS = 500, /* kept of the budget for what is left when the services are gone */
    ORPHAN_KILL_MS = 200,
};

static bool has_ended(const struct slot *slot)
{
    return slot->policy.state == POLICY_STATE_DOWN;
}

static bool is_after(const struct slot *slot, const char *name)
{
    for (size_t i = 0; i < slot->definition.after_count; i++)
        if (strcmp(slot->definition.after[i], name) == 0)
            return true;
    return false;
}

/* Whoever was started after it and still lives goes first. */
static bool may_end(struct supervisor *supervisor, const struct slot *candidate)
{
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (!has_ended(slot) && is_after(slot, candidate->definition.name))
            return false;
    }
    return true;
}

static bool runs(const struct slot *slot)
{
    return slot->policy.state == POLICY_STATE_STARTING || slot->policy.state == POLICY_STATE_UP;
}

static void hurry(struct supervisor *supervisor)
{
    supervisor->hurried++;
    log_warn("stop", "asked again: %s",
             supervisor->hurried > 1 ? "killing what is left" : "one second for what is left");
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (supervisor->hurried > 1 && slot->pid)
            child_feed(supervisor, slot, POLICY_EVENT_KILL);
        else
            child_feed(supervisor, slot, POLICY_EVENT_DOWN);
    }
    supervisor->orphan_deadline = 0;
}

void stop_begin(struct supervisor *supervisor, const char *why)
{
    if (supervisor->stop) {
        hurry(supervisor);
        return;
    }
    log_info("stop", "%s: stopping the services in reverse order", why);
    supervisor->stop = STOP_SERVICES;
    supervisor->dirty = true;
    supervisor->rolling_slot = -1;
    if (supervisor->is_init)
        supervisor->stop_deadline = clock_mono_ms() + supervisor->stop_budget_ms - BUDGET_MARGIN_MS;
    FOR_EACH_SLOT(supervisor, slot)
    {
        slot->rolling = false;
        if (!slot->pid) /* waiting or backing off: nothing to wait for */
            child_feed(supervisor, slot, POLICY_EVENT_DOWN);
        else if (!runs(slot)) /* dying anyway: only never again */
            child_feed(supervisor, slot, POLICY_EVENT_DOWN);
    }
}

/* The container ends with us: what is still there (an agent that nobody ended) gets the rest of the
 * budget. Elsewhere agents run on, and are not ours to signal. */
static void end_orphans(struct supervisor *supervisor)
{
    int64_t now = clock_mono_ms();
    siginfo_t info;
    if (!supervisor->is_init ||
        (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) && errno == ECHILD)) {
        supervisor->stop = STOP_DONE;
        return;
    }
    if (supervisor->stop == STOP_SERVICES) {
        supervisor->stop = STOP_ORPHANS;
        supervisor->orphan_deadline = supervisor->stop_deadline;
        if (supervisor->orphan_deadline < now + ORPHAN_KILL_MS)
            supervisor->orphan_deadline = now + ORPHAN_KILL_MS;
        log_info("stop", "the services are gone; ending what is left");
        kill(-1, SIGTERM);
        kill(-1, SIGCONT);
        return;
    }
    if (now < supervisor->orphan_deadline)
        return;
    kill(-1, SIGKILL);
    supervisor->stop = STOP_DONE;
}

void stop_advance(struct supervisor *supervisor)
{
    bool all = true;
    if (!supervisor->stop || supervisor->stop == STOP_DONE)
        return;
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (runs(slot) && may_end(supervisor, slot))
            child_feed(supervisor, slot, POLICY_EVENT_DOWN);
        all = all && has_ended(slot);
    }
    if (all)
        end_orphans(supervisor);
}
