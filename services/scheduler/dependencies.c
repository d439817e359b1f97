#include "services/scheduler/dependencies.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "lib/buffer.h"

static const char word[] = "depends-on:";

static bool is_key(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static bool has(const json_t *keys, const char *key, size_t size)
{
    size_t index;
    const json_t *there;
    json_array_foreach(keys, index, there)
    {
        if (json_string_length(there) == size && strncmp(json_string_value(there), key, size) == 0)
            return true;
    }
    return false;
}

/* Keys and what separates them, up to the line's end; anything else ends the list. */
static void take_line(const char *at, json_t *keys)
{
    while (*at && *at != '\n' && json_array_size(keys) < DEPENDENCIES_MAX) {
        size_t size = 0;
        while (is_key(at[size]))
            size++;
        if (size && size <= DEPENDENCY_KEY_MAX && !has(keys, at, size))
            json_array_append_new(keys, json_stringn(at, size));
        at += size;
        if (size == 0 && !strchr(", \t`*_.\r", *at))
            return;
        at += *at && *at != '\n' && size == 0;
    }
}

json_t *dependencies_parse(const char *description)
{
    json_t *keys = json_array();
    for (const char *line = description; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *at = line + strspn(line, " \t*-+>_`");
        if (strncasecmp(at, word, sizeof word - 1) == 0)
            take_line(at + sizeof word - 1, keys);
    }
    if (json_array_size(keys))
        return keys;
    json_decref(keys);
    return NULL;
}

/* ---- circles ---- */

struct search {
    const struct dependency_node *nodes;
    size_t count, *before; /* the node that led here; count: not reached */
};

static size_t node_of(const struct search *search, const char *key)
{
    size_t i = 0;
    while (i < search->count && strcmp(search->nodes[i].key, key) != 0)
        i++;
    return i;
}

/* Breadth first, so that the way named is a shortest one. */
static bool reach(struct search *search, size_t from)
{
    size_t *queue = xcalloc(search->count, sizeof *queue), first = 0, last = 0, index;
    bool found = false;
    queue[last++] = from;
    while (first < last && !found) {
        size_t node = queue[first++];
        const json_t *key;
        json_array_foreach(search->nodes[node].depends, index, key)
        {
            size_t next = node_of(search, json_string_value(key));
            if (next == search->count || search->before[next] != search->count)
                continue;
            search->before[next] = node;
            found = found || next == from;
            if (next != from)
                queue[last++] = next;
        }
    }
    free(queue);
    return found;
}

/* From its end to its beginning. */
static char *write_way(const struct search *search, size_t node)
{
    char *way = xstrdup(search->nodes[node].key);
    size_t at = node;
    do {
        at = search->before[at];
        char *longer = xformat("%s → %s", search->nodes[at].key, way);
        free(way);
        way = longer;
    } while (at != node);
    return way;
}

char *dependencies_circle(const struct dependency_node *nodes, size_t count, size_t node)
{
    struct search search = {nodes, count, xcalloc(count, sizeof *search.before)};
    for (size_t i = 0; i < count; i++)
        search.before[i] = count;
    char *way = reach(&search, node) ? write_way(&search, node) : NULL;
    free(search.before);
    return way;
}
