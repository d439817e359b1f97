#include "services/runner/loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/file.h"
#include "protocol/worker.h"
#include "services/runner/agent_user.h"
#include "services/runner/outbox.h"

enum {
    EXIT_NOT_POSSIBLE = 100,
    TAG_WORK = 1,
    WORK_RETRY_MS = 50,
    WORK_RETRY_MAX_MS = 1000,
    RUNS_MAX = 64, /* threads; the scheduler's own limit is far below */
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

/* Without the user that was asked for no agent may start, so we do not either. */
static void find_agents_user(struct runner *runner)
{
    static struct identity user;
    char *fault;
    if (agent_user_open(runner->config, &user, &fault) < 0) {
        log_error("start", "%s", fault);
        service_end(&runner->service, EXIT_NOT_POSSIBLE);
    }
    runner->agents = *user.name ? &user : NULL;
}

void runner_init(struct runner *runner)
{
    runner->config = runner->service.config;
    find_agents_user(runner);
    runner->runs_dir = config_home_path(runner->config, "runs");
    runner->git = git_new(runner->config->home);
    if (!runner->git || file_make_dirs(runner->runs_dir, 0700) < 0) {
        log_error("start", "%s: %s", runner->config->home, strerror(errno));
        service_end(&runner->service, 1);
    }
    runner->outbox = outbox_new(runner->service.bus);
    runner->unwritten = json_array();
    make_boot(runner->boot);
    pthread_mutex_init(&runner->mutex, NULL);
    pthread_cond_init(&runner->ended, NULL);
    signal(SIGXFSZ, SIG_IGN);
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
            runs_start(runner, entry);
        else if (kind == MESSAGE_run_stop)
            runs_stop(runner, entry);
        else
            log_error("work", "%s is no work for the runner", message_kind_name(kind));
    }
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
                    runner->boot, "wait_ms", WORKER_WAIT_MS, "max", slots > 0 ? slots : 1);
    work->asked = true;
    bus_post(runner->service.bus, "scheduler", request, WORKER_WAIT_MS + WORKER_LATE_MS, TAG_WORK);
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

/* True while a run is active. */
static bool tell_status(struct runner *runner)
{
    char doing[200];
    pthread_mutex_lock(&runner->mutex);
    bool busy = runner->runs != NULL;
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
    return busy;
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
    pthread_cond_broadcast(&runner->ended);
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
    bool swept = false;
    while (!service_stopping(&runner->service)) {
        ask_for_work(runner, &work);
        int64_t wait = outbox_push(runner->outbox);
        if (!work.asked)
            wait = sooner(wait, left(work.due));
        wait = sooner(wait, left(janitor_at));
        bool busy = tell_status(runner);
        /* While runs are active their words change: shown once a second. */
        bool unwritten = json_array_size(runner->unwritten) > 0;
        wait = sooner(wait, busy || unwritten ? STATUS_MS : -1);
        struct pollfd fds[] = {{runner->service.signal_fd, POLLIN, 0},
                               {bus_fd(runner->service.bus), POLLIN, 0},
                               {outbox_fd(runner->outbox), POLLIN, 0}};
        poll(fds, 3, (int)wait);
        take_bus(runner, &work);
        if (unwritten)
            runs_retry(runner);
        if (left(janitor_at) == 0) {
            janitor_sweep(runner);
            janitor_look_at_repositories(runner, swept);
            swept = true; /* the first time is right after the start, which has better to do */
            janitor_at = clock_mono_ms() + JANITOR_MS;
        }
    }
    if (getenv("ORCH_PID1"))
        quit(runner, &work);
}
