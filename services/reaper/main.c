/* orch-reaper: finds runs, leases and services whose owner is gone or hung. */
#include "services/reaper/round.h"
#include "lib/clock.h"

enum { STATUS_MS = 2000 }; /* so often the pinger's counters are put into our status */

static size_t all_but_reaper(enum service_id out[SERVICE_COUNT])
{
    size_t count = 0;
    for (int id = 0; id < SERVICE_COUNT; id++) {
        if (id != SERVICE_reaper)
            out[count++] = (enum service_id)id;
    }
    return count;
}

int main(int argc, char **argv)
{
    struct service service;
    struct worker worker;
    enum service_id watched[SERVICE_COUNT];
    service_begin(&service, "reaper", argc, argv);
    worker_init(&worker, &service, 0);
    struct pinger *pinger = pinger_start(service.config, watched, all_but_reaper(watched));
    struct reaper *reaper = reaper_new(&worker, pinger);
    service_ready(&service);
    const char *doing =
        service.config->reaper_enabled ? "idle" : "pings only: reaper.enabled is off";
    int64_t due = clock_mono_ms() + service.config->reaper_interval_s * 1000;
    for (;;) {
        int64_t now = clock_mono_ms();
        reaper_publish(reaper, doing);
        worker_wait(&worker, due < now + STATUS_MS ? due : now + STATUS_MS, pinger_fd(pinger));
        pinger_report(pinger, &worker);
        if (clock_mono_ms() < due)
            continue;
        reaper_round(reaper);
        due = clock_mono_ms() + service.config->reaper_interval_s * 1000;
    }
}
