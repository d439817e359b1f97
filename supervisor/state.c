/* run_dir/supervisor.json: the supervisor is not on the bus, this file is what it says. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/log.h"
#include "supervisor/supervisor.h"

enum { STATE_SIZE = 4096 + SERVICES_MAX * 2048, AGAIN_MS = 1000 };

struct text {
    char data[STATE_SIZE];
    size_t used;
    bool full;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text->data + text->used, sizeof text->data - text->used, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof text->data - text->used)
        text->full = true;
    else
        text->used += (size_t)size;
}

static void add_string(struct text *text, const char *name, const char *value)
{
    char escaped[6 * 512];
    json_escape(value, strnlen(value, 512), escaped, sizeof escaped);
    add(text, "\"%s\":\"%s\",", name, escaped);
}

static void add_time(struct text *text, const char *name, int64_t wall_ms)
{
    char time[CLOCK_TEXT_SIZE];
    if (!wall_ms) {
        add(text, "\"%s\":null,", name);
        return;
    }
    clock_text(wall_ms, time);
    add(text, "\"%s\":\"%s\",", name, time);
}

static void add_number(struct text *text, const char *name, int64_t value, bool known)
{
    if (known)
        add(text, "\"%s\":%lld,", name, (long long)value);
    else
        add(text, "\"%s\":null,", name);
}

static void end_object(struct text *text)
{
    if (text->used && text->data[text->used - 1] == ',')
        text->used--;
    add(text, "}");
}

static void add_obituary(struct text *text, const struct obituary *last)
{
    add(text, "\"last_obituary\":");
    if (!last->at_ms) {
        add(text, "null,");
        return;
    }
    add(text, "{");
    add_time(text, "at", last->at_ms);
    add_string(text, "reason", last->reason);
    add_number(text, "exit_code", last->exit_code, last->exit_code >= 0);
    add_number(text, "signal", last->signal, last->signal != 0);
    add(text, "\"asked\":%s,", last->asked ? "true" : "false");
    add_number(text, "uptime_ms", last->uptime_ms, true);
    add_number(text, "delay_ms", last->delay_ms, true);
    add_string(text, "last_line", last->said);
    end_object(text);
    add(text, ",");
}

static const char *want_name(enum policy_want want)
{
    static const char *const names[] = {
        [POLICY_WANT_DOWN] = "down",
        [POLICY_WANT_UP] = "up",
        [POLICY_WANT_ONCE] = "once",
        [POLICY_WANT_LEAVE] = "exit",
    };
    return names[want];
}

static void add_service(struct text *text, const struct slot *slot, int64_t now)
{
    add(text, "{");
    add_string(text, "name", slot->definition.name);
    add_string(text, "state", policy_state_name(&slot->policy));
    add_string(text, "wanted", want_name(slot->policy.want));
    add_number(text, "pid", slot->pid, slot->pid != 0);
    add(text, "\"ready\":%s,", slot->policy.state == POLICY_STATE_UP ? "true" : "false");
    add(text, "\"failed\":%s,", slot->policy.failed ? "true" : "false");
    add(text, "\"paused\":%s,", slot->paused ? "true" : "false");
    add_time(text, "started_at", slot->started_ms);
    add_time(text, "ready_at", slot->ready_ms);
    add_time(text, "changed_at", slot->changed_ms);
    add_number(text, "uptime_s", (now - slot->started_ms) / 1000, slot->started_ms != 0);
    add_number(text, "restarts", slot->policy.restarts, true);
    add_obituary(text, &slot->last);
    end_object(text);
    add(text, ",");
}

static const char *own_state(const struct supervisor *supervisor)
{
    return supervisor->stop == STOP_DONE ? "stopped" : supervisor->stop ? "stopping" : "running";
}

static void build_state(struct supervisor *supervisor, struct text *text)
{
    int64_t now = clock_wall_ms();
    text->used = 0;
    text->full = false;
    add(text, "{");
    add_string(text, "version", ORCH_VERSION);
    add_number(text, "pid", getpid(), true);
    add_string(text, "state", own_state(supervisor));
    add_time(text, "started_at", supervisor->started_ms);
    add_time(text, "written_at", now); /* uptime_s is as of then; started_at is the source */
    add_number(text, "uptime_s", (now - supervisor->started_ms) / 1000, true);
    add_number(text, "upgrades", supervisor->upgrades, true);
    add_number(text, "upgrades_refused", supervisor->upgrades_refused, true);
    add_string(text, "upgrade_error", supervisor->upgrade_error);
    add_number(text, "orphans_reaped", supervisor->orphans, true);
    add(text, "\"services\":[");
    /* in the order of start */
    for (int depth = 0; depth < SERVICES_MAX; depth++) {
        FOR_EACH_SLOT(supervisor, slot)
        {
            if (slot->definition.depth == depth)
                add_service(text, slot, now);
        }
    }
    if (text->data[text->used - 1] == ',')
        text->used--;
    add(text, "]}\n");
}

static int write_state(struct supervisor *supervisor)
{
    static struct text text;
    char path[PATH_MAX];
    build_state(supervisor, &text);
    errno = EFBIG;
    if (text.full ||
        snprintf(path, sizeof path, "%s/supervisor.json", supervisor->run_dir) >= PATH_MAX)
        return -1;
    return control_replace(path, text.data, text.used, 0644);
}

static int write_supervise(struct slot *slot)
{
    bool finishing = slot->policy.state == POLICY_STATE_FINISHING;
    struct status_facts facts = {
        /* as runsv: how long the process lives, not how long it is ready */
        .changed_ms = slot->pid && !finishing ? slot->started_ms : slot->changed_ms,
        .pid = slot->pid,
        .paused = slot->paused,
        .want_up = slot->policy.want == POLICY_WANT_UP,
        .term_sent = slot->policy.term_sent,
        .finishing = finishing,
        .leaving = slot->policy.want == POLICY_WANT_LEAVE,
    };
    return control_publish(slot->instance.folder, &facts, &slot->published);
}

/* Said once, tried again until it succeeds: a full disk must not fill the log as well. */
static void note_failure(struct supervisor *supervisor, int error)
{
    if (error && error != supervisor->publish_error)
        log_warn("state", "%s can't be written: %s", supervisor->run_dir, strerror(error));
    if (!error && supervisor->publish_error)
        log_info("state", "%s is written again", supervisor->run_dir);
    supervisor->publish_error = error;
    if (error) {
        supervisor->dirty = true;
        supervisor->publish_at = clock_mono_ms() + AGAIN_MS;
    }
}

void state_publish(struct supervisor *supervisor)
{
    int error = 0;
    if (!supervisor->dirty || clock_mono_ms() < supervisor->publish_at)
        return;
    supervisor->dirty = false;
    supervisor->publish_at = 0;
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (!slot->dirty)
            continue;
        slot->dirty = write_supervise(slot) != 0;
        error = slot->dirty ? errno : error;
    }
    if (write_state(supervisor))
        error = errno;
    note_failure(supervisor, error);
}
