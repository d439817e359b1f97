/* Advisory locks that say who is alive. Open file description locks (F_OFD_SETLK): they belong to
 * the descriptor, so a fork does not copy them and closing another descriptor does not drop them.
 * Whoever only asks must never try: a try robs an owner that is just starting. */
#ifndef ORCH_LOCK_H
#define ORCH_LOCK_H

#include <stddef.h>

enum lock_state { LOCK_FREE, LOCK_HELD, LOCK_UNKNOWN };

/* Opens (creates, 0600, close-on-exec) and locks path for writing and writes holder (one line) into
 * it. The descriptor, to be kept for life; -1 with errno, EWOULDBLOCK where somebody holds it. */
int lock_take(const char *path, const char *holder);

/* F_OFD_GETLK. A missing file is LOCK_FREE; what cannot be asked is LOCK_UNKNOWN. */
enum lock_state lock_ask(const char *path);

/* First line of the lock file (the holder's own words), "" where unknown. */
void lock_holder(const char *path, char *out, size_t size);

#endif
