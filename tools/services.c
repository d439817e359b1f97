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

/* Another process than before that answers. Its pid, or 0 where none came in time. */
static int wait_for_another(const struct ctl *ctl, const char *service, int before)
{
    int64_t until = clock_mono_ms() + RESTART_MS;
    while (clock_mono_ms() < until) {
        int pid = read_pid(ctl, service), answering = 0;
        /* Only a living other process is pinged: a connection to a dying one may hang on it. */
        if (pid && pid != before &&
            bus_ping(ctl->config->run_dir, service, ANSWER_MS, &answering) == 0 &&
            answering != before)
            return answering;
        poll(NULL, 0, LOOK_MS);
    }
    return 0;
}

static enum ctl_exit restart(struct ctl *ctl, const char *service, json_t *done)
{
    int64_t from = clock_mono_ms();
    int before = read_pid(ctl, service);
    if (!write_control(ctl, service))
        return CTL_NOT_REACHABLE;
    int pid = wait_for_another(ctl, service, before);
    if (!pid) {
        complain("%s was told to restart and does not answer; see orchctl tail %s", service,
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

static int64_t number_of(const json_t *state, const char *field)
{
    return json_integer_value(json_object_get(state, field));
}

/* The supervisor counts both in its file. */
static enum ctl_exit wait_for_upgrade(const struct ctl *ctl, const json_t *before)
{
    int64_t until = clock_mono_ms() + UPGRADE_MS;
    while (clock_mono_ms() < until) {
        json_t *state = instance_supervisor(ctl);
        bool refused = number_of(state, "upgrades_refused") > number_of(before, "upgrades_refused");
        bool taken = number_of(state, "upgrades") > number_of(before, "upgrades");
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
    int64_t pid = number_of(state, "pid");
    if (pid <= 0) {
        complain("no supervisor.json in %s: it is not running", ctl->config->run_dir);
        return CTL_NOT_REACHABLE;
    }
    if (kill((pid_t)pid, SIGUSR2) < 0) {
        complain("cannot signal the supervisor (pid %lld): %s", (long long)pid, strerror(errno));
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
        printf("supervisor upgraded (pid %lld)\n", (long long)number_of(state, "pid"));
        fflush(stdout);
    }
    if (result == CTL_DONE)
        result = restart_all(ctl, state, done);
    if (ctl->request.json && result == CTL_DONE)
        print_json(
            json_pack("{s:I,s:O}", "supervisor_pid", number_of(state, "pid"), "services", done));
    json_decref(done);
    json_decref(state);
    return result;
}
