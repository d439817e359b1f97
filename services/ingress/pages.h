/* Everything that reads main.db for a request: pages, and the operator's commands (which look up
 * their task, become an event, and wait for the scheduler's decision). One thread of its own. */
#ifndef ORCH_INGRESS_PAGES_H
#define ORCH_INGRESS_PAGES_H

struct ingress;
struct http_request;
struct pages;

/* The thread starts with pages_start: the other parts of ingress must be there by then. */
struct pages *pages_new(struct ingress *ingress);
void pages_start(struct pages *pages);

/* Server's thread: suspends the request and answers it later. */
void pages_submit(struct pages *pages, struct http_request *request);

/* Commands that wait for their decision are answered "pending", those whose event is not kept yet
 * as soon as it is; once nothing waits the thread ends. */
void pages_finish(struct pages *pages);

#endif
