/* Running another program to its end and keeping what it says (git, a test command).
 * Safe from any thread: posix_spawn, no code of ours between fork and exec. */
#ifndef ORCH_PROCESS_H
#define ORCH_PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include "lib/identity.h"

struct process_spec {
    const char *const *argv;   /* NULL-terminated; argv[0] is found through PATH */
    const char *const *env;    /* NULL-terminated "K=V"; NULL: this process's own */
    const char *cwd;           /* NULL: this process's own */
    const struct identity *as; /* NULL: this process's own user; through orch-as */
    int socket;                /* becomes PROCESS_SOCKET in it; 0: none. Borrowed */
    const char *input;         /* written to its standard input; NULL: /dev/null */
    size_t input_size;         /* bytes of input; 0: it ends with its NUL */
    int64_t timeout_ms;        /* 0: none. Its whole process group is killed then */
    size_t max_output;         /* bytes kept of each stream (the first ones); 0: 1 MiB */
};

enum { PROCESS_SOCKET = 3 };

struct process_result {
    int exit_code; /* 128 + n when killed by signal n */
    bool timed_out;
    char *out; /* NUL-terminated standard output */
    size_t out_size;
    char *err; /* NUL-terminated standard error */
    size_t err_size;
};

/* 0 when the program ran and ended, however; -1 with errno when it could not be started.
 * Fills result either way; caller calls process_result_free. */
int process_run(const struct process_spec *spec, struct process_result *result);
/* Starts a program in a process group of its own that answers on a socket: that is its standard
 * input and output, and what it says of errors is lost. argv, env, cwd and as of spec count. Its
 * pid, or -1 with errno; process_end waits for it, killing it after wait_ms. */
pid_t process_serve(const struct process_spec *spec, int socket);
void process_end(pid_t pid, int64_t wait_ms);
void process_result_free(struct process_result *result);

/* The program of this name beside our own one, wherever that was started from; else the name, for
 * PATH. Caller frees. */
char *process_beside(const char *name);

/* Start time of a pid in clock ticks since boot (field 22 of /proc/<pid>/stat); 0 where it is gone.
 * With the boot id it names a process for ever, a pid alone does not. */
uint64_t process_start_ticks(int pid);
/* /proc/sys/kernel/random/boot_id, without newline. 37 bytes with the NUL. */
void process_boot_id(char out[37]);

#endif
