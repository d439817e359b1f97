/* Secrets that stand in files of their own: noted while loading, read once all is known. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/config_internal.h"
#include "lib/file.h"

enum { SECRET_MAX_BYTES = 65536 };

static void secret_free(struct config_secret *secret)
{
    free(secret->entry);
    free(secret->path);
    free(secret->where);
    free(secret->name);
    free(secret);
}

static bool same_entry(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void forget(struct config_loader *loader, const struct config_key *key, const char *entry)
{
    for (struct config_secret **at = &loader->secrets; *at; at = &(*at)->next) {
        struct config_secret *secret = *at;
        if (secret->key == key && same_entry(secret->entry, entry)) {
            *at = secret->next;
            secret_free(secret);
            return;
        }
    }
}

void config_note_secret(struct config_loader *loader, const struct config_key *key,
                        const char *entry, const char *path, const struct config_origin *origin)
{
    forget(loader, key, entry);
    if (!*path)
        return;
    struct config_secret *secret = xcalloc(1, sizeof *secret);
    secret->key = key;
    secret->entry = entry ? xstrdup(entry) : NULL;
    secret->path = xstrdup(path);
    secret->where = xstrdup(origin->where);
    secret->name = xstrdup(origin->key);
    secret->line = origin->line;
    struct config_secret **last = &loader->secrets;
    while (*last)
        last = &(*last)->next;
    *last = secret;
}

/* The content without its final newlines; NULL where the fault is noted. Caller frees. */
static char *read_secret(struct config_loader *loader, const struct config_secret *secret)
{
    struct config_origin origin = {secret->where, secret->line, secret->name};
    size_t size;
    char *content = file_read(secret->path, SECRET_MAX_BYTES, &size);
    if (!content) {
        config_fault(loader, &origin, "cannot read %s: %s", secret->path, strerror(errno));
        return NULL;
    }
    while (size && (content[size - 1] == '\n' || content[size - 1] == '\r'))
        content[--size] = '\0';
    if (size && strlen(content) == size)
        return content;
    config_fault(loader, &origin, "%s is %s", secret->path, size ? "no text" : "empty");
    free(content);
    return NULL;
}

static void set_secret(struct config_loader *loader, struct config *config,
                       const struct config_secret *secret)
{
    json_array_append_new(config->secret_files, json_string(secret->path));
    char *content = read_secret(loader, secret);
    void *field = (char *)config + secret->key->offset;
    if (!content)
        return;
    if (!secret->entry) {
        free(*(char **)field);
        *(char **)field = content;
        return;
    }
    json_t *text = json_string(content);
    struct config_origin origin = {secret->where, secret->line, secret->name};
    if (text)
        json_object_set_new(*(json_t **)field, secret->entry, text);
    else
        config_fault(loader, &origin, "%s is no text", secret->path);
    free(content);
}

void config_read_secrets(struct config_loader *loader, struct config *config)
{
    while (loader->secrets) {
        struct config_secret *secret = loader->secrets;
        loader->secrets = secret->next;
        set_secret(loader, config, secret);
        secret_free(secret);
    }
}
