/* kill -9 of a service -> the next answer at a client that had a connection, in microseconds.
 * Usage: next_reply RUN_DIR SERVICE PID */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/clock.h"
#include "protocol/bus.h"

enum { CALL_MS = 1000, TRIES = 2000, PAUSE_US = 200 };

static int ask(struct bus *bus, const char *service)
{
    json_t *reply;
    json_t *question = message_new(MESSAGE_status, NULL, NULL);
    if (bus_call(bus, service, question, CALL_MS, &reply) < 0)
        return -1;
    json_decref(reply);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    struct bus *bus = bus_open(argv[1], NULL, false);
    if (!bus || ask(bus, argv[2]) < 0)
        return 1;
    int64_t from = clock_mono_us();
    kill(atoi(argv[3]), SIGKILL);
    int left = TRIES;
    while (ask(bus, argv[2]) < 0) {
        if (--left == 0)
            return 1;
        usleep(PAUSE_US);
    }
    printf("%lld\n", (long long)(clock_mono_us() - from));
    _exit(fflush(stdout) ? 1 : 0);
}
