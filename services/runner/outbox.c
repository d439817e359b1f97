#include "services/runner/outbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/mask.h"

enum { ANSWER_MS = 10 * 1000, WAIT_MS = 50, WAIT_MAX_MS = 5000 };

static const uint64_t tag_base = 1ULL << 32; /* the main loop's own tags are below */

struct letter {
    uint64_t tag;
    char *run, *ack_path;
    json_t *message;
    bool once, under_way;
    int wait;    /* the next back-off */
    int64_t due; /* monotonic ms */
    struct letter *next;
};

struct outbox {
    struct bus *bus;
    pthread_mutex_t mutex;
    struct letter *first, **last;
    uint64_t next_tag;
    int fd;
};

struct outbox *outbox_new(struct bus *bus)
{
    struct outbox *outbox = xcalloc(1, sizeof *outbox);
    outbox->bus = bus;
    outbox->last = &outbox->first;
    outbox->next_tag = tag_base;
    outbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&outbox->mutex, NULL);
    return outbox;
}

int outbox_fd(const struct outbox *outbox)
{
    return outbox->fd;
}

static void letter_free(struct letter *letter)
{
    json_decref(letter->message);
    free(letter->run);
    free(letter->ack_path);
    free(letter);
}

static const char *kind_of(const struct letter *letter)
{
    return message_text(letter->message, "kind", "");
}

static bool one_waits(const struct outbox *outbox, const char *run, const json_t *message)
{
    for (const struct letter *letter = outbox->first; letter; letter = letter->next) {
        if (strcmp(letter->run, run) == 0 &&
            strcmp(kind_of(letter), message_text(message, "kind", "")) == 0)
            return true;
    }
    return false;
}

void outbox_put(struct outbox *outbox, const char *run, json_t *message, const char *ack_path,
                bool once)
{
    mask_json(message);
    pthread_mutex_lock(&outbox->mutex);
    if (one_waits(outbox, run, message)) {
        json_decref(message); /* a result that is resent, or progress: the first says it */
    } else {
        struct letter *letter = xcalloc(1, sizeof *letter);
        letter->tag = outbox->next_tag++;
        letter->run = xstrdup(run);
        letter->message = message;
        letter->ack_path = ack_path ? xstrdup(ack_path) : NULL;
        letter->once = once;
        letter->wait = WAIT_MS;
        *outbox->last = letter;
        outbox->last = &letter->next;
    }
    pthread_mutex_unlock(&outbox->mutex);
    uint64_t one = 1;
    if (write(outbox->fd, &one, sizeof one) < 0)
        log_warn("outbox", "the main loop is not woken: %s", strerror(errno));
}

/* An earlier letter of the same run goes first; progress overtakes nothing and holds up nothing. */
static bool is_held_up(const struct outbox *outbox, const struct letter *letter)
{
    for (const struct letter *at = outbox->first; at != letter; at = at->next) {
        if (!at->once && strcmp(at->run, letter->run) == 0)
            return true;
    }
    return false;
}

int outbox_push(struct outbox *outbox)
{
    uint64_t count;
    while (read(outbox->fd, &count, sizeof count) > 0)
        continue;
    int64_t now = clock_mono_ms(), first = -1;
    pthread_mutex_lock(&outbox->mutex);
    for (struct letter *letter = outbox->first; letter; letter = letter->next) {
        if (letter->under_way || is_held_up(outbox, letter))
            continue;
        if (letter->due > now) {
            if (first < 0 || letter->due - now < first)
                first = letter->due - now;
            continue;
        }
        letter->under_way = true;
        bus_post(outbox->bus, "scheduler", json_deep_copy(letter->message), ANSWER_MS, letter->tag);
    }
    pthread_mutex_unlock(&outbox->mutex);
    return (int)first;
}

/* A run that the scheduler does not know will not be known later either. Any other refusal (a kind
 * that an older scheduler does not know, a fault of its own) may pass: the result is kept and sent
 * again. */
static bool is_final_refusal(const struct bus_item *item)
{
    const char *code = message_text(item->message, "code", "");
    return strcmp(code, "unknown-run") == 0 || strcmp(code, "unknown-task") == 0 ||
           strcmp(code, "stale") == 0;
}

static bool is_delivered(const struct letter *letter, const struct bus_item *item)
{
    if (item->type != BUS_REPLY)
        return false;
    if (item->kind == MESSAGE_ack)
        return true;
    log_warn("outbox", "%s of run %s: %s", kind_of(letter), letter->run,
             message_text(item->message, "message", "refused"));
    return is_final_refusal(item);
}

static void delivered(const struct letter *letter)
{
    if (strcmp(kind_of(letter), "run_accepted") == 0)
        crash_point(CRASH_RUN_AFTER_ACCEPT);
    if (!letter->ack_path)
        return;
    crash_point(CRASH_RUN_AFTER_SEND);
    /* Not fsynced: lost in a power cut, the result is sent once more. */
    if (file_write_atomic(letter->ack_path, "", 0, 0600) < 0)
        log_warn("outbox", "%s: %s", letter->ack_path, strerror(errno));
}

bool outbox_take(struct outbox *outbox, const struct bus_item *item)
{
    if (item->type == BUS_REQUEST || item->tag < tag_base)
        return false;
    pthread_mutex_lock(&outbox->mutex);
    struct letter **link = &outbox->first;
    while (*link && (*link)->tag != item->tag)
        link = &(*link)->next;
    struct letter *letter = *link;
    bool arrived = letter && is_delivered(letter, item), done = letter && (arrived || letter->once);
    if (done) {
        *link = letter->next;
        if (outbox->last == &letter->next)
            outbox->last = link;
    } else if (letter) {
        letter->under_way = false;
        letter->due = clock_mono_ms() + letter->wait;
        letter->wait = letter->wait * 2 > WAIT_MAX_MS ? WAIT_MAX_MS : letter->wait * 2;
    }
    pthread_mutex_unlock(&outbox->mutex);
    if (done) {
        if (arrived)
            delivered(letter);
        letter_free(letter);
    }
    return true;
}

size_t outbox_size(struct outbox *outbox)
{
    size_t count = 0;
    pthread_mutex_lock(&outbox->mutex);
    for (const struct letter *letter = outbox->first; letter; letter = letter->next)
        count += !letter->once;
    pthread_mutex_unlock(&outbox->mutex);
    return count;
}
