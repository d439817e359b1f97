/* An agent's run: prepared, started, watched, and what its output says of itself. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/file.h"
#include "services/runner/agent.h"
#include "services/runner/agent_user.h"
#include "services/runner/cage.h"
#include "services/runner/prompt.h"
#include "services/runner/runner.h"
#include "services/runner/sessions.h"

enum {
    BRIEF_MAX_BYTES = 256 * 1024,
    LAUNCH_MAX_BYTES = 8 * 1024 * 1024,
    PROGRESS_MS = 1000,
    QUIT_GRACE_MS = 3000,
    LOG_MIN_BYTES = 1024 * 1024,
    LOG_CHUNK = 256 * 1024,
    PARENTS = 4,
};

/* ---- prepare and start ---- */

/* A random UUID, version 4. */
static void new_session(char out[37])
{
    unsigned char b[16];
    if (getrandom(b, sizeof b, 0) != sizeof b)
        log_abort("session", "no random bytes: %s", strerror(errno));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}

static char *read_brief_in(const char *folder, const char *role)
{
    char *path = xformat("%s/%s.md", folder, role);
    char *text = file_read(path, BRIEF_MAX_BYTES, NULL);
    free(path);
    return text;
}

/* agents/<role>.md: ORCH_AGENTS_DIR, a folder above our own program (a source tree), the installed
 * one. */
static char *read_brief(const char *role, char **fault)
{
    const char *named = getenv("ORCH_AGENTS_DIR");
    char self[4096], *brief = named ? read_brief_in(named, role) : NULL;
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size > 0 ? size : 0] = '\0';
    for (int i = 0; i < PARENTS && !brief && !named; i++) {
        char *slash = strrchr(self, '/');
        if (!slash)
            break;
        *slash = '\0';
        char *folder = xformat("%s/agents", self);
        brief = read_brief_in(folder, role);
        free(folder);
    }
    if (!brief && !named)
        brief = read_brief_in(ORCH_PREFIX "/share/orchestrator/agents", role);
    if (!brief)
        *fault = xformat("agents/%s.md cannot be found or read", role);
    return brief;
}

static enum step prepare_workspace(struct run *run, char **start, char **remote, char **fault)
{
    repository_lock(&run->repository);
    enum workspace_fault result = workspace_prepare(&run->workspace, run->id, start, fault);
    if (result == WORKSPACE_OK)
        *remote = repository_ref(&run->repository, "refs/remotes/origin/%s", run->branch);
    repository_unlock(&run->repository);
    return result == WORKSPACE_OK ? STEP_OK : result == WORKSPACE_WORLD ? STEP_AGAIN : STEP_FAILED;
}

static char *build_prompt(struct run *run, bool resume, char **fault)
{
    char *brief = read_brief(run->role, fault);
    if (!brief)
        return NULL;
    json_t *artefacts = workspace_artefacts(&run->workspace, run->key);
    struct prompt_parts parts = {.spec = run->spec,
                                 .brief = brief,
                                 .base_branch = run->project->default_branch,
                                 .artefacts = artefacts,
                                 .resumed = resume};
    char *prompt = prompt_build(&parts);
    json_decref(artefacts);
    free(brief);
    return prompt;
}

/* What whoever adopts the run has to know beside the specification. */
static json_t *extra_of(const char *session, bool resume, const struct agent_command *command,
                        const char *start, const char *remote)
{
    return json_pack("{ss* sb ss* sI ss* ss*}", "session", session, "resumed", resume, "model",
                     command->model, "model_levels_left", (json_int_t)command->levels_left,
                     "start_head", start, "start_remote", remote);
}

