#include "services/ingress/pages.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "services/ingress/ingress.h"
#include "services/ingress/state.h"
#include "services/ingress/token.h"
#include "services/scheduler/store_read.h"

enum {
    DECISION_MS = 2000,   /* a command undecided after this is answered "pending" */
    DECISION_LOOK_MS = 5, /* between two looks while one waits */
    CHORES_MS = 60 * 1000,
    PROBE_AGE_MS = 5000, /* /health proves that the inbox can be written, at most this often */
    PROBE_WAIT_MS = 1000,
    FINISHED_SHOWN = 200,
};

struct pages {
    struct ingress *ingress;
    struct store_read *store;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct http_request *first, **last; /* wanted */
    struct http_request *committed;     /* commands whose event is durable */
    bool ending;
    struct http_request *undecided; /* the page thread's own from here on */
    int64_t seen_version;           /* of main.db when decisions were last looked for */
    struct state state;             /* gathered once for all who wait */
    bool gathered, proved;
};

/* ---- the queue ---- */

static void wake_with(struct pages *pages, struct http_request *request, bool is_committed)
{
    pthread_mutex_lock(&pages->lock);
    if (is_committed) {
        request->next = pages->committed;
        pages->committed = request;
    } else {
        request->next = NULL;
        *pages->last = request;
        pages->last = &request->next;
    }
    pthread_cond_signal(&pages->work);
    pthread_mutex_unlock(&pages->lock);
}

void pages_submit(struct pages *pages, struct http_request *request)
{
    const char *project = http_argument(request, "project");
    if (project) { /* arguments belong to the server's thread: kept in a field of our own */
        request->event_body = xstrdup(project);
    }
    http_suspend(request);
    wake_with(pages, request, false);
}

/* ---- documents ---- */

static void answer_json(struct http_request *request, unsigned status, json_t *document)
{
    char *text = json_dumps(document, JSON_COMPACT);
    json_decref(document);
    if (!text)
        log_abort("http", "a page cannot be written as JSON");
    http_answer(request, status, text, NULL);
}

static void refuse_unreadable(struct http_request *request, const char *fault)
{
    http_refuse(request, 503, "database", "", fault);
}

static void gather(struct pages *pages, struct state *state)
{
    struct ingress *ingress = pages->ingress;
    char *fault = state->store_fault;
    size_t size = sizeof state->store_fault;
    memset(state, 0, sizeof *state);
    clock_text(clock_wall_ms(), state->at);
    if (store_read_begin(pages->store, fault, size) == 0) {
        store_read_state(pages->store, &state->store);
        state->store_readable = store_read_end(pages->store, fault, size) == 0;
    }
    if (state->store_readable)
        inbox_acted_on(ingress->inbox, state->store.inbox_position);
    state->services = peers_services(ingress->peers);
    state->scheduler_answers = peers_answers(ingress->peers, "scheduler");
    inbox_stats(ingress->inbox, &state->inbox);
    http_stats(ingress->http, &state->http);
    state->streams = stream_count(ingress->stream);
}

/* Requests that waited together see one state, gathered after the last of them came: a crowd at an
 * open page costs no more than one reader. */
static const struct state *current_state(struct pages *pages, bool prove)
{
    if (!pages->gathered)
        gather(pages, &pages->state);
    if (prove && !pages->proved)
        inbox_probe(pages->ingress->inbox, PROBE_AGE_MS, PROBE_WAIT_MS, &pages->state.inbox);
    pages->gathered = true;
    pages->proved |= prove;
    return &pages->state;
}

static void release_state(struct pages *pages)
{
    if (pages->gathered) {
        store_state_free(&pages->state.store);
        json_decref(pages->state.services);
    }
    pages->gathered = pages->proved = false;
}

