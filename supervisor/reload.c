/* SIGHUP: both configuration and sv/ are read and checked before anything of them is taken; then
 * the services whose keys or definitions changed are restarted, one by one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "supervisor/supervisor.h"

enum { READY_AGAIN_MS = 30000 }; /* so long the next one waits for the one before to be ready */

static void say_lines(bool fault, const char *lines)
{
    char line[512];
    while (lines && *lines) {
        size_t size = strcspn(lines, "\n");
        snprintf(line, sizeof line, "%.*s", (int)size, lines);
        log_line(fault ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "reload", NULL, "%s", line);
        lines += size + (lines[size] == '\n');
    }
}

/* The new configuration, or NULL after having said why it is refused. */
static struct config *read_config(const struct supervisor *supervisor)
{
    char *faults = NULL, *warnings = NULL;
    struct config *config = config_load(supervisor->config_file, &faults, &warnings);
    say_lines(true, faults);
    say_lines(false, warnings);
    free(faults);
    free(warnings);
    /* Locks, logs and folders stand there; services of the new kind beside ones of the old would be
     * two instances. */
    if (config && (strcmp(config->home, supervisor->config->home) != 0 ||
                   strcmp(config->run_dir, supervisor->config->run_dir) != 0)) {
        log_error("reload", "%s: home and run_dir take effect at the next start only",
                  supervisor->config_file);
        config_free(config);
        return NULL;
    }
    return config;
}

static bool contains(const json_t *sections, const char *name)
{
    size_t index;
    const json_t *section;
    json_array_foreach(sections, index, section)
    {
        if (strcmp(json_string_value(section), name) == 0)
            return true;
    }
    return false;
}

static bool uses_changed(const struct definition *definition, const json_t *sections)
{
    for (size_t i = 0; i < definition->section_count; i++)
        if (contains(sections, definition->sections[i]))
            return true;
    return false;
}

/* ---- the definitions ---- */

static void take_one(struct supervisor *supervisor, const struct definition *definition,
                     const json_t *sections)
{
    char fault[512];
    struct slot *slot = setup_find(supervisor, definition->name);
    bool back = slot && slot->removing, new = !slot;
    if (new)
        slot = setup_add(supervisor, definition);
    if (!slot) {
        log_error("reload", "%s: no room for more than %d services", definition->name,
                  SERVICES_MAX);
        return;
    }
    if (!new && !back)
        slot->rolling = slot->rolling || slot->definition.fingerprint != definition->fingerprint ||
                        uses_changed(definition, sections);
    slot->definition = *definition;
    slot->removing = false;
    if (setup_open(supervisor, slot, fault, sizeof fault))
        log_error("reload", "%s", fault);
    if (new)
        log_info("reload", "%s: new", definition->name);
    if (back)
        child_feed(supervisor, slot, POLICY_EVENT_UP);
}

static bool is_in(const struct definitions *definitions, const char *name)
{
    for (size_t i = 0; i < definitions->count; i++)
        if (strcmp(definitions->items[i].name, name) == 0)
            return true;
    return false;
}

static void take_definitions(struct supervisor *supervisor, const struct definitions *definitions,
                             const json_t *sections)
{
    for (size_t i = 0; i < definitions->count; i++)
        take_one(supervisor, &definitions->items[i], sections);
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (slot->removing || is_in(definitions, slot->definition.name))
            continue;
        log_info("reload", "%s: gone from %s, is stopped", slot->definition.name,
                 supervisor->sv_dir);
        slot->removing = true;
        slot->rolling = false;
        child_feed(supervisor, slot, POLICY_EVENT_DOWN);
    }
}

static void say_plan(struct supervisor *supervisor)
{
    char names[SERVICES_MAX * (SERVICE_NAME_SIZE + 2)] = "";
    size_t used = 0;
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (slot->rolling)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                                     slot->definition.name);
    }
    log_info("reload", "configuration and services taken; to be restarted: %s",
             used ? names : "nobody");
}

void reload(struct supervisor *supervisor)
{
    static struct definitions definitions;
    char fault[512];
    if (supervisor->stop)
        return;
    struct config *config = read_config(supervisor);
    if (!config) {
        log_error("reload", "the old configuration stays in force");
        return;
    }
    if (definitions_load(&definitions, supervisor->sv_dir, fault, sizeof fault)) {
        log_error("reload", "%s", fault);
        log_error("reload", "the old services and configuration stay in force");
        config_free(config);
        return;
    }
    json_t *sections = config_changed_sections(supervisor->config, config);
    config_free(supervisor->config);
    supervisor->config = config;
    setup_apply_config(supervisor);
    take_definitions(supervisor, &definitions, sections);
    json_decref(sections);
    say_plan(supervisor);
    supervisor->dirty = true;
}

/* ---- one by one ---- */

static bool is_settled(const struct supervisor *supervisor, const struct slot *slot)
{
    if (!slot->used || slot->policy.state == POLICY_STATE_UP || slot->policy.failed ||
        slot->policy.want != POLICY_WANT_UP)
        return true;
    if (clock_mono_ms() < supervisor->rolling_deadline)
        return false;
    log_warn("reload", "%s is not ready again after %d s; the next one is restarted",
             slot->definition.name, READY_AGAIN_MS / 1000);
    return true;
}

static struct slot *next_rolling(struct supervisor *supervisor)
{
    struct slot *first = NULL;
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (slot->rolling && (!first || slot->definition.depth < first->definition.depth))
            first = slot;
    }
    return first;
}

/* Stopped, and gone from sv/: forgotten. */
static void forget(struct supervisor *supervisor, struct slot *slot)
{
    control_close(&slot->control);
    logs_close(&slot->log, &supervisor->log_settings, &supervisor->console);
    if (file_remove_tree(slot->instance.folder))
        log_warn("reload", "%s can't be removed", slot->instance.folder);
    slot->used = false;
    supervisor->dirty = true;
}

void reload_advance(struct supervisor *supervisor)
{
    FOR_EACH_SLOT(supervisor, slot)
    {
        if (slot->removing && slot->policy.state == POLICY_STATE_DOWN)
            forget(supervisor, slot);
    }
    if (supervisor->rolling_slot >= 0 &&
        !is_settled(supervisor, &supervisor->slots[supervisor->rolling_slot]))
        return;
    supervisor->rolling_slot = -1;
    struct slot *slot;
    while ((slot = next_rolling(supervisor))) {
        slot->rolling = false;
        /* One that is down, or waits for its first start, takes the new at that. */
        if (slot->policy.want != POLICY_WANT_UP || slot->policy.state == POLICY_STATE_WAITING)
            continue;
        log_info("reload", "%s: restarted", slot->definition.name);
        supervisor->rolling_slot = (int)(slot - supervisor->slots);
        supervisor->rolling_deadline = clock_mono_ms() + slot->definition.stop_ms + READY_AGAIN_MS;
        child_feed(supervisor, slot, POLICY_EVENT_RESTART);
        return;
    }
}
