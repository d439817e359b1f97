/* What sv/ declares: one folder per service in runit's layout, and an optional service.yaml for
 * what runit has no word for. Read at start, at SIGHUP and after an upgrade; never while
 * restarting.
 *
 * service.yaml (every key optional, an unknown one is an error):
 *   after: [scheduler]         start when these are ready
 *   notification-fd: 3         says ready by a newline there; without it, ready once it runs
 *   shutdown-timeout-s: 5      between SIGTERM and SIGKILL
 *   user: name                 its user, primary and supplementary groups (group: name overrides)
 *   capabilities: [setuid]     that it keeps or gets where it is not root and its supervisor has
 *                              them: chown kill setgid setuid; a service without the key gets none
 *   limits: {nofile: 1024}     as core cpu data fsize memlock nofile nproc stack; bytes, s or count
 *   config: [http, projects]   sections whose change restarts it at SIGHUP ("" = top-level keys) */
#ifndef ORCH_SUPERVISOR_DEFINITIONS_H
#define ORCH_SUPERVISOR_DEFINITIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum {
    SERVICES_MAX = 32,
    SERVICE_NAME_SIZE = 32,
    AFTER_MAX = 16,
    SECTIONS_MAX = 32,
    SECTION_SIZE = 40,
    LIMITS_MAX = 9,
    CAPABILITIES_MAX = 4,
    GROUPS_MAX = 64,
    YAML_SIZE = 4096,
    STOP_DEFAULT_S = 5,
};

struct service_limit {
    int resource;
    rlim_t value;
};

struct definition {
    char name[SERVICE_NAME_SIZE];
    char folder[PATH_MAX]; /* sv/<name>, absolute */
    char yaml[YAML_SIZE];  /* text of service.yaml: a re-executed supervisor parses it again */
    uint64_t fingerprint;  /* of run, finish and service.yaml: another one means restart */
    char after[AFTER_MAX][SERVICE_NAME_SIZE];
    size_t after_count;
    int depth;     /* 0: after nobody; else 1 + the deepest it is after */
    int notify_fd; /* -1: none */
    int64_t stop_ms;
    bool has_user;
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS_MAX];
    size_t group_count;
    char user[SERVICE_NAME_SIZE]; /* "" where none */
    uint32_t capabilities;        /* bits by number, as in linux/capability.h */
    struct service_limit limits[LIMITS_MAX];
    size_t limit_count;
    char sections[SECTIONS_MAX][SECTION_SIZE];
    size_t section_count;
    bool down; /* a `down` file: not started by itself */
    bool has_finish;
};

struct definitions {
    struct definition items[SERVICES_MAX]; /* by depth, then name: the order of start */
    size_t count;
};

/* Reads sv_dir. 0; -1 with a message naming file, line and key in fault. */
int definitions_load(struct definitions *definitions, const char *sv_dir, char *fault, size_t size);

/* Parses one service.yaml into definition, whose name and folder stand. 0, or -1 with a message. */
int definition_parse(struct definition *definition, const char *text, char *fault, size_t size);

/* Depths and order; -1 with a message for an unknown name or a circle. */
int definitions_order(struct definitions *definitions, char *fault, size_t size);

#endif
