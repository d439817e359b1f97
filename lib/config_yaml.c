#include "lib/config_yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "lib/buffer.h"

enum { DEPTH_MAX = 16 };

void yaml_tree_free(struct yaml_tree *tree)
{
    while (tree) {
        struct yaml_tree *next = tree->next;
        yaml_tree_free(tree->child);
        free(tree->name);
        free(tree->text);
        free(tree);
        tree = next;
    }
}

struct conversion {
    yaml_document_t *document;
    struct buffer faults; /* a line each */
    bool broken;          /* more than a duplicate key */
};

static void fault_line(struct conversion *conversion, int line, const char *path, const char *text)
{
    struct buffer *faults = &conversion->faults;
    buffer_format(faults, "%s%d: %s%s%s", faults->size ? "\n" : "", line, path, *path ? ": " : "",
                  text);
}

static struct yaml_tree *convert(struct conversion *conversion, int index, const char *path,
                                 int depth);

static bool has_member(const struct yaml_tree *map, const char *name)
{
    for (const struct yaml_tree *at = map->child; at; at = at->next) {
        if (strcmp(at->name, name) == 0)
            return true;
    }
    return false;
}

static void convert_map(struct conversion *conversion, yaml_node_t *node, struct yaml_tree *tree,
                        const char *path, int depth)
{
    struct yaml_tree **last = &tree->child;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = yaml_document_get_node(conversion->document, pair->key);
        int line = (int)key->start_mark.line + 1;
        if (key->type != YAML_SCALAR_NODE) {
            fault_line(conversion, line, path, "a key must be a word");
            conversion->broken = true;
            continue;
        }
        const char *name = (const char *)key->data.scalar.value;
        char *member = xformat("%s%s%s", path, *path ? "." : "", name);
        if (has_member(tree, name)) {
            fault_line(conversion, line, member, "given twice");
        } else {
            struct yaml_tree *child = convert(conversion, pair->value, member, depth + 1);
            child->name = xstrdup(name);
            child->line = line;
            *last = child;
            last = &child->next;
        }
        free(member);
    }
}

static void convert_list(struct conversion *conversion, yaml_node_t *node, struct yaml_tree *tree,
                         const char *path, int depth)
{
    struct yaml_tree **last = &tree->child;
    size_t count = 0;
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        char *member = xformat("%s[%zu]", path, count++);
        *last = convert(conversion, *item, member, depth + 1);
        last = &(*last)->next;
        free(member);
    }
}

static struct yaml_tree *convert(struct conversion *conversion, int index, const char *path,
                                 int depth)
{
    yaml_node_t *node = yaml_document_get_node(conversion->document, index);
    struct yaml_tree *tree = xcalloc(1, sizeof *tree);
    tree->line = (int)node->start_mark.line + 1;
    if (depth > DEPTH_MAX || conversion->broken) {
        /* An alias may point to what contains it: the depth is what ends that. */
        if (!conversion->broken)
            fault_line(conversion, tree->line, path, "nested too deeply");
        conversion->broken = true;
    } else if (node->type == YAML_SCALAR_NODE) {
        tree->kind = YAML_SCALAR;
        tree->text = xstrndup((const char *)node->data.scalar.value, node->data.scalar.length);
        tree->plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    } else if (node->type == YAML_SEQUENCE_NODE) {
        tree->kind = YAML_LIST;
        convert_list(conversion, node, tree, path, depth);
    } else {
        tree->kind = YAML_MAP;
        convert_map(conversion, node, tree, path, depth);
    }
    return tree;
}

/* The first document as a tree; NULL where there is none to convert. */
static struct yaml_tree *first_document(yaml_parser_t *parser, struct conversion *conversion)
{
    yaml_document_t document;
    struct yaml_tree *tree = NULL;
    if (!yaml_parser_load(parser, &document))
        return NULL;
    conversion->document = &document;
    if (yaml_document_get_root_node(&document)) {
        tree = convert(conversion, 1, "", 0);
    } else {
        tree = xcalloc(1, sizeof *tree);
        tree->kind = YAML_MAP;
        tree->line = 1;
    }
    yaml_document_delete(&document);
    conversion->document = NULL;
    return tree;
}

static void refuse_second_document(yaml_parser_t *parser, struct conversion *conversion)
{
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document))
        return; /* the caller reports the parser's own words */
    yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root) {
        fault_line(conversion, (int)root->start_mark.line + 1, "", "a second document");
        conversion->broken = true;
    }
    yaml_document_delete(&document);
}

struct yaml_tree *yaml_tree_parse_all(const char *text, size_t size, char **faults)
{
    yaml_parser_t parser;
    struct conversion conversion = {0};
    *faults = NULL;
    if (!yaml_parser_initialize(&parser)) {
        *faults = xstrdup("0: out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    struct yaml_tree *tree = first_document(&parser, &conversion);
    if (tree)
        refuse_second_document(&parser, &conversion);
    if (parser.error != YAML_NO_ERROR) {
        fault_line(&conversion, (int)parser.problem_mark.line + 1, "",
                   parser.problem ? parser.problem : "no YAML");
        conversion.broken = true;
    }
    yaml_parser_delete(&parser);
    if (conversion.broken) {
        yaml_tree_free(tree);
        tree = NULL;
    }
    if (conversion.faults.size)
        *faults = buffer_take(&conversion.faults);
    return tree;
}

struct yaml_tree *yaml_tree_parse(const char *text, size_t size, char **fault)
{
    struct yaml_tree *tree = yaml_tree_parse_all(text, size, fault);
    if (!tree || !*fault)
        return tree;
    yaml_tree_free(tree);
    return NULL;
}
