/* The configuration: one YAML file, every key overridable by the environment, every fault named
 * with file, line and key. The keys stand in config_keys.def and project_keys.def and nowhere else:
 * parsing, environment names, check-config, docs/configuration.md and these structs derive from
 * them.
 *
 * KEY(section, name, TYPE, default text, min, max, flags, doc)
 *   -> field config.<section>_<name>; for a top-level key the section is empty and the field
 * <name>. TYPE: TEXT (char *, never NULL) INT (int64_t) REAL (double) BOOL (bool) LIST (json array
 * of strings) MAP (json object of strings or numbers). flags: SECRET has a twin <name>_file.
 * Durations keep the unit of their name (_s, _ms).
 */
#ifndef ORCH_CONFIG_H
#define ORCH_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#define CONFIG_C_TEXT char *
#define CONFIG_C_INT  int64_t
#define CONFIG_C_REAL double
#define CONFIG_C_BOOL bool
#define CONFIG_C_LIST json_t *
#define CONFIG_C_MAP  json_t *

struct project {
#define PROJECT_KEY(name, type, fallback, min, max, flags, doc) CONFIG_C_##type name;
#include "lib/project_keys.def"
#undef PROJECT_KEY
};

struct config {
    char *file; /* where it was read from */
    json_t *secret_files; /* paths of the files that secrets were read from */
    struct project *projects;
    size_t project_count;
#define KEY(section, name, type, fallback, min, max, flags, doc) CONFIG_C_##type section##_##name;
#define TOP_KEY(name, type, fallback, min, max, flags, doc)      CONFIG_C_##type name;
#include "lib/config_keys.def"
#undef KEY
#undef TOP_KEY
};

/* The file: explicit, else ORCH_CONFIG, else the installed default. Borrows nothing. */
const char *config_path(const char *explicit_path);

/* Reads, overrides from environ, checks. Caller frees. NULL on error: *faults (caller frees) has
 * one line each, "file:line: key: what is wrong". Warnings (an unknown ORCH_*) go to *warnings in
 * the same form; NULL where none. */
struct config *config_load(const char *path, char **faults, char **warnings);
void config_free(struct config *config);

/* The effective configuration as YAML, secrets masked. Caller frees. */
char *config_show(const struct config *config);

/* Sections ("reaper", "http", "projects", "" for top keys) whose values differ: for SIGHUP. A JSON
 * array of names; caller decrefs. */
json_t *config_changed_sections(const struct config *before, const struct config *after);

const struct project *config_project(const struct config *config, const char *key);

/* approvers: plane.approvers, ids or e-mails; person: of a tracker, in any case of letters. Nobody
 * named: everybody. Pure. */
bool config_may_approve(const json_t *approvers, const char *person);

/* <feature>.enabled and .repos: true where the feature is in force for the project (repos: comma
 * separated repo values or project keys; empty = self-hosting only, "*" = all). Pure. */
bool config_feature_applies(bool enabled, const char *repos, const struct project *project);

/* Name of a status in the project's tracker, by logical key: configured or the default. Borrowed.
 */
const char *config_status_name(const struct config *config, const char *logical_key);

/* home + "/" + the formatted rest. Caller frees. */
char *config_home_path(const struct config *config, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* docs/configuration.md, generated. Caller frees. */
char *config_document(void);

#endif
