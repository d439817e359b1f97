/* PURE: no I/O */
/* The words of comments and alerts, one template each (templates.def), as Markdown. */
#ifndef ORCH_WORDING_H
#define ORCH_WORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include "lib/buffer.h"
#include "services/scheduler/stage.h"

enum { WORDING_MAX = 32 * 1024 }; /* bytes of one comment or alert */

/* Tokens and cost of one run or a sum; -1 is unknown. */
struct wording_usage {
    int64_t input, output, cache_read, cache_creation;
    double cost_usd;
};
/* All unknown. */
#define WORDING_USAGE_UNKNOWN                                                                      \
    {                                                                                              \
        -1, -1, -1, -1, -1.0                                                                       \
    }

struct wording_link {
    const char *text;
    const char *url;
};

/* One run of the task, in order of time. The table sums them per role. */
struct wording_run {
    const char *role; /* NULL or "": a reserved job, shown under its kind */
    const char *kind;
    struct wording_usage usage;
};

/* Everything is borrowed; unset is NULL, 0, or unknown usage. What a template does not use is
 * ignored. */
struct wording_facts {
    const char *key;
    const char *title;
    const char *role;           /* AGENT_* */
    const char *kind;           /* AGENT_FINISHED of a reserved job: its kind, role NULL */
    int attempt;                /* AGENT_* */
    bool succeeded;             /* AGENT_FINISHED; where false, reason says how it ended */
    struct wording_usage usage; /* AGENT_FINISHED */
    const char *denied_tools; /* AGENT_FINISHED: tools refused to a run that succeeded, in words */
    enum stage from, to;      /* TRANSITION ROLLBACK RESUMED; from == STAGE_COUNT: newly created */
    enum reason reason;       /* why */
    const char *reason_text;  /* more exact than the default; NULL: the default */
    const json_t *findings;   /* ROLLBACK BLOCKED: array of strings */
    int rollbacks, max_rollbacks; /* ROLLBACK: this one included */
    const char *log_tail;         /* BLOCKED: last lines of the agent's log */
    const char *command;          /* REFUSED: the command's name as people see it */
    const char *actor;            /* APPROVED STOPPED RESUMED: who; NULL where nobody */
    const char *branch;
    const char *head; /* commit */
    const char *merged_commit;
    const char *preserved_ref; /* STOPPED */
    const struct wording_link *links;
    size_t link_count;
    const struct wording_run *runs; /* SUMMARY */
    size_t run_count;
};

/* Adds the text to out; never more than WORDING_MAX bytes, cut at a character. Text from agents and
 * people is fenced or on a line of its own. */
void wording_write(enum message_template template, const struct wording_facts *facts,
                   struct buffer *out);

/* "45.2k in (38.1k cached) / 12.1k out · $0.21", or "usage unknown". Shared by card and tools. in
 * is all input: plain, cache-read and cache-creation; cached is cache-read. */
void wording_usage(const struct wording_usage *usage, struct buffer *out);

/* Adds one run to a sum: an unknown figure leaves the sum as it is. Unknown plus known is known. */
void wording_usage_add(struct wording_usage *sum, const struct wording_usage *usage);

#endif
