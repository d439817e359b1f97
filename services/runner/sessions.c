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

/* Count by count what is more; the whole where one has become less: it is another thread's then. */
static json_t *usage_share(json_t *total, const json_t *before)
{
    json_t *share = json_object();
    const char *name;
    json_t *value;
    json_object_foreach(total, name, value)
    {
        json_int_t less = json_integer_value(json_object_get(before, name));
        if (less > json_integer_value(value)) {
            json_decref(share);
            return json_incref(total);
        }
        json_object_set_new(share, name, json_integer(json_integer_value(value) - less));
    }
    return share;
}

/* Accounting fails open: figures that are off are said, no run fails for them. */
static void write_entry(const char *folder, const char *path, const json_t *entry)
{
    char *line = json_dumps(entry, JSON_COMPACT);
    if (file_make_dirs(folder, 0700) < 0 || file_write_atomic(path, line, strlen(line), 0600) < 0)
        log_warn("account", "%s: %s", path, strerror(errno));
    free(line);
}

/* {run, before, total, usage_before, usage}: the last run of the session, what had been reported
 * before it, and what has been since. A total is null where that run died without a report: the
 * next one does not contain it. A usage stays as it was then: the thread's next contains all. */
static struct session_figures settle(json_t *entry, const json_t *known, bool again, bool resumed,
                                     const struct session_figures *reported)
{
    double before = again ? number(known, "before") : resumed ? number(known, "total") : -1;
    json_t *used =
        again || resumed ? json_object_get(known, again ? "usage_before" : "usage") : NULL;
    json_t *usage = reported->usage ? reported->usage : used;
    json_object_set_new(entry, "before", before >= 0 ? json_real(before) : json_null());
    json_object_set_new(entry, "total",
                        reported->cost >= 0 ? json_real(reported->cost) : json_null());
    if (used)
        json_object_set(entry, "usage_before", used);
    if (usage)
        json_object_set(entry, "usage", usage);
    return (struct session_figures){.cost = output_run_cost(reported->cost, before),
                                    .usage = reported->usage ? usage_share(reported->usage, used)
                                                             : NULL};
}

struct session_figures sessions_share(const char *home, const char *session, const char *run,
                                      const struct session_figures *reported, bool resumed)
{
    if (!session || !run_id_ok(session))
        return (struct session_figures){reported->cost, json_incref(reported->usage)};
    char *folder = xformat("%s/sessions", home), *path = xformat("%s/%s.json", folder, session);
    size_t size;
    char *text = file_read(path, SESSION_MAX_BYTES, &size);
    json_t *known = text ? json_loadb(text, size, 0, NULL) : NULL;
    const char *by = json_string_value(json_object_get(known, "run"));
    json_t *entry = json_pack("{ss}", "run", run);
    struct session_figures share =
        settle(entry, known, by && strcmp(by, run) == 0, resumed, reported);
    write_entry(folder, path, entry);
    json_decref(entry);
    json_decref(known);
    free(text);
    free(path);
    free(folder);
    return share;
}
