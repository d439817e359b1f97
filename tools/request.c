/* PURE: no I/O */
#include "tools/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"

const struct ctl_command_info ctl_commands[CTL_COMMAND_COUNT] = {
#define COMMAND(id, words, arguments, least, most, options, help)                                  \
    {words, arguments, least, most, options, help},
#include "tools/commands.def"
#undef COMMAND
};

struct option {
    char letter;
    const char *name, *value, *help; /* value: NULL for a flag */
};

static const struct option options[] = {
    {'c', "-c", "FILE", "configuration (else ORCH_CONFIG, else the installed one)"},
    {'j', "--json", NULL, "the answer as JSON"},
    {'h', "--help", NULL, "this text"},
    {'t', "--title", "TEXT", "title of the issue"},
    {'b', "--body-file", "FILE", "its description, Markdown; - is standard input"},
    {'l', "--label", "NAME", "a label of it; may be repeated"},
    {'s', "--no-start", NULL, "leave it in Backlog"},
    {'F', "--from", "DIR", "what the repository begins with"},
    {'f', "-f", NULL, "go on as the log grows"},
    {'n', "-n", "LINES", "how many of its last lines (40)"},
    {'a', "--after", "SEQ", "events after this number; else from now on"},
    {'m', "--text", "TEXT", "a word with the command"},
    {'p', "--actor", "NAME", "who acts (else USER)"},
};

static const struct option *option_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    }
    return NULL;
}

static bool parse_number(const char *text, int64_t *out)
{
    char *end;
    long long value = strtoll(text, &end, 10);
    *out = value;
    return *text && !*end && value >= 0;
}

/* False where the value is none of its kind. */
static bool take_option(struct ctl_request *request, char letter, const char *value)
{
    int64_t number;
    switch (letter) {
    case 'c':
        request->config = value;
        return true;
    case 'j':
        return request->json = true;
    case 's':
        return request->no_start = true;
    case 'f':
        return request->follow = true;
    case 't':
        request->title = value;
        return true;
    case 'b':
        request->body_file = value;
        return true;
    case 'F':
        request->from = value;
        return true;
    case 'm':
        request->text = value;
        return true;
    case 'p':
        request->actor = value;
        return true;
    case 'l':
        if (request->label_count == CTL_LABELS_MAX)
            return false;
        request->labels[request->label_count++] = value;
        return true;
    case 'n':
        if (!parse_number(value, &number) || number > 1000000)
            return false;
        request->lines = (int)number;
        return true;
    case 'a':
        return parse_number(value, &request->after);
    default:
        return false;
    }
}

struct words {
    const char *at[CTL_ARGUMENTS_MAX + 2];
    int count;
};

static bool split(struct ctl_request *request, int argc, char *const *argv, struct words *words,
                  char *given, bool *help, char *fault, size_t size)
{
    size_t used = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || !word[1]) {
            if (words->count == CTL_ARGUMENTS_MAX + 2) {
                snprintf(fault, size, "too many arguments: %.80s", word);
                return false;
            }
            words->at[words->count++] = word;
            continue;
        }
        const struct option *option = option_by_name(strcmp(word, "-h") == 0 ? "--help" : word);
        if (!option) {
            snprintf(fault, size, "unknown option %.80s", word);
            return false;
        }
        if (option->letter == 'h') {
            *help = true;
            continue;
        }
        const char *value = NULL;
        if (option->value && !(value = argv[i + 1 < argc ? ++i : argc])) {
            snprintf(fault, size, "%s needs %s", option->name, option->value);
            return false;
        }
        if (!take_option(request, option->letter, value)) {
            snprintf(fault, size, "%s: %.80s is no proper %s", option->name, value ? value : "",
                     option->value);
            return false;
        }
        if (used < sizeof options / sizeof *options)
            given[used++] = option->letter;
    }
    return true;
}

/* How many of the words are the command's own; 0 where it is not this command. */
static int match(const struct ctl_command_info *info, const struct words *words)
{
    char joined[64];
    if (words->count == 0)
        return 0;
    if (strcmp(info->words, words->at[0]) == 0)
        return 1;
    if (words->count < 2)
        return 0;
    snprintf(joined, sizeof joined, "%.30s %.30s", words->at[0], words->at[1]);
    return strcmp(info->words, joined) == 0 ? 2 : 0;
}

