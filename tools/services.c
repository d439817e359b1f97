/* Restart of one service, and new programs in place. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/file.h"
#include "protocol/address.h"
#include "protocol/bus.h"
#include "tools/orchctl.h"

enum { ANSWER_MS = 500, LOOK_MS = 20, RESTART_MS = 40000, UPGRADE_MS = 20000 };
enum { LOOKS_PER_RECORD = 5, HOPELESS_RESTARTS = 5 };

static int read_pid(const struct ctl *ctl, const char *service)
{
    char *path = instance_supervise(ctl, service, "pid");
    char *text = file_read(path, 64, NULL);
    int pid = text ? atoi(text) : 0;
    free(text);
    free(path);
    return pid;
}

/* As `sv restart`: term, continue (a stopped process hears no term), up. */
static bool write_control(const struct ctl *ctl, const char *service)
{
    char *path = instance_supervise(ctl, service, "control");
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, "tcu", 3) == 3;
    if (!written)
        complain("%s: %s (is the supervisor running?)", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    free(path);
    return written;
}

/* The supervisor's record of a service; NULL where there is none. Caller decrefs. */
static json_t *record_of(const struct ctl *ctl, const char *service)
{
    json_t *state = instance_supervisor(ctl), *found = NULL, *record;
    size_t index;
    json_array_foreach(json_object_get(state, "services"), index, record)
    {
        const char *name = text_field(record, "name");
        if (name && strcmp(name, service) == 0)
            found = json_incref(record);
    }
    json_decref(state);
    return found;
}

struct waiting {
    const char *service;
    int before;         /* pid */
    long long restarts; /* that the supervisor had counted */
    char words[200];    /* what became of it, for a complaint */
};

/* One that ends at every start will not answer; there is no need to wait for it. */
static bool keeps_ending(const struct ctl *ctl, struct waiting *waiting)
{
    json_t *record = record_of(ctl, waiting->service);
    bool hopeless = text_number(record, "restarts") - waiting->restarts >= HOPELESS_RESTARTS;
    const char *reason = text_field(json_object_get(record, "last_obituary"), "reason");
    if (hopeless)
        snprintf(waiting->words, sizeof waiting->words, "ends at every start (%.100s)",
                 reason ? reason : "?");
    json_decref(record);
    return hopeless;
}

/* Another process than before that answers. Its pid, or 0 where none came in time. */
static int wait_for_another(const struct ctl *ctl, struct waiting *waiting)
{
    int64_t until = clock_mono_ms() + RESTART_MS;
    snprintf(waiting->words, sizeof waiting->words, "does not answer");
    for (int looks = 1; clock_mono_ms() < until; looks++) {
        int pid = read_pid(ctl, waiting->service), answering = 0;
        /* Only a living other process is pinged: a connection to a dying one may hang on it. */
        if (pid && pid != waiting->before &&
            bus_ping(ctl->config->run_dir, waiting->service, ANSWER_MS, &answering) == 0 &&
            answering != waiting->before)
            return answering;
        if (looks % LOOKS_PER_RECORD == 0 && keeps_ending(ctl, waiting))
            break;
        poll(NULL, 0, LOOK_MS);
    }
    return 0;
}

static enum ctl_exit restart(struct ctl *ctl, const char *service, json_t *done)
{
    int64_t from = clock_mono_ms();
    json_t *record = record_of(ctl, service);
    struct waiting waiting = {.service = service,
                              .before = read_pid(ctl, service),
                              .restarts = text_number(record, "restarts")};
    int before = waiting.before;
    json_decref(record);
    if (!write_control(ctl, service))
        return CTL_NOT_REACHABLE;
    int pid = wait_for_another(ctl, &waiting);
    if (!pid) {
        complain("%s was told to restart and %s; see orchctl tail %s", service, waiting.words,
                 service);
        return CTL_REFUSED;
    }
    long long took = (long long)(clock_mono_ms() - from);
    if (!ctl->request.json)
        printf("%-10s restarted in %lld ms (pid %d → %d)\n", service, took, before, pid);
    fflush(stdout);
    json_array_append_new(done, json_pack("{s:s,s:i,s:i,s:I}", "service", service, "pid_before",
                                          before, "pid", pid, "took_ms", (json_int_t)took));
    return CTL_DONE;
}

