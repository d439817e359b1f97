/* PURE: no I/O */
#include "services/scheduler/wording.h"

#include <string.h>
#include "protocol/blocks.h"
#include "services/scheduler/findings.h"
#include "services/scheduler/wording_parts.h"

enum {
    FINDINGS_ROOM = 24 * 1024, /* leaves the rest of a comment its words */
    LOG_TAIL_ROOM = 4 * 1024,
    LINKS_MAX = 32,
};

static void write_worker(const struct wording_facts *facts, struct buffer *out)
{
    if (part_given(facts->role))
        part_name(facts->role, out);
    else
        part_name(part_given(facts->kind) ? facts->kind : "agent", out);
}

static const char *label(enum stage stage)
{
    return stage < STAGE_COUNT ? stage_table[stage].label : "the stage before";
}

static void write_reason(const struct wording_facts *facts, struct buffer *out)
{
    part_line(part_given(facts->reason_text) ? facts->reason_text : reason_text(facts->reason),
              out);
}

static void write_actor(const struct wording_facts *facts, struct buffer *out)
{
    if (!part_given(facts->actor))
        return;
    buffer_text(out, " by ");
    part_line(facts->actor, out);
}

static void write_links(const struct wording_facts *facts, struct buffer *out)
{
    size_t count = facts->link_count < LINKS_MAX ? facts->link_count : LINKS_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct wording_link *link = &facts->links[i];
        buffer_text(out, i == 0 ? "\n\n" : " · ");
        /* a target with these would not be one link any more */
        if (!part_given(link->url) || strpbrk(link->url, " \t\r\n()<>") != NULL) {
            part_line(part_given(link->text) ? link->text : "", out);
            continue;
        }
        buffer_text(out, "[");
        part_line(part_given(link->text) ? link->text : link->url, out);
        buffer_format(out, "](%.*s)", (int)text_cut(link->url, 2 * PART_LINE_MAX), link->url);
    }
    if (facts->link_count > count)
        buffer_format(out, " · %zu more", facts->link_count - count);
}

static void write_findings(const struct wording_facts *facts, struct buffer *out)
{
    if (json_array_size(facts->findings) == 0)
        return;
    buffer_text(out, "\n\nFindings:\n\n");
    findings_write(facts->findings, FINDINGS_ROOM, out);
}

static void write_log_tail(const struct wording_facts *facts, struct buffer *out)
{
    if (!part_given(facts->log_tail))
        return;
    /* the end is what tells; from the beginning of a character */
    const char *tail = facts->log_tail;
    size_t size = strlen(tail), room = LOG_TAIL_ROOM / 2;
    if (size > room)
        tail += size - room;
    while (((unsigned char)*tail & 0xC0) == 0x80)
        tail++;
    buffer_text(out, "\n\nLast lines of the log:\n\n");
    if (!fenced_write(tail, LOG_TAIL_ROOM, out))
        buffer_text(out, "(not shown)\n");
}

/* ---- templates ---- */

static void agent_started(const struct wording_facts *facts, struct buffer *out)
{
    write_worker(facts, out);
    buffer_format(out, " started · attempt %d", facts->attempt);
    write_links(facts, out);
}

static void agent_finished(const struct wording_facts *facts, struct buffer *out)
{
    write_worker(facts, out);
    if (facts->succeeded) {
        buffer_text(out, " done");
    } else {
        buffer_text(out, " failed: ");
        write_reason(facts, out);
    }
    if (part_given(facts->role)) {
        buffer_text(out, " · ");
        wording_usage(&facts->usage, out);
    }
    buffer_format(out, " · attempt %d", facts->attempt);
    if (part_given(facts->denied_tools)) {
        buffer_text(out, "\n\nRefused to it, while it succeeded: ");
        part_line(facts->denied_tools, out);
    }
    write_links(facts, out);
}

static void approval_request(const struct wording_facts *facts, struct buffer *out)
{
    buffer_format(out,
                  "The analysis is ready. To go on, move the issue to **%s** or comment "
                  "`:approved:`; to have it done again with your comments, move it to **%s**; to "
                  "end it, **%s**.",
                  status_table[STATUS_APPROVED].name, status_table[STATUS_TO_ANALYSE].name,
                  status_table[STATUS_STOP].name);
    write_links(facts, out);
}