/* The cage of this agent, and the word of what is in force. */
static int build_cage(const struct agent_request *request, const struct agent_command *command,
                      json_t **cage, char **fault)
{
    const struct log_about about = {.run = request->run, .task = request->key};
    struct cage_request wanted = {.config = request->config,
                                  .workspace = request->workspace,
                                  .home = request->home,
                                  .tmp = request->tmp,
                                  .program = json_string_value(json_array_get(command->argv, 0)),
                                  .config_dir = request->user ? NULL : getenv("CLAUDE_CONFIG_DIR")};
    /* a folder that is not there yet could not be opened to it, and its sessions would be lost */
    if (wanted.config_dir && file_make_dirs(wanted.config_dir, 0700) < 0)
        log_warn("cage", "CLAUDE_CONFIG_DIR %s: %s", wanted.config_dir, strerror(errno));
    if (cage_build(&wanted, cage, fault) < 0)
        return -1;
    char *words = cage_describe(request->config, request->user ? request->user : "");
    log_line(LOG_LEVEL_INFO, "cage", &about, "%s", words);
    free(words);
    return 0;
}

static enum step write_launch(struct run *run, const char *start, const char *remote, char **fault)
{
    const struct config *config = run->runner->config;
    const struct agent_driver *driver = agent_driver(run->project->agent);
    const char *session = message_text(run->spec, "resume_session", NULL);
    char fresh[37];
    const struct identity *user = run->runner->agents;
    struct agent_command command = {0};
    char *prompt = NULL, *home = NULL, *tmp = NULL;
    json_t *cage = NULL;
    enum step step = STEP_FAILED;
    bool resume = session != NULL;
    if (!(home = agent_user_home(config, user, run->project->key, fault)))
        return STEP_AGAIN;
    if (!(tmp = agent_user_tmp(config, user, run->id, fault))) {
        free(home);
        return STEP_AGAIN;
    }
    if (!resume && !(driver && driver->names_session)) {
        new_session(fresh);
        session = fresh;
    }
    struct agent_request request = {.config = config,
                                    .project = run->project,
                                    .role = run->role,
                                    .stage = run->stage,
                                    .key = run->key,
                                    .run = run->id,
                                    .workspace = run->workspace.dir,
                                    .user = user ? user->name : NULL,
                                    .home = home,
                                    .tmp = tmp,
                                    .attempt = message_integer(run->spec, "attempt", 1),
                                    .model_level = message_integer(run->spec, "model_level", 0),
                                    .session = session,
                                    .resume = resume};
    if (!driver)
        *fault =
            xformat("agent: %s has no driver (project %s)", run->project->agent, run->project->key);
    else if (driver->build(&request, &command, fault) == 0 &&
             build_cage(&request, &command, &cage, fault) == 0 &&
             (prompt = build_prompt(run, resume, fault))) {
        json_t *extra = extra_of(session, resume, &command, start, remote);
        int64_t max = config->log_max_bytes > LOG_MIN_BYTES ? config->log_max_bytes : LOG_MIN_BYTES;
        struct run_launch launch = {.argv = command.argv,
                                    .env = command.env,
                                    .cwd = run->workspace.dir,
                                    .as = user,
                                    .prompt = prompt,
                                    .cage = cage,
                                    .limits = config->agent_limits,
                                    .timeout_ms = message_integer(run->spec, "timeout_ms", 0),
                                    .grace_ms = config->agent_kill_grace_seconds * 1000,
                                    .stall_ms = config->agent_stall_timeout_s * 1000,
                                    .log_max_bytes = max,
                                    .extra = extra};
        step = run->executor->prepare(run->dir, &launch) == 0 ? STEP_OK : STEP_AGAIN;
        if (step == STEP_AGAIN)
            *fault = xformat("%s: %s", run->dir, strerror(errno));
        json_decref(extra);
    }
    agent_command_free(&command);
    json_decref(cage);
    free(prompt);
    free(tmp);
    free(home);
    return step;
}

static enum step prepare(struct run *run, char **fault)
{
    char *start = NULL, *remote = NULL;
    enum step step = prepare_workspace(run, &start, &remote, fault);
    if (step == STEP_OK && verdict_file_prepare(run, start, fault) < 0)
        step = STEP_AGAIN;
    if (step == STEP_OK)
        step = write_launch(run, start, remote, fault);
    free(start);
    free(remote);
    if (step == STEP_OK && (run_stopped(run) || !runner_wait_on_disk(run)))
        step = STEP_STOPPED;
    return step;
}

