/* orchctl: what people do with a running orchestrator. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "lib/log.h"
#include "tools/orchctl.h"

static enum ctl_exit show_version(const struct ctl *ctl)
{
    if (ctl->request.json)
        print_json(json_pack("{s:s}", "version", ORCH_VERSION));
    else
        puts("orchctl " ORCH_VERSION);
    return CTL_DONE;
}

static json_t *describe(enum ctl_command command)
{
    const struct ctl_command_info *info = &ctl_commands[command];
    return json_pack("{s:s,s:s,s:s}", "command", info->words, "arguments", info->arguments, "help",
                     info->help);
}

static enum ctl_exit show_help(const struct ctl *ctl)
{
    enum ctl_command topic = ctl->request.topic;
    if (ctl->request.json) {
        json_t *all = json_array();
        for (int i = 0; i < CTL_COMMAND_COUNT; i++) {
            if (topic == CTL_COMMAND_COUNT || topic == (enum ctl_command)i)
                json_array_append_new(all, describe((enum ctl_command)i));
        }
        print_json(all);
        return CTL_DONE;
    }
    char *text = request_help(topic);
    fputs(text, stdout);
    free(text);
    return CTL_DONE;
}

/* Those that need no running instance. */
static bool is_local(enum ctl_command command)
{
    switch (command) {
    case CTL_VERSION:
    case CTL_HELP:
    case CTL_CHECK_CONFIG:
    case CTL_DOCTOR:
    case CTL_REPO_CREATE:
    case CTL_BACKUP:
    case CTL_RESTORE:
        return true;
    default:
        return false;
    }
}

static enum ctl_exit perform(struct ctl *ctl)
{
    switch (ctl->request.command) {
    case CTL_STATUS:
        return ctl_status(ctl);
    case CTL_QUEUE:
        return ctl_queue(ctl);
    case CTL_TASK_LIST:
        return ctl_task_list(ctl);
    case CTL_TASK_SHOW:
        return ctl_task_show(ctl);
    case CTL_TASK_NEW:
        return ctl_task_new(ctl);
    case CTL_TASK_START:
        return ctl_task_start(ctl);
    case CTL_APPROVE:
    case CTL_CONFIRM_DEPLOY:
    case CTL_STOP:
    case CTL_RETRY:
    case CTL_COMMENT:
    case CTL_PAUSE:
    case CTL_DRAIN:
    case CTL_RESUME:
    case CTL_FREEZE:
    case CTL_UNFREEZE:
    case CTL_EFFECTS_DROP:
        return ctl_act(ctl);
    case CTL_EFFECTS_LIST:
        return ctl_effects_list(ctl);
    case CTL_BACKUP:
        return ctl_backup(ctl);
    case CTL_RESTORE:
        return ctl_restore(ctl);
    case CTL_WHY:
        return ctl_why(ctl);
    case CTL_TAIL:
        return ctl_tail(ctl);
    case CTL_EVENTS:
        return ctl_events(ctl);
    case CTL_RESTART:
        return ctl_restart(ctl);
    case CTL_UPGRADE:
        return ctl_upgrade(ctl);
    case CTL_CHECK_CONFIG:
        return ctl_check_config(ctl);
    case CTL_DOCTOR:
        return ctl_doctor(ctl);
    case CTL_REPO_CREATE:
        return ctl_repo_create(ctl);
    case CTL_VERSION:
        return show_version(ctl);
    case CTL_HELP:
    case CTL_COMMAND_COUNT:
        break;
    }
    return show_help(ctl);
}

/* Lines that the libraries log are for the person here, whatever the services are told. */
static void begin_log(void)
{
    const char *given = getenv("ORCH_LOG_FORMAT");
    char *before = given ? xstrdup(given) : NULL;
    setenv("ORCH_LOG_FORMAT", "text", 1);
    log_init("orchctl", LOG_LEVEL_ERROR);
    if (before)
        setenv("ORCH_LOG_FORMAT", before, 1);
    else
        unsetenv("ORCH_LOG_FORMAT"); /* a key of the configuration: check-config would show it */
    free(before);
}

static bool wants_json(int argc, char *const *argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {0};
    char fault[200];
    enum ctl_exit code = CTL_USAGE;
    begin_log();
    output_begin(wants_json(argc, argv));
    if (!request_parse(&ctl.request, argc, argv, fault, sizeof fault)) {
        complain("%s (orchctl help shows what there is)", fault);
    } else {
        code = is_local(ctl.request.command) ? CTL_DONE : instance_find(&ctl);
        if (code == CTL_DONE)
            code = perform(&ctl);
    }
    output_end(code);
    config_free(ctl.config);
    free(ctl.token);
    free(ctl.url);
    return code;
}
