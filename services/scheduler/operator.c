#include "services/scheduler/operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "services/scheduler/effects.h"
#include "services/scheduler/local.h"
#include "services/scheduler/providers.h"
#include "services/scheduler/queries.h"

struct command {
    const json_t *event;
    const char *name, *actor, *text, *repo, *project;
};

/* ---- on a task ---- */

static void act(struct scheduler *scheduler, const struct command *command, struct task *task,
                struct performed *performed, enum stage_event_kind kind)
{
    const struct occurrence occurrence = {.event = {.kind = kind, .source = SOURCE_OPERATOR},
                                          .actor = command->actor};
    perform(scheduler, task, &occurrence, performed);
}

/* Said on the issue as by this person, so that it reads like any comment and takes the same way. */
static void comment(struct scheduler *scheduler, const struct command *command, struct task *task,
                    struct performed *performed, enum stage_event_kind kind)
{
    struct local_change change;
    (void)kind;
    if (!task->exists) {
        performed_set(performed, DECISION_REFUSED, REASON_UNKNOWN_TASK, NULL);
        return;
    }
    json_t *event = json_pack("{ss ss ss ss}", "kind", "comment", "issue", task->natural_key,
                              "actor", command->actor, "body", command->text);
    local_apply(scheduler, event, &change);
    json_decref(event);
    if (change.result != LOCAL_CHANGED) {
        performed_set(performed, DECISION_REFUSED, REASON_NO_DRIVER,
                      "the issue is not in the built-in tracker");
        return;
    }
    queries_outdate(scheduler, task->id);
    if (change.approved)
        act(scheduler, command, task, performed, STAGE_EVENT_APPROVED);
    else
        performed_set(performed, DECISION_APPLIED, REASON_COMMENTED, NULL);
}

/* ---- on the queue ---- */

static void say(struct scheduler *scheduler, const char *event, const struct command *command,
                const char *state)
{
    journal_add(&scheduler->journal, scheduler->store, scheduler->now_ms,
                &(struct journal_about){.event = event},
                json_pack("{ss ss ss* ss* ss*}", "state", state, "actor", command->actor, "project",
                          command->project, "repo", command->repo, "reason", command->text));
}

static bool names_no_project(struct scheduler *scheduler, const struct command *command,
                             struct performed *performed)
{
    if (!command->project || scheduler_project(scheduler, command->project))
        return false;
    performed_set(performed, DECISION_REFUSED, REASON_UNKNOWN_PROJECT, NULL);
    return true;
}

static void set_paused(struct scheduler *scheduler, const struct command *command, const char *what,
                       int64_t value)
{
    char name[120];
    if (command->project)
        snprintf(name, sizeof name, "paused:%s", command->project);
    else
        snprintf(name, sizeof name, "%s", what);
    meta_set(scheduler, name, value);
}

static void pause_claims(struct scheduler *scheduler, const struct command *command,
                         struct task *task, struct performed *performed, enum stage_event_kind kind)
{
    (void)task;
    (void)kind;
    if (names_no_project(scheduler, command, performed))
        return;
    bool drain = strcmp(command->name, "drain") == 0;
    set_paused(scheduler, command, drain ? "draining" : "paused", 1);
    say(scheduler, "queue", command, drain ? "draining" : "paused");
    performed_set(performed, DECISION_APPLIED, REASON_PAUSE_SET, NULL);
}

static void resume_claims(struct scheduler *scheduler, const struct command *command,
                          struct task *task, struct performed *performed,
                          enum stage_event_kind kind)
{
    (void)task;
    (void)kind;
    if (names_no_project(scheduler, command, performed))
        return;
    set_paused(scheduler, command, "paused", 0);
    if (!command->project) {
        meta_set(scheduler, "draining", 0);
        meta_set(scheduler, "restored", 0);
        providers_try_now(scheduler);
    }
    say(scheduler, "queue", command, "resumed");
    performed_set(performed, DECISION_APPLIED, REASON_RESUME_SET, NULL);
}

