/* PURE: no I/O */
#include "services/scheduler/wording_parts.h"

#include <string.h>
#include "services/scheduler/findings.h"

enum { ROLES_MAX = 16 };

bool part_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Text from outside, kept to one line and without meaning as Markdown or HTML. */
void part_line(const char *text, struct buffer *out)
{
    size_t size = text_cut(text, PART_LINE_MAX);
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if ((unsigned char)c < ' ' || c == 0x7F)
            c = ' ';
        if (strchr("\\`*[]<>|", c) != NULL)
            buffer_add(out, "\\", 1);
        buffer_add(out, &c, 1);
    }
    if (text[size] != '\0')
        buffer_text(out, "…");
}

/* As code: commits, refs, branches. Backticks in it would end it. */
void part_code(const char *text, struct buffer *out)
{
    size_t size = text_cut(text, PART_LINE_MAX);
    buffer_text(out, "`");
    for (size_t i = 0; i < size; i++)
        if (text[i] != '`' && (unsigned char)text[i] >= ' ')
            buffer_add(out, &text[i], 1);
    buffer_text(out, "`");
}

/* "developer" -> "Developer" */
void part_name(const char *name, struct buffer *out)
{
    if (name[0] >= 'a' && name[0] <= 'z') {
        char first = (char)(name[0] - 'a' + 'A');
        buffer_add(out, &first, 1);
        name++;
    }
    part_line(name, out);
}

/* ---- figures ---- */

static void write_count(int64_t count, struct buffer *out)
{
    if (count < 0)
        buffer_text(out, "?");
    else if (count < 1000)
        buffer_format(out, "%lld", (long long)count);
    else if (count < 999950)
        buffer_format(out, "%.1fk", (double)count / 1e3);
    else
        buffer_format(out, "%.1fM", (double)count / 1e6);
}

static void write_cost(double cost_usd, struct buffer *out)
{
    if (cost_usd < 0)
        buffer_text(out, "cost unknown");
    else
        buffer_format(out, "$%.2f", cost_usd);
}

static int64_t known(int64_t count)
{
    return count > 0 ? count : 0;
}

/* -1 where none of its parts is known. */
static int64_t all_input(const struct wording_usage *usage)
{
    if (usage->input < 0 && usage->cache_read < 0 && usage->cache_creation < 0)
        return -1;
    return known(usage->input) + known(usage->cache_read) + known(usage->cache_creation);
}

static bool tokens_unknown(const struct wording_usage *usage)
{
    return all_input(usage) < 0 && usage->output < 0;
}

void wording_usage(const struct wording_usage *usage, struct buffer *out)
{
    if (tokens_unknown(usage)) {
        buffer_text(out, "usage unknown");
        if (usage->cost_usd < 0)
            return;
    } else {
        write_count(all_input(usage), out);
        buffer_text(out, " in");
        if (usage->cache_read > 0) {
            buffer_text(out, " (");
            write_count(usage->cache_read, out);
            buffer_text(out, " cached)");
        }
        buffer_text(out, " / ");
        write_count(usage->output, out);
        buffer_text(out, " out");
    }
    buffer_text(out, " · ");
    write_cost(usage->cost_usd, out);
}

static void add_known(int64_t *sum, int64_t count)
{
    if (count >= 0)
        *sum = known(*sum) + count;
}

void wording_usage_add(struct wording_usage *sum, const struct wording_usage *usage)
{
    add_known(&sum->input, usage->input);
    add_known(&sum->output, usage->output);
    add_known(&sum->cache_read, usage->cache_read);
    add_known(&sum->cache_creation, usage->cache_creation);
    if (usage->cost_usd >= 0)
        sum->cost_usd = (sum->cost_usd > 0 ? sum->cost_usd : 0) + usage->cost_usd;
}

/* ---- the table on done ---- */

struct row {
    const char *name;
    int runs;
    struct wording_usage usage;
};

static void write_row(const struct row *row, bool total, struct buffer *out)
{
    buffer_text(out, "| ");
    if (total)
        buffer_text(out, row->name);
    else
        part_name(row->name, out);
    buffer_format(out, " | %d | ", row->runs);
    write_count(all_input(&row->usage), out);
    buffer_text(out, " | ");
    write_count(row->usage.cache_read, out);
    buffer_text(out, " | ");
    write_count(row->usage.output, out);
    buffer_text(out, " | ");
    if (row->usage.cost_usd < 0)
        buffer_text(out, "?");
    else
        buffer_format(out, "$%.4f", row->usage.cost_usd);
    buffer_text(out, " |\n");
}

/* Runs without an agent spend nothing and have no row. */
static size_t sum_rows(const struct wording_run *runs, size_t run_count, struct row rows[ROLES_MAX],
                       struct row *total)
{
    size_t count = 0;
    for (size_t i = 0; i < run_count; i++) {
        const struct wording_run *run = &runs[i];
        if (!part_given(run->role))
            continue;
        size_t at = 0;
        while (at < count && strcmp(rows[at].name, run->role) != 0)
            at++;
        if (at == ROLES_MAX)
            at--; /* cannot be with our roles; the total stays right */
        else if (at == count)
            rows[count++] = (struct row){run->role, 0, WORDING_USAGE_UNKNOWN};
        rows[at].runs++;
        total->runs++;
        wording_usage_add(&rows[at].usage, &run->usage);
        wording_usage_add(&total->usage, &run->usage);
    }
    return count;
}

void part_table(const struct wording_run *runs, size_t run_count, struct buffer *out)
{
    struct row rows[ROLES_MAX], total = {"**Σ**", 0, WORDING_USAGE_UNKNOWN};
    size_t count = sum_rows(runs, run_count, rows, &total);
    if (count == 0)
        return;
    buffer_text(out, "\n\n| role | runs | in | cached | out | cost |\n"
                     "| --- | ---: | ---: | ---: | ---: | ---: |\n");
    for (size_t i = 0; i < count; i++)
        write_row(&rows[i], false, out);
    write_row(&total, true, out);
    size_t unknown = 0;
    for (size_t i = 0; i < run_count; i++)
        unknown += part_given(runs[i].role) && tokens_unknown(&runs[i].usage);
    if (unknown > 0)
        buffer_format(out, "\n%zu of %d runs told no usage; the sums are without them.\n", unknown,
                      total.runs);
}
