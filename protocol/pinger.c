#include "protocol/pinger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "protocol/liveness.h"

enum {
    ALERTS_MAX = 32,
    STATE_FILE_MAX = 1024 * 1024,
    THREAD_STACK = 256 * 1024,
    TELL_TRIES = 2,
};

struct alert {
    uint64_t number;
    enum service_id service;
    const char *fault; /* hung | failed | recovered */
    char text[160];
};

struct pinger {
    const struct config *config;
    enum service_id services[SERVICE_COUNT];
    size_t count;
    int event_fd;
    struct liveness liveness[SERVICE_COUNT]; /* the thread's own */
    pthread_mutex_t lock;                    /* everything below */
    struct alert alerts[ALERTS_MAX];
    size_t alert_count;
    uint64_t alert_number;
    int64_t pings, misses, killed, failed;
};

/* ---- what the supervisor says ---- */

/* "<found supervise folder>/<file>"; false where there is none. */
static bool supervise_path(const struct pinger *pinger, enum service_id id, const char *file,
                           char out[PATH_MAX])
{
    struct stat status;
    snprintf(out, PATH_MAX, "../%s/supervise/%s", service_names[id], file);
    if (stat(out, &status) == 0)
        return true;
    snprintf(out, PATH_MAX, "%s/sv/%s/supervise/%s", pinger->config->run_dir, service_names[id],
             file);
    return stat(out, &status) == 0;
}

static struct liveness_record read_record(const struct pinger *pinger, enum service_id id)
{
    struct liveness_record record = {0};
    char path[PATH_MAX];
    size_t size = 0;
    if (!supervise_path(pinger, id, "status", path))
        return record;
    char *bytes = file_read(path, 4096, &size);
    if (bytes)
        record = liveness_record_read((const unsigned char *)bytes, size);
    free(bytes);
    return record;
}

/* supervisor.json where it is our own supervisor's: a file left by another says nothing. */
static json_t *read_supervisor(const struct pinger *pinger)
{
    char path[PATH_MAX];
    size_t size = 0;
    snprintf(path, sizeof path, "%s/supervisor.json", pinger->config->run_dir);
    char *text = file_read(path, STATE_FILE_MAX, &size);
    json_t *file = text ? json_loadb(text, size, 0, NULL) : NULL;
    free(text);
    if (file && message_integer(file, "pid", 0) != getppid()) {
        json_decref(file);
        file = NULL;
    }
    return file;
}

static enum liveness_label read_label(const json_t *file, enum service_id id)
{
    const json_t *service;
    size_t index;
    json_array_foreach(json_object_get(file, "services"), index, service)
    {
        if (strcmp(message_text(service, "name", ""), service_names[id]) == 0)
            return liveness_label_by_name(message_text(service, "state", NULL));
    }
    return LIVENESS_LABEL_NONE;
}

/* ---- acting ---- */

static void wake(struct pinger *pinger)
{
    uint64_t one = 1;
    if (write(pinger->event_fd, &one, sizeof one) != sizeof one)
        log_warn("pinger", "an alert waits for the next one: %s", strerror(errno));
}

static void announce(struct pinger *pinger, enum service_id id, const char *fault, const char *text)
{
    struct alert alert = {.service = id, .fault = fault};
    snprintf(alert.text, sizeof alert.text, "%s: %s", service_names[id], text);
    log_warn(fault, "%s", alert.text);
    pthread_mutex_lock(&pinger->lock);
    if (pinger->alert_count == ALERTS_MAX) {
        memmove(pinger->alerts, pinger->alerts + 1, sizeof alert * (ALERTS_MAX - 1));
        pinger->alert_count--;
    }
    alert.number = ++pinger->alert_number;
    pinger->alerts[pinger->alert_count++] = alert;
    pthread_mutex_unlock(&pinger->lock);
    wake(pinger);
}

/* O_NONBLOCK: without a reader (nobody supervises it) the open fails and nothing blocks. */
static bool write_control(const struct pinger *pinger, enum service_id id)
{
    char path[PATH_MAX];
    int fd = -1;
    bool written = false;
    if (supervise_path(pinger, id, "control", path))
        fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        written = write(fd, "k", 1) == 1;
    if (!written)
        log_error("hung", "%s hangs and cannot be killed by way of %s: %s", service_names[id], path,
                  strerror(errno));
    if (fd >= 0)
        close(fd);
    return written;
}

static void act(struct pinger *pinger, enum service_id id, enum liveness_verdict verdict, int pid)
{
    char text[80];
    switch (verdict) {
    case LIVENESS_NOTHING:
        return;
    case LIVENESS_KILL:
        if (!write_control(pinger, id))
            return;
        pthread_mutex_lock(&pinger->lock);
        pinger->killed++;
        pthread_mutex_unlock(&pinger->lock);
        snprintf(text, sizeof text, "pid %d answered no ping and is restarted", pid);
        announce(pinger, id, "hung", text);
        return;
    case LIVENESS_FAILED:
        pthread_mutex_lock(&pinger->lock);
        pinger->failed++;
        pthread_mutex_unlock(&pinger->lock);
        announce(pinger, id, "failed", "dies again and again; still tried. See its log");
        return;
    case LIVENESS_RECOVERED:
        snprintf(text, sizeof text, "answers again (pid %d)", pid);
        announce(pinger, id, "recovered", text);
        return;
    }
}

