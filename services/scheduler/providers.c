#include "services/scheduler/providers.h"

#include <stdio.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/clock_text.h"
#include "lib/utf8.h"
#include "services/scheduler/effects.h"

void provider_name(const struct project *project, char name[PROVIDER_NAME_SIZE])
{
    if (strcmp(project->agent, "command") == 0)
        snprintf(name, PROVIDER_NAME_SIZE, "command:%s", project->key);
    else
        snprintf(name, PROVIDER_NAME_SIZE, "%s", project->agent);
}

struct provider_limits provider_limits(const struct config *config)
{
    return (struct provider_limits){
        .threshold = (int)config->breaker_threshold,
        .open_ms = config->breaker_open_s * 1000,
        .probe_ms = config->usage_limit_probe_s * 1000,
    };
}

void provider_read(struct scheduler *scheduler, const char *name, struct provider_row *row)
{
    sqlite3_stmt *found =
        store_ask(scheduler->store,
                  "SELECT b.hold, b.failures, coalesce(b.until, 0), b.reason, coalesce(j.id, 0)"
                  " FROM breakers b LEFT JOIN jobs j ON j.id = b.probe AND j.state = 'running'"
                  " WHERE b.provider = ?1",
                  "s", name);
    memset(row, 0, sizeof *row);
    if (!store_row(scheduler->store, found))
        return;
    row->state.hold = provider_hold_by_name(column_text(found, 0));
    row->state.failures = (int)column_int(found, 1);
    row->state.until_ms = column_int(found, 2);
    snprintf(row->text, sizeof row->text, "%s", column_text(found, 3));
    row->probe = column_int(found, 4);
    store_done(found);
}

/* ---- said once per change ---- */

static const char *const cures[HOLD_COUNT] = {
    [HOLD_NONE] = "",
    [HOLD_BREAKER] = "Nobody has to act: one probe is made then.",
    [HOLD_USAGE_LIMIT] = "Nobody has to act, and no attempt is counted. usage_limit.enabled: false "
                         "switches this off.",
    [HOLD_OPERATOR] =
        "Mend what it names (the key, the account, the program); no attempt is counted. "
        "orchctl resume tries it at once.",
};

static void announce(struct scheduler *scheduler, const char *name, enum provider_hold before,
                     const struct provider_state *now, const char *words)
{
    char key[PROVIDER_NAME_SIZE + 16], when[CLOCK_TEXT_SIZE], *text;
    snprintf(key, sizeof key, "provider:%s", name);
    if (before == now->hold)
        return;
    if (before != HOLD_NONE)
        alert_clear(scheduler, key);
    if (now->hold == HOLD_NONE)
        return;
    clock_text(now->until_ms, when);
    text = xformat("No agent of %s is started: %s: %s. Tried again at %s. %s", name,
                   reason_code(provider_hold_reason(now->hold)), words, when, cures[now->hold]);
    alert_raise(scheduler, key, text);
    free(text);
}

/* ---- the rows ---- */

static void write_row(struct scheduler *scheduler, const char *name,
                      const struct provider_state *state, const char *words)
{
    bool held = state->hold != HOLD_NONE;
    store_run(scheduler->store,
              "INSERT INTO breakers (provider, state, failures, until, reason, hold)"
              " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (provider) DO UPDATE SET"
              " state = excluded.state, failures = excluded.failures, until = excluded.until,"
              " reason = excluded.reason, hold = excluded.hold, probe = NULL",
              "ssinss", name, held ? "open" : "closed", (int64_t)state->failures,
              held ? state->until_ms : (int64_t)-1, words,
              held ? reason_code(provider_hold_reason(state->hold)) : NULL);
}

/* One that was there before the hold tells nothing of what came since: only the probe's good word
 * ends it. A bad one counts whoever says it. */
static bool is_heard(const struct provider_row *row, int64_t job, enum provider_word word)
{
    if (word == WORD_NOTHING)
        return row->probe == job && row->probe;
    return word != WORD_ANSWERS || row->state.hold == HOLD_NONE || row->probe == job;
}

static bool is_same(const struct provider_state *a, const struct provider_state *b)
{
    return a->hold == b->hold && a->failures == b->failures && a->until_ms == b->until_ms;
}

static void learn(struct scheduler *scheduler, const char *name, int64_t job,
                  enum provider_word word, int64_t resets_ms, const char *text)
{
    struct provider_row row;
    struct provider_limits limits = provider_limits(scheduler->config);
    provider_read(scheduler, name, &row);
    if (!is_heard(&row, job, word))
        return;
    struct provider_state next =
        provider_after(&row.state, word, resets_ms, &limits, scheduler->now_ms);
    if (is_same(&next, &row.state) && row.probe != job)
        return;
    char *words = next.hold != HOLD_NONE ? utf8_text(text, strlen(text), PROVIDER_TEXT_SIZE - 1)
                                         : xstrdup("");
    /* a probe that was interrupted said nothing new */
    write_row(scheduler, name, &next, word == WORD_NOTHING ? row.text : words);
    announce(scheduler, name, row.state.hold, &next, words);
    free(words);
}

bool provider_learn(struct scheduler *scheduler, const struct project *project, int64_t job,
                    enum provider_word word, int64_t resets_ms, const char *text)
{
    char name[PROVIDER_NAME_SIZE];
    struct provider_row row;
    provider_name(project, name);
    learn(scheduler, name, job, word, resets_ms, text);
    provider_read(scheduler, name, &row);
    return row.state.hold != HOLD_NONE;
}

void provider_probe(struct scheduler *scheduler, const struct project *project, int64_t job)
{
    char name[PROVIDER_NAME_SIZE];
    provider_name(project, name);
    store_run(scheduler->store,
              "UPDATE breakers SET probe = ?2, state = 'half-open'"
              " WHERE provider = ?1 AND hold IS NOT NULL",
              "si", name, job);
}

void provider_answered(struct scheduler *scheduler, const char *run)
{
    char *name = store_text(scheduler->store,
                            "SELECT b.provider FROM breakers b JOIN jobs j ON j.id = b.probe"
                            " WHERE b.hold IS NOT NULL AND j.run = ?1",
                            "s", run);
    int64_t job = name ? store_number(scheduler->store, 0,
                                      "SELECT probe FROM breakers WHERE provider = ?1", "s", name)
                       : 0;
    if (job)
        learn(scheduler, name, job, WORD_ANSWERS, 0, "");
    free(name);
}

void providers_try_now(struct scheduler *scheduler)
{
    store_run(scheduler->store, "UPDATE breakers SET until = ?1 WHERE hold IS NOT NULL", "i",
              scheduler->now_ms);
}
