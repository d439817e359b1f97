/* The probe: one ping and its answer on a socket of its own, in the words of the wire and without
 * nng.
 *
 * nng 1.5.2's nng_close may never return (seen under load, in a socket that had just got its
 * answer), and who pings is who finds the hung: it must not hang in the library that it doubts. The
 * wire is small and fixed: eight bytes of greeting each way (SP's header, with the protocol's
 * number), then messages as 0x01, the length in eight bytes, the request's id in four, the text.
 *
 * The trap that stays: a ping that times out closes a connection that a stopped nng 1.5.2 listener
 * has not greeted yet, and once it goes on it may be deaf (nanomsg/nng#1518). The next ping finds
 * exactly that. */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "protocol/address.h"
#include "protocol/bus_internal.h"

enum { CONNECT_AGAIN_MS = 10, GREETING_SIZE = 8, HEAD_SIZE = 9, ID_SIZE = 4 };

static const unsigned char greeting_req[GREETING_SIZE] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
static const unsigned char greeting_rep[GREETING_SIZE] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
static const unsigned char request_id[ID_SIZE] = {0x80, 0, 0, 1}; /* the top bit ends SP's path */

static int wait_ready(int fd, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - clock_mono_ms();
        struct pollfd ready = {fd, events, 0};
        int count = left > 0 ? poll(&ready, 1, (int)left) : 0;
        if (count > 0)
            return 0;
        if (count == 0 || errno != EINTR) {
            errno = count == 0 ? ETIMEDOUT : errno;
            return -1;
        }
    }
}

static bool is_later(int error)
{
    return error == EAGAIN || error == EINTR;
}

static int send_all(int fd, const void *bytes, size_t size, int64_t deadline)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
        } else if (!is_later(errno) || wait_ready(fd, POLLOUT, deadline) < 0) {
            return -1;
        }
    }
    return 0;
}

static int receive_all(int fd, void *bytes, size_t size, int64_t deadline)
{
    char *at = bytes;
    while (size > 0) {
        ssize_t got = recv(fd, at, size, 0);
        if (got == 0) {
            errno = ECONNRESET;
            return -1;
        }
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        } else if (!is_later(errno) || wait_ready(fd, POLLIN, deadline) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A service that is being restarted has no socket, or one that nobody listens on: until the
 * deadline. */
static int connect_until(const struct sockaddr_un *address, int64_t deadline)
{
    for (;;) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
            return fd;
        int error = errno;
        close(fd);
        bool comes = error == ENOENT || error == ECONNREFUSED || is_later(error);
        if (!comes || clock_mono_ms() + CONNECT_AGAIN_MS >= deadline) {
            errno = comes ? ETIMEDOUT : error;
            return -1;
        }
        poll(NULL, 0, CONNECT_AGAIN_MS);
    }
}

static int greet(int fd, int64_t deadline)
{
    unsigned char answer[GREETING_SIZE];
    if (send_all(fd, greeting_req, sizeof greeting_req, deadline) < 0 ||
        receive_all(fd, answer, sizeof answer, deadline) < 0)
        return -1;
    if (memcmp(answer, greeting_rep, sizeof answer) != 0) {
        errno = EPROTO;
        return -1;
    }
    return 0;
}

static int send_ping(int fd, int64_t deadline)
{
    size_t size;
    json_t *ping = message_new(MESSAGE_ping, NULL, NULL);
    char *text = message_encode(ping, &size);
    unsigned char head[HEAD_SIZE + ID_SIZE] = {1};
    uint64_t length = htobe64(ID_SIZE + size);
    memcpy(head + 1, &length, sizeof length);
    memcpy(head + HEAD_SIZE, request_id, ID_SIZE);
    int result = send_all(fd, head, sizeof head, deadline);
    if (result == 0)
        result = send_all(fd, text, size, deadline);
    free(text);
    json_decref(ping);
    return result;
}

/* NULL with errno. The caller's. */
static json_t *receive_pong(int fd, int64_t deadline)
{
    unsigned char head[HEAD_SIZE + ID_SIZE];
    uint64_t length;
    if (receive_all(fd, head, sizeof head, deadline) < 0)
        return NULL;
    memcpy(&length, head + 1, sizeof length);
    length = be64toh(length);
    if (head[0] != 1 || length <= ID_SIZE || length > BUS_RECEIVE_MAX ||
        memcmp(head + HEAD_SIZE, request_id, ID_SIZE) != 0) {
        errno = EPROTO;
        return NULL;
    }
    size_t size = (size_t)length - ID_SIZE;
    char *text = xcalloc(1, size);
    enum message_kind kind = MESSAGE_KIND_COUNT;
    struct message_fault fault;
    json_t *pong = NULL;
    int result = receive_all(fd, text, size, deadline);
    if (result == 0) {
        pong = message_decode(text, size, &kind, &fault);
        errno = EPROTO;
    }
    free(text);
    if (pong && kind == MESSAGE_pong)
        return pong;
    json_decref(pong);
    return NULL;
}

int bus_ping(const char *run_dir, const char *service, int timeout_ms, int *pid)
{
    char url[ADDRESS_SIZE];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (address_of(run_dir, service, url) < 0) {
        errno = ENAMETOOLONG;
        return -1;
    }
    const char *path = url + strlen("ipc://");
    memcpy(address.sun_path, path, strlen(path) + 1);
    int64_t deadline = clock_mono_ms() + timeout_ms;
    int fd = connect_until(&address, deadline);
    if (fd < 0)
        return -1;
    json_t *pong = NULL;
    if (greet(fd, deadline) == 0 && send_ping(fd, deadline) == 0)
        pong = receive_pong(fd, deadline);
    int error = errno == EPIPE ? ECONNRESET : errno;
    close(fd);
    if (pong && pid)
        *pid = (int)message_integer(pong, "pid", 0);
    bool alive = pong != NULL;
    json_decref(pong);
    errno = error;
    return alive ? 0 : -1;
}
