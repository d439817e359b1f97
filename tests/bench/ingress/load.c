/* Load generator: N keep-alive connections, one request outstanding on each, every body unique and
 * signed, 1-4 KiB. All requests are made before the clock starts, so that the machine's time goes
 * to the server. Prints one JSON object.
 *
 *   load HOST PORT PATH HEADER SECRET CONNECTIONS REQUESTS MAX_SECONDS SEED */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <nettle/hmac.h>

enum { BODY_MIN = 1024, BODY_MAX = 4096, ANSWER_MAX = 4096 };

struct request {
    char *bytes;
    size_t size;
};

struct connection {
    int fd;
    size_t request, sent;
    char answer[ANSWER_MAX];
    size_t received;
    int64_t started_us;
};

static int64_t now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct request make_request(char **argv, unsigned long number, unsigned long seed)
{
    static const char pad[] = "the quick brown fox jumps over the lazy dog 0123456789 ";
    size_t length = BODY_MIN + (number * 2654435761u >> 7) % (BODY_MAX - BODY_MIN);
    char *body = malloc(length + 256);
    int size = sprintf(body,
                       "{\"event\":\"issue\",\"action\":\"updated\",\"webhook_id\":\"%lu-%lu\","
                       "\"data\":{\"id\":\"%016lx\",\"description\":\"",
                       seed, number, number * 11400714819323198485ul);
    while ((size_t)size < length - 3) {
        body[size] = pad[(unsigned)size % (sizeof pad - 1)];
        size++;
    }
    size += sprintf(body + size, "\"}}");
    struct hmac_sha256_ctx hmac;
    uint8_t digest[32];
    char hex[65];
    hmac_sha256_set_key(&hmac, strlen(argv[5]), (const uint8_t *)argv[5]);
    hmac_sha256_update(&hmac, (size_t)size, (const uint8_t *)body);
    hmac_sha256_digest(&hmac, sizeof digest, digest);
    for (int i = 0; i < 32; i++)
        sprintf(hex + 2 * i, "%02x", digest[i]);
    struct request request = {.bytes = malloc((size_t)size + 400)};
    int head = sprintf(request.bytes,
                       "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\n"
                       "User-Agent: Autopilot\r\nX-Plane-Event: issue\r\n%s: %s\r\n"
                       "Content-Length: %d\r\n\r\n",
                       argv[3], argv[1], argv[2], argv[4], hex, size);
    memcpy(request.bytes + head, body, (size_t)size);
    request.size = (size_t)(head + size);
    free(body);
    return request;
}

static int open_connection(char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

/* Length of the whole answer once its head is there, else 0. */
static size_t answer_size(const struct connection *connection)
{
    const char *end = memmem(connection->answer, connection->received, "\r\n\r\n", 4);
    if (!end)
        return 0;
    const char *field = strcasestr(connection->answer, "content-length:");
    return (size_t)(end - connection->answer) + 4 + (field ? strtoul(field + 15, NULL, 10) : 0);
}

static void send_some(struct connection *connection, const struct request *requests)
{
    const struct request *request = &requests[connection->request];
    while (connection->sent < request->size) {
        ssize_t count = send(connection->fd, request->bytes + connection->sent,
                             request->size - connection->sent, MSG_NOSIGNAL);
        if (count < 0)
            die("send");
        connection->sent += (size_t)count;
    }
}

static void start_request(struct connection *connection, const struct request *requests,
                          size_t number)
{
    connection->request = number;
    connection->sent = connection->received = 0;
    connection->started_us = now_us();
    send_some(connection, requests);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 10)
        die("usage: load HOST PORT PATH HEADER SECRET CONNECTIONS REQUESTS MAX_SECONDS SEED");
    size_t connections = strtoul(argv[6], NULL, 10), count = strtoul(argv[7], NULL, 10);
    double max_seconds = strtod(argv[8], NULL);
    unsigned long seed = strtoul(argv[9], NULL, 10);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct request *requests = calloc(count, sizeof *requests);
    int64_t *latency = calloc(count, sizeof *latency);
    struct connection *all = calloc(connections, sizeof *all);
    for (size_t i = 0; i < count; i++)
        requests[i] = make_request(argv, i, seed);
    int epoll = epoll_create1(0);
    for (size_t i = 0; i < connections; i++) {
        all[i].fd = open_connection(argv);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    size_t next = 0, done = 0, bad = 0, busy = 0;
    int64_t start = now_us(), end = start + (int64_t)(max_seconds * 1e6);
    for (; next < connections && next < count; next++, busy++)
        start_request(&all[next], requests, next);
    while (busy > 0) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 10000);
        if (ready <= 0)
            die("no answer for ten seconds");
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            ssize_t got = recv(connection->fd, connection->answer + connection->received,
                               ANSWER_MAX - 1 - connection->received, MSG_DONTWAIT);
            if (got <= 0)
                die("recv");
            connection->received += (size_t)got;
            connection->answer[connection->received] = '\0';
            size_t whole = answer_size(connection);
            if (!whole || connection->received < whole)
                continue;
            int64_t now = now_us();
            latency[done++] = now - connection->started_us;
            bad += strncmp(connection->answer, "HTTP/1.1 202", 12) != 0;
            if (next < count && now < end)
                start_request(connection, requests, next++);
            else
                busy--;
        }
    }
    double seconds = (double)(now_us() - start) / 1e6;
    qsort(latency, done, sizeof *latency, compare);
    printf("{\"connections\":%zu,\"events\":%zu,\"seconds\":%.3f,\"events_per_s\":%.0f,"
           "\"p50_us\":%lld,\"p99_us\":%lld,\"max_us\":%lld,\"not_202\":%zu}\n",
           connections, done, seconds, (double)done / seconds, (long long)latency[done / 2],
           (long long)latency[done * 99 / 100], (long long)latency[done - 1], bad);
    return bad ? 1 : 0;
}
