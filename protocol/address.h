/* Who is where. Pure string functions; the names of the services stand here and nowhere else. */
#ifndef ORCH_ADDRESS_H
#define ORCH_ADDRESS_H

#include <stddef.h>

/* SERVICE(name): every service that listens on run_dir/<name>.ipc, in order of start. */
#define SERVICES(SERVICE)                                                                          \
    SERVICE(scheduler)                                                                             \
    SERVICE(ingress)                                                                               \
    SERVICE(runner)                                                                                \
    SERVICE(notifier)                                                                              \
    SERVICE(reconciler)                                                                            \
    SERVICE(reaper)                                                                                \
    SERVICE(monitor)

enum service_id {
#define SERVICE(name) SERVICE_##name,
    SERVICES(SERVICE)
#undef SERVICE
        SERVICE_COUNT
};

extern const char *const service_names[SERVICE_COUNT];

/* SERVICE_COUNT where the name is none of ours. */
enum service_id service_by_name(const char *name);

enum { ADDRESS_SIZE = 120 }; /* "ipc://" + 107 bytes of sun_path + NUL */

/* "ipc://<run_dir>/<name>.ipc"; 0, or -1 where the path exceeds 107 bytes (the kernel's limit). */
int address_of(const char *run_dir, const char *name, char out[ADDRESS_SIZE]);

#endif
