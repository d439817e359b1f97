#include "services/ingress/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"

enum {
    LINGER_MAX = 64,
    LINGER_MS = 2000,
    LINGER_BYTES = 32 * 1024 * 1024,
    LINGER_READS = 8, /* of one peer in a row */
    TICK_MS = 250,
    DAWDLE_MS = 1000,       /* a body that is on its way this long is a slow one */
    HOLDS_MUCH = 16 * 1024, /* bytes */
};

struct guard_connection {
    TAILQ_ENTRY(guard_connection) link;
    int fd;
    enum guard_trust trust;
    bool waited_for; /* in the list of its trust */
    bool linger;
    int64_t since_ms;
    size_t bytes;
};
TAILQ_HEAD(connection_list, guard_connection);

struct lingering {
    int fd;
    int64_t until_ms;
    size_t bytes;
};

struct guard {
    struct guard_limits limits;
    unsigned crowded;
    int wake;
    pthread_t thread;
    pthread_mutex_t lock;
    struct connection_list waited_for[GUARD_TRUSTS]; /* longest first */
    struct guard_stats stats;
    struct lingering lingering[LINGER_MAX];
    int lingering_count;
};

static void wake(struct guard *guard)
{
    if (write(guard->wake, &(uint64_t){1}, sizeof(uint64_t)) < 0 && errno != EAGAIN)
        log_warn("http", "guard: cannot wake");
}

/* ---- who is waited for; all with the lock held ---- */

static void leave_list(struct guard *guard, struct guard_connection *connection)
{
    if (connection->waited_for)
        TAILQ_REMOVE(&guard->waited_for[connection->trust], connection, link);
    connection->waited_for = false;
}

static void join_list(struct guard *guard, struct guard_connection *connection)
{
    leave_list(guard, connection);
    connection->since_ms = clock_mono_ms();
    connection->waited_for = true;
    TAILQ_INSERT_TAIL(&guard->waited_for[connection->trust], connection, link);
}

/* The peer's next read ends; the server's loop sees the end and closes. */
static void shut_down(struct guard *guard, struct guard_connection *connection)
{
    leave_list(guard, connection);
    shutdown(connection->fd, SHUT_RDWR);
}

static void make_room(struct guard *guard)
{
    for (int trust = 0; trust < GUARD_TRUSTS; trust++) {
        struct guard_connection *oldest = TAILQ_FIRST(&guard->waited_for[trust]);
        if (oldest) {
            shut_down(guard, oldest);
            guard->stats.evicted++;
            return;
        }
    }
}

static void drop_late(struct guard *guard)
{
    int64_t now = clock_mono_ms();
    for (int trust = 0; trust < GUARD_TRUSTS; trust++) {
        struct guard_connection *oldest;
        while ((oldest = TAILQ_FIRST(&guard->waited_for[trust])) &&
               now - oldest->since_ms > guard->limits.patience_ms[trust]) {
            shut_down(guard, oldest);
            guard->stats.late++;
        }
    }
}

/* ---- peers whose answer left before their body was read ---- */

/* Reads and forgets what is there. False: it has ended, one way or another. */
static bool drain(struct lingering *peer)
{
    char waste[16384];
    for (int reads = 0; reads < LINGER_READS; reads++) {
        ssize_t count = recv(peer->fd, waste, sizeof waste, MSG_DONTWAIT);
        if (count > 0)
            peer->bytes += (size_t)count;
        if (count == 0 || peer->bytes > LINGER_BYTES)
            return false;
        if (count < 0)
            return errno == EAGAIN || errno == EINTR;
    }
    return true;
}

static void drain_all(struct guard *guard)
{
    int64_t now = clock_mono_ms();
    int kept = 0;
    for (int i = 0; i < guard->lingering_count; i++) {
        struct lingering *peer = &guard->lingering[i];
        if (now < peer->until_ms && drain(peer))
            guard->lingering[kept++] = *peer;
        else
            close(peer->fd);
    }
    guard->lingering_count = kept;
}

