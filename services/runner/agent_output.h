/* PURE: no I/O */
/* Reading what an agent says, line by line. Lenient: the format has no promise of stability, so
 * unknown types and keys are passed over, keys may stand in any order, and a line that is no JSON
 * is text. */
#ifndef ORCH_AGENT_OUTPUT_H
#define ORCH_AGENT_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

struct agent_output;
/* Of a driver: one line that was a JSON object goes into output. What the agent ends with becomes
 * output->result in the form of claude's result record (is_error, result, api_error_status, usage),
 * whoever says it: that is what is judged and counted. */
typedef void output_take(struct agent_output *output, json_t *record);

enum { OUTPUT_TAIL_LINES = 20, OUTPUT_TAIL_BYTES = 4000, OUTPUT_MESSAGE_ID = 80 };

struct agent_output {
    output_take *take;                                       /* NULL: output_take_stream_json */
    char session[80], version[40], model[80], last_tool[80]; /* "" unknown */
    char last_message[OUTPUT_MESSAGE_ID];
    int64_t turns;         /* assistant messages of the agent itself, each id once */
    int64_t output_tokens; /* as the messages open; the result has the total */
    json_t *result;        /* the last result record, NULL before */
    int64_t limit_resets;  /* unix seconds, where a usage limit was announced; 0 */
    bool limit_rejected;
    bool fell_back;                 /* to another model */
    char *final_text;               /* what the agent said last, where its record does not say */
    char *tail[OUTPUT_TAIL_LINES];  /* last lines for people; ring */
    bool spoken[OUTPUT_TAIL_LINES]; /* words of the model, not of its program */
    size_t tail_count;              /* lines ever */
    char *partial;                  /* an unfinished line */
    size_t partial_size, partial_room;
};

/* claude's stream-json, which programs of other makers are asked to speak too. */
output_take output_take_stream_json;

/* ---- what drivers share ---- */

/* record's text of that name, "" where it has none. Borrowed. */
const char *output_text_of(const json_t *record, const char *name);
/* Copies text, unless it is empty. */
void output_keep(char *out, size_t size, const char *text);
/* A line for people. judged: a failure without a result may be told by it, so the words of a model
 * and what turned out to be passing are not. */
void output_say(struct agent_output *output, const char *text, bool judged);

/* ---- */

void output_feed(struct agent_output *output, const char *data, size_t size);
/* The last line may lack its newline. */
void output_end(struct agent_output *output);
void output_free(struct agent_output *output);

/* The last lines, bounded, for people. Caller frees. */
char *output_tail(const struct agent_output *output);
/* The same without what the model said: it may speak of limits and failures without having met one.
 */
char *output_own_tail(const struct agent_output *output);

/* {input, output, cache_read, cache_creation} of this run from a result record; NULL where it says
 * nothing. Caller decrefs. */
json_t *output_usage(const json_t *result);

/* total_cost_usd of a result record; -1 where it says nothing. On a resumed session it covers the
 * whole session: see output_run_cost. */
double output_total_cost(const json_t *result);

/* What this run cost: total less what the session's earlier runs had reported (before; -1 unknown,
 * or the one before died without a report); the total itself where that is smaller. -1 unknown. */
double output_run_cost(double total, double before);

/* Names of the tools that were denied; an array, empty where none. Caller decrefs. */
json_t *output_denied_tools(const json_t *result);

#endif
