/* Copies of both databases, for `orchctl backup` and `restore`. They run in a process of their own
 * beside the services (orch-scheduler snapshot ..., restored ...): nobody waits for them. */
#ifndef ORCH_SNAPSHOT_H
#define ORCH_SNAPSHOT_H

/* Whether these arguments ask for one of the two; the exit code is then *code. Prints one JSON
 * object, the manifest, on standard output, faults on standard error. Exit codes: 0 done, 1
 * refused.
 *
 *   snapshot HOME DIR   consistent copies of HOME/db/main.db and inbox.db in DIR (which is there),
 * on the disk, and DIR/manifest.json. main.db is copied first: what was accepted meanwhile is in
 * the inbox and waits there to be acted on, once. restored DIR        checks both copies and
 * prepares them for a start that does nothing by itself: paused, effects and commands withheld
 * until a person says. */
int snapshot_asked(int argc, char **argv, int *code);

#endif
