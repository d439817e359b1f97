/* PURE: no I/O */
#include "tools/why.h"

#include <stdio.h>
#include <string.h>
#include "protocol/blocks.h"
#include "protocol/vocabulary.h"
#include "tools/text.h"

struct answer {
    const char *waits_for, *reason, *since, *who;
    char next[320], run[120], person[160];
};

static const json_t *row_in_state(const json_t *task, const char *state)
{
    const json_t *job;
    size_t index;
    json_array_foreach(json_object_get(task, "jobs"), index, job)
    {
        const char *found = text_field(job, "state");
        if (found && strcmp(found, state) == 0)
            return job;
    }
    return NULL;
}

/* The reason of the queue is the newer one. */
static const char *queue_reason(const json_t *queue, const json_t *job)
{
    const json_t *row;
    size_t index;
    json_int_t id = json_integer_value(json_object_get(job, "id"));
    json_array_foreach(json_object_get(queue, "queued"), index, row)
    {
        if (json_integer_value(json_object_get(row, "job")) == id && text_field(row, "reason"))
            return text_field(row, "reason");
    }
    return text_field(job, "reason");
}

static void set_next_stage(struct answer *answer, const json_t *task)
{
    const char *name = text_field(task, "stage");
    enum stage stage = name ? stage_by_name(name) : STAGE_COUNT;
    if (stage == STAGE_COUNT || stage_is_terminal(stage))
        return;
    snprintf(answer->next, sizeof answer->next, "%s, once %s",
             stage_table[stage_table[stage].next].name,
             *stage_table[stage].gate ? "its gate passes" : "it is claimed");
}

/* What it waits for in particular stands in the row of the question. */
static void say_waits_for_ci(struct answer *answer, const json_t *task, const json_t *queue,
                             const json_t *question)
{
    const char *name = text_field(task, "stage");
    bool merges = name && stage_by_name(name) == STAGE_DEPLOY;
    answer->waits_for = "CI of the branch's head";
    answer->reason = question ? queue_reason(queue, question) : NULL;
    answer->who = "CI; a person may stop it";
    snprintf(answer->next, sizeof answer->next,
             "green: %s; red: back to development; neither within ci.timeout_s: it is blocked",
             merges ? "the merge" : "review");
}

static void say_parked(struct answer *answer, const json_t *task, const json_t *queue,
                       const char *parked)
{
    const char *key = text_field(task, "key");
    answer->since = text_field(json_object_get(task, "parked"), "since");
    if (strcmp(parked, "approval") == 0) {
        answer->waits_for = "a person's approval of the analysis";
        answer->who = "a person";
        snprintf(answer->next, sizeof answer->next,
                 "architecture, after status Approved or: orchctl approve %s", key ? key : "KEY");
    } else if (strcmp(parked, "confirm") == 0) {
        answer->waits_for = "a person's word to deploy";
        answer->who = "a person";
        snprintf(answer->next, sizeof answer->next,
                 "the merge, after status Confirm Deploy or: orchctl confirm-deploy %s",
                 key ? key : "KEY");
    } else if (strcmp(parked, "ci") == 0) {
        say_waits_for_ci(answer, task, queue, row_in_state(task, "queued"));
    } else {
        answer->waits_for = parked;
        set_next_stage(answer, task);
    }
}

static void say_blocked(struct answer *answer, const json_t *task)
{
    const char *key = text_field(task, "key");
    answer->waits_for = "a person: it is blocked";
    answer->reason = text_field(json_object_get(task, "blocked"), "reason");
    answer->since = text_field(json_object_get(task, "blocked"), "since");
    const struct block_words *words = block_words_of(answer->reason);
    snprintf(answer->person, sizeof answer->person, "a person%s%s", words ? ": " : "",
             words ? words->first : "");
    answer->who = answer->person;
    snprintf(answer->next, sizeof answer->next,
             "after orchctl retry %s (or status To Analyse) %s; STOP ends it", key ? key : "KEY",
             words ? words->then : "it goes on");
}

static const struct wait {
    const char *code, *waits_for, *who, *next;
} waits[] = {
#define WAIT(code, waits_for, who, next) {code, waits_for, who, next},
#include "protocol/waits.def"
#undef WAIT
};

/* By the code of "code: text"; the first row where there is none. */
static const struct wait *wait_of(const char *reason)
{
    const char *text = reason ? reason : "";
    size_t size = strcspn(text, ":");
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        if (strlen(waits[i].code) == size && strncmp(waits[i].code, text, size) == 0)
            return &waits[i];
    }
    return waits;
}

bool why_knows(const char *code)
{
    return strcmp(wait_of(code)->code, code) == 0;
}

