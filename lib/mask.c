#include "lib/mask.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/config.h"
#include "lib/config_table.h"

static const char stars[] = "***";

/* The longest first: one that contains another must not leave its rest behind. */
static struct {
    char **values;
    size_t count;
} known;

void mask_add(const char *value)
{
    size_t size = value ? strlen(value) : 0, at = 0;
    if (size < MASK_LEAST_BYTES)
        return;
    for (size_t i = 0; i < known.count; i++) {
        if (strcmp(known.values[i], value) == 0)
            return;
    }
    known.values = xrealloc(known.values, (known.count + 1) * sizeof *known.values);
    while (at < known.count && strlen(known.values[at]) >= size)
        at++;
    memmove(known.values + at + 1, known.values + at, (known.count - at) * sizeof *known.values);
    known.values[at] = xstrdup(value);
    known.count++;
}

void mask_forget(void)
{
    for (size_t i = 0; i < known.count; i++)
        free(known.values[i]);
    free(known.values);
    known.values = NULL;
    known.count = 0;
}

bool mask_is_secret_name(const char *name)
{
    static const char *const parts[] = {"KEY", "TOKEN", "SECRET", "PASSWORD"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strcasestr(name, parts[i]))
            return true;
    }
    return false;
}

static void add_key(const struct config *config, const struct config_key *key)
{
    const void *field = (const char *)config + key->offset;
    const char *name;
    json_t *entry;
    if ((key->flags & CONFIG_SECRET) && key->type == CONFIG_TEXT)
        mask_add(*(char *const *)field);
    if (!(key->flags & CONFIG_SECRET_ENTRIES))
        return;
    json_object_foreach(*(json_t *const *)field, name, entry) mask_add(json_string_value(entry));
}

void mask_add_config(const struct config *config, const char *token)
{
    size_t index;
    const json_t *name;
    for (size_t i = 0; i < config_key_count; i++)
        add_key(config, &config_keys[i]);
    json_array_foreach(config->agent_env_allow, index, name)
    {
        if (mask_is_secret_name(json_string_value(name)))
            mask_add(getenv(json_string_value(name)));
    }
    mask_add(token);
}

static const char *value_at(const char *text)
{
    for (size_t i = 0; i < known.count; i++) {
        if (strncmp(text, known.values[i], strlen(known.values[i])) == 0)
            return known.values[i];
    }
    return NULL;
}

size_t mask_text(char *text)
{
    char *out = text;
    if (known.count == 0)
        return strlen(text);
    for (const char *at = text; *at;) {
        const char *value = value_at(at);
        if (value) {
            memcpy(out, stars, sizeof stars - 1);
            out += sizeof stars - 1;
            at += strlen(value);
        } else {
            *out++ = *at++;
        }
    }
    *out = '\0';
    return (size_t)(out - text);
}

static void mask_string(json_t *string)
{
    char *text = xstrdup(json_string_value(string));
    size_t before = strlen(text), size = mask_text(text);
    if (size != before)
        json_string_set(string, text);
    free(text);
}

void mask_json(json_t *value)
{
    size_t index;
    const char *name;
    json_t *part;
    if (json_is_string(value))
        mask_string(value);
    json_array_foreach(value, index, part) mask_json(part);
    json_object_foreach(value, name, part) mask_json(part);
}
