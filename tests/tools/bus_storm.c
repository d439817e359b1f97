/* Everything at once, for the thread sanitizer and for counting: calls from many threads, posts
 * from the main loop, held tickets answered late, a peer that is killed and started again all the
 * while.
 *
 *   bus_storm RUN_DIR BUS_ECHO SECONDS
 *
 * Ends with 0 where every call returned, every post ended exactly once with its own tag, every
 * answer was to its own question, and the own socket answered its pings to the end. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "protocol/bus.h"

enum { THREADS = 6, POSTS_MAX = 24, CALL_MS = 400, KILL_EVERY_MS = 150, HELD_MAX = 16 };

struct storm {
    struct bus *bus;
    char *run_dir, *program;
    int64_t until;
    atomic_long calls, answered, failed;
    bool open[POSTS_MAX]; /* posts under way, by tag */
    long posts, post_replies, post_failures;
    void *held[HELD_MAX];
    size_t held_count;
    atomic_bool stop;
};

static json_t *question(int64_t number)
{
    if (number % 3 == 0)
        return message_new(MESSAGE_work_request, NULL, "{s:s,s:s,s:i,s:i}", "service", "runner",
                           "boot", "b", "wait_ms", 20, "max", 1);
    return message_new(MESSAGE_inbox_changed, NULL, "{s:I}", "seq", (json_int_t)number);
}

/* Half of the calls go to the peer that dies, half to our own socket. */
static void *call_all_the_time(void *argument)
{
    struct storm *storm = argument;
    for (int64_t i = 1; !atomic_load(&storm->stop); i++) {
        json_t *reply, *ask = question(i);
        char *id = xstrdup(message_text(ask, "id", ""));
        int result = bus_call(storm->bus, i % 2 ? "scheduler" : "runner", ask, CALL_MS, &reply);
        atomic_fetch_add(&storm->calls, 1);
        if (result == 0 && strcmp(message_text(reply, "id", ""), id) != 0)
            log_abort("storm", "the answer to another question");
        if (result < 0 && errno != ECONNRESET && errno != ETIMEDOUT)
            log_abort("storm", "%s", strerror(errno));
        atomic_fetch_add(result == 0 ? &storm->answered : &storm->failed, 1);
        json_decref(reply);
        free(id);
    }
    return NULL;
}

static void *ping_all_the_time(void *argument)
{
    struct storm *storm = argument;
    while (!atomic_load(&storm->stop)) {
        int pid = 0;
        if (bus_ping(storm->run_dir, "runner", 3000, &pid) < 0 || pid != getpid())
            log_abort("storm", "our own socket is deaf");
        bus_set_error(storm->bus, pid % 2 ? "a fault" : NULL);
        bus_set_status(storm->bus, "ready", "storm", json_pack("{s:i}", "pings", 1));
        usleep(20000);
    }
    return NULL;
}

static void post_some(struct storm *storm)
{
    for (uint64_t tag = 0; tag < POSTS_MAX; tag++) {
        if (storm->open[tag])
            continue;
        storm->open[tag] = true;
        storm->posts++;
        bus_post(storm->bus, tag % 2 ? "scheduler" : "runner", question((int64_t)tag + 1), CALL_MS,
                 tag);
    }
}

static void answer_held(struct storm *storm, size_t keep)
{
    while (storm->held_count > keep)
        bus_reply(storm->bus, storm->held[--storm->held_count],
                  message_new(MESSAGE_work_reply, NULL, "{s:[]}", "items"));
}

static void handle(struct storm *storm, struct bus_item *item)
{
    if (item->type == BUS_REQUEST) {
        if (item->kind == MESSAGE_work_request && storm->held_count < HELD_MAX)
            storm->held[storm->held_count++] = item->ticket;
        else
            bus_reply(storm->bus, item->ticket, message_new(MESSAGE_ack, NULL, NULL));
        return;
    }
    if (item->tag >= POSTS_MAX || !storm->open[item->tag])
        log_abort("storm", "a post ended twice");
    storm->open[item->tag] = false;
    if (item->type == BUS_REPLY)
        storm->post_replies++;
    else
        storm->post_failures++;
}

static pid_t start_peer(const struct storm *storm)
{
    char serve[] = "serve", name[] = "scheduler";
    char *argv[] = {storm->program, serve, storm->run_dir, name, NULL};
    pid_t pid;
    sigset_t none;
    posix_spawnattr_t attributes;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if (posix_spawn(&pid, storm->program, NULL, &attributes, argv, environ) != 0)
        log_abort("storm", "cannot start %s", storm->program);
    posix_spawnattr_destroy(&attributes);
    return pid;
}

static void kill_peer(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static bool any_open(const struct storm *storm)
{
    for (int tag = 0; tag < POSTS_MAX; tag++) {
        if (storm->open[tag])
            return true;
    }
    return false;
}

/* Until the time is over and then until every post has ended. */
static void main_loop(struct storm *storm)
{
    pid_t peer = start_peer(storm);
    int64_t next_kill = clock_mono_ms() + KILL_EVERY_MS;
    while (clock_mono_ms() < storm->until || any_open(storm)) {
        struct pollfd ready = {bus_fd(storm->bus), POLLIN, 0};
        struct bus_item item;
        if (clock_mono_ms() < storm->until)
            post_some(storm);
        poll(&ready, 1, 5);
        while (bus_next(storm->bus, &item)) {
            handle(storm, &item);
            bus_item_done(&item);
        }
        answer_held(storm, clock_mono_ms() < storm->until ? HELD_MAX / 2 : 0);
        if (clock_mono_ms() >= next_kill) {
            kill_peer(peer);
            peer = start_peer(storm);
            next_kill = clock_mono_ms() + KILL_EVERY_MS;
        }
        if (clock_mono_ms() > storm->until + 20 * CALL_MS)
            log_abort("storm", "posts never ended");
    }
    kill_peer(peer);
}

/* The threads' last calls to ourselves still want answers. */
static void *join_threads(void *argument)
{
    pthread_t *threads = argument;
    for (int i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
    static struct storm storm;
    storm.run_dir = argv[1];
    storm.program = argv[2];
    storm.until = clock_mono_ms() + atoi(argv[3]) * 1000;
    storm.bus = bus_open(argv[1], "runner", false);
    if (!storm.bus)
        return 1;
    pthread_t threads[THREADS + 1];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, call_all_the_time, &storm);
    pthread_create(&threads[THREADS], NULL, ping_all_the_time, &storm);
    main_loop(&storm);
    atomic_store(&storm.stop, true);
    pthread_t joiner;
    pthread_create(&joiner, NULL, join_threads, threads);
    while (pthread_tryjoin_np(joiner, NULL) != 0) {
        struct bus_item item;
        while (bus_next(storm.bus, &item)) {
            handle(&storm, &item);
            bus_item_done(&item);
        }
        answer_held(&storm, 0);
        usleep(1000);
    }
    printf("calls %ld answered %ld failed %ld; posts %ld replies %ld failures %ld\n", storm.calls,
           storm.answered, storm.failed, storm.posts, storm.post_replies, storm.post_failures);
    bool whole = storm.calls == storm.answered + storm.failed &&
                 storm.posts == storm.post_replies + storm.post_failures && storm.answered > 100 &&
                 storm.post_replies > 100;
    fflush(stdout);
    _exit(whole ? 0 : 1);
}
