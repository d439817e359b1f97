#include "lib/clock_text.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void clock_text(int64_t wall_ms, char out[CLOCK_TEXT_SIZE])
{
    int64_t seconds = wall_ms / 1000, rest = wall_ms % 1000;
    if (rest < 0) {
        rest += 1000;
        seconds--;
    }
    time_t time = (time_t)seconds;
    struct tm utc = {0}; /* a year beyond tm's own leaves it */
    gmtime_r(&time, &utc);
    unsigned year = (unsigned)(utc.tm_year + 1900) % 10000u;
    /* Bounded by hand: a wild time must not run over the caller's 25 bytes. */
    char text[80];
    snprintf(text, sizeof text, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year,
             (unsigned)utc.tm_mon + 1, (unsigned)utc.tm_mday, (unsigned)utc.tm_hour,
             (unsigned)utc.tm_min, (unsigned)utc.tm_sec, (unsigned)rest);
    memcpy(out, text, CLOCK_TEXT_SIZE - 1);
    out[CLOCK_TEXT_SIZE - 1] = '\0';
}

static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t leap_year = month > 2 ? year : year - 1;
    int64_t leaps = leap_year / 4 - leap_year / 100 + leap_year / 400;
    return year * 365 + leaps + before[month - 1] + day - 1 - (1970 * 365 + 477);
}

static int days_of_month(int year, int month)
{
    static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* Exactly count digits at *text; -1 where there are fewer. Advances. */
static int take_digits(const char **text, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (!isdigit((unsigned char)**text))
            return -1;
        value = value * 10 + (**text - '0');
    }
    return value;
}

static int64_t take_fraction(const char **text)
{
    int64_t ms = 0;
    int digits = 0;
    for ((*text)++; isdigit((unsigned char)**text); (*text)++, digits++) {
        if (digits < 3)
            ms = ms * 10 + (**text - '0');
    }
    if (digits == 0 || digits > 9)
        return -1;
    for (; digits < 3; digits++)
        ms *= 10;
    return ms;
}

/* "Z" or an offset, as minutes; false on anything else. */
static int take_offset(const char **text, int *minutes)
{
    char sign = **text;
    *minutes = 0;
    if (sign == 'Z' || sign == 'z') {
        (*text)++;
        return 1;
    }
    if (sign != '+' && sign != '-')
        return 0;
    (*text)++;
    int hour = take_digits(text, 2);
    if (**text == ':')
        (*text)++;
    int minute = take_digits(text, 2);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59)
        return 0;
    *minutes = (hour * 60 + minute) * (sign == '-' ? -1 : 1);
    return 1;
}

int64_t clock_parse(const char *text)
{
    static const char separators[] = "--T::";
    int part[6];
    for (int i = 0; i < 6; i++) {
        part[i] = take_digits(&text, i == 0 ? 4 : 2);
        if (part[i] < 0)
            return -1;
        if (i < 5) {
            if (*text != separators[i] && !(i == 2 && (*text == ' ' || *text == 't')))
                return -1;
            text++;
        }
    }
    if (part[1] < 1 || part[1] > 12 || part[2] < 1 || part[3] > 23 || part[4] > 59 || part[5] > 60)
        return -1;
    if (part[2] > days_of_month(part[0], part[1]))
        return -1;
    int64_t ms = 0;
    if (*text == '.' && (ms = take_fraction(&text)) < 0)
        return -1;
    int offset;
    if (!take_offset(&text, &offset) || *text != '\0')
        return -1;
    int64_t days = days_from_civil(part[0], (unsigned)part[1], (unsigned)part[2]);
    int64_t seconds = ((days * 24 + part[3]) * 60 + part[4] - offset) * 60 + part[5];
    int64_t result = seconds * 1000 + ms;
    return result < 0 ? -1 : result;
}
