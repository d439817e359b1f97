/* The configuration as text: effective values, what changed, and its own documentation. */
#include <stdlib.h>
#include <string.h>

#include "lib/config_internal.h"

/* A value as a line of YAML (JSON is YAML); secrets as ***. Caller frees. */
static char *value_text(const struct config_key *key, const void *base)
{
    const void *field = (const char *)base + key->offset;
    const char *text;
    json_t *quoted;
    char *out;
    switch (key->type) {
    case CONFIG_TEXT:
        text = *(char *const *)field;
        if ((key->flags & CONFIG_SECRET) && *text)
            return xstrdup("\"***\""); /* a bare star would be an alias */
        quoted = json_string(text);
        out = json_dumps(quoted, JSON_ENCODE_ANY);
        json_decref(quoted);
        return out ? out : xstrdup("\"(no UTF-8)\"");
    case CONFIG_INT:
        return xformat("%lld", (long long)*(const int64_t *)field);
    case CONFIG_REAL:
        return xformat("%.15g", *(const double *)field);
    case CONFIG_BOOL:
        return xstrdup(*(const bool *)field ? "true" : "false");
    default:
        break;
    }
    json_t *value = json_deep_copy(*(json_t *const *)field);
    if (key->flags & CONFIG_SECRET_ENTRIES) {
        const char *name;
        json_t *entry;
        json_object_foreach(value, name, entry) json_string_set(entry, "***");
    }
    out = json_dumps(value, JSON_SORT_KEYS);
    json_decref(value);
    return out;
}

static void show_key(struct buffer *out, const struct config_key *key, const void *base,
                     const char *indent)
{
    char *value = value_text(key, base);
    buffer_format(out, "%s%s: %s\n", indent, key->name, value);
    free(value);
}

char *config_show(const struct config *config)
{
    struct buffer out = {0};
    const char *section = "";
    for (size_t i = 0; i < config_key_count; i++) {
        if (!*config_keys[i].section)
            show_key(&out, &config_keys[i], config, "");
    }
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (!*key->section)
            continue;
        if (strcmp(section, key->section) != 0)
            buffer_format(&out, "%s:\n", key->section);
        section = key->section;
        show_key(&out, key, config, "  ");
    }
    buffer_text(&out, config->project_count ? "projects:\n" : "projects: []\n");
    for (size_t p = 0; p < config->project_count; p++) {
        for (size_t i = 0; i < project_key_count; i++)
            show_key(&out, &project_keys[i], &config->projects[p], i ? "    " : "  - ");
    }
    return buffer_take(&out);
}

static bool same_value(const struct config_key *key, const void *a, const void *b)
{
    const void *x = (const char *)a + key->offset, *y = (const char *)b + key->offset;
    switch (key->type) {
    case CONFIG_TEXT:
        return strcmp(*(char *const *)x, *(char *const *)y) == 0;
    case CONFIG_INT:
        return *(const int64_t *)x == *(const int64_t *)y;
    case CONFIG_REAL:
        return memcmp(x, y, sizeof(double)) == 0;
    case CONFIG_BOOL:
        return *(const bool *)x == *(const bool *)y;
    default:
        return json_equal(*(json_t *const *)x, *(json_t *const *)y);
    }
}

static bool same_projects(const struct config *before, const struct config *after)
{
    if (before->project_count != after->project_count)
        return false;
    for (size_t p = 0; p < before->project_count; p++) {
        for (size_t i = 0; i < project_key_count; i++) {
            if (!same_value(&project_keys[i], &before->projects[p], &after->projects[p]))
                return false;
        }
    }
    return true;
}

json_t *config_changed_sections(const struct config *before, const struct config *after)
{
    json_t *seen = json_object(), *changed = json_array();
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (same_value(key, before, after) || json_object_get(seen, key->section))
            continue;
        json_object_set_new(seen, key->section, json_true());
        json_array_append_new(changed, json_string(key->section));
    }
    if (!same_projects(before, after))
        json_array_append_new(changed, json_string("projects"));
    json_decref(seen);
    return changed;
}

static void document_range(struct buffer *out, const struct config_key *key)
{
    if (key->flags & CONFIG_REQUIRED)
        buffer_text(out, "**required**");
    else if (*key->fallback)
        buffer_format(out, "`%s`", key->fallback);
    else
        buffer_text(out, "empty");
    buffer_format(out, " | %s", config_type_names[key->type]);
    if (key->min != 0 || key->max != 0)
        buffer_format(out, ", %.15g to %.15g", key->min, key->max);
}

/* A bar would end the table's cell. */
static void document_text(struct buffer *out, const char *text)
{
    for (; *text; text++)
        buffer_format(out, *text == '|' ? "\\%c" : "%c", *text);
}

static void document_key(struct buffer *out, const struct config_key *key, const char *variable)
{
    buffer_format(out, "| `%s%s%s` | ", key->section, *key->section ? "." : "", key->name);
    document_range(out, key);
    buffer_format(out, " | %s%s%s | ", *variable ? "`" : "", variable, *variable ? "`" : "");
    document_text(out, key->doc);
    if (key->flags & CONFIG_SECRET)
        buffer_format(out, " Twin: `%s_file`.", key->name);
    buffer_text(out, " |\n");
}

char *config_document(void)
{
    struct buffer out = {0};
    buffer_text(
        &out,
        "# Configuration\n\n"
        "Generated from `lib/config_keys.def` and `lib/project_keys.def` by `make docs`.\n\n"
        "One YAML file: `-c FILE`, else `ORCH_CONFIG`, else "
        "`/etc/orchestrator/orchestrator.yaml`.\n"
        "Each key can be given in the environment instead; a map or list is JSON there, and one\n"
        "entry of a map has a variable of its own (`ORCH_AGENT_MODEL_DEVELOPER`). Maps are merged\n"
        "entry by entry over their default; `{}` empties one, `null` takes an entry out. A secret "
        "`x` has the twin `x_file` (`ORCH_…_FILE`), a\n"
        "path whose content is the value. Unknown or duplicate keys, wrong types and values out "
        "of\n"
        "range are errors with file, line and key; `orchestrator check-config` prints what is in\n"
        "force. `ORCH_PROJECTS_JSON` gives the projects.\n\n"
        "| key | default | type | variable | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < config_key_count; i++) {
        char *variable = config_env_name(&config_keys[i]);
        document_key(&out, &config_keys[i], variable);
        free(variable);
    }
    buffer_text(&out, "\n## One entry of `projects`\n\n"
                      "| key | default | type | variable | meaning |\n"
                      "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < project_key_count; i++)
        document_key(&out, &project_keys[i], "");
    return buffer_take(&out);
}
