/* orch-monitor: knows the open observation windows. Where none is open it is idle: the scheduler
 * holds its question until there is one. */
#include "services/monitor/windows.h"
#include "lib/clock.h"

int main(int argc, char **argv)
{
    struct service service;
    struct worker worker;
    struct windows *windows;
    service_begin(&service, "monitor", argc, argv);
    worker_init(&worker, &service, WINDOWS_MAX_ITEMS);
    windows = windows_new(&worker);
    service_ready(&service);
    windows_take(windows, NULL);
    for (;;) {
        json_t *items = worker_wait(&worker, windows_due(windows), -1);
        windows_take(windows, items);
        json_decref(items);
    }
}
