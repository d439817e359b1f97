#include "services/ingress/peers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "protocol/address.h"

enum {
    ASK_MS = 2000,
    ASK_AGAIN_MS = 500,  /* while it does not answer */
    LOOK_AGAIN_MS = 100, /* whether it listens at last */
    ANSWER_MS = 1500,
    SILENT_MS = 3 * ASK_MS,
    SUPERVISOR_FILE_MAX = 1024 * 1024,
};

struct peer {
    char state[24], doing[128], error[256];
    json_t *counters;
    int64_t pid;
    int64_t answered_ms, next_ask_ms; /* monotonic; 0: never */
    bool failing;                     /* the last question had no answer */
    bool asked;                       /* a question is on its way */
    bool dialled;                     /* it has listened before */
};

struct peers {
    const char *run_dir;
    char *supervisor_file;
    pthread_mutex_t lock;
    struct peer peers[SERVICE_COUNT];
};

struct peers *peers_new(const struct config *config)
{
    struct peers *peers = xcalloc(1, sizeof *peers);
    peers->run_dir = config->run_dir;
    peers->supervisor_file = xformat("%s/supervisor.json", config->run_dir);
    pthread_mutex_init(&peers->lock, NULL);
    return peers;
}

/* ---- asking ---- */

/* Who has never listened is not dialled: the bus would go on dialling it for ever. */
static bool has_socket(const struct peers *peers, const char *service)
{
    char *path = xformat("%s/%s.ipc", peers->run_dir, service);
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

static void ask(struct peers *peers, struct bus *bus, int number)
{
    struct peer *peer = &peers->peers[number];
    const char *name = service_names[number];
    if (!peer->dialled && !has_socket(peers, name)) {
        peer->next_ask_ms = clock_mono_ms() + LOOK_AGAIN_MS;
        return;
    }
    peer->asked = peer->dialled = true;
    bus_post(bus, name, message_new(MESSAGE_status, NULL, NULL), ANSWER_MS,
             PEERS_TAG + (uint64_t)number);
    if (peer->pid == 0 || peer->failing)
        bus_post(bus, name, message_new(MESSAGE_ping, NULL, NULL), ANSWER_MS,
                 PEERS_TAG + SERVICE_COUNT + (uint64_t)number);
}

int peers_ask(struct peers *peers, struct bus *bus)
{
    int64_t now = clock_mono_ms();
    int64_t next = now + ASK_MS;
    for (int i = 0; i < SERVICE_COUNT; i++) {
        struct peer *peer = &peers->peers[i];
        if (i == SERVICE_ingress)
            continue;
        if (!peer->asked && peer->next_ask_ms <= now)
            ask(peers, bus, i);
        if (!peer->asked && peer->next_ask_ms < next)
            next = peer->next_ask_ms;
    }
    return (int)(next - now);
}

static void take_status(struct peer *peer, const json_t *message)
{
    snprintf(peer->state, sizeof peer->state, "%s", message_text(message, "state", ""));
    snprintf(peer->doing, sizeof peer->doing, "%s", message_text(message, "doing", ""));
    snprintf(peer->error, sizeof peer->error, "%s", message_text(message, "last_error", ""));
    json_decref(peer->counters);
    peer->counters = json_deep_copy(json_object_get(message, "counters"));
    peer->answered_ms = clock_mono_ms();
    peer->failing = false;
}

bool peers_take(struct peers *peers, const struct bus_item *item)
{
    if (item->tag < PEERS_TAG || item->tag >= PEERS_TAG + 2 * SERVICE_COUNT)
        return false;
    uint64_t number = item->tag - PEERS_TAG;
    struct peer *peer = &peers->peers[number % SERVICE_COUNT];
    pthread_mutex_lock(&peers->lock);
    if (item->type == BUS_REPLY && item->kind == MESSAGE_pong)
        peer->pid = message_integer(item->message, "pid", 0);
    if (number < SERVICE_COUNT) {
        peer->asked = false;
        if (item->type == BUS_REPLY && item->kind == MESSAGE_status_reply)
            take_status(peer, item->message);
        else
            peer->failing = true;
        peer->next_ask_ms = clock_mono_ms() + (peer->failing ? ASK_AGAIN_MS : ASK_MS);
    }
    pthread_mutex_unlock(&peers->lock);
    return true;
}

void peers_note_self(struct peers *peers, const char *state, const char *doing, const char *error,
                     json_t *counters)
{
    struct peer *self = &peers->peers[SERVICE_ingress];
    pthread_mutex_lock(&peers->lock);
    snprintf(self->state, sizeof self->state, "%s", state);
    snprintf(self->doing, sizeof self->doing, "%s", doing);
    snprintf(self->error, sizeof self->error, "%s", error);
    json_decref(self->counters);
    self->counters = counters;
    self->pid = getpid();
    self->answered_ms = clock_mono_ms();
    pthread_mutex_unlock(&peers->lock);
}

/* ---- telling ---- */

static bool is_answering(const struct peer *peer)
{
    return peer->answered_ms && !peer->failing && clock_mono_ms() - peer->answered_ms < SILENT_MS;
}

bool peers_answers(struct peers *peers, const char *service)
{
    enum service_id id = service_by_name(service);
    if (id == SERVICE_COUNT)
        return false;
    pthread_mutex_lock(&peers->lock);
    bool answers = is_answering(&peers->peers[id]);
    pthread_mutex_unlock(&peers->lock);
    return answers;
}

/* NULL where there is none of ours: the one of a supervisor that has gone tells of its services,
 * and the first answers after a start would call them down, or ready, which they were. */
static json_t *read_supervisor(const struct peers *peers)
{
    size_t size;
    char *text = file_read(peers->supervisor_file, SUPERVISOR_FILE_MAX, &size);
    json_t *file = text ? json_loadb(text, size, 0, NULL) : NULL;
    free(text);
    if (json_integer_value(json_object_get(file, "pid")) == getppid())
        return file;
    json_decref(file);
    return NULL;
}

static const json_t *supervised(const json_t *file, const char *name)
{
    const json_t *service;
    size_t index;
    json_array_foreach(json_object_get(file, "services"), index, service)
    {
        const char *found = json_string_value(json_object_get(service, "name"));
        if (found && strcmp(found, name) == 0)
            return service;
    }
    return NULL;
}

static json_t *copy_or_null(const json_t *object, const char *field)
{
    json_t *value = json_object_get(object, field);
    return value ? json_incref(value) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

/* From started_at: the file's own uptime_s is as old as the file. */
static json_t *uptime_of(const json_t *record)
{
    const char *started = json_string_value(json_object_get(record, "started_at"));
    int64_t since = started ? clock_parse(started) : -1;
    if (since < 0 || !json_is_integer(json_object_get(record, "pid")))
        return json_null();
    int64_t uptime = (clock_wall_ms() - since) / 1000;
    return json_integer(uptime < 0 ? 0 : uptime);
}

/* What it says of itself, unless the supervisor knows better: a service that is down says nothing.
 */
static json_t *state_of(const struct peer *peer, const json_t *record)
{
    const char *label = json_string_value(json_object_get(record, "state"));
    if (is_answering(peer) && (!label || strcmp(label, "ready") == 0))
        return json_string(peer->state);
    if (label)
        return json_string(label);
    return json_string(peer->answered_ms ? "silent" : "down");
}

static json_t *service_row(const struct peer *peer, const char *name, const json_t *record)
{
    json_t *row = json_object();
    json_t *pid = json_object_get(record, "pid");
    json_object_set_new(row, "name", json_string(name));
    json_object_set_new(row, "state", state_of(peer, record));
    if (!json_is_integer(pid) && peer->pid && is_answering(peer))
        json_object_set_new(row, "pid", json_integer(peer->pid));
    else
        json_object_set_new(row, "pid", copy_or_null(record, "pid"));
    json_object_set_new(row, "uptime_s", uptime_of(record));
    json_object_set_new(row, "restarts", copy_or_null(record, "restarts"));
    json_object_set_new(row, "age_ms",
                        peer->answered_ms ? json_integer(clock_mono_ms() - peer->answered_ms)
                                          : json_null());
    json_object_set_new(row, "doing", text_or_null(peer->doing));
    json_object_set_new(row, "counters",
                        peer->counters ? json_incref(peer->counters) : json_null());
    json_object_set_new(row, "last_error", text_or_null(peer->error));
    return row;
}

json_t *peers_services(struct peers *peers)
{
    json_t *array = json_array();
    json_t *file = read_supervisor(peers);
    pthread_mutex_lock(&peers->lock);
    for (int i = 0; i < SERVICE_COUNT; i++)
        json_array_append_new(array, service_row(&peers->peers[i], service_names[i],
                                                 supervised(file, service_names[i])));
    pthread_mutex_unlock(&peers->lock);
    json_decref(file);
    return array;
}
