/* The bus object, its queue to the main loop, and the snapshot that ping and status answer from. */
#include "protocol/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "protocol/bus_internal.h"

/* Newer nng takes the number of its threads as a parameter; the default grows with the host's
 * processors and costs every service memory it has no use for. */
static void limit_threads(void)
{
#if NNG_MAJOR_VERSION == 1 && NNG_MINOR_VERSION >= 9
    nng_init_set_parameter(NNG_INIT_NUM_TASK_THREADS, 2);
    nng_init_set_parameter(NNG_INIT_NUM_EXPIRE_THREADS, 1);
    nng_init_set_parameter(NNG_INIT_NUM_POLLER_THREADS, 1);
    nng_init_set_parameter(NNG_INIT_NUM_RESOLVER_THREADS, 1);
#endif
}

struct bus *bus_open(const char *run_dir, const char *service, bool group_may)
{
    limit_threads();
    struct bus *bus = xcalloc(1, sizeof *bus);
    bus->run_dir = xstrdup(run_dir);
    bus->service = service ? xstrdup(service) : NULL;
    bus->mode = group_may ? 0660 : 0600;
    bus->last = &bus->first;
    bus->state = xstrdup("starting");
    bus->doing = xstrdup("starting");
    bus->counters = json_object();
    pthread_mutex_init(&bus->mutex, NULL);
    bus->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bus->event_fd < 0 || (service && bus_server_open(bus) < 0)) {
        /* The process ends or tries no more: the half-open object is left to it, since closing nng
         * sockets has traps of its own. */
        return NULL;
    }
    return bus;
}

int bus_fd(struct bus *bus)
{
    return bus->event_fd;
}

void bus_push(struct bus *bus, struct bus_item item)
{
    struct bus_node *node = xcalloc(1, sizeof *node);
    node->item = item;
    pthread_mutex_lock(&bus->mutex);
    *bus->last = node;
    bus->last = &node->next;
    pthread_mutex_unlock(&bus->mutex);
    uint64_t one = 1;
    ssize_t written = write(bus->event_fd, &one, sizeof one);
    (void)written; /* EAGAIN: the counter is full, the loop is awake anyway */
}

bool bus_next(struct bus *bus, struct bus_item *item)
{
    pthread_mutex_lock(&bus->mutex);
    struct bus_node *node = bus->first;
    if (node) {
        bus->first = node->next;
        if (!bus->first)
            bus->last = &bus->first;
    } else {
        /* Emptied under the mutex, so that no push between look and clear goes unseen. */
        uint64_t count;
        ssize_t n = read(bus->event_fd, &count, sizeof count);
        (void)n;
    }
    pthread_mutex_unlock(&bus->mutex);
    if (!node)
        return false;
    *item = node->item;
    free(node);
    return true;
}

void bus_item_done(struct bus_item *item)
{
    json_decref(item->message);
    item->message = NULL;
}

static void replace_text(char **slot, const char *text)
{
    if (*slot && text && strcmp(*slot, text) == 0)
        return;
    free(*slot);
    *slot = text ? xstrdup(text) : NULL;
}

void bus_set_status(struct bus *bus, const char *state, const char *doing, json_t *counters)
{
    pthread_mutex_lock(&bus->mutex);
    replace_text(&bus->state, state);
    replace_text(&bus->doing, doing);
    if (counters) {
        json_decref(bus->counters);
        bus->counters = counters;
    }
    pthread_mutex_unlock(&bus->mutex);
}

void bus_set_error(struct bus *bus, const char *text)
{
    pthread_mutex_lock(&bus->mutex);
    replace_text(&bus->last_error, text);
    pthread_mutex_unlock(&bus->mutex);
}
