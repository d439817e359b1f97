/* PURE: no I/O */
/* The journal for people: a line per thing that matters, the rest on request. */
#include "tools/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/vocabulary.h"

enum { KEY_WIDTH = 8, STAGE_WIDTH = 14, TITLE_SHOWN = 80 };

struct line {
    const json_t *event, *detail;
    const char *arrow;   /* "→" and "←" where the task enters a stage */
    enum style style;    /* of the words */
    struct buffer words; /* empty: of no interest to people */
};

static bool is(const char *text, const char *word)
{
    return text && strcmp(text, word) == 0;
}

static const char *or_else(const char *text, const char *other)
{
    return text && *text ? text : other;
}

/* ---- kinds of events ---- */

static void say_transition(struct line *line)
{
    const char *from = text_field(line->detail, "from"), *to = text_field(line->detail, "to");
    const char *why = or_else(text_reason(text_field(line->detail, "why")), "?");
    const char *actor = text_field(line->detail, "actor");
    enum stage old = from ? stage_by_name(from) : STAGE_COUNT;
    enum stage new = to ? stage_by_name(to) : STAGE_COUNT;
    bool back = old < STAGE_COUNT && new < old;
    line->arrow = back ? "←" : "→";
    line->style = back                     ? STYLE_WARNING
                  : new == STAGE_DONE      ? STYLE_GOOD
                  : new == STAGE_CANCELLED ? STYLE_BAD
                                           : STYLE_PLAIN;
    buffer_format(&line->words, "%s%s%s%s%s", back ? "rolled back: " : "", why, actor ? " (" : "",
                  actor ? actor : "", actor ? ")" : "");
}

static void say_task(struct line *line)
{
    const char *state = text_field(line->detail, "state");
    const char *key = or_else(text_field(line->event, "task"), "KEY");
    const char *what = or_else(text_field(line->detail, "for"), "?");
    if (is(state, "created")) {
        buffer_text(&line->words, "\"");
        text_clean_cut(&line->words, or_else(text_field(line->detail, "title"), ""), TITLE_SHOWN);
        buffer_text(&line->words, "\"");
    } else if (is(state, "blocked")) {
        line->style = STYLE_BAD;
        buffer_format(&line->words, "BLOCKED %s (then: orchctl retry %s)",
                      or_else(text_field(line->detail, "reason"), "?"), key);
    } else if (is(state, "unblocked")) {
        buffer_text(&line->words, "goes on");
    } else if (is(state, "parked")) {
        const char *command = is(what, "approval")  ? "approve"
                              : is(what, "confirm") ? "confirm-deploy"
                                                    : NULL;
        line->style = STYLE_WARNING;
        buffer_format(&line->words, "waits for %s", what);
        if (command)
            buffer_format(&line->words, ": orchctl %s %s", command, key);
    }
}

/* Agents are told by their runs; reserved jobs have nothing else. */
static void say_job(struct line *line)
{
    const char *state = text_field(line->detail, "state"), *kind = text_field(line->detail, "kind");
    const char *reason = text_field(line->detail, "reason");
    if (is(state, "running") && kind && !is(kind, "agent")) {
        buffer_format(&line->words, "%s runs", kind);
    } else if (is(state, "queued") && reason) {
        line->style = STYLE_WARNING;
        buffer_format(&line->words, "tried again: %s", reason);
    }
}

static void say_run(struct line *line)
{
    const char *state = text_field(line->detail, "state");
    const char *outcome = text_field(line->detail, "outcome");
    const char *role = text_field(line->detail, "role"), *run = text_field(line->event, "run");
    if (is(state, "started") && role) {
        line->style = STYLE_BUSY;
        buffer_format(&line->words, "%s works (%s)", role, or_else(run, "?"));
    } else if (is(state, "ended") && !is(outcome, "succeeded")) {
        line->style = STYLE_WARNING;
        buffer_format(&line->words, "%s %s: %s", or_else(role, "job"), or_else(outcome, "ended"),
                      or_else(text_field(line->detail, "reason"), "?"));
    }
}