static bool check_options(const struct ctl_command_info *info, const char *given, char *fault,
                          size_t size)
{
    for (; *given; given++) {
        if (*given == 'c' || *given == 'j' || strchr(info->options, *given))
            continue;
        for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
            if (options[i].letter == *given)
                snprintf(fault, size, "%s means nothing to \"%s\"", options[i].name, info->words);
        }
        return false;
    }
    return true;
}

bool request_parse(struct ctl_request *request, int argc, char *const *argv, char *fault,
                   size_t size)
{
    struct words words = {.count = 0};
    char given[sizeof options / sizeof *options + 1] = "";
    bool help = argc < 2;
    *request = (struct ctl_request){.command = CTL_HELP, .lines = CTL_LINES, .after = -1};
    fault[0] = '\0';
    if (!split(request, argc, argv, &words, given, &help, fault, size))
        return false;
    if (help)
        return true;
    int own = 0, found = 0;
    while (found < CTL_COMMAND_COUNT && !(own = match(&ctl_commands[found], &words)))
        found++;
    if (found == CTL_COMMAND_COUNT) {
        snprintf(fault, size, "unknown command %.60s", words.count ? words.at[0] : "");
        return false;
    }
    const struct ctl_command_info *info = &ctl_commands[found];
    int arguments = words.count - own;
    if (arguments < info->least || arguments > info->most) {
        snprintf(fault, size, "usage: orchctl %s %s", info->words, info->arguments);
        return false;
    }
    request->command = (enum ctl_command)found;
    request->argument = arguments ? words.at[own] : NULL;
    if (!check_options(info, given, fault, size))
        return false;
    if (request->command == CTL_TASK_NEW && !(request->title && *request->title)) {
        snprintf(fault, size, "task new needs --title TEXT");
        return false;
    }
    return true;
}

static void add_options(struct buffer *text, const char *letters)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (!strchr(letters, options[i].letter))
            continue;
        buffer_format(text, " [%s%s%s]", options[i].name, options[i].value ? " " : "",
                      options[i].value ? options[i].value : "");
    }
}

char *request_help(void)
{
    struct buffer text = {0};
    buffer_text(&text, "usage: orchctl [-c FILE] [--json] COMMAND ...\n\n");
    for (int i = 0; i < CTL_COMMAND_COUNT; i++) {
        struct buffer left = {0};
        buffer_format(&left, "%s%s%s", ctl_commands[i].words, *ctl_commands[i].arguments ? " " : "",
                      ctl_commands[i].arguments);
        buffer_format(&text, "  %-22s %s\n", left.data, ctl_commands[i].help);
        buffer_free(&left);
        if (*ctl_commands[i].options) {
            buffer_format(&text, "  %-22s", "");
            add_options(&text, ctl_commands[i].options);
            buffer_text(&text, "\n");
        }
    }
    buffer_text(&text, "\noptions\n");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        buffer_format(&text, "  %-11s %-8s  %s\n", options[i].name,
                      options[i].value ? options[i].value : "", options[i].help);
    }
    buffer_text(&text,
                "\nThe instance is found by -c, ORCH_CONFIG or the installed configuration, or by\n"
                "ORCH_URL with ORCH_OPERATOR_TOKEN.\n"
                "Exit code: 0 done, 1 refused, 2 usage, 3 not reachable, 4 not found.\n");
    return buffer_take(&text);
}

enum ctl_exit request_exit(long http_status)
{
    if (http_status >= 200 && http_status < 300)
        return CTL_DONE;
    if (http_status == 404)
        return CTL_NOT_FOUND;
    if (http_status == 0 || http_status >= 500)
        return CTL_NOT_REACHABLE;
    return CTL_REFUSED;
}

int64_t request_next_number(const char *project, const char *const *keys, size_t count)
{
    size_t length = strlen(project);
    int64_t greatest = 0, number;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(keys[i], project, length) == 0 && keys[i][length] == '-' &&
            parse_number(keys[i] + length + 1, &number) && number > greatest)
            greatest = number;
    }
    return greatest + 1;
}
