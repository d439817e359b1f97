/* Run directories whose result is acknowledged and whose retention is over. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "services/runner/runner.h"

enum { DAY_MS = 24 * 3600 * 1000 };

void janitor_sweep(const struct runner *runner)
{
    int64_t before = clock_wall_ms() - runner->config->retention_run_logs_days * (int64_t)DAY_MS;
    int removed = 0;
    DIR *dir = opendir(runner->runs_dir);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!run_id_ok(entry->d_name))
            continue;
        char *folder = xformat("%s/%s", runner->runs_dir, entry->d_name);
        char *acked = xformat("%s/acked", folder);
        struct stat info;
        if (stat(acked, &info) == 0 && (int64_t)info.st_mtim.tv_sec * 1000 < before &&
            file_remove_tree(folder) == 0)
            removed++;
        free(acked);
        free(folder);
    }
    if (dir)
        closedir(dir);
    if (removed)
        log_info("janitor", "removed %d run directories older than %lld days", removed,
                 (long long)runner->config->retention_run_logs_days);
}
