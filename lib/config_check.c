/* What no single key shows: required ones, and what one key's value asks of another. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/config_internal.h"

/* The line of the field in the file, where it stands there. */
#define LINE_OF(loader, field) line_of((loader), offsetof(struct config, field))

static int line_of(const struct config_loader *loader, size_t offset)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (config_keys[i].offset == offset)
            return loader->key_lines[i];
    }
    return 0;
}

static void fault_at(struct config_loader *loader, int line, const char *key, const char *text)
{
    struct config_origin origin = {loader->file, line, key};
    config_fault(loader, &origin, "%s", text);
}

static bool is_listen_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || !colon[1] || strlen(colon + 1) > 5)
        return false;
    return strspn(colon + 1, "0123456789") == strlen(colon + 1) && atoi(colon + 1) <= 65535;
}

static bool is_project_key(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (!isalnum((unsigned char)*at) && *at != '_')
            return false;
    }
    return *text != '\0';
}

static void check_project(struct config_loader *loader, const struct config *config, size_t index)
{
    const struct project *project = &config->projects[index];
    char *name = xformat("projects[%zu]", index);
    struct config_origin origin = {loader->file, loader->project_lines[index], name};
    if (!*project->key)
        config_fault(loader, &origin, "key is missing");
    else if (!is_project_key(project->key))
        config_fault(loader, &origin, "key \"%s\" has other characters than letters, digits and _",
                     project->key);
    if (!*project->repo)
        config_fault(loader, &origin, "repo is missing");
    for (size_t i = 0; i < index; i++) {
        if (*project->key && strcmp(config->projects[i].key, project->key) == 0)
            config_fault(loader, &origin, "key %s is given to another project too", project->key);
    }
    if (strcmp(project->agent, "command") == 0 && json_array_size(project->agent_command) == 0)
        config_fault(loader, &origin, "agent_command is missing (agent: command)");
    if (strcmp(project->tracker, "plane") == 0) {
        if (!*config->plane_base_url)
            config_fault(loader, &origin, "plane.base_url is missing (tracker: plane)");
        if (!*project->plane_workspace || !*project->plane_project)
            config_fault(loader, &origin,
                         "plane_workspace or plane_project is missing (tracker: plane)");
    }
    if (strcmp(project->forge, "gitea") == 0 && !*config->gitea_base_url)
        config_fault(loader, &origin, "gitea.base_url is missing (forge: gitea)");
    free(name);
}

void config_check(struct config_loader *loader, const struct config *config)
{
    if (!*config->home)
        fault_at(loader, LINE_OF(loader, home), "home", "missing");
    else if (*config->home != '/')
        fault_at(loader, LINE_OF(loader, home), "home", "must be an absolute path");
    if (*config->run_dir != '/')
        fault_at(loader, LINE_OF(loader, run_dir), "run_dir", "must be an absolute path");
    if (!is_listen_address(config->http_listen))
        fault_at(loader, LINE_OF(loader, http_listen), "http.listen", "must be address:port");
    if (config->supervisor_backoff_max_ms < config->supervisor_backoff_ms)
        fault_at(loader, LINE_OF(loader, supervisor_backoff_max_ms), "supervisor.backoff_max_ms",
                 "is less than supervisor.backoff_ms");
    if (config->retry_max_s < config->retry_base_s)
        fault_at(loader, LINE_OF(loader, retry_max_s), "retry.max_s", "is less than retry.base_s");
    for (size_t i = 0; i < config->project_count; i++)
        check_project(loader, config, i);
}
