/* A file system of SQLite's that fails, or kills the process, at the n-th write to files whose name
 * contains a given text. Everything else is passed on. fault_vfs_use() makes it the default. */
#ifndef FAULT_VFS_H
#define FAULT_VFS_H

#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sqlite3.h>

/* Of which writes, syncs, truncations and deletions are counted. */
static struct {
    const char *name; /* "" : all files */
    int64_t seen;     /* counted so far */
    int64_t fail_at;  /* the first that fails; 0: none does */
    int64_t fail_for; /* so many in a row; 0: all from then on */
    int code;         /* what they fail with */
    bool after;       /* it takes effect all the same, and then reports the failure */
    bool deadly;      /* SIGKILL in its place */
} fault_vfs;

struct fault_file {
    sqlite3_file base;
    bool counted;
    sqlite3_file *real; /* in the memory behind this */
};

static inline sqlite3_file *fault_real(sqlite3_file *file)
{
    return ((struct fault_file *)file)->real;
}

static inline bool fault_strikes(sqlite3_file *file)
{
    if (!((struct fault_file *)file)->counted)
        return false;
    int64_t number = ++fault_vfs.seen;
    bool strikes = fault_vfs.fail_at && number >= fault_vfs.fail_at &&
                   (!fault_vfs.fail_for || number < fault_vfs.fail_at + fault_vfs.fail_for);
    if (strikes && fault_vfs.deadly)
        kill(getpid(), SIGKILL);
    return strikes;
}

#define FAULT_PASS(call)                                                                           \
    do {                                                                                           \
        bool strikes = fault_strikes(file);                                                        \
        int result = strikes && !fault_vfs.after ? SQLITE_OK : (call);                             \
        return strikes ? fault_vfs.code : result;                                                  \
    } while (0)

static inline int fault_close(sqlite3_file *file)
{
    sqlite3_file *real = fault_real(file);
    return real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
}

static inline int fault_read(sqlite3_file *file, void *data, int size, sqlite3_int64 at)
{
    return fault_real(file)->pMethods->xRead(fault_real(file), data, size, at);
}

static inline int fault_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 at)
{
    FAULT_PASS(fault_real(file)->pMethods->xWrite(fault_real(file), data, size, at));
}

static inline int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    FAULT_PASS(fault_real(file)->pMethods->xTruncate(fault_real(file), size));
}

/* Nothing here outlives the machine, so nothing is flushed. */
static inline int fault_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    return fault_strikes(file) ? fault_vfs.code : SQLITE_OK;
}

static inline int fault_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return fault_real(file)->pMethods->xFileSize(fault_real(file), size);
}

static inline int fault_lock(sqlite3_file *file, int level)
{
    return fault_real(file)->pMethods->xLock(fault_real(file), level);
}

static inline int fault_unlock(sqlite3_file *file, int level)
{
    return fault_real(file)->pMethods->xUnlock(fault_real(file), level);
}

static inline int fault_check_lock(sqlite3_file *file, int *out)
{
    return fault_real(file)->pMethods->xCheckReservedLock(fault_real(file), out);
}

static inline int fault_control(sqlite3_file *file, int what, void *argument)
{
    return fault_real(file)->pMethods->xFileControl(fault_real(file), what, argument);
}

static inline int fault_sector(sqlite3_file *file)
{
    return fault_real(file)->pMethods->xSectorSize(fault_real(file));
}

static inline int fault_traits(sqlite3_file *file)
{
    return fault_real(file)->pMethods->xDeviceCharacteristics(fault_real(file));
}

static inline int fault_shm_map(sqlite3_file *file, int page, int size, int extend,
                                void volatile **out)
{
    return fault_real(file)->pMethods->xShmMap(fault_real(file), page, size, extend, out);
}

static inline int fault_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return fault_real(file)->pMethods->xShmLock(fault_real(file), offset, count, flags);
}

static inline void fault_shm_barrier(sqlite3_file *file)
{
    fault_real(file)->pMethods->xShmBarrier(fault_real(file));
}

static inline int fault_shm_unmap(sqlite3_file *file, int delete)
{
    return fault_real(file)->pMethods->xShmUnmap(fault_real(file), delete);
}

static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = fault_close,
    .xRead = fault_read,
    .xWrite = fault_write,
    .xTruncate = fault_truncate,
    .xSync = fault_sync,
    .xFileSize = fault_size,
    .xLock = fault_lock,
    .xUnlock = fault_unlock,
    .xCheckReservedLock = fault_check_lock,
    .xFileControl = fault_control,
    .xSectorSize = fault_sector,
    .xDeviceCharacteristics = fault_traits,
    .xShmMap = fault_shm_map,
    .xShmLock = fault_shm_lock,
    .xShmBarrier = fault_shm_barrier,
    .xShmUnmap = fault_shm_unmap,
};

static sqlite3_vfs *fault_below;

static inline int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                             int *out)
{
    struct fault_file *own = (struct fault_file *)file;
    (void)vfs;
    own->real = (sqlite3_file *)(own + 1);
    own->counted = name && strstr(name, fault_vfs.name) != NULL;
    int result = fault_below->xOpen(fault_below, name, own->real, flags, out);
    own->base.pMethods = own->real->pMethods ? &fault_methods : NULL;
    return result;
}

static inline void fault_vfs_use(const char *name)
{
    static sqlite3_vfs vfs;
    memset(&fault_vfs, 0, sizeof fault_vfs);
    fault_vfs.name = name;
    if (fault_below)
        return;
    fault_below = sqlite3_vfs_find(NULL);
    vfs = *fault_below;
    vfs.zName = "faults";
    vfs.szOsFile = (int)sizeof(struct fault_file) + fault_below->szOsFile;
    vfs.xOpen = fault_open;
    sqlite3_vfs_register(&vfs, 1);
}

#endif
