/* What the commands of orchctl share. */
#ifndef ORCH_CTL_H
#define ORCH_CTL_H

#include <jansson.h>
#include "lib/buffer.h"
#include "lib/config.h"
#include "tools/request.h"
#include "tools/text.h"

struct ctl {
    struct ctl_request request;
    struct config *config; /* NULL: found by ORCH_URL, or not read yet */
    char *url;             /* without a final slash */
    char *token;
};

/* ---- instance.c: where the instance is ---- */

/* The configuration; NULL and the faults on standard error where it cannot be read. */
struct config *instance_config(struct ctl *ctl);
/* url and token. CTL_DONE, or another and a text on standard error. */
enum ctl_exit instance_find(struct ctl *ctl);
/* "<sv folder>/<service>/supervise/<file>"; caller frees. */
char *instance_supervise(const struct ctl *ctl, const char *service, const char *file);
/* supervisor.json, NULL where no supervisor lives. Caller decrefs. */
json_t *instance_supervisor(const struct ctl *ctl);

/* ---- http.c ---- */

struct http_answer {
    long status;  /* 0: nobody answered */
    char *text;   /* the body */
    json_t *json; /* NULL where it is none */
};

/* One request. body (borrowed) may be NULL. A server that is not there is tried for a second: it
 * may be restarting. */
void http_call(const struct ctl *ctl, const char *method, const char *path, const json_t *body,
               struct http_answer *answer);
void http_answer_free(struct http_answer *answer);

/* Says on standard error what is wrong with an answer and returns the exit code; CTL_DONE for 2xx.
 */
enum ctl_exit http_judge(const struct ctl *ctl, const struct http_answer *answer);

/* GET and judge: the page, or NULL and *result. Caller decrefs. */
json_t *http_page(const struct ctl *ctl, const char *path, enum ctl_exit *result);

enum stream_end {
    STREAM_TAKEN,  /* take returned false */
    STREAM_BROKEN, /* the server ended it or went away */
    STREAM_ABSENT, /* nobody answered */
    STREAM_REFUSED /* *result and a complaint */
};

/* Reads a stream line by line. */
enum stream_end http_stream(const struct ctl *ctl, const char *path,
                            bool (*take)(const char *line, void *context), void *context,
                            enum ctl_exit *result);

/* text as part of a path. Caller frees. */
char *http_escape(const char *text);

/* ---- output.c ---- */

void output_begin(bool json);
/* What was complained of belongs to the answer where that is JSON: said now. */
void output_end(enum ctl_exit code);
/* Who looks at standard output. */
struct view output_view(void);
/* The JSON and a newline. Decrefs. */
void print_json(json_t *json);
/* A line that should be JSON, on one line; as {"line": ...} where it is none. */
void print_json_line(const char *line);
/* The text; empties the buffer. */
void print_text(struct buffer *text);
/* Cleaned of what a terminal would obey. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- the commands, by group ---- */

enum ctl_exit ctl_status(struct ctl *ctl); /* pages.c */
enum ctl_exit ctl_queue(struct ctl *ctl);
enum ctl_exit ctl_task_list(struct ctl *ctl);
enum ctl_exit ctl_task_show(struct ctl *ctl);
enum ctl_exit ctl_why(struct ctl *ctl);
enum ctl_exit ctl_events(struct ctl *ctl);
enum ctl_exit ctl_task_new(struct ctl *ctl); /* tasks.c */
enum ctl_exit ctl_task_start(struct ctl *ctl);
enum ctl_exit ctl_act(struct ctl *ctl); /* act.c */
/* The person at the keyboard; NULL where only a name is known that is a role's. Borrowed. */
const char *ctl_actor(const struct ctl *ctl);
enum ctl_exit ctl_tail(struct ctl *ctl);    /* tail.c */
enum ctl_exit ctl_restart(struct ctl *ctl); /* services.c */
enum ctl_exit ctl_upgrade(struct ctl *ctl);
enum ctl_exit ctl_check_config(struct ctl *ctl); /* check_config.c */
enum ctl_exit ctl_doctor(struct ctl *ctl);       /* doctor.c */
enum ctl_exit ctl_repo_create(struct ctl *ctl);  /* repo.c */
enum ctl_exit ctl_effects_list(struct ctl *ctl); /* pages.c */
enum ctl_exit ctl_backup(struct ctl *ctl);       /* backup.c */
enum ctl_exit ctl_restore(struct ctl *ctl);      /* restore.c */

#endif
