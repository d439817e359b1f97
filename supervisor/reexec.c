/* Upgrade in place: the program that stands at our path now is tried with --check; where that
 * succeeds, our state goes into a memfd and we become that program. execve keeps the pid, so
 * children stay children, and what they say meanwhile waits in their pipes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/log.h"
#include "supervisor/handover.h"
#include "supervisor/process.h"

enum { CHECK_MS = 10000 };

/* A program that succeeds at everything (`true`) is not ours: these words are what is waited for.
 */
static void expected_words(char *out, size_t size)
{
    snprintf(out, size, "takes over state %d", STATE_VERSION);
}

int reexec_answer_check(void)
{
    const char *asked = getenv(STATE_VERSION_VARIABLE);
    char words[64];
    if (asked && atoi(asked) != STATE_VERSION) {
        fprintf(stderr, "version %s reads state %d, not %s\n", ORCH_VERSION, STATE_VERSION, asked);
        return EXIT_UNCLEAN;
    }
    expected_words(words, sizeof words);
    printf("orchestrator %s %s\n", ORCH_VERSION, words);
    return fflush(stdout) ? EXIT_UNCLEAN : 0;
}

static void refuse(struct supervisor *supervisor, const char *what, const char *why)
{
    supervisor->upgrades_refused++;
    snprintf(supervisor->upgrade_error, sizeof supervisor->upgrade_error, "%.*s: %s%s%.*s", 200,
             supervisor->self, what, *why ? ": " : "", 250, why);
    supervisor->dirty = true;
    log_error("upgrade", "refused, the old program goes on: %s", supervisor->upgrade_error);
}

static void end_check(struct supervisor *supervisor)
{
    supervisor->check_pid = 0;
    if (supervisor->check_pidfd >= 0)
        close(supervisor->check_pidfd);
    if (supervisor->check_fd >= 0)
        close(supervisor->check_fd);
    supervisor->check_pidfd = supervisor->check_fd = -1;
}

/* ---- the check ---- */

static int start_check(struct supervisor *supervisor, int output_fd,
                       struct process_started *started)
{
    char option[] = "--check", config[] = "-c", sv[] = "--sv";
    char *argv[] = {supervisor->argv[0], option, config, supervisor->config_file, sv,
                    supervisor->sv_dir,  NULL};
    char version[16];
    snprintf(version, sizeof version, "%d", STATE_VERSION);
    setenv(STATE_VERSION_VARIABLE, version, 1);
    struct process_start start = {
        .path = supervisor->self,
        .argv = argv,
        .envp = environ,
        .cwd = "/",
        .input_fd = supervisor->null_fd,
        .output_fd = output_fd,
        .notify_fd = -1,
    };
    int result = process_start(&start, started);
    unsetenv(STATE_VERSION_VARIABLE);
    return result;
}

void reexec_begin(struct supervisor *supervisor)
{
    struct process_started started;
    int ends[2];
    if (supervisor->stop) {
        log_warn("upgrade", "not while stopping");
        return;
    }
    if (supervisor->check_pid) {
        log_info("upgrade", "the new program is being checked already");
        return;
    }
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) {
        refuse(supervisor, "pipe", strerror(errno));
        return;
    }
    supervisor->check_used = 0;
    supervisor->check_said[0] = '\0';
    int result = start_check(supervisor, ends[1], &started);
    close(ends[1]);
    if (result) {
        close(ends[0]);
        refuse(supervisor, started.step, strerror(started.error));
        return;
    }
    supervisor->check_fd = ends[0];
    supervisor->check_pid = started.pid;
    supervisor->check_pidfd = started.pidfd;
    supervisor->check_deadline = clock_mono_ms() + CHECK_MS;
    loop_watch(supervisor, supervisor->check_fd, WATCH_CHECK, NULL);
    log_info("upgrade", "trying %s --check", supervisor->self);
}

