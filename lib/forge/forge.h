/* Where a project's repository lives: its remote for git, and its pull requests. One file per
 * driver behind this header (forge_local.c; others come beside it).
 *
 * Writers: the runner only. Readers: the runner (what it is about to write or has written) and the
 * reconciler. A handle belongs to one thread at a time. Every call that fails gives *fault, a text
 * for people that names what is missing or was refused; the caller frees it. */
#ifndef ORCH_FORGE_H
#define ORCH_FORGE_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/config.h"
#include "lib/forge/git.h"

struct forge;

/* NULL texts: unknown. Freed by forge_pull_free. */
struct pull_request {
    int64_t number; /* 0: none */
    char *title, *body;
    char *head, *base;  /* branches */
    char *head_sha;     /* of an open one: the branch's head now; of a closed one: when it was */
    char *merge_commit; /* NULL before */
    char *url;
    bool open, merged;
};
void forge_pull_free(struct pull_request *pull);

/* git is borrowed for the handle's life. NULL and *fault where the project's repository is not
 * there; the fault names it. */
struct forge *forge_open(const struct config *config, const struct project *project,
                         const struct git *git, char **fault);
void forge_close(struct forge *forge);

/* What git fetches from and pushes to. Borrowed. */
const char *forge_remote(const struct forge *forge);

/* After a write that the forge refused: removes what a killed process left there and that keeps
 * others from writing, where that is ours to remove. */
void forge_mend(struct forge *forge);

/* The open pull request of this head and base. 1 found, 0 none, -1 and *fault. */
int forge_pull_find(struct forge *forge, const char *head, const char *base,
                    struct pull_request *pull, char **fault);
/* 1 found, 0 no such number, -1 and *fault. */
int forge_pull_get(struct forge *forge, int64_t number, struct pull_request *pull, char **fault);
/* A new one; the caller has looked for an open one. 0, or -1 and *fault. */
int forge_pull_create(struct forge *forge, const char *title, const char *body, const char *head,
                      const char *base, struct pull_request *pull, char **fault);
/* Lets what the forge shows of an open one follow its branch's head, where it does not by itself.
 * 0, or -1 and *fault. */
int forge_pull_sync(struct forge *forge, const struct pull_request *pull, char **fault);
/* Where a branch stands against a commit that it held once. FAILED: *fault says why. */
enum forge_branch {
    FORGE_BRANCH_FOLLOWS, /* at it, or it goes on from it */
    FORGE_BRANCH_GONE,
    FORGE_BRANCH_REWRITTEN,
    FORGE_BRANCH_FAILED,
};
enum forge_branch forge_branch_look(struct forge *forge, const char *branch, const char *commit,
                                    char **fault);

/* What CI says of a commit, all of its contexts together. Doubt is never green: what cannot be read
 * or understood is pending. */
enum forge_ci { FORGE_CI_NONE, FORGE_CI_PENDING, FORGE_CI_GREEN, FORGE_CI_RED };

enum { FORGE_CONTEXTS_MAX = 20 };

/* One context. UTF-8, bounded, never NULL. */
struct forge_context {
    char *context, *state, *description, *target_url;
};

struct forge_contexts {
    struct forge_context list[FORGE_CONTEXTS_MAX];
    size_t count; /* of all; the list holds the first ones, by name */
};

struct forge_statuses {
    enum forge_ci state;
    struct forge_contexts failing, pending; /* of a pending one that is in doubt, the description
                                               says why */
    bool ever;                              /* some commit of the repository has or had a status */
};

/* 0, or -1 and *fault where they cannot be read: nothing is known then. */
int forge_statuses_get(struct forge *forge, const char *commit, struct forge_statuses *statuses,
                       char **fault);
void forge_statuses_free(struct forge_statuses *statuses);

/* Closed without a merge; one that is closed already is success. 0, or -1 and *fault. */
int forge_pull_close(struct forge *forge, int64_t number, char **fault);

enum merge_outcome {
    MERGE_DONE,     /* merged, now or before with the same head */
    MERGE_CONFLICT, /* does not merge cleanly (fast-forward-only: is not ahead of its base) */
    MERGE_MOVED,    /* the branch's head, or what was merged, is not the pinned commit */
    MERGE_CLOSED,   /* closed without a merge, or no such pull request */
    MERGE_FAILED,   /* unclear: ask again */
};

struct merge_request {
    int64_t number;
    const char *style;  /* merge | fast-forward-only | squash */
    const char *pinned; /* full commit name: nothing else is merged */
    struct git_identity identity;
};

struct merge_report {
    char *commit; /* MERGE_DONE: what the base contains since; caller frees */
    bool already; /* it had been merged before */
    char *fault;  /* the others: why, with the conflicting files; caller frees */
};

/* Whether forge_merge would find this pull request merged already, by us or by another hand,
 * whatever its file says yet. 1, 0, or -1 and *fault. */
int forge_merge_is_done(struct forge *forge, int64_t number, const char *pinned, char **fault);

/* Merges a pull request once: whoever calls again after any crash finds what the first call did. */
enum merge_outcome forge_merge(struct forge *forge, const struct merge_request *request,
                               struct merge_report *report);

#endif
