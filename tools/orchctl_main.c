/* orchctl: what people do with a running orchestrator. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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

static enum ctl_exit show_help(void)
{
    char *text = request_help();
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
    case CTL_APPROVE:
    case CTL_CONFIRM_DEPLOY:
    case CTL_STOP:
    case CTL_RETRY:
        return ctl_act(ctl, ctl_commands[ctl->request.command].words);
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
    return show_help();
}

int main(int argc, char **argv)
{
    struct ctl ctl = {0};
    char fault[160];
    log_init("orchctl", LOG_LEVEL_ERROR);
    setenv("ORCH_LOG_FORMAT", "text", 0);
    if (!request_parse(&ctl.request, argc, argv, fault, sizeof fault)) {
        complain("%s (orchctl help shows what there is)", fault);
        return CTL_USAGE;
    }
    if (!is_local(ctl.request.command)) {
        enum ctl_exit found = instance_find(&ctl);
        if (found != CTL_DONE)
            return found;
    }
    return perform(&ctl);
}