static void confirm_request(const struct wording_facts *facts, struct buffer *out)
{
    buffer_format(out, "Ready to deploy. To ship it, move the issue to **%s**; to end it, **%s**.",
                  status_table[STATUS_CONFIRM_DEPLOY].name, status_table[STATUS_STOP].name);
    if (part_given(facts->head)) {
        buffer_text(out, "\n\nWhat is confirmed: commit ");
        part_code(facts->head, out);
    }
    write_links(facts, out);
}

static void approved(const struct wording_facts *facts, struct buffer *out)
{
    if (facts->reason == REASON_AUTO_APPROVED) {
        buffer_text(out, "The analysis is approved without a person: ");
        write_reason(facts, out);
    } else {
        buffer_text(out, "The analysis is approved");
        write_actor(facts, out);
    }
    buffer_text(out, ".");
}

static void confirmed(const struct wording_facts *facts, struct buffer *out)
{
    buffer_text(out, "The deploy goes on without a person: ");
    write_reason(facts, out);
    buffer_text(out, ".");
}

static void transition(const struct wording_facts *facts, struct buffer *out)
{
    if (facts->from < STAGE_COUNT && facts->from != STAGE_CREATED)
        buffer_format(out, "%s → ", label(facts->from));
    buffer_format(out, "**%s**: ", label(facts->to));
    write_reason(facts, out);
    write_links(facts, out);
}

static void rollback(const struct wording_facts *facts, struct buffer *out)
{
    buffer_format(out, "%s → **%s**, rollback %d of %d: ", label(facts->from),
                  label(STAGE_DEVELOPMENT), facts->rollbacks, facts->max_rollbacks);
    write_reason(facts, out);
    write_links(facts, out);
    write_findings(facts, out);
}

static void returned(const struct wording_facts *facts, struct buffer *out)
{
    buffer_format(out, "%s → **%s**, not counted as a rollback: ", label(facts->from),
                  label(STAGE_REVIEW));
    write_reason(facts, out);
    write_links(facts, out);
    write_findings(facts, out);
}

static void merged_outside(const struct wording_facts *facts, struct buffer *out)
{
    buffer_text(out, "The pull request was merged by hand");
    if (part_given(facts->merged_commit)) {
        buffer_text(out, " as ");
        part_code(facts->merged_commit, out);
    }
    buffer_text(out, ". The task ends here: nothing was deployed by us, and no gate was asked.");
    write_links(facts, out);
}

static void dependency(const struct wording_facts *facts, struct buffer *out)
{
    buffer_format(out, "It does not begin (%s): ", reason_code(facts->reason));
    write_reason(facts, out);
    buffer_text(out, ". Correct `Depends-On:` in the description; it goes on by itself then.");
}

static void blocked(const struct wording_facts *facts, struct buffer *out)
{
    buffer_text(out, "**Blocked**");
    if (facts->from < STAGE_COUNT)
        buffer_format(out, " in %s", label(facts->from));
    buffer_format(out, " (%s): ", reason_code(facts->reason));
    write_reason(facts, out);
    const struct block_words *words = block_words_of(reason_code(facts->reason));
    const char *go_on = status_table[STATUS_TO_ANALYSE].name,
               *stop = status_table[STATUS_STOP].name;
    buffer_text(out, "\n\nNothing more is spent until a person acts: ");
    if (words)
        buffer_format(out, "%s. Then move the issue to **%s** (%s), or to **%s** to end it.",
                      words->first, go_on, words->then, stop);
    else
        buffer_format(out, "move the issue to **%s** to go on, or to **%s** to end it.", go_on,
                      stop);
    write_links(facts, out);
    write_findings(facts, out);
    write_log_tail(facts, out);
}

static void resumed(const struct wording_facts *facts, struct buffer *out)
{
    buffer_text(out, "Goes on");
    if (facts->to < STAGE_COUNT)
        buffer_format(out, " in %s", label(facts->to));
    write_actor(facts, out);
    buffer_text(out, ": ");
    write_reason(facts, out);
}

