/* What the supervisor knows, in one struct of fixed size: nothing on the way from a death to the
 * next start asks for memory. */
#ifndef ORCH_SUPERVISOR_SUPERVISOR_H
#define ORCH_SUPERVISOR_SUPERVISOR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "lib/config.h"
#include "supervisor/control.h"
#include "supervisor/definitions.h"
#include "supervisor/instance.h"
#include "supervisor/logs.h"
#include "supervisor/policy.h"

enum {
    ENVIRONMENT_MAX = 1024,
    REASON_SIZE = 160,
    EXIT_UNCLEAN = 1,  /* a service did not end cleanly */
    EXIT_CONFIG = 100, /* configuration or sv/ invalid, usage */
    EXIT_HELD = 111,   /* another supervisor has this home or run directory */
};

struct obituary {
    int64_t number; /* of this service's deaths */
    int64_t at_ms;  /* wall clock; 0: it never died */
    int exit_code;  /* -1: signal, or not started */
    int signal;
    bool asked;
    int64_t uptime_ms, delay_ms; /* until the next start */
    char reason[REASON_SIZE]; /* "exit 1", "signal 9 (Killed)", "exec: No such file or directory" */
    char said[LOG_LAST_SIZE]; /* its last line */
    size_t pending;           /* bytes of its words that were still in the pipe */
};

struct slot {
    bool used;
    bool removing; /* gone from sv/: stopped, then forgotten */
    bool rolling;  /* to be restarted after SIGHUP, in its turn */
    bool dirty;    /* supervise/ to be written */
    bool paused;
    pid_t pid; /* of run or finish; 0: none */
    int pidfd;
    int notify_fd;                            /* our end; -1: none */
    int64_t door_at;                          /* sv exit: taken on anew then; 0: open */
    int64_t changed_ms, started_ms, ready_ms; /* wall clock; 0: not */
    struct obituary last;
    struct policy_child policy;
    struct definition definition;
    struct instance instance;
    struct control control;
    struct control_record published; /* what stands in supervise/ */
    struct service_log log;
};

enum stop_phase { STOP_NONE, STOP_SERVICES, STOP_ORPHANS, STOP_DONE };

struct supervisor {
    /* from the command line and the configuration */
    char self[PATH_MAX];        /* our program as it was called: what an upgrade executes */
    char programs[PATH_MAX];    /* its folder, links resolved: first in the services' PATH */
    char config_file[PATH_MAX]; /* absolute */
    char sv_dir[PATH_MAX];
    char home[PATH_MAX], run_dir[PATH_MAX];
    char **argv;
    struct config *config;
    struct policy_settings policy;
    struct logs_settings log_settings;
    int64_t stop_budget_ms;
    bool is_init; /* PID 1 */

    /* descriptors */
    int epoll_fd, signal_fd, null_fd;
    int home_lock, run_lock;
    struct console console;
    struct service_log own_log;

    /* the services, in no order; environment[environment_count] is free for ORCH_NOTIFY_FD */
    struct slot slots[SERVICES_MAX];
    char *environment[ENVIRONMENT_MAX + 2];
    size_t environment_count;
    char path[2 * PATH_MAX];

    /* what goes on */
    bool dirty;         /* supervisor.json to be written */
    int64_t publish_at; /* not before, monotonic: a start is under way */
    int publish_error;  /* errno of the last try; 0: it is written */
    int64_t started_ms; /* wall clock */
    int64_t orphans;    /* reaped that were none of ours */
    enum stop_phase stop;
    bool unclean;
    int hurried;           /* further SIGTERMs */
    int64_t stop_deadline; /* 0: none (not PID 1) */
    int64_t orphan_deadline;
    int rolling_slot; /* being restarted after SIGHUP; -1: none */
    int64_t rolling_deadline;
    pid_t check_pid; /* of the new binary's --check; 0: none */
    int check_pidfd, check_fd;
    int64_t check_deadline;
    size_t check_used;
    char check_said[512]; /* the end of it */
    int64_t upgrades, upgrades_refused;
    char upgrade_error[512];
};

