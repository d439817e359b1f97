/* The keeper: the parent of one agent process, and nothing else.
 *
 * It outlives every service. It holds the run directory's lock for life (that, not a pid, says
 * whether it lives), starts the agent at most once, enforces its limits, sweeps what it leaves
 * behind and writes `status`. docs/architecture.md has the directory's table. */
#ifndef ORCH_KEEPER_H
#define ORCH_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* launch.json, times in milliseconds; 0 means no limit. Owned by the keeper for its life. */
struct keeper_launch {
    char **argv, **env; /* NULL-terminated */
    char *cwd;
    uid_t uid; /* the agent's user and group; 0: ours */
    gid_t gid;
    char **read, **write; /* the cage's paths, NULL-terminated; both NULL: no cage */
    int64_t memory_mb, processes, file_mb; /* limits; 0: none */
    bool trusted; /* the owner's own program: it may gain rights by what it starts (sudo) */
    int64_t timeout_ms, grace_ms, stall_ms, log_max_bytes;
};

/* Pure. 0, or -1: no launch.json. */
int keeper_parse_launch(const char *text, size_t size, struct keeper_launch *launch);
/* Reads launch.json of the current directory. Its text, which the caller frees; NULL with the
 * reason logged. */
char *keeper_read_launch(struct keeper_launch *launch, size_t *size);

/* Keeps the run whose directory is the current one, to its end. control: a socket; one byte from it
 * is the word to start, its end that nothing shall be started; it gets one byte once the agent is
 * about to be executed and is closed then. -1: starts at once. Returns the process's exit code: 0
 * also where another keeper lives, the run was cancelled, or it had been started before. */
int keeper_run(int control);

/* ---- keeper_agent.c: the agent's process ---- */

struct keeper_agent {
    pid_t pid;        /* leads a session of its own */
    int go, out, err; /* its order goes in; its output and errors, not blocking */
    int report;       /* errno of a failed exec, else its end */
};

/* Forks the agent's child, which waits, and brings agent.pid to the disk (not its name). 0, or -1
 * with errno: the keeper has to end, which ends the child. */
int keeper_fork_agent(struct keeper_agent *agent);
/* Sends it off with the text of launch.json: from then on it is being executed. 0, or -1 with
 * errno: it was gone. */
int keeper_release_agent(struct keeper_agent *agent, const char *launch, size_t size);
/* It ends without being executed. */
void keeper_forget_agent(struct keeper_agent *agent);

/* ---- keeper_log.c: what the agent says ---- */

/* One output file, rotated once to <name>.1 at a line's start; a line longer than max is cut. */
struct keeper_log {
    const char *name;
    int fd;
    int64_t max, size; /* bytes; max 0: no bound. The owner sets it before the first write. */
    bool in_line, cutting;
    int64_t line_size;
};

int keeper_log_open(struct keeper_log *log, const char *name);
void keeper_log_write(struct keeper_log *log, const char *data, size_t size);
/* Ends an unfinished line and brings it to the disk. */
void keeper_log_close(struct keeper_log *log);

/* Watches the agent's lines for its announced waits: feed it all output; returns the milliseconds
 * of the longest wait announced in this piece, else 0. */
struct keeper_watch {
    char *line;
    size_t size;
};
int64_t keeper_watch_feed(struct keeper_watch *watch, const char *data, size_t size);

/* ---- keeper_sweep.c: what the agent leaves ---- */

/* Sends signal to every descendant of this process, but those of one process group (0: none);
 * returns how many descendants there are. */
int keeper_signal_descendants(int signal, pid_t but_group);

/* SIGKILLs and reaps descendants until there are none (needs PR_SET_CHILD_SUBREAPER), at most
 * max_ms long: a process in uninterruptible sleep does not die. on_child gets each reaped child.
 * True: none left. */
bool keeper_sweep(int64_t max_ms, void (*on_child)(void *context, pid_t pid, int status),
                  void *context);

#endif
