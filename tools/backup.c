/* backup FILE: both databases as they are in one moment each, while everything runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/file.h"
#include "tools/archive.h"
#include "tools/orchctl.h"

/* The folder of a path, for what is made beside it. Caller frees. */
static void say(const struct ctl *ctl, const char *file, json_t *manifest)
{
    if (ctl->request.json) {
        json_object_set_new(manifest, "file", json_string(file));
        print_json(json_incref(manifest));
        return;
    }
    struct stat info;
    long long kb = stat(file, &info) == 0 ? (long long)info.st_size / 1024 : 0;
    printf("%s: %lld tasks, %lld events not acted on, %lld effects not delivered, %lld kB\n", file,
           text_number(manifest, "tasks"), text_number(manifest, "events_waiting"),
           text_number(manifest, "effects_waiting"), kb);
}

/* By rename, so that FILE is whole or what it was. */
static bool put(const char *work, const char *folder, const char *file)
{
    char *made = xformat("%s/backup.tar", work);
    bool good = archive_pack(work, made);
    if (good && (rename(made, file) < 0 || file_sync_dir(folder) < 0)) {
        complain("%s: %s", file, strerror(errno));
        good = false;
    }
    free(made);
    return good;
}

enum ctl_exit ctl_backup(struct ctl *ctl)
{
    const char *file = ctl->request.argument;
    if (!instance_config(ctl))
        return CTL_NOT_REACHABLE;
    char *folder = file_parent(file), *work = xformat("%s/.orchestrator-backup-XXXXXX", folder);
    enum ctl_exit code = CTL_REFUSED;
    json_t *manifest = NULL;
    if (!mkdtemp(work))
        complain("%s: %s", folder, strerror(errno));
    else if ((manifest = archive_scheduler("snapshot", ctl->config->home, work)) &&
             put(work, folder, file)) {
        say(ctl, file, manifest);
        code = CTL_DONE;
    }
    file_remove_tree(work);
    json_decref(manifest);
    free(folder);
    free(work);
    return code;
}