#define FOR_EACH_SLOT(supervisor, slot)                                                            \
    for (struct slot *slot = (supervisor)->slots; slot < (supervisor)->slots + SERVICES_MAX;       \
         slot++)                                                                                   \
        if (slot->used)

/* ---- setup.c ---- */
/* Values that SIGHUP may change, out of config. */
void setup_apply_config(struct supervisor *supervisor);
/* Services' environment; 0, or -1 where it has too many variables. */
int setup_environment(struct supervisor *supervisor);
struct slot *setup_find(struct supervisor *supervisor, const char *name);
/* A new service; NULL where there is no room. */
struct slot *setup_add(struct supervisor *supervisor, const struct definition *definition);
/* Folder, log, doors of a slot (those that are open stay). 0, or -1 with a message. */
int setup_open(struct supervisor *supervisor, struct slot *slot, char *fault, size_t size);
/* All directories, locks, logs, services. 0, or the exit code after having said why. */
int setup_run(struct supervisor *supervisor, int state_fd);

/* ---- child.c ---- */
void child_feed(struct supervisor *supervisor, struct slot *slot, enum policy_event_kind kind);
void child_ended(struct supervisor *supervisor, struct slot *slot, int exit_code, int signal);
void child_letter(struct supervisor *supervisor, struct slot *slot, char letter);
void child_notified(struct supervisor *supervisor, struct slot *slot);
void child_deadline(struct supervisor *supervisor, struct slot *slot, int64_t now);
/* Starts those whose predecessors are ready. */
void child_clear_waiting(struct supervisor *supervisor);

/* ---- obituary.c ---- */
/* How it died becomes slot->last; uptime in ms. After the step that the death made. */
void obituary_write(struct slot *slot, const struct policy_event *event, int64_t uptime);
/* Adds its last line and says it, after the next start, so that talking does not delay it. A start
 * that failed at once has left an obituary of its own meanwhile, and that stays the last one. */
void obituary_tell(struct supervisor *supervisor, struct slot *slot, struct obituary *death);

/* ---- state.c ---- */
/* supervisor.json and the supervise/ folders of all that changed, but where a start that has just
 * been made would have to share its processor with that: then a moment later. */
void state_publish(struct supervisor *supervisor);

/* ---- stop.c ---- */
void stop_begin(struct supervisor *supervisor, const char *why);
void stop_advance(struct supervisor *supervisor);

/* ---- reload.c ---- */
void reload(struct supervisor *supervisor);
void reload_advance(struct supervisor *supervisor);

/* ---- reexec.c ---- */
enum { STATE_VERSION = 1 };
#define STATE_FD_VARIABLE      "ORCH_STATE_FD"
#define STATE_VERSION_VARIABLE "ORCH_STATE_VERSION"
void reexec_begin(struct supervisor *supervisor);
/* True where pid was the check; on success of the check it does not return (but when exec fails).
 */
bool reexec_checked(struct supervisor *supervisor, pid_t pid, int exit_code);
/* The check said something. */
void reexec_heard(struct supervisor *supervisor);
void reexec_deadline(struct supervisor *supervisor, int64_t now);
/* In the new binary: 0 where it could take over the state of whoever asks; says the words that are
 * waited for on standard output. */
int reexec_answer_check(void);
/* The other side: 0, or -1 where the state can't be read. Before the slots are opened. */
int reexec_adopt(struct supervisor *supervisor, int state_fd);

/* ---- loop.c ---- */
enum watch { WATCH_SIGNAL, WATCH_LOG, WATCH_CONTROL, WATCH_NOTIFY, WATCH_CHECK };
/* slot may be NULL. */
void loop_watch(struct supervisor *supervisor, int fd, enum watch watch, const struct slot *slot);
int loop_open(struct supervisor *supervisor);
/* Returns the exit code. */
int loop_run(struct supervisor *supervisor);

#endif
