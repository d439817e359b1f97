/* A backup: a tar file of manifest.json, main.db and inbox.db. What needs SQLite is done by
 * orch-scheduler (services/scheduler/snapshot.h), what needs tar by tar. */
#ifndef ORCH_CTL_ARCHIVE_H
#define ORCH_CTL_ARCHIVE_H

#include <stdbool.h>
#include <jansson.h>

/* Runs the scheduler's program with these two or three words. What it prints, as JSON; NULL and a
 * complaint. Caller decrefs. */
json_t *archive_scheduler(const char *first, const char *second, const char *third);

/* The folder into file, which is made anew, 0600, on the disk. False and a complaint. */
bool archive_pack(const char *folder, const char *file);
/* file into the folder, which is there. Only the three files, whatever else it holds. False and a
 * complaint. */
bool archive_unpack(const char *file, const char *folder);

#endif
