/* A cage of files for this process and all that it starts: Landlock (kernel 5.13 and later), which
 * works within containers too. What is not named can be neither read nor changed; rights by a
 * program's file (set-uid) cannot be gained any more. A process in it cannot trace, signal
 * (kernel 6.12 and later) or read /proc/PID/environ of one outside; connecting to a socket of the
 * same user is not held back. */
#ifndef ORCH_SANDBOX_H
#define ORCH_SANDBOX_H

/* The kernel's Landlock ABI; 0: it has none. */
int sandbox_abi(void);

/* Paths are NULL-terminated lists; one that is not there is passed over. read: with all beneath it
 * read and executed; write: changed as well. For good. 0, or -1 with errno (ENOSYS, EOPNOTSUPP: no
 * Landlock). System calls only. */
int sandbox_enter(char *const *read, char *const *write);

#endif
