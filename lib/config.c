/* Loading: defaults, then the file, then the environment, then the checks; and the look-ups. */
#include "lib/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/config_internal.h"
#include "lib/file.h"
#include "protocol/vocabulary.h"

enum { FILE_MAX_BYTES = 4 * 1024 * 1024 };

const char *config_path(const char *explicit_path)
{
    if (explicit_path)
        return explicit_path;
    const char *named = getenv("ORCH_CONFIG");
    if (named && *named)
        return named;
    static const char installed[] = ORCH_PREFIX "/etc/orchestrator/orchestrator.yaml";
    return file_exists(installed) ? installed : "/etc/orchestrator/orchestrator.yaml";
}

static const struct config_key *find_key(const struct config_key *keys, size_t count,
                                         const char *section, const char *name, bool *twin)
{
    size_t size = strlen(name), suffix = strlen("_file");
    for (size_t i = 0; i < count; i++) {
        const struct config_key *key = &keys[i];
        if (strcmp(key->section, section) != 0)
            continue;
        *twin = false;
        if (strcmp(key->name, name) == 0)
            return key;
        *twin = (key->flags & CONFIG_SECRET) && size > suffix &&
                strlen(key->name) == size - suffix &&
                strncmp(key->name, name, size - suffix) == 0 &&
                strcmp(name + size - suffix, "_file") == 0;
        if (*twin)
            return key;
    }
    return NULL;
}

static const struct yaml_tree *member(const struct yaml_tree *map, const char *name)
{
    const struct yaml_tree *at = map->child;
    while (at && strcmp(at->name, name) != 0)
        at = at->next;
    return at;
}

static bool is_section(const char *name)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (*config_keys[i].section && strcmp(config_keys[i].section, name) == 0)
            return true;
    }
    return false;
}

/* Every member of one map against one section of the table. */
static void load_members(struct config_loader *loader, const struct yaml_tree *map,
                         const struct config_key *keys, size_t count, const char *section,
                         void *base, const char *prefix, const char *where, bool lines)
{
    for (const struct yaml_tree *at = map->child; at; at = at->next) {
        if (!*section && (is_section(at->name) || strcmp(at->name, "projects") == 0))
            continue;
        char *name = xformat("%s%s", prefix, at->name);
        struct config_origin origin = {where, lines ? at->line : 0, name};
        bool twin;
        const struct config_key *key = find_key(keys, count, section, at->name, &twin);
        if (!key)
            config_fault(loader, &origin, "unknown key");
        else if (twin && member(map, key->name))
            config_fault(loader, &origin, "given beside %s; only one of the two", key->name);
        else if (twin && at->kind != YAML_SCALAR)
            config_fault(loader, &origin, "must be a path");
        else if (twin)
            config_note_secret(loader, key, NULL, at->text, &origin);
        else
            config_set(loader, key, base, at, &origin);
        free(name);
    }
}

static void fault_not_map(struct config_loader *loader, const char *prefix, const char *where,
                          int line)
{
    char *name = xstrndup(prefix, strlen(prefix) - 1);
    struct config_origin origin = {where, line, name};
    config_fault(loader, &origin, "must be a map of keys");
    free(name);
}

void config_set_projects(struct config_loader *loader, struct config *config,
                         const struct yaml_tree *list, const char *where, bool lines)
{
    struct config_origin origin = {where, lines ? list->line : 0, "projects"};
    if (list->kind != YAML_LIST) {
        config_fault(loader, &origin, "must be a list of projects");
        return;
    }
    for (const struct yaml_tree *at = list->child; at; at = at->next) {
        size_t index = config->project_count++;
        config->projects =
            xrealloc(config->projects, config->project_count * sizeof *config->projects);
        loader->project_lines =
            xrealloc(loader->project_lines, config->project_count * sizeof(int));
        loader->project_lines[index] = lines ? at->line : 0;
        struct project *project = &config->projects[index];
        memset(project, 0, sizeof *project);
        for (size_t i = 0; i < project_key_count; i++)
            config_set_default(&project_keys[i], project);
        char *prefix = xformat("projects[%zu].", index);
        if (at->kind == YAML_MAP)
            load_members(loader, at, project_keys, project_key_count, "projects", project, prefix,
                         where, lines);
        else
            fault_not_map(loader, prefix, where, lines ? at->line : 0);
        free(prefix);
    }
}

