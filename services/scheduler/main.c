/* orch-scheduler: the stage machine, the job queue, every decision; the one writer of main.db. */
#include <poll.h>
#include <stdlib.h>
#include "lib/file.h"
#include "lib/log.h"
#include "services/scheduler/loop.h"
#include "services/scheduler/rows.h"
#include "services/scheduler/snapshot.h"

enum { OPEN_PAUSE_MS = 500 };

static int make_folders(const struct config *config)
{
    char *path = config_home_path(config, "db");
    int result = file_make_dirs(path, 0700);
    free(path);
    return result;
}

/* The disk may be away for now: asked again until it is there. Ping and status are answered. */
static struct store *open_store(struct service *service, const char *path)
{
    char fault[STORE_FAULT_SIZE];
    bool said = false;
    for (;;) {
        struct store *store = store_open(path, fault, sizeof fault);
        if (store)
            return store;
        if (!said)
            log_error("store", "%s; tried again until it can be opened", fault);
        said = true;
        bus_set_error(service->bus, fault);
        struct pollfd fd = {service->signal_fd, POLLIN, 0};
        poll(&fd, 1, OPEN_PAUSE_MS);
        if (service_stopping(service))
            service_end(service, 0);
    }
}

int main(int argc, char **argv)
{
    static struct service service;
    static struct scheduler scheduler;
    int code;
    if (snapshot_asked(argc, argv, &code))
        return code;
    service_begin(&service, "scheduler", argc, argv);
    make_folders(service.config);
    if (bus_publish_open(service.bus) < 0)
        log_abort("bus", "events.ipc cannot be listened on");
    char *path = config_home_path(service.config, "db/main.db"),
         *inbox = config_home_path(service.config, "db/inbox.db");
    scheduler_init(&scheduler, service.config, open_store(&service, path), service.bus);
    scheduler.inbox = inbox_read_new(inbox);
    scheduler.inbox_position = meta_number(&scheduler, "inbox_position", 0);
    service_ready(&service);
    loop_run(&scheduler, &service);
    service_end(&service, 0);
}
