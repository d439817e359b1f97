#include "services/ingress/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool split_address(const char *listen, char *host, size_t size, char **port)
{
    snprintf(host, size, "%s", listen);
    *port = strrchr(host, ':');
    if (!*port || (*port)[1] == '\0' || strlen(listen) >= size)
        return false;
    *(*port)++ = '\0';
    if (host[0] == '[' && strlen(host) > 2 && host[strlen(host) - 1] == ']') {
        host[strlen(host) - 1] = '\0';
        memmove(host, host + 1, strlen(host));
    }
    return host[0] != '\0';
}

int listener_open(const char *address, char *fault, size_t size)
{
    char host[128], *port;
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE};
    int fd = -1;
    if (!split_address(address, host, sizeof host, &port)) {
        snprintf(fault, size, "http.listen: '%s' is not host:port", address);
        return -1;
    }
    if (strcmp(host, "localhost") != 0)
        hints.ai_flags |= AI_NUMERICHOST; /* no name server on the way to readiness */
    int code = getaddrinfo(host, port, &hints, &found);
    if (code != 0) {
        snprintf(fault, size, "http.listen: '%s': %s", address, gai_strerror(code));
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0) {
        snprintf(fault, size, "http.listen: cannot listen on '%s': %s", address, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

unsigned listener_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    socklen_t size = sizeof address;
    if (getsockname(fd, &address.any, &size) < 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}
