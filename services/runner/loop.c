#include "services/runner/loop.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/file.h"
#include "services/runner/outbox.h"

enum {
    TAG_WORK = 1,
    WORK_WAIT_MS = 20 * 1000,
    WORK_MARGIN_MS = 10 * 1000,
    WORK_RETRY_MS = 50,
    WORK_RETRY_MAX_MS = 1000,
    RUNS_MAX = 64, /* threads; the scheduler's own limit is far below */
    THREAD_STACK = 512 * 1024,
    SPEC_MAX_BYTES = MESSAGE_MAX_BYTES,
    JANITOR_MS = 3600 * 1000,
    QUIT_MS = 8 * 1000,
    STATUS_MS = 1000,
};

void runner_send(struct runner *runner, const char *run, json_t *message, const char *ack_path)
{
    outbox_put(runner->outbox, run, message, ack_path, false);
}

void runner_send_once(struct runner *runner, const char *run, json_t *message)
{
    outbox_put(runner->outbox, run, message, NULL, true);
}

static void make_boot(char out[17])
{
    unsigned char bytes[8];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        log_abort("boot", "no random bytes: %s", strerror(errno));
    for (int i = 0; i < 8; i++)
        snprintf(out + i * 2, 3, "%02x", bytes[i]);
}

void runner_init(struct runner *runner)
{
    runner->config = runner->service.config;
    runner->runs_dir = config_home_path(runner->config, "runs");
    runner->git = git_new(runner->config->home);
    if (!runner->git || file_make_dirs(runner->runs_dir, 0700) < 0) {
        log_error("start", "%s: %s", runner->config->home, strerror(errno));
        service_end(&runner->service, 1);
    }
    runner->outbox = outbox_new(runner->service.bus);
    make_boot(runner->boot);
    pthread_mutex_init(&runner->mutex, NULL);
    pthread_cond_init(&runner->ended, NULL);
    signal(SIGXFSZ, SIG_IGN);
}

/* ---- runs and their threads ---- */

static void *run_main(void *argument)
{
    struct run *run = argument;
    struct runner *runner = run->runner;
    run_steps(run);
    pthread_mutex_lock(&runner->mutex);
    struct run **link = &runner->runs;
    while (*link != run)
        link = &(*link)->next;
    *link = run->next;
    runner->active--;
    runner->ended_runs++;
    pthread_cond_broadcast(&runner->ended);
    pthread_mutex_unlock(&runner->mutex);
    run_free(run);
    return NULL;
}

static struct run *find_run(struct runner *runner, const char *id)
{
    struct run *run = runner->runs;
    while (run && strcmp(run->id, id) != 0)
        run = run->next;
    return run;
}

/* Takes spec. */
static void start_thread(struct runner *runner, json_t *spec)
{
    pthread_t thread;
    pthread_attr_t attributes;
    struct run *run = run_new(runner, spec);
    if (!run)
        return;
    pthread_mutex_lock(&runner->mutex);
    run->next = runner->runs;
    runner->runs = run;
    runner->active++;
    pthread_mutex_unlock(&runner->mutex);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    if (pthread_create(&thread, &attributes, run_main, run) != 0)
        log_abort("thread", "no thread for run %s", run->id);
    pthread_attr_destroy(&attributes);
}

static bool is_active(struct runner *runner, const char *id)
{
    pthread_mutex_lock(&runner->mutex);
    bool active = find_run(runner, id) != NULL;
    pthread_mutex_unlock(&runner->mutex);
    return active;
}

/* ---- commands ---- */

static char *file_of(const struct runner *runner, const char *id, const char *name)
{
    return xformat("%s/%s/%s", runner->runs_dir, id, name);
}