static bool needs_files(struct ctl *ctl)
{
    if (instance_config(ctl))
        return true;
    complain("this is done by files of the instance: name its configuration with -c");
    return false;
}

static void say_no_service(const char *name)
{
    struct buffer names = {0};
    for (int i = 0; i < SERVICE_COUNT; i++)
        buffer_format(&names, " %s", service_names[i]);
    if (strcmp(name, "supervisor") == 0)
        complain("the supervisor is not restarted but upgraded in place: orchctl upgrade");
    else
        complain("there is no service %s; there are:%s", name, names.data);
    buffer_free(&names);
}

enum ctl_exit ctl_restart(struct ctl *ctl)
{
    const char *service = ctl->request.argument;
    if (!needs_files(ctl))
        return CTL_NOT_REACHABLE;
    if (service_by_name(service) == SERVICE_COUNT) {
        say_no_service(service);
        return CTL_NOT_FOUND;
    }
    json_t *done = json_array();
    enum ctl_exit result = restart(ctl, service, done);
    if (ctl->request.json && result == CTL_DONE)
        print_json(json_incref(json_array_get(done, 0)));
    json_decref(done);
    return result;
}

/* ---- upgrade ---- */

/* The supervisor counts both in its file. */
static enum ctl_exit wait_for_upgrade(const struct ctl *ctl, const json_t *before)
{
    int64_t until = clock_mono_ms() + UPGRADE_MS;
    while (clock_mono_ms() < until) {
        json_t *state = instance_supervisor(ctl);
        bool refused =
            text_number(state, "upgrades_refused") > text_number(before, "upgrades_refused");
        bool taken = text_number(state, "upgrades") > text_number(before, "upgrades");
        if (refused)
            complain("the supervisor goes on with the old program: %s",
                     json_string_value(json_object_get(state, "upgrade_error")));
        json_decref(state);
        if (refused)
            return CTL_REFUSED;
        if (taken)
            return CTL_DONE;
        poll(NULL, 0, LOOK_MS);
    }
    complain("the supervisor did not answer to SIGUSR2; see orchctl tail supervisor");
    return CTL_REFUSED;
}

static enum ctl_exit upgrade_supervisor(const struct ctl *ctl, const json_t *state)
{
    long long pid = text_number(state, "pid");
    if (pid <= 0) {
        complain("no supervisor runs in %s", ctl->config->run_dir);
        return CTL_NOT_REACHABLE;
    }
    if (kill((pid_t)pid, SIGUSR2) < 0) {
        complain("cannot signal the supervisor (pid %lld): %s", pid, strerror(errno));
        return errno == ESRCH ? CTL_NOT_REACHABLE : CTL_REFUSED;
    }
    return wait_for_upgrade(ctl, state);
}

/* In the order of start; what an operator has taken down stays down. */
static enum ctl_exit restart_all(struct ctl *ctl, const json_t *state, json_t *done)
{
    size_t index;
    const json_t *service;
    json_array_foreach(json_object_get(state, "services"), index, service)
    {
        const char *name = json_string_value(json_object_get(service, "name"));
        const char *wanted = json_string_value(json_object_get(service, "wanted"));
        if (!name || service_by_name(name) == SERVICE_COUNT ||
            (wanted && strcmp(wanted, "up") != 0))
            continue;
        enum ctl_exit result = restart(ctl, name, done);
        if (result != CTL_DONE)
            return result;
    }
    return CTL_DONE;
}

enum ctl_exit ctl_upgrade(struct ctl *ctl)
{
    if (!needs_files(ctl))
        return CTL_NOT_REACHABLE;
    json_t *state = instance_supervisor(ctl), *done = json_array();
    enum ctl_exit result = upgrade_supervisor(ctl, state);
    if (result == CTL_DONE && !ctl->request.json) {
        printf("supervisor upgraded (pid %lld)\n", text_number(state, "pid"));
        fflush(stdout);
    }
    if (result == CTL_DONE) {
        json_t *now = instance_supervisor(ctl); /* what is wanted may have changed meanwhile */
        result = restart_all(ctl, now, done);
        json_decref(now);
    }
    if (ctl->request.json && result == CTL_DONE)
        print_json(json_pack("{s:I,s:O}", "supervisor_pid", (json_int_t)text_number(state, "pid"),
                             "services", done));
    json_decref(done);
    json_decref(state);
    return result;
}