void reexec_heard(struct supervisor *supervisor)
{
    char *said = supervisor->check_said;
    size_t room = sizeof supervisor->check_said - 1;
    char data[256];
    ssize_t size = supervisor->check_fd < 0 ? 0 : read(supervisor->check_fd, data, sizeof data);
    if (size == 0 && supervisor->check_fd >= 0) { /* closed; its death says the rest */
        close(supervisor->check_fd);
        supervisor->check_fd = -1;
    }
    if (size <= 0)
        return;
    size_t over = supervisor->check_used + (size_t)size > room
                      ? supervisor->check_used + (size_t)size - room
                      : 0;
    if (over) {
        memmove(said, said + over, supervisor->check_used - over);
        supervisor->check_used -= over;
    }
    memcpy(said + supervisor->check_used, data, (size_t)size);
    supervisor->check_used += (size_t)size;
    said[supervisor->check_used] = '\0';
}

void reexec_deadline(struct supervisor *supervisor, int64_t now)
{
    char why[64];
    if (!supervisor->check_pid || now < supervisor->check_deadline)
        return;
    process_signal(supervisor->check_pid, supervisor->check_pidfd, SIGKILL);
    end_check(supervisor); /* reaped as an orphan */
    snprintf(why, sizeof why, "no answer within %d s", CHECK_MS / 1000);
    refuse(supervisor, "--check", why);
}

/* Its last words on one line. */
static const char *last_line(char *said)
{
    size_t size = strlen(said);
    while (size && said[size - 1] == '\n')
        said[--size] = '\0';
    char *newline = strrchr(said, '\n');
    return newline ? newline + 1 : said;
}

/* ---- becoming the new program ---- */

static int save_state(struct supervisor *supervisor)
{
    int fd = memfd_create("orchestrator-state", 0);
    if (fd < 0)
        return -1;
    if (handover_write(supervisor, fd) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Returns only where it failed. */
static void become(struct supervisor *supervisor)
{
    char number[16];
    supervisor->upgrades++; /* as the next one is to see it */
    int fd = save_state(supervisor);
    if (fd < 0) {
        supervisor->upgrades--;
        refuse(supervisor, "state", strerror(errno));
        return;
    }
    snprintf(number, sizeof number, "%d", fd);
    setenv(STATE_FD_VARIABLE, number, 1);
    logs_own_tick(&supervisor->own_log, &supervisor->log_settings, &supervisor->console);
    console_flush(&supervisor->console);
    handover_keep(supervisor, true);
    execve(supervisor->self, supervisor->argv, environ);
    int error = errno;
    handover_keep(supervisor, false);
    unsetenv(STATE_FD_VARIABLE);
    close(fd);
    supervisor->upgrades--;
    refuse(supervisor, "exec", strerror(error));
}

bool reexec_checked(struct supervisor *supervisor, pid_t pid, int exit_code)
{
    char words[64], how[64];
    if (!supervisor->check_pid || pid != supervisor->check_pid)
        return false;
    for (int i = 0; i < 64 && supervisor->check_fd >= 0; i++) {
        size_t before = supervisor->check_used;
        reexec_heard(supervisor);
        if (supervisor->check_used == before)
            break;
    }
    end_check(supervisor);
    expected_words(words, sizeof words);
    const char *said = last_line(supervisor->check_said);
    if (exit_code == 0 && !strstr(said, words))
        refuse(supervisor, "--check did not say that it takes over", said);
    else if (exit_code == 0 && !supervisor->stop)
        become(supervisor);
    else if (exit_code != 0) {
        snprintf(how, sizeof how, exit_code < 0 ? "--check died of a signal" : "--check: exit %d",
                 exit_code);
        refuse(supervisor, how, said);
    }
    return true;
}

int reexec_adopt(struct supervisor *supervisor, int state_fd)
{
    int result = handover_read(supervisor, state_fd);
    close(state_fd);
    supervisor->upgrade_error[0] = '\0';
    return result;
}
