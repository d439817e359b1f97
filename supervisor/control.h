/* supervise/ of one service in runsv's formats, so that Debian's `sv` works on it. */
#ifndef ORCH_SUPERVISOR_CONTROL_H
#define ORCH_SUPERVISOR_CONTROL_H

#include <sys/types.h>
#include "supervisor/text.h"

struct control {
    int control_fd; /* FIFO, open for both ways: never at end of file; -1: closed */
    int ok_fd;      /* FIFO whose open reader says "supervised" */
};

/* folder is run_dir/sv/<name>. 0, or -1 with errno. Close-on-exec, non-blocking. */
int control_open(struct control *control, const char *folder);
void control_close(struct control *control);

/* Letters waiting, at most size; 0 where none. */
size_t control_read(const struct control *control, char *letters, size_t size);

/* What was written last; zero: nothing yet. */
struct control_record {
    int pid;
    bool pid_written;
    unsigned char status[STATUS_SIZE];
    char stat[STAT_SIZE];
};

/* supervise/status, stat, pid by rename, those that differ from before. What cannot be written is
 * tried again at the next change: 0, or -1 with errno. Allocates nothing. */
int control_publish(const char *folder, const struct status_facts *facts,
                    struct control_record *before);

/* Writes a file by way of <path>.new; no allocation, no fsync (state of this boot only). */
int control_replace(const char *path, const void *data, size_t size, mode_t mode);

#endif
