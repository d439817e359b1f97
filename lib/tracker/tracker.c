#include "lib/tracker/tracker.h"

#include <stdio.h>
#include <string.h>
#include "lib/tracker/tracker_local.h"

static const struct tracker_driver *const drivers[] = {&tracker_local};

struct tracker tracker_of(const struct config *config, const struct project *project,
                          struct bus *bus)
{
    struct tracker tracker = {.config = config, .project = project, .bus = bus};
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        if (strcmp(drivers[i]->name, project->tracker) == 0)
            tracker.driver = drivers[i];
    }
    return tracker;
}

static enum tracker_result no_driver(const struct tracker *tracker, struct tracker_fault *fault)
{
    snprintf(fault->reason, sizeof fault->reason, "config: project %s: tracker %s has no driver",
             tracker->project->key, tracker->project->tracker);
    fault->retry_after_ms = 0;
    return TRACKER_PERMANENT;
}

enum tracker_result tracker_status_set(const struct tracker *tracker,
                                       const struct tracker_write *write,
                                       struct tracker_fault *fault)
{
    *fault = (struct tracker_fault){0};
    return tracker->driver ? tracker->driver->status_set(tracker, write, fault)
                           : no_driver(tracker, fault);
}

enum tracker_result tracker_comment_put(const struct tracker *tracker,
                                        const struct tracker_write *write,
                                        struct tracker_fault *fault)
{
    *fault = (struct tracker_fault){0};
    return tracker->driver ? tracker->driver->comment_put(tracker, write, fault)
                           : no_driver(tracker, fault);
}

enum tracker_result tracker_issues_page(const struct tracker *tracker, int64_t *cursor,
                                        json_t **issues, struct tracker_fault *fault)
{
    *fault = (struct tracker_fault){0};
    *issues = NULL;
    return tracker->driver ? tracker->driver->issues_page(tracker, cursor, issues, fault)
                           : no_driver(tracker, fault);
}

enum tracker_result tracker_issue(const struct tracker *tracker, const char *id, json_t **issue,
                                  struct tracker_fault *fault)
{
    *fault = (struct tracker_fault){0};
    *issue = NULL;
    return tracker->driver ? tracker->driver->issue(tracker, id, issue, fault)
                           : no_driver(tracker, fault);
}
