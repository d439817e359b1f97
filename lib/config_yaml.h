/* A YAML document as a tree that remembers its lines. JSON is read by the same door.
 * The names keep clear of libyaml's own: it exports a yaml_free, and ours would take its place. */
#ifndef ORCH_CONFIG_YAML_H
#define ORCH_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_tree {
    enum yaml_kind kind;
    int line;   /* from 1 */
    char *name; /* of a map's member, else NULL */
    char *text; /* scalar */
    bool plain; /* scalar without quotes: may be a number, a boolean or null */
    struct yaml_tree *child, *next;
};

/* Caller frees. NULL and *fault ("line: text", caller frees) where it cannot be parsed; an empty
 * document is an empty map. Duplicate keys, a second document and documents nested deeper than 16
 * are faults. */
struct yaml_tree *yaml_tree_parse(const char *text, size_t size, char **fault);

/* The same, but with duplicate keys (a line each in *faults) the tree is there nevertheless, each
 * key with its first value: for whoever names all faults at once. */
struct yaml_tree *yaml_tree_parse_all(const char *text, size_t size, char **faults);
void yaml_tree_free(struct yaml_tree *tree);

#endif
