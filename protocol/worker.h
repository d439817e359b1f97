/* The loop of a service that asks the scheduler: waits for work, for a time, or for a descriptor,
 * and says what must arrive until it is answered.
 *
 * One thread owns it. The calls block; ping and status are answered by the bus meanwhile. All of
 * them end the process (service_end) once TERM came in: what was under way is found again by its
 * rows. */
#ifndef ORCH_WORKER_H
#define ORCH_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include "protocol/service.h"

enum {
    WORKER_ANSWER_MS = 3000, /* a question unanswered for so long is asked again */
    /* How long the scheduler may hold a work_request, and how late its answer may be. Their sum is
     * what a lost connection costs a service that asks nothing else (protocol/silence.h). */
    WORKER_WAIT_MS = 5000,
    WORKER_LATE_MS = 3000,
    WORKER_BOOT_SIZE = 33,
};

struct worker {
    struct service *service;
    int max; /* items per work_request; 0: asks for no work */
    char boot[WORKER_BOOT_SIZE];
    bool asked;     /* a work_request is with the scheduler */
    int64_t ask_ms; /* monotonic: not before */
    int failures;   /* of work_request, in a row */
    bool silent;    /* the scheduler did not answer last time: said once */
};

/* Borrows service for life. */
void worker_init(struct worker *worker, struct service *service, int max);

/* Waits for work. The items (messages, each checked; caller decrefs), or NULL once due_ms
 * (monotonic; INT64_MAX: never) has come or extra_fd (-1: none) is readable. */
json_t *worker_wait(struct worker *worker, int64_t due_ms, int extra_fd);

/* No work_request before this time (monotonic). */
void worker_rest(struct worker *worker, int64_t until_ms);

/* Asks the scheduler. Takes message. 0 and the answer (caller decrefs) of a kind other than error;
 * -1 where it refused: *reply is the error. Where tries is 0 it is repeated without end while
 * nobody answers or the answer is busy; else -1 and *reply NULL after so many. */
int worker_ask(struct worker *worker, json_t *message, int tries, json_t **reply);

/* True where an error answer names a trouble of the scheduler's own that passes. */
bool worker_error_passes(const json_t *error);

/* worker_ask without end for what needs no answer but ack; logs a refusal. True where it was
 * acknowledged. */
bool worker_tell(struct worker *worker, json_t *message);

#endif
