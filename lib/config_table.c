/* PURE: no I/O */
#include "lib/config_table.h"

#include <ctype.h>

#include "lib/buffer.h"
#include "lib/config.h"

#define REQUIRED       CONFIG_REQUIRED
#define SECRET         CONFIG_SECRET
#define TEXT_VALUES    CONFIG_TEXT_VALUES
#define NUMBER_VALUES  CONFIG_NUMBER_VALUES
#define SECRET_ENTRIES CONFIG_SECRET_ENTRIES
#define ONE_OF         CONFIG_ONE_OF
#define ROLE_ENTRIES   CONFIG_ROLE_ENTRIES
#define DEFAULT_ENTRY  CONFIG_DEFAULT_ENTRY
#define STREAM_ENTRY   CONFIG_STREAM_ENTRY
#define STATUS_ENTRIES CONFIG_STATUS_ENTRIES
#define KNOWN_ENTRIES  CONFIG_KNOWN_ENTRIES

const struct config_key config_keys[] = {
#define TOP_KEY(name, type, fallback, min, max, flags, doc)                                        \
    {"", #name, CONFIG_##type, fallback, min, max, flags, doc, offsetof(struct config, name)},
#define KEY(section, name, type, fallback, min, max, flags, doc)                                   \
    {#section, #name, CONFIG_##type,                                                               \
     fallback, min,   max,                                                                         \
     flags,    doc,   offsetof(struct config, section##_##name)},
#include "lib/config_keys.def"
#undef TOP_KEY
#undef KEY
};
const size_t config_key_count = sizeof config_keys / sizeof *config_keys;

const struct config_key project_keys[] = {
#define PROJECT_KEY(name, type, fallback, min, max, flags, doc)                                    \
    {"projects", #name, CONFIG_##type,                                                             \
     fallback,   min,   max,                                                                       \
     flags,      doc,   offsetof(struct project, name)},
#include "lib/project_keys.def"
#undef PROJECT_KEY
};
const size_t project_key_count = sizeof project_keys / sizeof *project_keys;

const char *const config_type_names[] = {"text",          "integer", "number",
                                         "true or false", "list",    "map"};

/* A name that ends in _ stands for all that begin so. What an agent is told is here too: the
 * orchestrator may be started by its own agent, in a test of itself. */
const char *const config_other_variables[] = {
    "ORCH_CONFIG",    "ORCH_SV_DIR",         "ORCH_NOTIFY_FD", "ORCH_PID1",   "ORCH_URL",
    "ORCH_ROLE",      "ORCH_STAGE",          "ORCH_TASK",      "ORCH_RUN",    "ORCH_ATTEMPT",
    "ORCH_WORKSPACE", "ORCH_AGENTS_DIR",     "ORCH_TEST_",     "ORCH_STORM_", "ORCH_BENCH_",
    "ORCH_CRASH_DIR", "ORCH_OPERATOR_TOKEN", "ORCH_DEMO_",     NULL};

char *config_env_name(const struct config_key *key)
{
    char *name = *key->section ? xformat("ORCH_%s_%s", key->section, key->name)
                               : xformat("ORCH_%s", key->name);
    for (char *at = name; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    return name;
}
