/* PURE: no I/O */
/* config_keys.def and project_keys.def as data: for loading, showing and documenting. */
#ifndef ORCH_CONFIG_TABLE_H
#define ORCH_CONFIG_TABLE_H

#include <stddef.h>

enum config_type {
    CONFIG_TEXT,
    CONFIG_INT,
    CONFIG_REAL,
    CONFIG_BOOL,
    CONFIG_LIST, /* JSON array of strings */
    CONFIG_MAP   /* JSON object of strings, or of numbers */
};

enum config_flag {
    CONFIG_REQUIRED = 1,
    CONFIG_SECRET = 2,
    CONFIG_TEXT_VALUES = 4,
    CONFIG_NUMBER_VALUES = 8,
    CONFIG_SECRET_ENTRIES = 16,
    CONFIG_ONE_OF = 32,
    CONFIG_ROLE_ENTRIES = 64,    /* of a MAP: the roles of the stages only */
    CONFIG_DEFAULT_ENTRY = 128,  /* and "default" */
    CONFIG_STREAM_ENTRY = 256,   /* and "stream" */
    CONFIG_STATUS_ENTRIES = 512, /* the logical keys of statuses.def only */
    CONFIG_KNOWN_ENTRIES = 1024  /* those of the default only */
};

struct config_key {
    const char *section; /* "" for a top-level key */
    const char *name;
    enum config_type type;
    const char *fallback;
    double min, max;
    unsigned flags;
    const char *doc;
    size_t offset; /* of the field in struct config or struct project */
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;
extern const struct config_key project_keys[];
extern const size_t project_key_count;

extern const char *const config_type_names[];

/* Variables of ours that are no keys: read by name elsewhere. NULL ends it. */
extern const char *const config_other_variables[];

/* "ORCH_REAPER_INTERVAL_S" for a key of config_keys. Caller frees. */
char *config_env_name(const struct config_key *key);

#endif
