/* What is said of a death: in the log, and as last_obituary in supervisor.json. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "lib/clock.h"
#include "lib/log.h"
#include "supervisor/supervisor.h"

static void fill_reason(struct obituary *last, int exit_code, int signal)
{
    if (signal)
        snprintf(last->reason, sizeof last->reason, "signal %d (%s)", signal, strsignal(signal));
    else
        snprintf(last->reason, sizeof last->reason, "exit %d%s", exit_code,
                 exit_code == POLICY_LOCK_HELD_EXIT ? " (its lock is held by another)" : "");
}

static bool ran(const struct obituary *death)
{
    return death->exit_code >= 0 || death->signal;
}

void obituary_write(struct slot *slot, const struct policy_event *event, int64_t uptime)
{
    struct obituary *last = &slot->last;
    enum policy_state state = slot->policy.state;
    last->number++;
    last->at_ms = clock_wall_ms();
    last->exit_code = event->exit_code;
    last->signal = event->signal;
    last->asked = slot->policy.last_asked;
    last->uptime_ms = uptime;
    last->delay_ms =
        state == POLICY_STATE_BACKOFF || (state == POLICY_STATE_FINISHING && !slot->policy.asked)
            ? slot->policy.delay
            : 0;
    last->pending = 0;
    if (!ran(last))
        return; /* whoever could not start it has said why */
    last->pending = logs_pending(&slot->log);
    last->said[0] = '\0';
    fill_reason(last, event->exit_code, event->signal);
}

static void say_obituary(const struct supervisor *supervisor, const struct slot *slot,
                         const struct obituary *death)
{
    char next[64];
    if (slot->policy.want != POLICY_WANT_UP || supervisor->stop)
        snprintf(next, sizeof next, "stays down");
    else if (death->delay_ms)
        snprintf(next, sizeof next, "next start in %lld ms", (long long)death->delay_ms);
    else
        snprintf(next, sizeof next, "started again");
    log_line(death->asked ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "ended", NULL,
             "%s: %s after %lld ms%s; %s; %lld restarts%s%s", slot->definition.name, death->reason,
             (long long)death->uptime_ms, death->asked ? ", as asked" : "", next,
             (long long)slot->policy.restarts, *death->said ? "; last line: " : "", death->said);
}

void obituary_tell(struct supervisor *supervisor, struct slot *slot, struct obituary *death)
{
    bool still_last = slot->last.number == death->number;
    if (ran(death)) {
        logs_read_last(&slot->log, &supervisor->log_settings, &supervisor->console, death->pending);
        snprintf(death->said, sizeof death->said, "%s", slot->log.said);
        slot->log.said[0] = '\0';
    }
    say_obituary(supervisor, slot, death);
    if (still_last)
        slot->last = *death;
}
