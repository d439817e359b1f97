/* Another user, for what agents may touch.
 *
 * A process that is not root needs CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_KILL for it; its
 * supervisor gives them (service.yaml: capabilities). They stay with the process: nothing that it
 * starts has them but what it lends them to.
 *
 * All of it is the calling thread's own, by raw system calls: two threads may work for two users.
 */
#ifndef ORCH_IDENTITY_H
#define ORCH_IDENTITY_H

#include <stdbool.h>
#include <sys/types.h>

struct identity {
    uid_t uid;
    gid_t gid;
    char name[64];
};

/* The user of this name. 0, or -1 with errno: ENOENT where there is none. */
int identity_find(const char *name, struct identity *identity);

/* Whether this thread may start programs and touch files as another user. */
bool identity_may_change(void);

/* Nothing that this thread starts from now on inherits its capabilities. Before other threads. */
void identity_keep(void);
/* What it starts inherits them, until identity_keep. For the moment of one spawn. */
void identity_lend(void);

/* This process has no use for them: it gives them up for good. Root keeps its own. */
void identity_drop(void);

/* Likewise, and no program that it becomes or starts gains rights by its file (set-uid, file
 * capabilities). 0, or -1 with errno. System calls only. */
int identity_renounce(void);

/* Likewise for root too: no capability is left, and none comes back. 0, or -1 with errno. System calls
 * only. */
int identity_strip(void);

/* This thread's files are opened, made and removed as that user, until identity_leave with the
 * same one. NULL: nothing changes. Not nested. Ends the process where it cannot: going on would
 * touch an agent's files with our own rights. Programs are not to be started in between. */
void identity_enter(const struct identity *identity);
void identity_leave(const struct identity *identity);

/* For good, without any capability and any other group; no program can gain rights afterwards.
 * 0, or -1 with errno. System calls only. */
int identity_become(uid_t uid, gid_t gid);

#endif