static void *run(void *context)
{
    struct guard *guard = context;
    struct pollfd polled[LINGER_MAX + 1];
    for (;;) {
        pthread_mutex_lock(&guard->lock);
        drop_late(guard);
        drain_all(guard);
        int count = 0;
        polled[count++] = (struct pollfd){.fd = guard->wake, .events = POLLIN};
        for (int i = 0; i < guard->lingering_count; i++)
            polled[count++] = (struct pollfd){.fd = guard->lingering[i].fd, .events = POLLIN};
        bool idle = guard->stats.open == 0 && guard->lingering_count == 0;
        pthread_mutex_unlock(&guard->lock);
        if (poll(polled, (nfds_t)count, idle ? -1 : TICK_MS) > 0 && polled[0].revents) {
            uint64_t rings;
            if (read(guard->wake, &rings, sizeof rings) < 0 && errno != EAGAIN)
                log_abort("http", "guard: eventfd");
        }
    }
    return NULL;
}

struct guard *guard_start(const struct guard_limits *limits)
{
    struct guard *guard = xcalloc(1, sizeof *guard);
    guard->limits = *limits;
    guard->crowded = limits->connections - limits->connections / 16;
    guard->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (int trust = 0; trust < GUARD_TRUSTS; trust++)
        TAILQ_INIT(&guard->waited_for[trust]);
    pthread_mutex_init(&guard->lock, NULL);
    if (guard->wake < 0 || pthread_create(&guard->thread, NULL, run, guard) != 0)
        log_abort("http", "cannot start the guard");
    return guard;
}

struct guard_connection *guard_opened(struct guard *guard, int fd)
{
    struct guard_connection *connection = xcalloc(1, sizeof *connection);
    connection->fd = fd;
    connection->trust = GUARD_STRANGER;
    pthread_mutex_lock(&guard->lock);
    bool first = guard->stats.open++ == 0;
    guard->stats.accepted++;
    if (guard->stats.open > guard->crowded)
        make_room(guard);
    join_list(guard, connection);
    pthread_mutex_unlock(&guard->lock);
    if (first)
        wake(guard);
    return connection;
}

/* The copy of the descriptor keeps the connection from being reset when the server closes its own.
 */
static bool take_over(struct guard *guard, int fd)
{
    if (guard->lingering_count == LINGER_MAX)
        return false;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return false;
    shutdown(copy, SHUT_WR);
    guard->lingering[guard->lingering_count++] =
        (struct lingering){.fd = copy, .until_ms = clock_mono_ms() + LINGER_MS};
    return true;
}

void guard_closed(struct guard *guard, struct guard_connection *connection)
{
    pthread_mutex_lock(&guard->lock);
    guard->stats.open--;
    leave_list(guard, connection);
    bool taken = connection->linger && take_over(guard, connection->fd);
    pthread_mutex_unlock(&guard->lock);
    if (taken)
        wake(guard);
    free(connection);
}

void guard_serving(struct guard *guard, struct guard_connection *connection)
{
    pthread_mutex_lock(&guard->lock);
    leave_list(guard, connection);
    pthread_mutex_unlock(&guard->lock);
}

void guard_answering(struct guard *guard, struct guard_connection *connection, bool trusted)
{
    pthread_mutex_lock(&guard->lock);
    leave_list(guard, connection);
    if (trusted)
        connection->trust = GUARD_TRUSTED;
    join_list(guard, connection);
    pthread_mutex_unlock(&guard->lock);
}

void guard_answered(struct guard *guard, struct guard_connection *connection)
{
    pthread_mutex_lock(&guard->lock);
    connection->bytes = 0;
    join_list(guard, connection);
    pthread_mutex_unlock(&guard->lock);
}

void guard_linger(struct guard_connection *connection)
{
    connection->linger = true;
}

void guard_holds(struct guard_connection *connection, size_t bytes)
{
    connection->bytes = bytes;
}

void guard_relieve(struct guard *guard)
{
    int64_t now = clock_mono_ms();
    struct guard_connection *connection = NULL;
    pthread_mutex_lock(&guard->lock);
    TAILQ_FOREACH(connection, &guard->waited_for[GUARD_STRANGER], link)
    {
        if (now - connection->since_ms < DAWDLE_MS)
            break;
        if (connection->bytes >= HOLDS_MUCH) {
            shut_down(guard, connection);
            guard->stats.evicted++;
            break;
        }
    }
    pthread_mutex_unlock(&guard->lock);
}

void guard_stats(struct guard *guard, struct guard_stats *out)
{
    pthread_mutex_lock(&guard->lock);
    *out = guard->stats;
    pthread_mutex_unlock(&guard->lock);
}
