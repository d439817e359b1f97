/* One service.yaml -> struct definition. Strict: an unknown or repeated key is an error. */
#include "supervisor/definitions.h"

#include <linux/capability.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

struct reading {
    struct definition *definition;
    yaml_document_t document;
    char *fault;
    size_t fault_size;
    char group[SERVICE_NAME_SIZE];
};

static int fail(struct reading *reading, const yaml_node_t *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct reading *reading, const yaml_node_t *node, const char *format, ...)
{
    int at = snprintf(reading->fault, reading->fault_size,
                      "%s/service.yaml:%zu: ", reading->definition->folder,
                      node ? node->start_mark.line + 1 : (size_t)1);
    va_list args;
    va_start(args, format);
    if (at > 0 && (size_t)at < reading->fault_size)
        vsnprintf(reading->fault + at, reading->fault_size - (size_t)at, format, args);
    va_end(args);
    return -1;
}

static const char *text_of(const yaml_node_t *node)
{
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static int read_integer(struct reading *reading, const yaml_node_t *node, const char *key,
                        int64_t least, int64_t most, int64_t *out)
{
    const char *text = text_of(node);
    char *end = NULL;
    errno = 0;
    long long value = text ? strtoll(text, &end, 10) : 0;
    if (!text || end == text || *end || errno)
        return fail(reading, node, "%s: an integer is wanted", key);
    if (value < least || value > most)
        return fail(reading, node, "%s: %lld is not in %lld..%lld", key, value, (long long)least,
                    (long long)most);
    *out = value;
    return 0;
}

/* A list of words into rows of `width` bytes. */
static int read_words(struct reading *reading, const yaml_node_t *node, const char *key, char *rows,
                      size_t width, size_t most, size_t *count)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return fail(reading, node, "%s: a list is wanted", key);
    *count = 0;
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        const yaml_node_t *entry = yaml_document_get_node(&reading->document, *item);
        const char *text = text_of(entry);
        if (!text || strlen(text) >= width)
            return fail(reading, entry, "%s: a name shorter than %zu is wanted", key, width);
        if (*count == most)
            return fail(reading, entry, "%s: more than %zu", key, most);
        snprintf(rows + *count * width, width, "%s", text);
        ++*count;
    }
    return 0;
}

static int read_limits(struct reading *reading, const yaml_node_t *node)
{
    static const struct {
        const char *name;
        int resource;
    } known[LIMITS_MAX] = {
        {"as", RLIMIT_AS},         {"core", RLIMIT_CORE},   {"cpu", RLIMIT_CPU},
        {"data", RLIMIT_DATA},     {"fsize", RLIMIT_FSIZE}, {"memlock", RLIMIT_MEMLOCK},
        {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"stack", RLIMIT_STACK},
    };
    struct definition *definition = reading->definition;
    if (node->type != YAML_MAPPING_NODE)
        return fail(reading, node, "limits: a map is wanted");
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&reading->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&reading->document, pair->value);
        const char *name = text_of(key);
        size_t i = 0;
        while (i < LIMITS_MAX && (!name || strcmp(known[i].name, name) != 0))
            i++;
        if (i == LIMITS_MAX)
            return fail(reading, key, "limits.%s: unknown limit", name ? name : "?");
        for (size_t j = 0; j < definition->limit_count; j++)
            if (definition->limits[j].resource == known[i].resource)
                return fail(reading, key, "limits.%s: given twice", name);
        int64_t number = 0;
        bool unlimited = text_of(value) && strcmp(text_of(value), "unlimited") == 0;
        if (!unlimited && read_integer(reading, value, name, 0, INT64_MAX, &number))
            return -1;
        struct service_limit *limit = &definition->limits[definition->limit_count++];
        limit->resource = known[i].resource;
        limit->value = unlimited ? RLIM_INFINITY : (rlim_t)number;
    }
    return 0;
}

static int read_capabilities(struct reading *reading, const yaml_node_t *node)
{
    static const struct {
        const char *name;
        int number;
    } known[CAPABILITIES_MAX] = {
        {"chown", CAP_CHOWN}, {"kill", CAP_KILL}, {"setgid", CAP_SETGID}, {"setuid", CAP_SETUID}};
    char words[CAPABILITIES_MAX][SERVICE_NAME_SIZE];
    size_t count = 0;
    if (read_words(reading, node, "capabilities", words[0], SERVICE_NAME_SIZE, CAPABILITIES_MAX,
                   &count))
        return -1;
    for (size_t word = 0; word < count; word++) {
        size_t i = 0;
        while (i < CAPABILITIES_MAX && strcmp(known[i].name, words[word]) != 0)
            i++;
        if (i == CAPABILITIES_MAX)
            return fail(reading, node, "capabilities: %s: not one that can be given", words[word]);
        reading->definition->capabilities |= 1U << known[i].number;
    }
    return 0;
}

