/* What the files of the configuration share; nobody else includes it. */
#ifndef ORCH_CONFIG_INTERNAL_H
#define ORCH_CONFIG_INTERNAL_H

#include "lib/buffer.h"
#include "lib/config.h"
#include "lib/config_table.h"
#include "lib/config_yaml.h"

/* A secret's file, read when all is known: what the environment overrides is never opened. */
struct config_secret {
    const struct config_key *key;
    char *entry; /* of a map, else NULL */
    char *path, *where, *name;
    int line;
    struct config_secret *next;
};

struct config_loader {
    const char *file;
    struct buffer faults, warnings; /* a line each */
    struct config_secret *secrets;
    int *key_lines;     /* by index in config_keys: where the file gives it; 0: it does not */
    int *project_lines; /* by index of the project */
};

/* Where a value came from, for faults. */
struct config_origin {
    const char *where; /* file, or the variable's name */
    int line;          /* 0: a variable */
    const char *key;   /* "reaper.interval_s", "projects[0].repo" */
};

void config_fault(struct config_loader *loader, const struct config_origin *origin,
                  const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Sets one field of base (struct config or struct project) from a tree or from its default; faults
 * are noted and leave the field as it was. */
void config_set(struct config_loader *loader, const struct config_key *key, void *base,
                const struct yaml_tree *value, const struct config_origin *origin);
void config_set_default(const struct config_key *key, void *base);

/* x_file: the file's content without its final newline becomes the value. Notes it, over an earlier
 * one of the same key and entry (NULL: no map); the empty path takes the note back. */
void config_note_secret(struct config_loader *loader, const struct config_key *key,
                        const char *entry, const char *path, const struct config_origin *origin);
/* Reads what is noted, into config. */
void config_read_secrets(struct config_loader *loader, struct config *config);

/* config_check.c: what no single key shows. */
void config_check(struct config_loader *loader, const struct config *config);

/* config_env.c: every ORCH_ variable over what the file said. */
void config_apply_environment(struct config_loader *loader, struct config *config);

/* One project, or the whole list, from a tree (file or variable). */
void config_set_projects(struct config_loader *loader, struct config *config,
                         const struct yaml_tree *list, const char *where, bool lines);
void config_drop_projects(struct config *config);

#endif
