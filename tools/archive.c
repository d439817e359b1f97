#include "tools/archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/file.h"
#include "lib/process.h"
#include "tools/orchctl.h"

static const char *const members[] = {"manifest.json", "main.db", "inbox.db"};

/* Runs it to its end, however long that takes. Its output (caller frees) or NULL and a complaint.
 */
static char *run(const char *const *argv)
{
    struct process_spec spec = {.argv = argv};
    struct process_result result;
    if (process_run(&spec, &result) < 0) {
        complain("cannot run %s: %s", argv[0], strerror(errno));
        return NULL;
    }
    char *out = result.exit_code == 0 ? xstrdup(result.out) : NULL;
    if (!out)
        complain("%s", *result.err ? result.err : "it failed and did not say why");
    process_result_free(&result);
    return out;
}

json_t *archive_scheduler(const char *first, const char *second, const char *third)
{
    char *program = process_beside("orch-scheduler");
    const char *const argv[] = {program, first, second, third, NULL};
    char *out = run(argv);
    json_t *said = out ? json_loads(out, 0, NULL) : NULL;
    if (out && !said)
        complain("%s: %s: an answer that is none", program, first);
    free(out);
    free(program);
    return said;
}

bool archive_pack(const char *folder, const char *file)
{
    const char *const argv[] = {"tar",  "--create", "--file",   file,       "--directory",
                                folder, members[0], members[1], members[2], NULL};
    char *out = run(argv);
    bool good = out != NULL;
    free(out);
    if (good && (chmod(file, 0600) < 0 || file_sync(file) < 0)) {
        complain("%s: %s", file, strerror(errno));
        good = false;
    }
    return good;
}

bool archive_unpack(const char *file, const char *folder)
{
    const char *const argv[] = {"tar",  "--extract",       "--file",   file,       "--directory",
                                folder, "--no-same-owner", members[0], members[1], members[2],
                                NULL};
    char *out = run(argv);
    bool good = out != NULL;
    free(out);
    for (size_t i = 0; good && i < sizeof members / sizeof *members; i++) {
        char *path = xformat("%s/%s", folder, members[i]);
        struct stat info;
        good = lstat(path, &info) == 0 && S_ISREG(info.st_mode) && chmod(path, 0600) == 0 &&
               file_sync(path) == 0;
        if (!good)
            complain("%s: %s is no proper file in it", file, members[i]);
        free(path);
    }
    return good;
}