static bool has(const struct runner *runner, const char *id, const char *name)
{
    char *path = file_of(runner, id, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

/* The directory with its spec.json, durable. 0, or -1 with errno. */
static int write_spec(const struct runner *runner, const char *id, const json_t *spec)
{
    char *dir = xformat("%s/%s", runner->runs_dir, id), *path = file_of(runner, id, "spec.json");
    size_t size;
    char *text = message_encode(spec, &size);
    int result = file_make_dirs(dir, 0700);
    if (result == 0)
        result = file_write_durable(path, text, size, 0600);
    if (result == 0)
        result = file_sync_dir(runner->runs_dir);
    int saved = errno;
    free(text);
    free(path);
    free(dir);
    errno = saved;
    return result;
}

static void accept_run(struct runner *runner, const char *id)
{
    runner_send(runner, id, message_new(MESSAGE_run_accepted, NULL, "{ss}", "run", id), NULL);
}

static void take_start(struct runner *runner, json_t *item)
{
    const char *id = message_text(item, "run", "");
    if (!run_id_ok(id)) {
        log_error("run", "a run id that is no safe file name is not taken: %s", id);
        return;
    }
    bool known = has(runner, id, "spec.json");
    if (!known) {
        crash_point(CRASH_RUN_BEFORE_SPEC);
        if (write_spec(runner, id, item) < 0) {
            /* Not acknowledged: it comes again, to us or to the next one. */
            log_error("run", "run %s: %s", id, strerror(errno));
            bus_set_error(runner->service.bus, "a run's directory cannot be written");
            return;
        }
        crash_point(CRASH_RUN_AFTER_SPEC);
    }
    accept_run(runner, id);
    if (has(runner, id, "result.json") && run_resend(runner, id))
        return;
    if (!is_active(runner, id))
        start_thread(runner, json_incref(item));
}

static void call_run(struct run *run)
{
    uint64_t one = 1;
    atomic_store(&run->stopping, true);
    if (write(run->called_fd, &one, sizeof one) < 0)
        log_warn("stop", "run %s is not woken: %s", run->id, strerror(errno));
}

/* A run that we never had: nothing was started and nothing ever will be. */
static void refuse_unknown(struct runner *runner, const char *id)
{
    char *dir = xformat("%s/%s", runner->runs_dir, id), *path = file_of(runner, id, "result.json");
    json_t *message =
        message_new(MESSAGE_run_result, NULL, "{ss ss ss ss sn sn sn sn sn sn sn sn sn s{} ss}",
                    "run", id, "outcome", "cancelled", "class", "none", "reason",
                    "stopped: it had not begun", "exit_code", "started_ms", "ended_ms", "session",
                    "usage", "cost_usd", "head", "pull_request", "gate", "detail", "log_tail", "");
    size_t size;
    char *text = message_encode(message, &size);
    json_decref(message);
    if (file_make_dirs(dir, 0700) == 0 && file_write_durable(path, text, size, 0600) == 0)
        run_resend(runner, id);
    free(text);
    free(dir);
    free(path);
}

static void take_stop(struct runner *runner, const json_t *item)
{
    const char *id = message_text(item, "run", "");
    if (!run_id_ok(id))
        return;
    log_info("stop", "run %s: %s", id, message_text(item, "reason", ""));
    pthread_mutex_lock(&runner->mutex);
    struct run *run = find_run(runner, id);
    if (run)
        call_run(run);
    pthread_mutex_unlock(&runner->mutex);
    if (run || (has(runner, id, "result.json") && run_resend(runner, id)))
        return;
    if (!has(runner, id, "spec.json"))
        refuse_unknown(runner, id);
    /* else its thread ended without a result: we quit, the next runner reads `stop` again */
}

static void take_work(struct runner *runner, const struct bus_item *item)
{
    size_t index;
    json_t *entry;
    enum message_kind kind;
    struct message_fault fault;
    json_array_foreach(json_object_get(item->message, "items"), index, entry)
    {
        if (message_check(entry, &kind, &fault) < 0)
            log_error("work", "an item is not understood: %s", fault.text);
        else if (kind == MESSAGE_run_start)
            take_start(runner, entry);
        else if (kind == MESSAGE_run_stop)
            take_stop(runner, entry);
        else
            log_error("work", "%s is no work for the runner", message_kind_name(kind));
    }
}

/* ---- start ---- */

static json_t *read_spec(const struct runner *runner, const char *id)
{
    char *path = file_of(runner, id, "spec.json");
    size_t size;
    char *text = file_read(path, SPEC_MAX_BYTES, &size);
    json_t *spec = text ? json_loadb(text, size, 0, NULL) : NULL;
    enum message_kind kind;
    struct message_fault fault;
    if (spec && (message_check(spec, &kind, &fault) < 0 || kind != MESSAGE_run_start)) {
        log_error("adopt", "%s: %s", path, fault.text);
        json_decref(spec);
        spec = NULL;
    }
    free(text);
    free(path);
    return spec;
}

static void adopt(struct runner *runner, const char *id)
{
    if (!run_id_ok(id) || has(runner, id, "acked"))
        return;
    if (has(runner, id, "result.json") && run_resend(runner, id))
        return;
    json_t *spec = read_spec(runner, id);
    if (!spec)
        return; /* never acknowledged: the command comes again */
    log_info("adopt", "run %s is taken over", id);
    accept_run(runner, id);
    start_thread(runner, spec);
}

void runner_adopt(struct runner *runner)
{
    git_end_leftovers(runner->config->home);
    repositories_clean(runner->config->home);
    DIR *dir = opendir(runner->runs_dir);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        adopt(runner, entry->d_name);
    if (dir)
        closedir(dir);
}

/* ---- the loop ---- */

struct work {
    bool asked;
    int wait;
    int64_t due;
};

static void ask_for_work(struct runner *runner, struct work *work)
{
    if (work->asked || clock_mono_ms() < work->due)
        return;
    pthread_mutex_lock(&runner->mutex);
    int slots = RUNS_MAX - runner->active;
    pthread_mutex_unlock(&runner->mutex);
    json_t *request =
        message_new(MESSAGE_work_request, NULL, "{ss ss si si}", "service", "runner", "boot",
                    runner->boot, "wait_ms", WORK_WAIT_MS, "max", slots > 0 ? slots : 1);
    work->asked = true;
    bus_post(runner->service.bus, "scheduler", request, WORK_WAIT_MS + WORK_MARGIN_MS, TAG_WORK);
}

static void work_ended(struct runner *runner, struct work *work, const struct bus_item *item)
{
    work->asked = false;
    if (item->type == BUS_REPLY && item->kind == MESSAGE_work_reply) {
        work->wait = WORK_RETRY_MS;
        work->due = 0;
        take_work(runner, item);
        return;
    }
    if (item->type == BUS_REPLY)
        bus_set_error(runner->service.bus, message_text(item->message, "message", "refused"));
    work->due = clock_mono_ms() + work->wait;
    work->wait = work->wait * 2 > WORK_RETRY_MAX_MS ? WORK_RETRY_MAX_MS : work->wait * 2;
}

static void refuse(struct runner *runner, struct bus_item *item)
{
    struct message_fault fault = {"unknown-kind", "kind",
                                  "the runner answers ping and status only"};
    bus_reply(runner->service.bus, item->ticket,
              message_error(message_text(item->message, "id", NULL), &fault));
}

static void take_bus(struct runner *runner, struct work *work)
{
    struct bus_item item;
    while (bus_next(runner->service.bus, &item)) {
        if (item.type == BUS_REQUEST)
            refuse(runner, &item);
        else if (item.tag == TAG_WORK)
            work_ended(runner, work, &item);
        else
            outbox_take(runner->outbox, &item);
        bus_item_done(&item);
    }
}

static void tell_status(struct runner *runner)
{
    char doing[200];
    pthread_mutex_lock(&runner->mutex);
    if (runner->runs)
        snprintf(doing, sizeof doing, "%d active, the newest: %s %s: %s", runner->active,
                 runner->runs->key, runner->runs->stage, runner->runs->doing);
    else
        snprintf(doing, sizeof doing, "idle");
    json_t *counters =
        json_pack("{si sI sI}", "active", runner->active, "ended", (json_int_t)runner->ended_runs,
                  "unacknowledged", (json_int_t)outbox_size(runner->outbox));
    pthread_mutex_unlock(&runner->mutex);
    bus_set_status(runner->service.bus, "ready", doing, counters);
}

static int sooner(int64_t a, int64_t b)
{
    int64_t first = a < 0 ? b : b < 0 ? a : a < b ? a : b;
    return first < 0 ? -1 : first > 60000 ? 60000 : (int)first;
}

static int64_t left(int64_t due)
{
    int64_t ms = due - clock_mono_ms();
    return ms > 0 ? ms : 0;
}

/* As the child of PID 1 the container ends with us: agents are ended, what is known is reported. */
static void quit(struct runner *runner, struct work *work)
{
    int64_t until = clock_mono_ms() + QUIT_MS;
    atomic_store(&runner->quitting, true);
    pthread_mutex_lock(&runner->mutex);
    for (struct run *run = runner->runs; run; run = run->next) {
        uint64_t one = 1;
        if (write(run->called_fd, &one, sizeof one) < 0)
            log_warn("quit", "run %s is not woken", run->id);
    }
    bool busy = runner->runs != NULL;
    pthread_mutex_unlock(&runner->mutex);
    while ((busy || outbox_size(runner->outbox)) && left(until) > 0) {
        int wait = sooner(outbox_push(runner->outbox), 20);
        struct pollfd fds[] = {{bus_fd(runner->service.bus), POLLIN, 0},
                               {outbox_fd(runner->outbox), POLLIN, 0}};
        poll(fds, 2, wait);
        work->asked = true; /* nothing new */
        take_bus(runner, work);
        pthread_mutex_lock(&runner->mutex);
        busy = runner->runs != NULL;
        pthread_mutex_unlock(&runner->mutex);
    }
}

void runner_loop(struct runner *runner)
{
    struct work work = {.wait = WORK_RETRY_MS};
    int64_t janitor_at = clock_mono_ms() + STATUS_MS;
    while (!service_stopping(&runner->service)) {
        ask_for_work(runner, &work);
        int64_t wait = outbox_push(runner->outbox);
        if (!work.asked)
            wait = sooner(wait, left(work.due));
        wait = sooner(wait, left(janitor_at));
        tell_status(runner);
        /* While runs are active their words change: shown once a second. */
        wait = sooner(wait, runner->runs ? STATUS_MS : -1);
        struct pollfd fds[] = {{runner->service.signal_fd, POLLIN, 0},
                               {bus_fd(runner->service.bus), POLLIN, 0},
                               {outbox_fd(runner->outbox), POLLIN, 0}};
        poll(fds, 3, (int)wait);
        take_bus(runner, &work);
        if (left(janitor_at) == 0) {
            janitor_sweep(runner);
            janitor_at = clock_mono_ms() + JANITOR_MS;
        }
    }
    if (getenv("ORCH_PID1"))
        quit(runner, &work);
}
