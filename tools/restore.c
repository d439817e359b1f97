/* restore FILE: a backup becomes the databases of this instance, which must not run. What was there
 * is moved aside, never removed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "lib/file.h"
#include "lib/lock.h"
#include "protocol/address.h"
#include "tools/archive.h"
#include "tools/orchctl.h"

/* Held until we end: nobody starts an instance meanwhile. */
static bool take_locks(const struct config *config)
{
    char holder[64];
    snprintf(holder, sizeof holder, "%d orchctl restore", (int)getpid());
    char *folder = config_home_path(config, "lock");
    bool good = file_make_dirs(folder, 0700) == 0;
    if (!good)
        complain("%s: %s", folder, strerror(errno));
    free(folder);
    for (int i = -1; good && i < SERVICE_COUNT; i++) {
        const char *name = i < 0 ? "supervisor" : service_names[i];
        char *path = config_home_path(config, "lock/%s.lock", name);
        good = lock_take(path, holder) >= 0;
        if (!good && errno == EWOULDBLOCK)
            complain("the %s of %s lives: stop the instance first", name, config->home);
        else if (!good)
            complain("%s: %s", path, strerror(errno));
        free(path);
    }
    return good;
}

/* An agent that works on would report into a database that knows nothing of it. */
static bool agents_rest(const struct config *config)
{
    char *folder = config_home_path(config, "runs"), *busy = NULL;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && !busy && (entry = readdir(dir));) {
        char *lock = xformat("%s/%s/lock", folder, entry->d_name);
        if (entry->d_name[0] != '.' && lock_ask(lock) != LOCK_FREE)
            busy = xstrdup(entry->d_name);
        free(lock);
    }
    if (dir)
        closedir(dir);
    if (busy)
        complain("the agent of run %s is still at work: wait for its end, or end it", busy);
    free(folder);
    free(busy);
    return !busy;
}

/* home/before-restore-TIME, where db and runs go. */
static char *aside_folder(const struct config *config)
{
    char text[40];
    time_t now = time(NULL);
    struct tm parts;
    strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &parts));
    return config_home_path(config, "before-restore-%s", text);
}

/* Its runs go with a database: another one gives the same names to other runs. */
static bool move_aside(const struct config *config, char **aside)
{
    static const char *const names[] = {"runs", "db"};
    bool good = true;
    for (size_t i = 0; good && i < sizeof names / sizeof *names; i++) {
        char *from = config_home_path(config, "%s", names[i]);
        if (file_exists(from)) {
            if (!*aside)
                *aside = aside_folder(config);
            char *to = xformat("%s/%s", *aside, names[i]);
            good = file_make_dirs(*aside, 0700) == 0 && rename(from, to) == 0;
            if (!good)
                complain("%s: %s", from, strerror(errno));
            free(to);
        }
        free(from);
    }
    return good;
}

static bool may_replace(const struct ctl *ctl)
{
    char *path = config_home_path(ctl->config, "db/main.db");
    bool there = file_exists(path);
    if (there && !ctl->request.force)
        complain("%s is there: with --force it is moved aside", path);
    free(path);
    return !there || ctl->request.force;
}

static bool put(const struct ctl *ctl, const char *work, char **aside)
{
    const struct config *config = ctl->config;
    char *db = config_home_path(config, "db"), *manifest = xformat("%s/manifest.json", work);
    bool good = move_aside(config, aside);
    unlink(manifest);
    if (good && (rename(work, db) < 0 || file_sync_dir(config->home) < 0)) {
        complain("%s: %s", db, strerror(errno));
        good = false;
    }
    free(manifest);
    free(db);
    return good;
}

static void say(const struct ctl *ctl, json_t *manifest, const char *aside)
{
    if (ctl->request.json) {
        json_object_set_new(manifest, "moved_aside", aside ? json_string(aside) : json_null());
        print_json(json_incref(manifest));
        return;
    }
    printf("restored into %s: %lld tasks; %lld events and %lld effects wait\n", ctl->config->home,
           text_number(manifest, "tasks"), text_number(manifest, "events_waiting"),
           text_number(manifest, "effects_waiting"));
    if (aside)
        printf("what was there: %s\n", aside);
    puts("It starts paused. Look at it (orchctl doctor, orchctl effects list), then orchctl "
         "resume,\n"
         "or orchctl effects drop where the outside is further than this copy.");
}

enum ctl_exit ctl_restore(struct ctl *ctl)
{
    if (!instance_config(ctl))
        return CTL_NOT_REACHABLE;
    const struct config *config = ctl->config;
    if (file_make_dirs(config->home, 0700) < 0) {
        complain("%s: %s", config->home, strerror(errno));
        return CTL_REFUSED;
    }
    if (!take_locks(config) || !agents_rest(config) || !may_replace(ctl))
        return CTL_REFUSED;
    char *work = config_home_path(config, ".restore-XXXXXX"), *aside = NULL;
    enum ctl_exit code = CTL_REFUSED;
    json_t *manifest = NULL;
    if (!mkdtemp(work))
        complain("%s: %s", work, strerror(errno));
    else if (archive_unpack(ctl->request.argument, work) &&
             (manifest = archive_scheduler("restored", work, NULL)) && put(ctl, work, &aside)) {
        say(ctl, manifest, aside);
        code = CTL_DONE;
    }
    if (code != CTL_DONE)
        file_remove_tree(work);
    json_decref(manifest);
    free(aside);
    free(work);
    return code;
}