static int read_name(struct reading *reading, const yaml_node_t *node, const char *key, char *out)
{
    const char *text = text_of(node);
    if (!text || !*text || strlen(text) >= SERVICE_NAME_SIZE)
        return fail(reading, node, "%s: a name is wanted", key);
    snprintf(out, SERVICE_NAME_SIZE, "%s", text);
    return 0;
}

static int read_key(struct reading *reading, const yaml_node_t *key, const yaml_node_t *value)
{
    struct definition *definition = reading->definition;
    const char *name = text_of(key);
    int64_t number = 0;
    if (!name)
        return fail(reading, key, "a key is wanted");
    if (strcmp(name, "after") == 0)
        return read_words(reading, value, name, definition->after[0], SERVICE_NAME_SIZE, AFTER_MAX,
                          &definition->after_count);
    if (strcmp(name, "config") == 0)
        return read_words(reading, value, name, definition->sections[0], SECTION_SIZE, SECTIONS_MAX,
                          &definition->section_count);
    if (strcmp(name, "notification-fd") == 0) {
        if (read_integer(reading, value, name, 3, 63, &number))
            return -1;
        definition->notify_fd = (int)number;
        return 0;
    }
    if (strcmp(name, "shutdown-timeout-s") == 0) {
        if (read_integer(reading, value, name, 1, 86400, &number))
            return -1;
        definition->stop_ms = number * 1000;
        return 0;
    }
    if (strcmp(name, "limits") == 0)
        return read_limits(reading, value);
    if (strcmp(name, "capabilities") == 0)
        return read_capabilities(reading, value);
    if (strcmp(name, "user") == 0)
        return read_name(reading, value, name, definition->user);
    if (strcmp(name, "group") == 0)
        return read_name(reading, value, name, reading->group);
    return fail(reading, key, "%s: unknown key", name);
}

/* Names become numbers now: the lookup allocates and may ask a directory service, a restart must
 * not. */
static int resolve_user(struct reading *reading)
{
    struct definition *definition = reading->definition;
    if (reading->group[0] && !definition->user[0])
        return fail(reading, NULL, "group: needs user");
    if (!definition->user[0])
        return 0;
    const struct passwd *user = getpwnam(definition->user);
    if (!user)
        return fail(reading, NULL, "user: %s: no such user", definition->user);
    definition->uid = user->pw_uid;
    definition->gid = user->pw_gid;
    if (reading->group[0]) {
        const struct group *group = getgrnam(reading->group);
        if (!group)
            return fail(reading, NULL, "group: %s: no such group", reading->group);
        definition->gid = group->gr_gid;
    }
    if (geteuid() != 0 && geteuid() != definition->uid)
        return fail(reading, NULL, "user: %s: only root can start it as another user",
                    definition->user);
    int count = GROUPS_MAX;
    if (getgrouplist(definition->user, definition->gid, definition->groups, &count) < 0)
        return fail(reading, NULL, "user: %s: in more than %d groups", definition->user,
                    GROUPS_MAX);
    definition->group_count = (size_t)count;
    definition->has_user = geteuid() == 0;
    return 0;
}

static int read_map(struct reading *reading, const yaml_node_t *root)
{
    if (root->type != YAML_MAPPING_NODE)
        return fail(reading, root, "a map is wanted");
    yaml_node_pair_t *first = root->data.mapping.pairs.start, *top = root->data.mapping.pairs.top;
    for (yaml_node_pair_t *pair = first; pair < top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&reading->document, pair->key);
        for (yaml_node_pair_t *before = first; before < pair; before++) {
            const char *earlier = text_of(yaml_document_get_node(&reading->document, before->key));
            if (earlier && text_of(key) && strcmp(earlier, text_of(key)) == 0)
                return fail(reading, key, "%s: given twice", earlier);
        }
        if (read_key(reading, key, yaml_document_get_node(&reading->document, pair->value)))
            return -1;
    }
    return resolve_user(reading);
}

int definition_parse(struct definition *definition, const char *text, char *fault, size_t size)
{
    struct reading reading = {.definition = definition, .fault = fault, .fault_size = size};
    yaml_parser_t parser;
    int result = -1;

    definition->notify_fd = -1;
    definition->stop_ms = STOP_DEFAULT_S * 1000;
    definition->after_count = definition->section_count = definition->limit_count = 0;
    definition->has_user = false;
    definition->capabilities = 0;
    definition->user[0] = '\0';
    if (!yaml_parser_initialize(&parser))
        return fail(&reading, NULL, "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    if (!yaml_parser_load(&parser, &reading.document)) {
        snprintf(fault, size, "%s/service.yaml:%zu: %s", definition->folder,
                 parser.problem_mark.line + 1, parser.problem ? parser.problem : "no YAML");
        goto parser_done;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&reading.document);
    result = root ? read_map(&reading, root) : 0;
    yaml_document_delete(&reading.document);
parser_done:
    yaml_parser_delete(&parser);
    return result;
}
