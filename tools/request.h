/* PURE: no I/O */
/* What is asked of orchctl: the command line against the table of commands. */
#ifndef ORCH_CTL_REQUEST_H
#define ORCH_CTL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ctl_exit {
    CTL_DONE = 0,
    CTL_REFUSED = 1,
    CTL_USAGE = 2,
    CTL_NOT_REACHABLE = 3,
    CTL_NOT_FOUND = 4,
};

enum ctl_command {
#define COMMAND(id, words, arguments, least, most, options, help) CTL_##id,
#include "tools/commands.def"
#undef COMMAND
    CTL_COMMAND_COUNT
};

struct ctl_command_info {
    const char *words, *arguments;
    int least, most;
    const char *options;
    const char *help;
};

extern const struct ctl_command_info ctl_commands[CTL_COMMAND_COUNT];

enum { CTL_LABELS_MAX = 32, CTL_ARGUMENTS_MAX = 2, CTL_LINES = 40 };

struct ctl_request {
    enum ctl_command command;
    const char *argument, *second; /* NULL where none */
    enum ctl_command topic;        /* of help; CTL_COMMAND_COUNT: all of it */
    bool json, follow, no_start, all, force;
    const char *config; /* -c */
    const char *title, *body_file, *from, *text, *actor, *priority;
    const char *labels[CTL_LABELS_MAX];
    size_t label_count;
    int lines;
    int64_t after; /* -1: from now on */
};

/* Options may stand anywhere. False, and a text for people in fault, where it is no proper command
 * line. Borrows argv. */
bool request_parse(struct ctl_request *request, int argc, char *const *argv, char *fault,
                   size_t size);

/* The help text, of one command or (CTL_COMMAND_COUNT) of all. Caller frees. */
char *request_help(enum ctl_command topic);

enum text_kind {
    TEXT_LINE,  /* no control characters */
    TEXT_LINES, /* newlines and tabs, no others */
    TEXT_BODY,  /* any character but NUL */
};

/* What may go into an issue or a command. most: characters. False, and in fault a text that names
 * the field and the place. */
bool request_check_text(const char *field, const char *text, size_t size, size_t most,
                        enum text_kind kind, char *fault, size_t fault_size);

/* A name of a repository in the built-in forge: a path, or a name that stays in its folder. */
bool request_repo_name(const char *name);

/* Exit code for the status of an HTTP answer (0: nobody answered). */
enum ctl_exit request_exit(long http_status);

/* The number of a new issue: one above the greatest of "<project>-<number>" among these keys. */
int64_t request_next_number(const char *project, const char *const *keys, size_t count);

#endif