enum step agent_run_start(struct run *run, char **fault)
{
    if (run_open(run, fault) < 0)
        return STEP_FAILED;
    /* A keeper that an earlier runner spawned may be on its way: it gets no agent into a workspace
     * that is being prepared. */
    if (run->executor->withdraw(run->dir) < 0) {
        *fault = xformat("%s: %s", run->dir, strerror(errno));
        return STEP_AGAIN;
    }
    if (run->executor->observe(run->dir) != RUN_STATE_NEW)
        return STEP_OK;
    struct run_warm *warm = run->executor->warm_up(run->dir);
    enum step step = prepare(run, fault);
    if (step != STEP_OK) {
        run->executor->abandon(warm);
        return step;
    }
    crash_point(CRASH_RUN_BEFORE_SPAWN);
    if (run->executor->start(run->dir, warm) < 0) {
        *fault = xformat("the agent's keeper does not start: %s", strerror(errno));
        return STEP_AGAIN;
    }
    crash_point(CRASH_RUN_AFTER_SPAWN);
    return STEP_OK;
}

/* ---- the log ---- */

static bool open_log(struct run *run, const char *name)
{
    char *path = run_path(run, name);
    run->log.fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    struct stat info;
    run->log.inode = run->log.fd >= 0 && fstat(run->log.fd, &info) == 0 ? info.st_ino : 0;
    return run->log.fd >= 0;
}

static void read_to_end(struct run *run)
{
    char *chunk = xrealloc(NULL, LOG_CHUNK);
    ssize_t n;
    while ((n = read(run->log.fd, chunk, LOG_CHUNK)) > 0)
        output_feed(&run->output, chunk, (size_t)n);
    free(chunk);
}

static void close_log(struct run *run)
{
    close(run->log.fd);
    run->log.fd = -1;
}

void agent_run_read_log(struct run *run, bool whole)
{
    char *path = run_path(run, "log");
    struct stat info;
    if (run->log.fd < 0 && open_log(run, "log.1")) {
        read_to_end(run);
        close_log(run);
    }
    if (run->log.fd < 0 && !open_log(run, "log"))
        goto done;
    read_to_end(run);
    if (stat(path, &info) == 0 && info.st_ino != run->log.inode) {
        /* Rotated under us: what was still written to the old one, then the new one. */
        read_to_end(run);
        close_log(run);
        if (open_log(run, "log"))
            read_to_end(run);
    }

done:
    free(path);
    if (whole)
        output_end(&run->output);
}

/* ---- watching ---- */

void agent_run_say_started(struct run *run)
{
    int64_t id, at;
    if (run->said_started || run->executor->started(run->dir, &id, &at) < 0)
        return;
    run->said_started = true;
    struct log_about about = run_about(run);
    log_line(LOG_LEVEL_INFO, "started", &about, "%s at work on %s", run->role, run->key);
    runner_send(run->runner, run->id,
                message_new(MESSAGE_run_started, NULL, "{ss sI sI}", "run", run->id, "pid",
                            (json_int_t)id, "started_ms", (json_int_t)at),
                NULL);
}

static void say_progress(struct run *run)
{
    agent_run_read_log(run, false);
    run->progress_at = clock_mono_ms();
    const struct agent_output *output = &run->output;
    json_t *tool = *output->last_tool ? json_string(output->last_tool) : NULL;
    json_t *message =
        message_new(MESSAGE_run_progress, NULL, "{ss sI so sI}", "run", run->id, "turns",
                    (json_int_t)output->turns, "last_tool", tool ? tool : json_null(),
                    "output_tokens", (json_int_t)output->output_tokens);
    runner_send_once(run->runner, run->id, message);
}

/* STOP for good; or our own end, which the next runner tells apart by the file and which leaves the
 * agent less time. */
