/* Methods and paths against the table of routes, and the guard's list of connections under any
 * order of what may happen to them. HTTP itself is parsed by libmicrohttpd. */
#include <sys/socket.h>
#include <unistd.h>
#include "services/ingress/guard.h"
#include "services/ingress/route.h"
#include "tests/fuzz/fuzz.h"

enum { CONNECTIONS = 8 };

static void as_route(const char *method, const char *path)
{
    char key[ROUTE_KEY_MAX + 1];
    bool known;
    const struct route *route = route_find(method, path, key, &known);
    REQUIRE(!route || known);
    REQUIRE(strlen(key) <= ROUTE_KEY_MAX);
    REQUIRE(!route || !strstr(route->path, "{key}") || (key[0] && strstr(path, key)));
}

struct seat {
    int ours, theirs;
    struct guard_connection *connection;
};

static void close_seat(struct guard *guard, struct seat *seat)
{
    guard_closed(guard, seat->connection);
    close(seat->ours);
    close(seat->theirs);
    seat->connection = NULL;
}

/* A byte is one happening: what in its high half, to whom in its low half. */
static void one_step(struct guard *guard, struct seat *seat, unsigned what)
{
    int fds[2];
    if (!seat->connection) {
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
        *seat = (struct seat){fds[0], fds[1], guard_opened(guard, fds[0])};
    } else if (what == 0) {
        close_seat(guard, seat);
    } else if (what == 1) {
        guard_serving(guard, seat->connection);
    } else if (what < 4) {
        guard_answering(guard, seat->connection, what == 3);
    } else if (what == 4) {
        guard_answered(guard, seat->connection);
    } else if (what == 5) {
        guard_linger(seat->connection);
    } else if (what == 6) {
        guard_holds(seat->connection, 1000000);
    } else {
        guard_relieve(guard);
    }
}

static void as_guard(const uint8_t *data, size_t size)
{
    static struct guard *guard; /* it has a thread for life */
    static const struct guard_limits limits = {.connections = CONNECTIONS - 2,
                                               .patience_ms = {1, 2}};
    struct seat seats[CONNECTIONS] = {{0}};
    struct guard_stats stats;
    if (!guard)
        guard = guard_start(&limits);
    for (size_t i = 0; i < size && i < 200; i++)
        one_step(guard, &seats[data[i] % CONNECTIONS], data[i] >> 4 & 7);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (seats[i].connection)
            close_seat(guard, &seats[i]);
    }
    guard_stats(guard, &stats);
    REQUIRE(stats.open == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size && data[0] == '!') {
        as_guard(data + 1, size - 1);
        return 0;
    }
    char *method = fuzz_line(&data, &size), *path = fuzz_text(data, size);
    as_route(method, path);
    free(path);
    free(method);
    return 0;
}
