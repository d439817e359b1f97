/* orch-reconciler: the only one that reads tracker and forge: what the webhooks missed, and facts
 * that are asked for. It pings the reaper, who pings everybody else. */
#include <string.h>
#include "lib/clock.h"
#include "lib/log.h"
#include "services/reconciler/pass.h"
#include "services/reconciler/queries.h"

enum { ITEMS_MAX = 32, STATUS_MS = 5000 };

/* True where a pass was made. */
static bool take_items(struct reconciler *reconciler, const json_t *items)
{
    int64_t pass = 0;
    bool asked = false;
    size_t index;
    const json_t *item;
    json_array_foreach(items, index, item)
    {
        const char *kind = message_text(item, "kind", "");
        if (strcmp(kind, "query") == 0) {
            query_answer(reconciler, item);
        } else if (strcmp(kind, "reconcile_now") == 0) {
            asked = true;
            pass = message_integer(item, "pass", 0);
        } else {
            log_error("work", "the reconciler takes no %s", kind);
        }
    }
    if (asked)
        pass_run(reconciler, pass);
    return asked;
}

int main(int argc, char **argv)
{
    static const enum service_id watched[] = {SERVICE_reaper};
    struct service service;
    struct worker worker;
    struct reconciler reconciler = {.worker = &worker};
    service_begin(&service, "reconciler", argc, argv);
    worker_init(&worker, &service, ITEMS_MAX);
    reconciler.pinger = pinger_start(service.config, watched, 1);
    service_ready(&service);
    const int64_t interval_ms = service.config->reconciler_interval_s * 1000;
    int64_t due = clock_mono_ms(); /* the first pass at once */
    for (;;) {
        int64_t now = clock_mono_ms();
        if (now >= due) {
            pass_run(&reconciler, PASS_PERIODIC);
            due = clock_mono_ms() + interval_ms;
            now = clock_mono_ms();
        }
        reconciler_publish(&reconciler, service.config->reconciler_enabled
                                            ? "idle"
                                            : "queries only: reconciler.enabled is off");
        json_t *items = worker_wait(&worker, due < now + STATUS_MS ? due : now + STATUS_MS,
                                    pinger_fd(reconciler.pinger));
        if (take_items(&reconciler, items))
            due = clock_mono_ms() + interval_ms;
        json_decref(items);
        pinger_report(reconciler.pinger, &worker);
    }
}
