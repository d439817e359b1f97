#include "services/scheduler/journal.h"

#include <stdlib.h>
#include "lib/clock.h"
#include "protocol/message.h"

void journal_init(struct journal *journal)
{
    journal->pending = json_array();
    journal->part = 0;
}

void journal_add(struct journal *journal, struct store *store, int64_t now_ms,
                 const struct journal_about *about, json_t *detail)
{
    char at[CLOCK_TEXT_SIZE];
    if (!detail)
        detail = json_object();
    char *text = json_dumps(detail, JSON_COMPACT);
    store_run(store,
              "INSERT INTO journal (at, event, task, stage, job, run, service, detail)"
              " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
              "isssnsss", now_ms, about->event, about->task, about->stage,
              about->job > 0 ? about->job : (int64_t)-1, about->run, about->service, text);
    free(text);
    clock_text(now_ms, at);
    json_t *event = message_new(MESSAGE_event, NULL, "{sI ss ss ss? ss? so ss? ss? so}", "seq",
                                (json_int_t)store_last_id(store), "ts", at, "event", about->event,
                                "task", about->task, "stage", about->stage, "job",
                                about->job > 0 ? json_integer(about->job) : json_null(), "run",
                                about->run, "service", about->service, "detail", detail);
    json_array_append_new(journal->pending, event);
}

void journal_part_begin(struct journal *journal)
{
    journal->part = json_array_size(journal->pending);
}

void journal_part_drop(struct journal *journal)
{
    while (json_array_size(journal->pending) > journal->part)
        json_array_remove(journal->pending, json_array_size(journal->pending) - 1);
}

void journal_publish(struct journal *journal, struct bus *bus)
{
    size_t index;
    json_t *event;
    json_array_foreach(journal->pending, index, event)
    {
        if (bus)
            bus_publish(bus, json_incref(event));
    }
    journal_forget(journal);
}

void journal_forget(struct journal *journal)
{
    json_array_clear(journal->pending);
    journal->part = 0;
}
