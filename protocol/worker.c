#include "protocol/worker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "lib/clock.h"
#include "lib/log.h"

enum {
    WORK_TAG = 0x776f726b, /* of our work_request */
    BACKOFF_MIN_MS = 20,
    BACKOFF_MAX_MS = 1000,
    POLL_MAX_MS = 60000,
};

static void make_boot(char out[WORKER_BOOT_SIZE])
{
    unsigned char bytes[(WORKER_BOOT_SIZE - 1) / 2];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        log_abort("random", "no random bytes: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

void worker_init(struct worker *worker, struct service *service, int max)
{
    *worker = (struct worker){.service = service, .max = max};
    make_boot(worker->boot);
}

void worker_rest(struct worker *worker, int64_t until_ms)
{
    worker->ask_ms = until_ms;
}

static int64_t backoff_ms(int failures)
{
    int64_t wait = BACKOFF_MIN_MS;
    while (--failures > 0 && wait < BACKOFF_MAX_MS)
        wait *= 2;
    return wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS;
}

/* Says once that the scheduler is gone, and once that it is back. */
static void note_answer(struct worker *worker, bool answered)
{
    if (answered == !worker->silent)
        return;
    worker->silent = !answered;
    if (answered) {
        log_info("scheduler", "the scheduler answers again");
        bus_set_error(worker->service->bus, NULL);
    } else {
        log_warn("scheduler", "the scheduler does not answer; asked again until it does");
        bus_set_error(worker->service->bus, "the scheduler does not answer");
    }
}

static void request_work(struct worker *worker)
{
    worker->asked = true;
    bus_post(worker->service->bus, "scheduler",
             message_new(MESSAGE_work_request, NULL, "{s:s,s:s,s:i,s:i}", "service",
                         worker->service->name, "boot", worker->boot, "wait_ms", WORKER_WAIT_MS,
                         "max", worker->max),
             WORKER_WAIT_MS + WORKER_LATE_MS, WORK_TAG);
}

/* An item that does not pass is dropped and named: the scheduler repeats nothing into its place. */
static json_t *checked_items(const json_t *reply)
{
    json_t *items = json_array(), *item;
    size_t index;
    json_array_foreach(json_object_get(reply, "items"), index, item)
    {
        enum message_kind kind;
        struct message_fault fault;
        if (message_check(item, &kind, &fault) == 0)
            json_array_append(items, item);
        else
            log_error("work", "an item of work was not understood: %s", fault.text);
    }
    return items;
}

/* The items of a work_reply, or NULL where the request failed or was refused. */
static json_t *take_reply(struct worker *worker, const struct bus_item *item)
{
    worker->asked = false;
    bool answered = item->type == BUS_REPLY && item->kind == MESSAGE_work_reply;
    if (answered) {
        worker->failures = 0;
        note_answer(worker, true);
        return checked_items(item->message);
    }
    worker->failures++;
    worker->ask_ms = clock_mono_ms() + backoff_ms(worker->failures);
    if (worker->failures > 5)
        note_answer(worker, false);
    return NULL;
}

static void refuse(struct bus *bus, const struct bus_item *item)
{
    struct message_fault fault = {.code = "unexpected", .field = "kind"};
    snprintf(fault.text, sizeof fault.text, "this service takes no %s",
             message_kind_name(item->kind));
    bus_reply(bus, item->ticket, message_error(NULL, &fault));
}

static json_t *drain(struct worker *worker)
{
    struct bus *bus = worker->service->bus;
    struct bus_item item;
    json_t *items = NULL;
    while (!items && bus_next(bus, &item)) {
        if (item.type == BUS_REQUEST)
            refuse(bus, &item);
        else if (item.tag == WORK_TAG)
            items = take_reply(worker, &item);
        bus_item_done(&item);
    }
    return items;
}

static void end_if_asked(struct worker *worker)
{
    if (service_stopping(worker->service))
        service_end(worker->service, 0);
}

static int wait_ms(const struct worker *worker, int64_t now, int64_t due_ms)
{
    int64_t until = due_ms;
    if (worker->max && !worker->asked && worker->ask_ms < until)
        until = worker->ask_ms;
    if (until <= now)
        return 0;
    return until - now > POLL_MAX_MS ? POLL_MAX_MS : (int)(until - now);
}

json_t *worker_wait(struct worker *worker, int64_t due_ms, int extra_fd)
{
    for (;;) {
        end_if_asked(worker);
        json_t *items = drain(worker);
        if (items)
            return items;
        int64_t now = clock_mono_ms();
        if (now >= due_ms)
            return NULL;
        if (worker->max && !worker->asked && now >= worker->ask_ms)
            request_work(worker);
        struct pollfd fds[] = {{bus_fd(worker->service->bus), POLLIN, 0},
                               {worker->service->signal_fd, POLLIN, 0},
                               {extra_fd, POLLIN, 0}};
        poll(fds, 3, wait_ms(worker, now, due_ms));
        if (extra_fd >= 0 && fds[2].revents)
            return NULL;
    }
}

/* The scheduler's own trouble passes; a message that it refuses for what it is will be refused for
 * ever. */
bool worker_error_passes(const json_t *error)
{
    static const char *const codes[] = {"busy", "internal", "database", "unavailable"};
    const char *code = message_text(error, "code", "");
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (strcmp(code, codes[i]) == 0)
            return true;
    }
    return false;
}

static void pause_for(struct worker *worker, int64_t ms)
{
    struct pollfd fd = {worker->service->signal_fd, POLLIN, 0};
    poll(&fd, 1, (int)ms);
    end_if_asked(worker);
}

int worker_ask(struct worker *worker, json_t *message, int tries, json_t **reply)
{
    int result = -1;
    *reply = NULL;
    for (int failures = 1;; failures++) {
        json_incref(message);
        bool answered =
            bus_call(worker->service->bus, "scheduler", message, WORKER_ANSWER_MS, reply) == 0;
        bool refused = answered && strcmp(message_text(*reply, "kind", ""), "error") == 0;
        if (answered && !(refused && worker_error_passes(*reply))) {
            note_answer(worker, true);
            result = refused ? -1 : 0;
            break;
        }
        json_decref(*reply);
        *reply = NULL;
        if (failures > 5)
            note_answer(worker, false);
        if (tries && failures >= tries)
            break;
        pause_for(worker, backoff_ms(failures));
    }
    json_decref(message);
    return result;
}

bool worker_tell(struct worker *worker, json_t *message)
{
    json_t *reply;
    json_incref(message);
    bool taken = worker_ask(worker, message, 0, &reply) == 0;
    if (!taken)
        log_error("refused", "the scheduler refused %s: %s", message_text(message, "kind", "?"),
                  message_text(reply, "message", ""));
    json_decref(reply);
    json_decref(message);
    return taken;
}
