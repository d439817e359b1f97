/* GET /events: the journal as server-sent events. While nobody listens, nothing is polled. */
#ifndef ORCH_INGRESS_STREAM_H
#define ORCH_INGRESS_STREAM_H

struct ingress;
struct http_request;
struct stream;

struct stream *stream_new(struct ingress *ingress);
void stream_start(struct stream *stream);

/* Server's thread: answers with a stream that begins after the row in Last-Event-ID (or the
 * argument "after"), else with what comes from now on. 503 where there are too many listeners. */
void stream_open(struct stream *stream, struct http_request *request);

unsigned stream_count(struct stream *stream);

#endif
