/* Environment variables over the file: names are computed from the table, never listed. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/config_internal.h"

extern char **environ;

static char *parse_name(const char *variable, const char **value)
{
    *value = strchr(variable, '=');
    if (!*value)
        return NULL;
    char *name = xstrndup(variable, (size_t)(*value - variable));
    (*value)++;
    return name;
}

/* As the file would name it. Caller frees. */
static char *dotted(const struct config_key *key)
{
    return *key->section ? xformat("%s.%s", key->section, key->name) : xstrdup(key->name);
}

/* A variable of a list or map is JSON, which the YAML parser reads; of a scalar, its bare text. */
static void set_from_text(struct config_loader *loader, struct config *config,
                          const struct config_key *key, const char *name, const char *value)
{
    char *full = dotted(key);
    struct config_origin origin = {name, 0, full};
    if (key->type != CONFIG_LIST && key->type != CONFIG_MAP) {
        struct yaml_tree scalar = {YAML_SCALAR, 0, NULL, xstrdup(value), true, NULL, NULL};
        config_set(loader, key, config, &scalar, &origin);
        free(scalar.text);
        free(full);
        return;
    }
    char *fault = NULL;
    struct yaml_tree *tree = yaml_tree_parse(value, strlen(value), &fault);
    if (tree)
        config_set(loader, key, config, tree, &origin);
    else
        config_fault(loader, &origin, "no JSON: %s", fault);
    yaml_tree_free(tree);
    free(fault);
    free(full);
}

static void set_projects(struct config_loader *loader, struct config *config, const char *name,
                         const char *value)
{
    char *fault = NULL;
    struct yaml_tree *tree = yaml_tree_parse(value, strlen(value), &fault);
    struct config_origin origin = {name, 0, "projects"};
    if (tree) {
        config_drop_projects(config); /* the variable replaces the file's list */
        config_set_projects(loader, config, tree, name, false);
    } else {
        config_fault(loader, &origin, "no JSON: %s", fault);
    }
    yaml_tree_free(tree);
    free(fault);
}

static bool has_file_variable(const char *name)
{
    char *twin = xformat("%s_FILE", name);
    const char *value = getenv(twin);
    free(twin);
    return value && *value;
}

/* ORCH_AGENT_MODEL_DEVELOPER: the longest key of type map that is a prefix. */
static bool set_map_entry(struct config_loader *loader, struct config *config, const char *name,
                          const char *value)
{
    const struct config_key *best = NULL;
    size_t best_size = 0;
    for (size_t i = 0; i < config_key_count; i++) {
        if (config_keys[i].type != CONFIG_MAP)
            continue;
        char *own = config_env_name(&config_keys[i]);
        size_t size = strlen(own);
        if (size > best_size && strncmp(own, name, size) == 0 && name[size] == '_' &&
            name[size + 1]) {
            best = &config_keys[i];
            best_size = size;
        }
        free(own);
    }
    if (!best)
        return false;
    char *entry = xstrdup(name + best_size + 1);
    for (char *at = entry; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    struct yaml_tree child = {YAML_SCALAR, 0, entry, xstrdup(value), true, NULL, NULL};
    struct yaml_tree map = {YAML_MAP, 0, NULL, NULL, false, &child, NULL};
    char *full = dotted(best);
    struct config_origin origin = {name, 0, full};
    if ((best->flags & CONFIG_SECRET_ENTRIES) && *value && has_file_variable(name))
        config_fault(loader, &origin, "given beside %s_FILE; only one of the two", name);
    config_set(loader, best, config, &map, &origin);
    free(child.text);
    free(entry);
    free(full);
    return true;
}

static bool set_key(struct config_loader *loader, struct config *config, const char *name,
                    const char *value)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        char *own = config_env_name(key);
        size_t size = strlen(own);
        bool same = strcmp(own, name) == 0;
        bool twin = (key->flags & CONFIG_SECRET) && strncmp(own, name, size) == 0 &&
                    strcmp(name + size, "_FILE") == 0;
        free(own);
        char *full = same || twin ? dotted(key) : NULL;
        struct config_origin origin = {name, 0, full};
        bool both = same && (key->flags & CONFIG_SECRET) && has_file_variable(name);
        if (both)
            config_fault(loader, &origin, "given beside %s_FILE; only one of the two", name);
        else if (same)
            set_from_text(loader, config, key, name, value);
        else if (twin && *value)
            config_note_secret(loader, key, NULL, value, &origin);
        free(full);
        if (same || twin)
            return true;
    }
    return false;
}

static bool is_other(const char *name)
{
    for (const char *const *at = config_other_variables; *at; at++) {
        size_t size = strlen(*at);
        if ((*at)[size - 1] == '_' ? strncmp(*at, name, size) == 0 : strcmp(*at, name) == 0)
            return true;
    }
    return false;
}

void config_apply_environment(struct config_loader *loader, struct config *config)
{
    for (char **variable = environ; *variable; variable++) {
        if (strncmp(*variable, "ORCH_", 5) != 0)
            continue;
        const char *value;
        char *name = parse_name(*variable, &value);
        if (!name)
            continue;
        if (strcmp(name, "ORCH_PROJECTS") == 0 || strcmp(name, "ORCH_PROJECTS_JSON") == 0)
            set_projects(loader, config, name, value);
        else if (strcmp(name, "ORCH_AGENT_TIMEOUT_OVERRIDES_JSON") == 0)
            set_key(loader, config, "ORCH_AGENT_TIMEOUT_OVERRIDES", value);
        else if (!is_other(name) && !set_key(loader, config, name, value) &&
                 !set_map_entry(loader, config, name, value))
            buffer_format(&loader->warnings, "%s%s: unknown variable, ignored",
                          loader->warnings.size ? "\n" : "", name);
        free(name);
    }
}
