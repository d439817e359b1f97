/* The socket that people and trackers connect to. */
#ifndef ORCH_LISTENER_H
#define ORCH_LISTENER_H

#include <stddef.h>

/* address: host:port, the host a numeric address (an IPv6 one in brackets) or localhost; port 0
 * takes any free one. A listening descriptor, close-on-exec; -1 with a text in fault. */
int listener_open(const char *address, char *fault, size_t size);

/* 0 where it cannot be told. */
unsigned listener_port(int fd);

#endif
