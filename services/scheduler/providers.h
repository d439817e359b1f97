/* The providers' rows (table breakers): what every agent's run says of its provider is kept there,
 * and said once per change. The rules are provider_rules.c's. */
#ifndef ORCH_PROVIDERS_H
#define ORCH_PROVIDERS_H

#include "services/scheduler/provider_rules.h"
#include "services/scheduler/rows.h"

enum { PROVIDER_NAME_SIZE = 96, PROVIDER_TEXT_SIZE = 300 };

/* "claude", "codex"; a command of one's own is a provider per project: "command:SHOP". */
void provider_name(const struct project *project, char name[PROVIDER_NAME_SIZE]);

/* As a claim sees it. */
struct provider_row {
    struct provider_state state;
    int64_t probe; /* the job whose run is the probe, while that runs; 0 */
    char text[PROVIDER_TEXT_SIZE];
};
void provider_read(struct scheduler *scheduler, const char *name, struct provider_row *row);

/* A run of this job ended; text: what it said. Tells whether the provider is held now. */
bool provider_learn(struct scheduler *scheduler, const struct project *project, int64_t job,
                    enum provider_word word, int64_t resets_ms, const char *text);
/* The job is claimed while its provider is held: it is the probe. */
void provider_probe(struct scheduler *scheduler, const struct project *project, int64_t job);
/* The run's agent has got an answer from its provider. */
void provider_answered(struct scheduler *scheduler, const char *run);
/* A person says that it was mended: the next probe is due now. */
void providers_try_now(struct scheduler *scheduler);

struct provider_limits provider_limits(const struct config *config);

#endif
