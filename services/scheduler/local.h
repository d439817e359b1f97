/* The built-in tracker: issues, comments and statuses in the tables local_*. Nothing here decides
 * anything: what a person's change means goes to the stage machine like any tracker's event. */
#ifndef ORCH_LOCAL_H
#define ORCH_LOCAL_H

#include "services/scheduler/rows.h"

enum { LOCAL_ID_SIZE = 32 };

/* What a change means. Texts are borrowed from the event that made it. */
struct local_change {
    enum { LOCAL_UNKNOWN_PROJECT, LOCAL_UNKNOWN_ISSUE, LOCAL_CHANGED } result;
    char issue[LOCAL_ID_SIZE]; /* "local-7": what the tracker itself calls it */
    const char *project;       /* key, borrowed from the configuration */
    enum status command;       /* of the status it was moved to; STATUS_COUNT: none */
    bool approved;             /* a comment with the word */
    bool announced;            /* false: nobody is told, the reconciler finds it */
};

/* Carries out a checked event of /webhook/local in the open turn. */
void local_apply(struct scheduler *scheduler, const json_t *event, struct local_change *change);

/* Title, body, labels of an issue, for a new task. False where there is none. Caller decrefs. */
bool local_issue(struct scheduler *scheduler, const char *issue, json_t **found);

/* A command of a person was acted on or refused: what the issue shows may be written over. */
void local_heard(struct scheduler *scheduler, const char *issue);

/* Messages; each returns the answer (caller's). */
json_t *local_put_comment(struct scheduler *scheduler, const json_t *message);
json_t *local_put_status(struct scheduler *scheduler, const json_t *message);
json_t *local_list(struct scheduler *scheduler, const json_t *message);

#endif
