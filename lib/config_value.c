/* One value into one field: types, ranges, secrets in files. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/config_internal.h"
#include "protocol/vocabulary.h"

void config_fault(struct config_loader *loader, const struct config_origin *origin,
                  const char *format, ...)
{
    va_list args;
    char text[512];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (loader->faults.size)
        buffer_text(&loader->faults, "\n");
    if (origin->line)
        buffer_format(&loader->faults, "%s:%d: %s: %s", origin->where, origin->line, origin->key,
                      text);
    else
        buffer_format(&loader->faults, "%s: %s: %s", origin->where, origin->key, text);
}

static void *field_of(const struct config_key *key, void *base)
{
    return (char *)base + key->offset;
}

static bool is_null(const struct yaml_tree *value)
{
    return value->kind == YAML_SCALAR && value->plain &&
           (!*value->text || strcmp(value->text, "~") == 0 || strcmp(value->text, "null") == 0);
}

static bool parse_integer(const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    *value = parsed;
    return *text && !*end && errno == 0;
}

static bool parse_real(const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    return *text && !*end && errno == 0 && isfinite(*value);
}

static int parse_bool(const char *text)
{
    if (strcasecmp(text, "true") == 0 || strcasecmp(text, "yes") == 0 ||
        strcasecmp(text, "on") == 0)
        return 1;
    if (strcasecmp(text, "false") == 0 || strcasecmp(text, "no") == 0 ||
        strcasecmp(text, "off") == 0)
        return 0;
    return -1;
}

static bool in_range(const struct config_key *key, double value)
{
    return (key->min == 0 && key->max == 0) || (value >= key->min && value <= key->max);
}

/* doc begins with "a | b | c;". */
static bool one_of(const struct config_key *key, const char *value)
{
    size_t size = strlen(value);
    for (const char *at = key->doc; *at && *at != ';';) {
        size_t word = strcspn(at, " ;");
        if (word == size && strncmp(at, value, size) == 0)
            return true;
        at += word;
        at += strspn(at, " |");
    }
    return false;
}

static void set_text(struct config_loader *loader, const struct config_key *key, char **field,
                     const char *text, const struct config_origin *origin)
{
    if ((key->flags & CONFIG_ONE_OF) && !one_of(key, text)) {
        config_fault(loader, origin, "\"%s\" is none of %.*s", text, (int)strcspn(key->doc, ";"),
                     key->doc);
        return;
    }
    free(*field);
    *field = xstrdup(text);
}

static void set_number(struct config_loader *loader, const struct config_key *key, void *field,
                       const struct yaml_tree *value, const struct config_origin *origin)
{
    int64_t integer = 0;
    double real = 0;
    bool ok = value->plain && (key->type == CONFIG_INT ? parse_integer(value->text, &integer)
                                                       : parse_real(value->text, &real));
    if (!ok) {
        config_fault(loader, origin, "\"%s\" is no %s", value->text, config_type_names[key->type]);
        return;
    }
    if (!in_range(key, key->type == CONFIG_INT ? (double)integer : real)) {
        config_fault(loader, origin, "%s is out of range %.15g to %.15g", value->text, key->min,
                     key->max);
        return;
    }
    if (key->type == CONFIG_INT)
        *(int64_t *)field = integer;
    else
        *(double *)field = real;
}

static void set_scalar(struct config_loader *loader, const struct config_key *key, void *field,
                       const struct yaml_tree *value, const struct config_origin *origin)
{
    if (value->kind != YAML_SCALAR) {
        config_fault(loader, origin, "must be of type %s", config_type_names[key->type]);
    } else if (key->type == CONFIG_TEXT) {
        set_text(loader, key, field, is_null(value) ? "" : value->text, origin);
    } else if (key->type == CONFIG_BOOL) {
        int parsed = value->plain ? parse_bool(value->text) : -1;
        if (parsed < 0)
            config_fault(loader, origin, "\"%s\" is neither true nor false", value->text);
        else
            *(bool *)field = parsed == 1;
    } else {
        set_number(loader, key, field, value, origin);
    }
}

static void set_list(struct config_loader *loader, json_t **field, const struct yaml_tree *value,
                     const struct config_origin *origin)
{
    json_t *list = json_array();
    for (const struct yaml_tree *at = value->child; at; at = at->next) {
        if (at->kind != YAML_SCALAR) {
            config_fault(loader, origin, "must be a list of words");
            json_decref(list);
            return;
        }
        json_array_append_new(list, json_string(at->text));
    }
    json_decref(*field);
    *field = list;
}

/* The name without "_file" where the map's entries have such twins and this is one; else NULL. */
static char *twin_of(const struct config_key *key, const char *name)
{
    size_t size = strlen(name), suffix = strlen("_file");
    if (!(key->flags & CONFIG_SECRET_ENTRIES) || size <= suffix ||
        strcmp(name + size - suffix, "_file") != 0)
        return NULL;
    return xstrndup(name, size - suffix);
}

static bool is_role(const char *name)
{
    for (int stage = 0; stage < STAGE_COUNT; stage++) {
        if (*stage_table[stage].role && strcmp(stage_table[stage].role, name) == 0)
            return true;
    }
    return false;
}