static void say_effect(struct line *line)
{
    const char *state = text_field(line->detail, "state");
    const char *reason = text_field(line->detail, "reason");
    if (!reason || is(state, "delivered"))
        return;
    line->style = STYLE_WARNING;
    buffer_format(&line->words, "%s %s: %s", or_else(text_field(line->detail, "kind"), "effect"),
                  or_else(state, "?"), reason);
}

static void say_alert(struct line *line)
{
    line->style = STYLE_BAD;
    buffer_format(
        &line->words, "ALERT %s",
        or_else(text_field(line->detail, "text"), or_else(text_field(line->detail, "key"), "?")));
}

static void say_alert_cleared(struct line *line)
{
    line->style = STYLE_GOOD;
    buffer_format(&line->words, "alert over: %s", or_else(text_field(line->detail, "key"), "?"));
}

static void say_service(struct line *line)
{
    line->style = STYLE_WARNING;
    buffer_format(
        &line->words, "%s: %s", or_else(text_field(line->event, "service"), "service"),
        or_else(text_field(line->detail, "text"), or_else(text_field(line->detail, "fault"), "?")));
}

static void say_pairs(struct line *line, const char *name)
{
    const char *field;
    json_t *value;
    buffer_text(&line->words, name);
    json_object_foreach((json_t *)line->detail, field, value)
    {
        char *text = json_is_string(value) ? xstrdup(json_string_value(value))
                                           : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        if (!json_is_null(value))
            buffer_format(&line->words, " %s=%s", field, text ? text : "?");
        free(text);
    }
}

/* What an operator did to the claims or to a repository. */
static void say_operator(struct line *line)
{
    const char *repo = text_field(line->detail, "repo");
    const char *project = text_field(line->detail, "project");
    const char *reason = text_field(line->detail, "reason");
    line->style = STYLE_WARNING;
    buffer_format(
        &line->words, "%s%s%s %s by %s%s%s", repo ? repo : "claims", project ? " of " : "",
        project ? project : "", or_else(text_field(line->detail, "state"), "changed"),
        or_else(text_field(line->detail, "actor"), "?"), reason ? ": " : "", reason ? reason : "");
}

static void nothing(struct line *line)
{
    (void)line;
}

static const struct {
    const char *event;
    void (*say)(struct line *line);
} kinds[] = {{"transition", say_transition},
             {"task", say_task},
             {"job", say_job},
             {"run", say_run},
             {"effect", say_effect},
             {"alert", say_alert},
             {"alert-cleared", say_alert_cleared},
             {"service", say_service},
             {"queue", say_operator},
             {"freeze", say_operator},
             {"lease", nothing}};

static void say(struct line *line, bool all)
{
    const char *name = or_else(text_field(line->event, "event"), "event");
    size_t i = 0;
    while (i < sizeof kinds / sizeof *kinds && !is(kinds[i].event, name))
        i++;
    if (i < sizeof kinds / sizeof *kinds)
        kinds[i].say(line);
    else /* of operators and of later versions: better said plainly than not at all */
        say_pairs(line, name);
    if (!line->words.size && all) {
        line->style = STYLE_DIM;
        say_pairs(line, name);
    }
}

static void add_padded(struct buffer *out, const struct view *view, enum style style,
                       const char *text, size_t width)
{
    text_paint(out, view, style, text);
    for (size_t size = strlen(text); size < width; size++)
        buffer_text(out, " ");
}

void text_event(const json_t *event, bool all, const struct view *view, struct buffer *out)
{
    struct line line = {.event = event, .detail = json_object_get(event, "detail")};
    const char *stage = text_field(event, "stage");
    char at[TEXT_VALUE];
    say(&line, all);
    if (line.words.size) {
        text_moment(text_field(event, "ts"), view, at);
        add_padded(out, view, STYLE_DIM, at, 0);
        buffer_text(out, "  ");
        add_padded(out, view, STYLE_PLAIN, or_else(text_field(event, "task"), ""), KEY_WIDTH);
        buffer_format(out, " %s ", line.arrow ? line.arrow : " ");
        add_padded(out, view, line.arrow ? line.style : STYLE_DIM, or_else(stage, ""), STAGE_WIDTH);
        buffer_text(out, "  ");
        text_paint(out, view, line.style, line.words.data);
        buffer_text(out, "\n");
    }
    buffer_free(&line.words);
}