static void load_file(struct config_loader *loader, struct config *config,
                      const struct yaml_tree *tree)
{
    if (tree->kind != YAML_MAP) {
        struct config_origin origin = {loader->file, tree->line, "(file)"};
        config_fault(loader, &origin, "must be a map of keys");
        return;
    }
    load_members(loader, tree, config_keys, config_key_count, "", config, "", loader->file, true);
    for (const struct yaml_tree *at = tree->child; at; at = at->next) {
        struct config_origin origin = {loader->file, at->line, at->name};
        if (strcmp(at->name, "projects") == 0) {
            config_set_projects(loader, config, at, loader->file, true);
        } else if (is_section(at->name)) {
            char *prefix = xformat("%s.", at->name);
            if (at->kind == YAML_MAP)
                load_members(loader, at, config_keys, config_key_count, at->name, config, prefix,
                             loader->file, true);
            else if (at->kind != YAML_SCALAR || *at->text)
                config_fault(loader, &origin, "must be a map of keys");
            free(prefix);
        }
    }
}

static struct yaml_tree *read_tree(struct config_loader *loader, const char *path)
{
    size_t size;
    struct config_origin origin = {path, 0, "(file)"};
    char *text = file_read(path, FILE_MAX_BYTES, &size), *fault = NULL;
    if (!text) {
        config_fault(loader, &origin, "cannot be read: %s", strerror(errno));
        return NULL;
    }
    struct yaml_tree *tree = yaml_tree_parse_all(text, size, &fault);
    char *rest = fault;
    for (char *line; (line = strsep(&rest, "\n"));)
        buffer_format(&loader->faults, "%s%s:%s", loader->faults.size ? "\n" : "", path, line);
    free(fault);
    free(text);
    return tree;
}

struct config *config_load(const char *path, char **faults, char **warnings)
{
    struct config_loader loader = {.file = path};
    loader.key_lines = xcalloc(config_key_count, sizeof *loader.key_lines);
    struct config *config = xcalloc(1, sizeof *config);
    config->file = xstrdup(path);
    config->secret_files = json_array();
    for (size_t i = 0; i < config_key_count; i++)
        config_set_default(&config_keys[i], config);
    struct yaml_tree *tree = read_tree(&loader, path);
    if (tree) {
        load_file(&loader, config, tree);
        config_apply_environment(&loader, config);
        config_read_secrets(&loader, config);
        config_check(&loader, config);
    }
    yaml_tree_free(tree);
    free(loader.key_lines);
    free(loader.project_lines);
    *faults = loader.faults.size ? buffer_take(&loader.faults) : NULL;
    *warnings = loader.warnings.size ? buffer_take(&loader.warnings) : NULL;
    if (!*faults)
        return config;
    config_free(config);
    return NULL;
}

static void free_fields(const struct config_key *keys, size_t count, void *base)
{
    for (size_t i = 0; i < count; i++) {
        void *field = (char *)base + keys[i].offset;
        if (keys[i].type == CONFIG_TEXT)
            free(*(char **)field);
        else if (keys[i].type == CONFIG_LIST || keys[i].type == CONFIG_MAP)
            json_decref(*(json_t **)field);
    }
}

void config_drop_projects(struct config *config)
{
    for (size_t i = 0; i < config->project_count; i++)
        free_fields(project_keys, project_key_count, &config->projects[i]);
    free(config->projects);
    config->projects = NULL;
    config->project_count = 0;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    config_drop_projects(config);
    free_fields(config_keys, config_key_count, config);
    free(config->file);
    json_decref(config->secret_files);
    free(config);
}

const struct project *config_project(const struct config *config, const char *key)
{
    for (size_t i = 0; i < config->project_count; i++) {
        if (strcmp(config->projects[i].key, key) == 0)
            return &config->projects[i];
    }
    return NULL;
}

bool config_may_approve(const json_t *approvers, const char *person)
{
    size_t index;
    const json_t *one;
    json_array_foreach(approvers, index, one)
    {
        if (strcasecmp(json_string_value(one), person) == 0)
            return true;
    }
    return json_array_size(approvers) == 0;
}

bool config_feature_applies(bool enabled, const char *repos, const struct project *project)
{
    if (!enabled)
        return false;
    repos += strspn(repos, " ,");
    if (!*repos)
        return project->self_hosting;
    while (*repos) {
        size_t size = strcspn(repos, ","), used = size;
        while (used && repos[used - 1] == ' ')
            used--;
        if ((used == 1 && *repos == '*') ||
            (strlen(project->repo) == used && strncmp(project->repo, repos, used) == 0) ||
            (strlen(project->key) == used && strncmp(project->key, repos, used) == 0))
            return true;
        repos += size;
        repos += strspn(repos, " ,");
    }
    return false;
}

const char *config_status_name(const struct config *config, const char *logical_key)
{
    const char *own = json_string_value(json_object_get(config->plane_status_names, logical_key));
    if (own)
        return own;
    enum status status = status_by_key(logical_key);
    return status == STATUS_COUNT ? logical_key : status_table[status].name;
}

char *config_home_path(const struct config *config, const char *format, ...)
{
    va_list args;
    char *rest = NULL;
    va_start(args, format);
    int size = vasprintf(&rest, format, args);
    va_end(args);
    char *path = xformat("%s/%s", config->home, size < 0 ? "" : rest);
    free(rest);
    return path;
}
