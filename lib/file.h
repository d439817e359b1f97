/* Files that survive a kill -9 and a power cut: whole or absent, never half. */
#ifndef ORCH_FILE_H
#define ORCH_FILE_H

#include <stddef.h>
#include <stdbool.h>
#include <sys/types.h>

/* Writes to path + ".tmp.<pid>", fsync, rename, fsync of the directory. 0, or -1 with errno;
 * on failure the old file is untouched and the temporary is removed. */
int file_write_durable(const char *path, const void *data, size_t size, mode_t mode);

/* The same without the two fsyncs: for state that a restart makes anew (supervisor.json). */
int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode);

/* The same with the fsync of the file and without that of the directory: for one whose name need
 * not be on the disk before a neighbour's, which the caller writes durably next. */
int file_write_synced(const char *path, const void *data, size_t size, mode_t mode);

/* Creates path with this content and fsyncs file and directory; fails with EEXIST where it is there
 * already. The content may be empty. 0, or -1 with errno. */
int file_create_exclusive(const char *path, const void *data, size_t size, mode_t mode);

/* The whole file, NUL-terminated beyond *size. Caller frees. NULL with errno; EFBIG over max. */
char *file_read(const char *path, size_t max, size_t *size);

/* The folder that path is in: "." where it names none. Caller frees. */
char *file_parent(const char *path);

/* mkdir -p; 0, or -1 with errno. An existing directory is success. */
int file_make_dirs(const char *path, mode_t mode);

bool file_exists(const char *path);

/* Opens the directory that an O_PATH descriptor shows, for reading; where its mode forbids that to
 * its owner, who we are, the mode is changed. -1 with errno. */
int file_open_dir(int handle);

/* rm -r without following links; a missing path is success. */
int file_remove_tree(const char *path);

/* fsync by path, of a file or of a directory; 0, or -1 with errno. */
int file_sync(const char *path);
int file_sync_dir(const char *path);

#endif