static void show_state(struct pages *pages, struct http_request *request)
{
    enum page page = request->route->page;
    const struct state *state = current_state(pages, page == PAGE_HEALTH);
    unsigned status = 200;
    if (page == PAGE_METRICS)
        http_answer(request, 200, state_metrics(state), "text/plain; version=0.0.4");
    else if (page == PAGE_HEALTH) {
        json_t *health = state_health(state, &status);
        answer_json(request, status, health);
    } else if (!state->store_readable)
        refuse_unreadable(request, state->store_fault);
    else
        answer_json(request, 200, state_queue(state, pages->ingress->config));
}

static json_t *read_document(struct store_read *store, const struct http_request *request)
{
    const char *project = request->event_body;
    switch (request->route->page) {
    case PAGE_TASKS:
        return store_read_tasks(store, project, FINISHED_SHOWN);
    case PAGE_TASK:
        return store_read_task(store, request->key);
    case PAGE_EFFECTS:
        return store_read_effects(store);
    case PAGE_ISSUES:
        return store_read_issues(store, project);
    case PAGE_ISSUE:
        return store_read_issue(store, request->key);
    default:
        return NULL;
    }
}

static void show_document(struct pages *pages, struct http_request *request)
{
    char fault[200];
    if (store_read_begin(pages->store, fault, sizeof fault) < 0) {
        refuse_unreadable(request, fault);
        return;
    }
    json_t *document = read_document(pages->store, request);
    if (store_read_end(pages->store, fault, sizeof fault) < 0) {
        json_decref(document);
        refuse_unreadable(request, fault);
    } else if (document)
        answer_json(request, 200, document);
    else
        http_refuse(request, 404, "unknown-key", "key", "no such key");
}

/* ---- commands ---- */

/* On the writer's thread. */
static void on_command_kept(struct inbox_event *event)
{
    struct http_request *request = intake_request(event);
    if (!intake_answer_failure(request))
        wake_with(request->ingress->pages, request, true);
}

/* 0: the command's task exists or it names none; else the status to refuse with. */
static unsigned check_task(struct pages *pages, const struct http_request *request, char *fault,
                           size_t size)
{
    if (!request->key[0])
        return 0;
    if (store_read_begin(pages->store, fault, size) < 0)
        return 503;
    bool known = store_read_task_known(pages->store, request->key);
    if (store_read_end(pages->store, fault, size) < 0)
        return 503;
    snprintf(fault, size, "no such task");
    return known ? 0 : 404;
}

static void take_command(struct pages *pages, struct http_request *request)
{
    struct command_fault refused = {0};
    char fault[200];
    unsigned status = check_task(pages, request, fault, sizeof fault);
    if (status) {
        http_refuse(request, status, status == 404 ? "unknown-task" : "database", "", fault);
        return;
    }
    free(request->event_body);
    request->event_body =
        command_body(request->route->command, request->key[0] ? request->key : NULL, request->body,
                     request->size, &refused);
    if (!request->event_body) {
        http_refuse(request, 400, "body", refused.field, refused.text);
        return;
    }
    request->event.source = "operator";
    token_random(request->event.delivery, 16);
    request->event.body = request->event_body;
    request->event.size = strlen(request->event_body);
    request->deadline_ms = clock_mono_ms() + DECISION_MS;
    intake_submit(request, on_command_kept);
}

static void answer_command(struct http_request *request, json_t *decision)
{
    const char *result = json_string_value(json_object_get(decision, "result"));
    unsigned status = 200;
    if (!result) {
        status = 202;
        decision = json_pack("{ss ss}", "result", "pending", "reason",
                             "pending: the scheduler has not decided yet");
    } else if (strcmp(result, "applied") != 0) {
        status = 409;
        json_object_set_new(decision, "result", json_string("refused"));
    }
    json_object_set_new(decision, "event_id", json_integer(request->event.seq));
    answer_json(request, status, decision);
}