static void order_end(struct run *run, enum run_order order)
{
    bool interrupted = order == ORDER_QUIT && !atomic_load(&run->stopping);
    char *path = run_path(run, "interrupted");
    if (interrupted && file_create_exclusive(path, "", 0, 0600) < 0 && errno != EEXIST)
        log_error("quit", "%s: %s", path, strerror(errno));
    free(path);
    if (run->executor->end(run->dir, order == ORDER_QUIT ? QUIT_GRACE_MS : 0) == 0)
        run->ordered = order;
}

static enum run_order wanted_order(const struct run *run)
{
    if (atomic_load(&run->runner->quitting))
        return ORDER_QUIT;
    return atomic_load(&run->stopping) ? ORDER_STOP : ORDER_NONE;
}

enum step agent_run_watch(struct run *run)
{
    if (!run->watch)
        run->watch = run->executor->watch(run->dir);
    for (;;) {
        enum run_state state = run->executor->observe(run->dir);
        if (state == RUN_STATE_RUNNING || state == RUN_STATE_ENDED)
            agent_run_say_started(run);
        if (state == RUN_STATE_ENDED || state == RUN_STATE_LOST || state == RUN_STATE_NEW)
            return STEP_OK;
        enum run_order wanted = wanted_order(run);
        if (run->ordered < wanted)
            order_end(run, wanted);
        int64_t quiet = run->progress_at + PROGRESS_MS - clock_mono_ms();
        bool wants_output = quiet <= 0 && state == RUN_STATE_RUNNING;
        /* Once called the descriptor stays readable: looked at again every second instead. */
        int wait = !wants_output ? (int)quiet + 1 : wanted ? PROGRESS_MS : -1;
        enum run_wake wake =
            run->executor->wait(run->watch, wanted ? -1 : run->called_fd, wants_output, wait);
        if (wake == RUN_WAKE_OUTPUT)
            say_progress(run);
    }
}

/* ---- the account ---- */

static void load_launch(struct run *run)
{
    char *path = run_path(run, "launch.json");
    size_t size;
    char *text = file_read(path, LAUNCH_MAX_BYTES, &size);
    if (!run->launch && text)
        run->launch = json_loadb(text, size, 0, NULL);
    free(text);
    free(path);
}

/* What of the result record is this run's. Where usage counts from the session's beginning it is a
 * difference like the cost. */
static struct session_figures share_of(struct run *run, const char *session)
{
    const struct agent_driver *driver = agent_driver(run->project->agent);
    bool cumulative = driver && driver->usage_is_cumulative;
    json_t *usage = output_usage(run->output.result);
    struct session_figures reported = {.cost = output_total_cost(run->output.result),
                                       .usage = cumulative ? usage : NULL};
    struct session_figures share =
        sessions_share(run->runner->config->home, session, run->id, &reported,
                       message_flag(run->launch, "resumed", false));
    if (cumulative)
        json_decref(usage);
    else
        share.usage = usage;
    return share;
}

void agent_run_account(struct run *run)
{
    load_launch(run);
    const struct agent_output *output = &run->output;
    const char *session =
        *output->session ? output->session : message_text(run->launch, "session", NULL);
    const char *model = *output->model ? output->model : message_text(run->launch, "model", NULL);
    struct session_figures share = share_of(run, session);
    json_t *account = json_object();
    if (!share.usage && output->result)
        log_warn("account", "run %s: its result record has no usage", run->id);
    json_object_set_new(account, "usage", share.usage ? share.usage : json_null());
    json_object_set_new(account, "cost_usd", share.cost >= 0 ? json_real(share.cost) : json_null());
    json_object_set_new(account, "session", session ? json_string(session) : json_null());
    json_object_set_new(run->detail, "account", account);
    json_object_set_new(run->detail, "model", model ? json_string(model) : json_null());
    json_object_set_new(run->detail, "model_levels_left",
                        json_integer(message_integer(run->launch, "model_levels_left", 0)));
    json_object_set_new(run->detail, "cli_version",
                        *output->version ? json_string(output->version) : json_null());
    json_object_set_new(run->detail, "denied_tools", output_denied_tools(output->result));
}