static void stopped(const struct wording_facts *facts, struct buffer *out)
{
    buffer_text(out, "Stopped");
    write_actor(facts, out);
    buffer_text(out, ".");
    if (part_given(facts->merged_commit)) {
        buffer_text(out, " Merged as ");
        part_code(facts->merged_commit, out);
        buffer_text(out, ", not deployed");
        if (part_given(facts->reason_text)) {
            buffer_text(out, ": ");
            write_reason(facts, out);
        }
        buffer_text(out, ".");
    }
    buffer_text(out, part_given(facts->preserved_ref)
                         ? " What was done is kept under "
                         : " What was done is kept under a preserved ref");
    if (part_given(facts->preserved_ref))
        part_code(facts->preserved_ref, out);
    buffer_text(out, ".");
    write_findings(facts, out);
    write_log_tail(facts, out);
}

static void stop_deferred(const struct wording_facts *facts, struct buffer *out)
{
    (void)facts;
    buffer_text(out, "STOP is noted. An irreversible step is running; it is applied when that has "
                     "ended.");
}

static void stop_too_late(const struct wording_facts *facts, struct buffer *out)
{
    buffer_text(out, "STOP came too late: deployed");
    if (part_given(facts->merged_commit)) {
        buffer_text(out, " as ");
        part_code(facts->merged_commit, out);
    }
    buffer_text(out, ".");
}

static void refused(const struct wording_facts *facts, struct buffer *out)
{
    if (part_given(facts->command)) {
        buffer_text(out, "**");
        part_line(facts->command, out);
        buffer_text(out, "** was not acted on: ");
    } else {
        buffer_text(out, "Not acted on: ");
    }
    write_reason(facts, out);
    buffer_text(out, ".");
}

static void summary(const struct wording_facts *facts, struct buffer *out)
{
    buffer_text(out, "**Done**");
    if (part_given(facts->key)) {
        buffer_text(out, ": ");
        part_line(facts->key, out);
    }
    if (part_given(facts->title)) {
        buffer_text(out, " ");
        part_line(facts->title, out);
    }
    if (part_given(facts->merged_commit)) {
        buffer_text(out, ", merged as ");
        part_code(facts->merged_commit, out);
    }
    write_links(facts, out);
    part_table(facts->runs, facts->run_count, out);
}

static void (*const template_table[TEMPLATE_COUNT])(const struct wording_facts *,
                                                    struct buffer *) = {
    [TEMPLATE_AGENT_STARTED] = agent_started,
    [TEMPLATE_AGENT_FINISHED] = agent_finished,
    [TEMPLATE_APPROVAL_REQUEST] = approval_request,
    [TEMPLATE_CONFIRM_REQUEST] = confirm_request,
    [TEMPLATE_APPROVED] = approved,
    [TEMPLATE_CONFIRMED] = confirmed,
    [TEMPLATE_TRANSITION] = transition,
    [TEMPLATE_ROLLBACK] = rollback,
    [TEMPLATE_RETURN] = returned,
    [TEMPLATE_MERGED_OUTSIDE] = merged_outside,
    [TEMPLATE_DEPENDENCY] = dependency,
    [TEMPLATE_BLOCKED] = blocked,
    [TEMPLATE_RESUMED] = resumed,
    [TEMPLATE_STOPPED] = stopped,
    [TEMPLATE_STOP_DEFERRED] = stop_deferred,
    [TEMPLATE_STOP_TOO_LATE] = stop_too_late,
    [TEMPLATE_REFUSED] = refused,
    [TEMPLATE_SUMMARY] = summary,
};

void wording_write(enum message_template template, const struct wording_facts *facts,
                   struct buffer *out)
{
    static const char cut_note[] = "\n…";
    struct buffer text = {0};
    if (template <TEMPLATE_COUNT)
        template_table[template](facts, &text);
    if (text.size <= WORDING_MAX) {
        buffer_text(out, text.data != NULL ? text.data : "");
    } else {
        buffer_add(out, text.data, text_cut(text.data, WORDING_MAX - sizeof cut_note));
        buffer_text(out, cut_note);
    }
    buffer_free(&text);
}