static void say_queued(struct answer *answer, const json_t *queue, const json_t *job)
{
    answer->reason = queue_reason(queue, job);
    answer->since = text_field(job, "created_at");
    const struct wait *wait = wait_of(answer->reason);
    const char *not_before = text_field(job, "not_before");
    answer->waits_for = wait->waits_for;
    answer->who = wait->who;
    snprintf(answer->next, sizeof answer->next, "%s%s%s", wait->next,
             not_before ? ", not before " : "", not_before ? not_before : "");
}

static void say_running(struct answer *answer, const json_t *task, const json_t *job)
{
    answer->waits_for = text_field(job, "role") ? "its agent, which works" : "its job, which runs";
    if (text_field(job, "run"))
        snprintf(answer->run, sizeof answer->run, "run %.80s", text_field(job, "run"));
    answer->reason = answer->run;
    answer->since = text_field(job, "claimed_at");
    answer->who = "nobody has to: it goes on by itself";
    set_next_stage(answer, task);
}

static const char *last_arrival(const json_t *task)
{
    const json_t *steps = json_object_get(task, "transitions");
    size_t count = json_array_size(steps);
    return count ? text_field(json_array_get(steps, count - 1), "at") : NULL;
}

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

static json_t *pack(const char *key, const char *stage, const struct answer *answer)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "key", text_or_null(key), "stage",
                     text_or_null(stage), "waits_for", text_or_null(answer->waits_for), "reason",
                     text_or_null(answer->reason), "since", text_or_null(answer->since), "who",
                     text_or_null(answer->who), "next", text_or_null(answer->next));
}

json_t *why_task(const json_t *task, const json_t *queue)
{
    struct answer answer = {.next = ""};
    const char *stage = text_field(task, "stage");
    const char *parked = text_field(json_object_get(task, "parked"), "for");
    const json_t *running = row_in_state(task, "running"), *queued = row_in_state(task, "queued");
    enum stage number = stage ? stage_by_name(stage) : STAGE_COUNT;
    if (number < STAGE_COUNT && stage_is_terminal(number)) {
        answer.waits_for = running || queued ? "its cleanup" : "nothing: it has ended";
        answer.since =
            text_field(task, "ended_at") ? text_field(task, "ended_at") : last_arrival(task);
        answer.who = "nobody";
    } else if (text_field(json_object_get(task, "blocked"), "reason")) {
        say_blocked(&answer, task);
    } else if (running) {
        say_running(&answer, task, running);
    } else if (parked) {
        say_parked(&answer, task, queue, parked);
    } else if (queued) {
        say_queued(&answer, queue, queued);
    } else {
        answer.waits_for = "a job: its stage has none";
        answer.since = last_arrival(task);
        answer.who = "nobody has to: the reconciler finds it";
        snprintf(answer.next, sizeof answer.next, "the stage's job is queued again");
    }
    return pack(text_field(task, "key"), stage, &answer);
}

json_t *why_issue(const json_t *issue)
{
    struct answer answer = {
        .waits_for = "a person to start it",
        .reason = text_field(issue, "status"),
        .since = text_field(issue, "updated_at"),
        .who = "a person",
    };
    const char *key = text_field(issue, "key");
    snprintf(answer.next, sizeof answer.next,
             "analysis, after: orchctl task start %.64s (or status To Analyse)", key ? key : "KEY");
    const char *status = text_field(issue, "status");
    if (status && status_by_name(status, NULL) == STATUS_TO_ANALYSE) {
        answer.waits_for = "the scheduler to take it up";
        answer.who = "nobody has to: it goes on by itself";
        snprintf(answer.next, sizeof answer.next, "analysis");
    }
    return pack(text_field(issue, "key"), NULL, &answer);
}

void why_text(const json_t *why, const struct view *view, struct buffer *out)
{
    static const struct {
        const char *field, *word;
    } lines[] = {{"waits_for", "waits for"},
                 {"reason", "because"},
                 {"since", "since"},
                 {"who", "who can act"},
                 {"next", "then"}};
    struct table table;
    const char *key = text_field(why, "key"), *stage = text_field(why, "stage");
    text_paint(out, view, STYLE_STRONG, key ? key : "?");
    buffer_text(out, stage ? "  " : "");
    text_clean(out, stage ? stage : "");
    buffer_text(out, "\n");
    table_begin(&table, view, 2, NULL);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const char *value = text_field(why, lines[i].field);
        char moment[TEXT_VALUE], age[TEXT_VALUE], since[2 * TEXT_VALUE + 8];
        if (!value)
            continue;
        if (strcmp(lines[i].field, "since") == 0) {
            text_moment(value, view, moment);
            text_age(value, view->now_ms, age);
            snprintf(since, sizeof since, "%s (%s)", moment, age);
            value = since;
        }
        table_add_style(&table, lines[i].word, STYLE_DIM);
        table_add(&table, value);
    }
    table_end(&table, "  ", out);
}
