#include "services/runner/sessions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"
#include "services/runner/agent_output.h"
#include "services/runner/runner.h"

enum { SESSION_MAX_BYTES = 16 * 1024 };

static double number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : -1;
}

double sessions_cost(const char *home, const char *session, const char *run, double total,
                     bool resumed)
{
    if (!session || !run_id_ok(session))
        return total;
    char *folder = xformat("%s/sessions", home), *path = xformat("%s/%s.json", folder, session);
    size_t size;
    char *text = file_read(path, SESSION_MAX_BYTES, &size);
    json_t *known = text ? json_loadb(text, size, 0, NULL) : NULL;
    const char *by = json_string_value(json_object_get(known, "run"));
    bool again = by && strcmp(by, run) == 0;
    /* {run, before, total}: the last run of the session, what had been reported before it, and what
     * it reported; null where it died without a report. */
    double before = again ? number(known, "before") : resumed ? number(known, "total") : -1;
    json_t *entry = json_pack("{ss}", "run", run);
    json_object_set_new(entry, "before", before >= 0 ? json_real(before) : json_null());
    json_object_set_new(entry, "total", total >= 0 ? json_real(total) : json_null());
    char *line = json_dumps(entry, JSON_COMPACT);
    /* Accounting fails open: a cost that is off is said, no run fails for it. */
    if (file_make_dirs(folder, 0700) < 0 || file_write_atomic(path, line, strlen(line), 0600) < 0)
        log_warn("account", "%s: %s", path, strerror(errno));
    json_decref(entry);
    json_decref(known);
    free(line);
    free(text);
    free(path);
    free(folder);
    return output_run_cost(total, before);
}
