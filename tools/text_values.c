/* PURE: no I/O */
#include "tools/text.h"

#include <stdio.h>
#include <string.h>
#include "lib/clock_text.h"

enum { DAY_MS = 24 * 60 * 60 * 1000 };

const char *text_field(const json_t *object, const char *field)
{
    return json_string_value(json_object_get(object, field));
}

long long text_number(const json_t *object, const char *field)
{
    return (long long)json_integer_value(json_object_get(object, field));
}

void text_span(int64_t seconds, char out[TEXT_VALUE])
{
    long long s = seconds > 0 ? (long long)seconds : 0;
    if (s < 60)
        snprintf(out, TEXT_VALUE, "%llds", s);
    else if (s < 3600)
        snprintf(out, TEXT_VALUE, "%lldm", s / 60);
    else if (s < 86400)
        snprintf(out, TEXT_VALUE, "%lldh %lldm", s / 3600, s / 60 % 60);
    else
        snprintf(out, TEXT_VALUE, "%lldd %lldh", s / 86400, s / 3600 % 24);
}

void text_age(const char *since_text, int64_t now_ms, char out[TEXT_VALUE])
{
    int64_t since = since_text ? clock_parse(since_text) : -1;
    if (since < 0)
        snprintf(out, TEXT_VALUE, "-");
    else
        text_span((now_ms - since) / 1000, out);
}

/* Month and day of a day number since 1970 (years from March: the leap day is the last one). */
static void day_parts(int64_t day, unsigned *month, unsigned *month_day)
{
    int64_t shifted = day + 719468;    /* days from 0000-03-01 to 1970-01-01 */
    int64_t in_era = shifted % 146097; /* the year itself is not shown */
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    int64_t from_march = (5 * in_year + 2) / 153;
    *month_day = (unsigned)(in_year - (153 * from_march + 2) / 5 + 1);
    *month = (unsigned)(from_march < 10 ? from_march + 3 : from_march - 9);
}

void text_moment(const char *at_text, const struct view *view, char out[TEXT_VALUE])
{
    int64_t at = at_text ? clock_parse(at_text) : -1;
    if (at < 0 || at + view->zone_ms < 0) {
        snprintf(out, TEXT_VALUE, "-");
        return;
    }
    at += view->zone_ms;
    int64_t day = at / DAY_MS;
    unsigned second = (unsigned)(at % DAY_MS / 1000), month, month_day;
    unsigned hour = second / 3600, minute = second / 60 % 60;
    day_parts(day, &month, &month_day);
    if (day == (view->now_ms + view->zone_ms) / DAY_MS)
        snprintf(out, TEXT_VALUE, "%02u:%02u:%02u", hour, minute, second % 60);
    else
        snprintf(out, TEXT_VALUE, "%02u-%02u %02u:%02u", month, month_day, hour, minute);
}

const char *text_reason(const char *reason)
{
    if (!reason)
        return NULL;
    size_t code = strspn(reason, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return code && strncmp(reason + code, ": ", 2) == 0 ? reason + code + 2 : reason;
}

void text_usage(const json_t *object, struct buffer *out)
{
    const json_t *tokens = json_object_get(object, "tokens");
    const json_t *cost = json_object_get(object, "cost_usd");
    if (json_is_object(tokens))
        buffer_format(out, "%lld in, %lld out", text_number(tokens, "input"),
                      text_number(tokens, "output"));
    else
        buffer_text(out, "tokens unknown");
    if (json_is_number(cost))
        buffer_format(out, ", $%.2f", json_number_value(cost));
    else
        buffer_text(out, ", cost unknown");
}

/* ---- cells ---- */

void table_add_field(struct table *table, const json_t *object, const char *field)
{
    table_add(table, text_field(object, field));
}

void table_add_number(struct table *table, const json_t *object, const char *field)
{
    char text[TEXT_VALUE] = "-";
    const json_t *value = json_object_get(object, field);
    if (json_is_integer(value))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    table_add(table, text);
}

void table_add_age(struct table *table, const json_t *object, const char *field)
{
    char text[TEXT_VALUE];
    text_age(text_field(object, field), table->view->now_ms, text);
    table_add(table, text);
}

void table_add_moment(struct table *table, const json_t *object, const char *field)
{
    char text[TEXT_VALUE];
    text_moment(text_field(object, field), table->view, text);
    table_add_style(table, text, STYLE_DIM);
}