/* ---- looking ---- */

static enum liveness_ping ping(struct pinger *pinger, enum service_id id)
{
    int64_t from = clock_mono_ms();
    int pid;
    bool answered =
        bus_ping(pinger->config->run_dir, service_names[id], PINGER_ANSWER_MS, &pid) == 0;
    int64_t took = clock_mono_ms() - from;
    pthread_mutex_lock(&pinger->lock);
    pinger->pings++;
    if (!answered)
        pinger->misses++;
    pthread_mutex_unlock(&pinger->lock);
    if (answered)
        return LIVENESS_ANSWERED;
    /* Where the time-out itself came late it was we who did not run (stopped, or no processor). */
    return took > 3 * PINGER_ANSWER_MS ? LIVENESS_NOT_TOLD : LIVENESS_MISSED;
}

static void look_at(struct pinger *pinger, enum service_id id)
{
    struct liveness_look look = {.ping = LIVENESS_NOT_TOLD};
    json_t *file = read_supervisor(pinger);
    look.label = read_label(file, id);
    json_decref(file);
    look.before = read_record(pinger, id);
    look.wall_ms = clock_wall_ms();
    if (liveness_may_ping(&look.before, look.label, look.wall_ms))
        look.ping = ping(pinger, id);
    look.after = read_record(pinger, id);
    enum liveness_verdict verdict =
        liveness_judge(&pinger->liveness[id], &look, (int)pinger->config->reaper_ping_misses);
    act(pinger, id, verdict, look.after.pid);
}

static void *run(void *context)
{
    struct pinger *pinger = context;
    for (int64_t due = clock_mono_ms();;) {
        for (size_t i = 0; i < pinger->count; i++)
            look_at(pinger, pinger->services[i]);
        due += pinger->config->reaper_ping_s * 1000;
        int64_t now = clock_mono_ms();
        if (due < now) /* a round with many misses took longer */
            due = now;
        poll(NULL, 0, (int)(due - now));
    }
    return NULL;
}

struct pinger *pinger_start(const struct config *config, const enum service_id *services,
                            size_t count)
{
    struct pinger *pinger = xcalloc(1, sizeof *pinger);
    pthread_attr_t attributes;
    pthread_t thread;
    pinger->config = config;
    memcpy(pinger->services, services, count * sizeof *services);
    pinger->count = count;
    pthread_mutex_init(&pinger->lock, NULL);
    pinger->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    if (pinger->event_fd < 0 || pthread_create(&thread, &attributes, run, pinger) != 0)
        log_abort("pinger", "cannot start a thread");
    pthread_attr_destroy(&attributes);
    pthread_detach(thread);
    return pinger;
}

/* ---- reporting ---- */

int pinger_fd(const struct pinger *pinger)
{
    return pinger->event_fd;
}

static bool first_alert(struct pinger *pinger, struct alert *alert)
{
    pthread_mutex_lock(&pinger->lock);
    bool some = pinger->alert_count > 0;
    if (some)
        *alert = pinger->alerts[0];
    pthread_mutex_unlock(&pinger->lock);
    return some;
}

static void drop_alert(struct pinger *pinger, uint64_t number)
{
    pthread_mutex_lock(&pinger->lock);
    /* Where the queue overflowed meanwhile the first is another one already. */
    if (pinger->alert_count && pinger->alerts[0].number == number) {
        pinger->alert_count--;
        memmove(pinger->alerts, pinger->alerts + 1, sizeof *pinger->alerts * pinger->alert_count);
    }
    pthread_mutex_unlock(&pinger->lock);
}

void pinger_report(struct pinger *pinger, struct worker *worker)
{
    struct alert alert;
    uint64_t count;
    /* Emptied first: an alert that comes from here on wakes us again. */
    if (read(pinger->event_fd, &count, sizeof count) < 0 && errno != EAGAIN)
        log_warn("pinger", "cannot read the event descriptor: %s", strerror(errno));
    while (first_alert(pinger, &alert)) {
        json_t *reply;
        int result = worker_ask(worker,
                                message_new(MESSAGE_service_alert, NULL, "{s:s,s:s,s:s}", "service",
                                            service_names[alert.service], "fault", alert.fault,
                                            "text", alert.text),
                                TELL_TRIES, &reply);
        bool answered = result == 0 || reply;
        if (result < 0 && reply)
            log_error("refused", "the scheduler refused an alert: %s",
                      message_text(reply, "message", ""));
        json_decref(reply);
        if (!answered) {
            wake(pinger); /* tried again */
            return;
        }
        drop_alert(pinger, alert.number);
    }
}

void pinger_count(struct pinger *pinger, json_t *counters)
{
    pthread_mutex_lock(&pinger->lock);
    json_object_set_new(counters, "pings", json_integer(pinger->pings));
    json_object_set_new(counters, "ping_misses", json_integer(pinger->misses));
    json_object_set_new(counters, "services_killed", json_integer(pinger->killed));
    json_object_set_new(counters, "services_failed", json_integer(pinger->failed));
    pthread_mutex_unlock(&pinger->lock);
}