static bool entry_allowed(const struct config_key *key, const char *name)
{
    enum { LIMITED = CONFIG_ROLE_ENTRIES | CONFIG_STATUS_ENTRIES | CONFIG_KNOWN_ENTRIES };
    if (!(key->flags & LIMITED))
        return true;
    if ((key->flags & CONFIG_ROLE_ENTRIES) && is_role(name))
        return true;
    if ((key->flags & CONFIG_STATUS_ENTRIES) && status_by_key(name) != STATUS_COUNT)
        return true;
    if ((key->flags & CONFIG_DEFAULT_ENTRY) && strcmp(name, "default") == 0)
        return true;
    if ((key->flags & CONFIG_STREAM_ENTRY) && strcmp(name, "stream") == 0)
        return true;
    json_t *known = json_loads(key->fallback, 0, NULL);
    bool found = (key->flags & CONFIG_KNOWN_ENTRIES) && json_object_get(known, name);
    json_decref(known);
    return found;
}

static void set_entry(struct config_loader *loader, const struct config_key *key, json_t *map,
                      const struct yaml_tree *entry, const struct config_origin *origin)
{
    char *twin = twin_of(key, entry->name);
    const char *name = twin ? twin : entry->name;
    if (entry->kind != YAML_SCALAR) {
        config_fault(loader, origin, "must be a single value");
    } else if (!entry_allowed(key, name)) {
        config_fault(loader, origin, "unknown key");
    } else if (twin) {
        config_note_secret(loader, key, name, entry->text, origin);
    } else if (is_null(entry)) {
        json_object_del(map, name);
    } else if (key->flags & CONFIG_NUMBER_VALUES) {
        int64_t number;
        if (!entry->plain || !parse_integer(entry->text, &number))
            config_fault(loader, origin, "\"%s\" is no integer", entry->text);
        else if (!in_range(key, (double)number))
            config_fault(loader, origin, "%s is out of range %.15g to %.15g", entry->text, key->min,
                         key->max);
        else
            json_object_set_new(map, entry->name, json_integer(number));
    } else {
        if (key->flags & CONFIG_SECRET_ENTRIES)
            config_note_secret(loader, key, name, "", origin);
        json_object_set_new(map, entry->name, json_string(entry->text));
    }
    free(twin);
}

/* True where "analyst" and "analyst_file" stand in one map. */
static bool beside_twin(const struct config_key *key, const struct yaml_tree *map,
                        const struct yaml_tree *entry)
{
    char *twin = twin_of(key, entry->name);
    const struct yaml_tree *at = twin ? map->child : NULL;
    while (at && strcmp(at->name, twin) != 0)
        at = at->next;
    free(twin);
    return at != NULL;
}

/* Entry by entry over what stands there: defaults first, then the file, then the environment. An
 * empty map empties it and null takes an entry out. */
static void set_map(struct config_loader *loader, const struct config_key *key, json_t **field,
                    const struct yaml_tree *value, const struct config_origin *origin)
{
    if (!value->child && !is_null(value))
        json_object_clear(*field);
    for (const struct yaml_tree *at = value->child; at; at = at->next) {
        char *name = xformat("%s.%s", origin->key, at->name);
        struct config_origin entry = {origin->where, origin->line ? at->line : 0, name};
        if (beside_twin(key, value, at))
            config_fault(loader, &entry, "given beside its value; only one of the two");
        else
            set_entry(loader, key, *field, at, &entry);
        free(name);
    }
}

void config_set(struct config_loader *loader, const struct config_key *key, void *base,
                const struct yaml_tree *value, const struct config_origin *origin)
{
    void *field = field_of(key, base);
    if (key->flags & CONFIG_SECRET)
        config_note_secret(loader, key, NULL, "", origin);
    if (key >= config_keys && key < config_keys + config_key_count)
        loader->key_lines[key - config_keys] = origin->line;
    if (key->type != CONFIG_LIST && key->type != CONFIG_MAP) {
        set_scalar(loader, key, field, value, origin);
        return;
    }
    enum yaml_kind wanted = key->type == CONFIG_LIST ? YAML_LIST : YAML_MAP;
    if (value->kind != wanted && !is_null(value))
        config_fault(loader, origin, "must be of type %s", config_type_names[key->type]);
    else if (key->type == CONFIG_LIST)
        set_list(loader, field, value, origin);
    else
        set_map(loader, key, field, value, origin);
}

void config_set_default(const struct config_key *key, void *base)
{
    void *field = field_of(key, base);
    switch (key->type) {
    case CONFIG_TEXT:
        *(char **)field = xstrdup(key->fallback);
        break;
    case CONFIG_INT:
        *(int64_t *)field = strtoll(key->fallback, NULL, 10);
        break;
    case CONFIG_REAL:
        *(double *)field = strtod(key->fallback, NULL);
        break;
    case CONFIG_BOOL:
        *(bool *)field = strcmp(key->fallback, "true") == 0;
        break;
    case CONFIG_LIST:
    case CONFIG_MAP:
        *(json_t **)field = json_loads(key->fallback, 0, NULL);
        break;
    }
}
