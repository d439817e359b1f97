/* PURE: no I/O */
#include "protocol/address.h"

#include <stdio.h>
#include <string.h>

const char *const service_names[SERVICE_COUNT] = {
#define SERVICE(name) [SERVICE_##name] = #name,
    SERVICES(SERVICE)
#undef SERVICE
};

enum service_id service_by_name(const char *name)
{
    int id = 0;
    while (id < SERVICE_COUNT && strcmp(service_names[id], name) != 0)
        id++;
    return (enum service_id)id;
}

int address_of(const char *run_dir, const char *name, char out[ADDRESS_SIZE])
{
    enum { SUN_PATH_ROOM = 107 };
    int size = snprintf(out, ADDRESS_SIZE, "ipc://%s/%s.ipc", run_dir, name);
    return size > (int)strlen("ipc://") + SUN_PATH_ROOM ? -1 : 0;
}