/* After a restore: what the copy still wanted to say is not said, then all goes on. */
static void drop_effects(struct scheduler *scheduler, const struct command *command,
                         struct task *task, struct performed *performed, enum stage_event_kind kind)
{
    if (meta_number(scheduler, "restored", 0) == 0) {
        performed_set(performed, DECISION_REFUSED, REASON_NOT_RESTORED, NULL);
        return;
    }
    effects_drop_all(scheduler, command->actor);
    resume_claims(scheduler, &(struct command){.name = "resume", .actor = command->actor}, task,
                  performed, kind);
    performed_set(performed, DECISION_APPLIED, REASON_EFFECTS_DROPPED, NULL);
}

/* ---- on a repository ---- */

static void announce_freeze(struct scheduler *scheduler, const struct command *command, bool frozen)
{
    char *key = xformat("frozen:%s", command->repo);
    char *text = xformat("%s is frozen by %s: %s", command->repo, command->actor,
                         command->text ? command->text : "no reason was given");
    if (frozen)
        alert_raise(scheduler, key, text);
    else
        alert_clear(scheduler, key);
    free(text);
    free(key);
}

static void freeze(struct scheduler *scheduler, const struct command *command, struct task *task,
                   struct performed *performed, enum stage_event_kind kind)
{
    (void)task;
    (void)kind;
    store_run(scheduler->store,
              "INSERT INTO repo_freeze (repo, reason, actor, since) VALUES (?1, ?2, ?3, ?4)"
              " ON CONFLICT (repo) DO UPDATE SET reason = excluded.reason, actor = excluded.actor",
              "sssi", command->repo, command->text ? command->text : "", command->actor,
              scheduler->now_ms);
    say(scheduler, "freeze", command, "frozen");
    announce_freeze(scheduler, command, true);
    performed_set(performed, DECISION_APPLIED, REASON_FREEZE_SET, NULL);
}

static void unfreeze(struct scheduler *scheduler, const struct command *command, struct task *task,
                     struct performed *performed, enum stage_event_kind kind)
{
    (void)task;
    (void)kind;
    if (store_run(scheduler->store, "DELETE FROM repo_freeze WHERE repo = ?1", "s",
                  command->repo) == 0) {
        performed_set(performed, DECISION_REFUSED, REASON_NOT_FROZEN, NULL);
        return;
    }
    say(scheduler, "freeze", command, "lifted");
    announce_freeze(scheduler, command, false);
    performed_set(performed, DECISION_APPLIED, REASON_FREEZE_LIFTED, NULL);
}

static const struct {
    const char *name;
    void (*take)(struct scheduler *scheduler, const struct command *command, struct task *task,
                 struct performed *performed, enum stage_event_kind kind);
    enum stage_event_kind kind;
} commands[] = {
    {"approve", act, STAGE_EVENT_APPROVED},
    {"confirm-deploy", act, STAGE_EVENT_CONFIRM_DEPLOY},
    {"stop", act, STAGE_EVENT_STOP},
    {"retry", act, STAGE_EVENT_RETRY},
    {"comment", comment, STAGE_EVENT_COMMENT},
    {"pause", pause_claims, STAGE_EVENT_COUNT},
    {"drain", pause_claims, STAGE_EVENT_COUNT},
    {"resume", resume_claims, STAGE_EVENT_COUNT},
    {"drop-effects", drop_effects, STAGE_EVENT_COUNT},
    {"freeze", freeze, STAGE_EVENT_COUNT},
    {"unfreeze", unfreeze, STAGE_EVENT_COUNT},
};

void operator_take(struct scheduler *scheduler, const json_t *event, struct task *task,
                   struct performed *performed)
{
    const struct command command = {
        .event = event,
        .name = message_text(event, "command", ""),
        .actor = message_text(event, "actor", "operator"),
        .text = message_text(event, "text", NULL),
        .repo = message_text(event, "repo", NULL),
        .project = message_text(event, "project", NULL),
    };
    const char *key = message_text(event, "task", NULL);
    if (key)
        task_load_by_key(scheduler, key, task);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, command.name) == 0) {
            commands[i].take(scheduler, &command, task, performed, commands[i].kind);
            return;
        }
    }
    performed_set(performed, DECISION_REFUSED, REASON_UNREADABLE, "no such command");
}