static void look_for_decisions(struct pages *pages, bool ending)
{
    char fault[200];
    int64_t now = clock_mono_ms();
    int64_t version = store_read_version(pages->store);
    bool news = version < 0 || version != pages->seen_version;
    bool readable = news && store_read_begin(pages->store, fault, sizeof fault) == 0;
    for (struct http_request **link = &pages->undecided; *link;) {
        struct http_request *request = *link;
        json_t *decision = readable ? store_read_decision(pages->store, request->event.seq) : NULL;
        if (!decision && now < request->deadline_ms && !ending) {
            link = &request->next;
            continue;
        }
        *link = request->next;
        answer_command(request, decision);
    }
    if (readable && store_read_end(pages->store, fault, sizeof fault) < 0)
        log_warn("pages", "%s", fault);
    else if (readable)
        pages->seen_version = version;
}

/* ---- the thread ---- */

static void serve(struct pages *pages, struct http_request *request)
{
    if (request->route->kind == ROUTE_COMMAND) {
        take_command(pages, request);
        return;
    }
    switch (request->route->page) {
    case PAGE_HEALTH:
    case PAGE_QUEUE:
    case PAGE_METRICS:
        show_state(pages, request);
        break;
    default:
        show_document(pages, request);
    }
}

/* So that the inbox may forget old rows also where nobody asks for pages. */
static void do_chores(struct pages *pages)
{
    char fault[200];
    if (store_read_begin(pages->store, fault, sizeof fault) < 0)
        return;
    int64_t position = store_read_inbox_position(pages->store);
    if (store_read_end(pages->store, fault, sizeof fault) == 0)
        inbox_acted_on(pages->ingress->inbox, position);
}

static void wait_for_work(struct pages *pages)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (pages->undecided) {
        until.tv_nsec += DECISION_LOOK_MS * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
    } else {
        until.tv_sec += CHORES_MS / 1000;
    }
    while (!pages->first && !pages->committed && !pages->ending &&
           pthread_cond_timedwait(&pages->work, &pages->lock, &until) == 0)
        ;
}

static void serve_all(struct pages *pages, struct http_request *wanted)
{
    while (wanted) {
        struct http_request *request = wanted;
        wanted = wanted->next;
        serve(pages, request);
    }
    release_state(pages);
}

/* A new one has not been looked for, whatever version the others have seen. */
static void await_decisions(struct pages *pages, struct http_request *committed)
{
    while (committed) {
        struct http_request *request = committed;
        committed = committed->next;
        request->next = pages->undecided;
        pages->undecided = request;
        pages->seen_version = -1;
    }
}

static void *run(void *context)
{
    struct pages *pages = context;
    for (;;) {
        pthread_mutex_lock(&pages->lock);
        wait_for_work(pages);
        struct http_request *wanted = pages->first, *committed = pages->committed;
        pages->first = pages->committed = NULL;
        pages->last = &pages->first;
        bool ending = pages->ending;
        pthread_mutex_unlock(&pages->lock);
        if (!wanted && !committed && !pages->undecided)
            do_chores(pages);
        serve_all(pages, wanted);
        await_decisions(pages, committed);
        if (pages->undecided)
            look_for_decisions(pages, ending);
        if (ending && !wanted && !committed)
            return NULL;
    }
}

struct pages *pages_new(struct ingress *ingress)
{
    struct pages *pages = xcalloc(1, sizeof *pages);
    pthread_condattr_t monotonic;
    pages->ingress = ingress;
    pages->store = store_read_new(ingress->store_path);
    pages->last = &pages->first;
    pthread_mutex_init(&pages->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pages->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return pages;
}

void pages_start(struct pages *pages)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, pages) != 0)
        log_abort("pages", "cannot start a thread");
    pthread_detach(thread);
}

void pages_finish(struct pages *pages)
{
    pthread_mutex_lock(&pages->lock);
    pages->ending = true;
    pthread_cond_signal(&pages->work);
    pthread_mutex_unlock(&pages->lock);
}
