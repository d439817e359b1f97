/* orch-notifier: the only one that writes to tracker and chat. */
#include "services/notifier/delivery.h"

int main(int argc, char **argv)
{
    struct service service;
    struct worker worker;
    struct delivery delivery = {.worker = &worker};
    service_begin(&service, "notifier", argc, argv);
    worker_init(&worker, &service, DELIVERY_MAX_ITEMS);
    service_ready(&service);
    json_t *none = json_array();
    delivery_take(&delivery, none);
    json_decref(none);
    for (;;) {
        json_t *items = worker_wait(&worker, INT64_MAX, -1);
        delivery_take(&delivery, items);
        json_decref(items);
    }
}
