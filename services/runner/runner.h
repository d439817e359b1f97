/* The runner's parts: a main loop that owns the bus (loop.c), a thread per active run that takes
 * the steps one after the other (steps.c), and what the two share. */
#ifndef ORCH_RUNNER_H
#define ORCH_RUNNER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "lib/forge/forge.h"
#include "lib/log.h"
#include "protocol/service.h"
#include "services/runner/agent_output.h"
#include "services/runner/executor.h"
#include "services/runner/repository.h"
#include "services/runner/workspace.h"

struct outbox;

struct runner {
    struct service service;
    const struct config *config;
    struct git *git;
    const struct identity *agents; /* their own user; NULL: ours */
    char boot[17];
    char *runs_dir;
    struct outbox *outbox;
    json_t *unwritten;     /* run_start messages whose directory could not be written yet */
    pthread_mutex_t mutex; /* runs, active, and every run's `doing` and `has_workspace` */
    pthread_cond_t ended;  /* a run's thread ended, or was told to stop */
    struct run *runs;      /* those with a thread */
    int active;
    atomic_bool quitting; /* as PID 1's child: agents are ended, their runs reported interrupted */
    int64_t ended_runs;
};

/* One run while its thread lives. */
struct run {
    struct runner *runner;
    char *id, *dir;
    json_t *spec; /* the run_start message */
    /* of spec, borrowed */
    const char *job_kind, *key, *stage, *role, *branch;
    int64_t task, entry;
    const struct project *project;
    const struct executor *executor;
    struct forge *forge;
    struct repository repository;
    struct workspace workspace;
    bool opened;          /* forge, repository and workspace are there */
    bool has_workspace;   /* of all runs of its task; guarded by the runner's mutex */
    bool on_disk;         /* its spec.json is; guarded by the runner's mutex */
    atomic_bool stopping; /* STOP: no step goes on */
    int called_fd;        /* eventfd: stopping or quitting was set */
    const char *doing;    /* static, for status */
    /* the agent */
    json_t *launch;          /* launch.json as written: survives us */
    struct run_watch *watch; /* NULL before the first wait */
    struct run_status status;
    struct agent_output output;
    struct log_reader {
        int fd;
        uint64_t inode;
    } log;
    bool said_started;
    enum run_order { ORDER_NONE, ORDER_STOP, ORDER_QUIT } ordered; /* the end, of the agent */
    int64_t progress_at;     /* monotonic, of the last look at the log */
    const char *fault_class; /* of a step that failed; NULL: operator */
    /* what becomes the result */
    char *head;
    bool head_is_local; /* committed, and the forge has not got it */
    struct pull_request pull;
    json_t *gate, *detail;
    char *log_tail;               /* last lines, where no agent's output has them */
    const struct hook_call *hook; /* that is being called */
    bool superseded;              /* deploy: what was deployed since contains it */
    struct run *next;
};

/* ---- loop.c ---- */

/* Sends a message to the scheduler until it is acknowledged, in order per run; from any thread.
 * Takes message. ack_path: a file to be made then, or NULL. */
void runner_send(struct runner *runner, const char *run, json_t *message, const char *ack_path);
/* The same once: losing it costs nothing. Dropped while an earlier one is under way. */
void runner_send_once(struct runner *runner, const char *run, json_t *message);

/* Waits until no other run of the task has the workspace: two agents must never work in one. false:
 * told to stop meanwhile. */
bool runner_take_workspace(struct run *run);

/* Waits until the run's specification is on the disk: nothing is started before. false: told to
 * stop meanwhile. */
bool runner_wait_on_disk(struct run *run);

/* ---- run.c ---- */

/* A new run in the directory runs_dir/<id>, from its spec. Takes spec. NULL and *fault ("code:
 * text") where the spec does not fit. */
struct run *run_new(struct runner *runner, json_t *spec, char **fault);
void run_free(struct run *run);

/* home/runs/<run>/<name>. Caller frees. */
char *run_path(const struct run *run, const char *name);
struct log_about run_about(const struct run *run);
bool run_stopped(const struct run *run); /* STOP, or we quit */
/* What it is busy with, for status. doing: static. */
void run_set_doing(struct run *run, const char *doing);

/* Whether a run id can be a file name: letters, digits and .~_-, not beginning with a dot. */
bool run_id_ok(const char *id);
/* Whether this can be a task's branch. Pure. */
bool run_branch_ok(const char *branch);

/* How it ended. class, outcome: words of run_result; reason: "code: text". Writes result.json,
 * orders it sent. Passes the crash points of the result. */
void run_finish(struct run *run, const char *outcome, const char *class, const char *reason);

/* The same for a run that there is no struct of: nothing of it was started here. 0, or -1. */
int run_refuse(struct runner *runner, const char *id, const char *outcome, const char *class,
               const char *reason);

/* Sends a result.json that is there already. false where there is none. */
bool run_resend(struct runner *runner, const char *id);

/* Forge, repository and workspace of the run's project. 0, or -1 and *fault: an operator's matter.
 */
int run_open(struct run *run, char **fault);

/* The worker of a step that the world may fail: repeated with back-off until it succeeds, says that
 * repeating is no use, the run is stopped, or it has failed for ten minutes. */
enum step { STEP_OK, STEP_AGAIN, STEP_FAILED, STEP_STOPPED };
enum step run_repeat(struct run *run, const char *doing,
                     enum step (*work)(struct run *run, char **fault), char **fault);

/* ---- steps.c and its parts ---- */

/* The whole life of a run, from whatever its directory shows. */
void run_steps(struct run *run);

/* verdict_file.c: before the agent, with the commit that it starts on. 0, or -1 and *fault. */
int verdict_file_prepare(struct run *run, const char *start, char **fault);
/* With the task's workspace. 0, or -1 with errno. */
int verdict_file_forget(const struct run *run);

/* agent_run.c: prepares, starts, watches. STEP_OK: ended, run->status and run->output say how. */
enum step agent_run_start(struct run *run, char **fault);
enum step agent_run_watch(struct run *run);
void agent_run_read_log(struct run *run, bool whole);
/* Tells the scheduler, the first time it is called, that the agent was started. */
void agent_run_say_started(struct run *run);
/* Usage, cost, session, model and tools of the ended agent, for the result. */
void agent_run_account(struct run *run);

/* publish.c: commit, push, pull request; each found by its trace. */
enum step publish_commit(struct run *run, char **fault);
enum step publish_push(struct run *run, char **fault);
enum step publish_pull_request(struct run *run, char **fault);

/* reserved.c: the job kinds without an agent and without a program of the project (hook.h). */
void reserved_run(struct run *run);

/* janitor.c: what is over by its retention; and, in a thread of its own, at most one at a time,
 * preserved refs and (collect) git's own collection of our repositories. */
void janitor_sweep(const struct runner *runner);
void janitor_look_at_repositories(struct runner *runner, bool collect);

#endif
