/* PURE: no I/O */
#include "tools/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/buffer.h"
#include "protocol/vocabulary.h"

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
    {'P', "--priority", "NAME", "urgent, high, medium, low or none: what is claimed first"},
    {'s', "--no-start", NULL, "leave it in Backlog"},
    {'F', "--from", "DIR", "what the repository begins with"},
    {'f', "-f", NULL, "go on as the log grows"},
    {'n', "-n", "LINES", "how many of its last lines (40)"},
    {'a', "--after", "SEQ", "events after this number (0: from the first); else from now on"},
    {'A', "--all", NULL, "also what seldom matters: progress, deliveries, leases"},
    {'m', "--text", "TEXT", "a word with the command"},
    {'o', "--force", NULL, "also where databases are: they are moved aside"},
    {'p', "--actor", "NAME", "who acts (else who you are on this machine)"},
};

/* "--name", or "--name=value": then *value begins behind the sign. */
static const struct option *option_by_name(const char *word, const char **value)
{
    size_t length = strncmp(word, "--", 2) == 0 ? strcspn(word, "=") : strlen(word);
    *value = word[length] ? word + length + 1 : NULL;
    if (strcmp(word, "-h") == 0)
        word = "--help", length = strlen(word);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strlen(options[i].name) == length && strncmp(options[i].name, word, length) == 0)
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
    int64_t number = 0;
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
    case 'A':
        return request->all = true;
    case 'o':
        return request->force = true;
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
    case 'P':
        request->priority = value;
        return value && priority_rank(value) >= 0;
    case 'p':
        request->actor = value;
        return true;
    case 'l':
        if (request->label_count == CTL_LABELS_MAX)
            return false;
        request->labels[request->label_count++] = value;
        return true;
    case 'n':
        if (!value || !parse_number(value, &number) || number > 1000000)
            return false;
        request->lines = (int)number;
        return true;
    case 'a':
        return value && parse_number(value, &request->after);
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
        const char *value;
        const struct option *option = option_by_name(word, &value);
        if (!option || (value && !option->value)) {
            snprintf(fault, size, "unknown option %.80s", word);
            return false;
        }
        if (option->letter == 'h') {
            *help = true;
            continue;
        }
        if (option->value && !value && !(value = argv[i + 1 < argc ? ++i : argc])) {
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

/* The command that the words begin with, and how many of them are its own. */
static enum ctl_command find_command(const struct words *words, int *own)
{
    int found = 0;
    while (found < CTL_COMMAND_COUNT && !(*own = match(&ctl_commands[found], words)))
        found++;
    return (enum ctl_command)found;
}

/* "unknown command x", with what there is where x is the first of two words. */
static void say_unknown(const struct words *words, char *fault, size_t size)
{
    size_t used = 0, length = strlen(words->at[0]);
    for (int i = 0; i < CTL_COMMAND_COUNT; i++) {
        const char *name = ctl_commands[i].words;
        if (strncmp(name, words->at[0], length) != 0 || name[length] != ' ' || used + 1 >= size)
            continue;
        int added = snprintf(fault + used, size - used, "%s%s", used ? " | " : "one of: ", name);
        used += added > 0 ? (size_t)added : 0;
    }
    if (!used)
        snprintf(fault, size, "unknown command %.60s", words->at[0]);
}

static bool check_arguments(const struct ctl_command_info *info, const struct words *words, int own,
                            char *fault, size_t size)
{
    int count = words->count - own;
    if (count > info->most)
        snprintf(fault, size, "\"%s\" does not take \"%.60s\"; usage: orchctl %s%s%s", info->words,
                 words->at[own + info->most], info->words, *info->arguments ? " " : "",
                 info->arguments);
    else if (count < info->least)
        snprintf(fault, size, "usage: orchctl %s %s", info->words, info->arguments);
    for (int i = own; i < words->count && !*fault; i++) {
        if (!*words->at[i])
            snprintf(fault, size, "an empty argument; usage: orchctl %s %s", info->words,
                     info->arguments);
    }
    return !*fault;
}

/* help, and --help with a command. */
static bool parse_help(struct ctl_request *request, const struct words *words, int skip,
                       char *fault, size_t size)
{
    struct words topic = {.count = words->count - skip};
    int own;
    memcpy(topic.at, words->at + skip, sizeof *topic.at * (size_t)topic.count);
    request->topic = topic.count ? find_command(&topic, &own) : CTL_COMMAND_COUNT;
    if (topic.count && request->topic == CTL_COMMAND_COUNT)
        say_unknown(&topic, fault, size);
    return !*fault;
}

bool request_parse(struct ctl_request *request, int argc, char *const *argv, char *fault,
                   size_t size)
{
    struct words words = {.count = 0};
    char given[sizeof options / sizeof *options + 1] = "";
    bool help = argc < 2;
    int own = 0;
    *request = (struct ctl_request){
        .command = CTL_HELP, .topic = CTL_COMMAND_COUNT, .lines = CTL_LINES, .after = -1};
    fault[0] = '\0';
    if (!split(request, argc, argv, &words, given, &help, fault, size))
        return false;
    if (help)
        return parse_help(request, &words, 0, fault, size);
    if (!words.count) {
        snprintf(fault, size, "no command");
        return false;
    }
    request->command = find_command(&words, &own);
    if (request->command == CTL_COMMAND_COUNT) {
        say_unknown(&words, fault, size);
        return false;
    }
    const struct ctl_command_info *info = &ctl_commands[request->command];
    if (!check_arguments(info, &words, own, fault, size) ||
        !check_options(info, given, fault, size))
        return false;
    if (request->command == CTL_HELP)
        return parse_help(request, &words, own, fault, size);
    request->argument = words.count > own ? words.at[own] : NULL;
    request->second = words.count > own + 1 ? words.at[own + 1] : NULL;
    if (request->command == CTL_TASK_NEW && !(request->title && *request->title))
        snprintf(fault, size, "task new needs --title TEXT");
    return !*fault;
}

static void add_command(struct buffer *text, const struct ctl_command_info *info)
{
    struct buffer left = {0};
    buffer_format(&left, "%s%s%s", info->words, *info->arguments ? " " : "", info->arguments);
    buffer_format(text, "  %-20s  %s\n", left.data, info->help);
    buffer_free(&left);
}

/* Those that a command takes, "" meaning all. */
static void add_options(struct buffer *text, const char *letters)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (*letters && !strchr(letters, options[i].letter))
            continue;
        char left[40];
        snprintf(left, sizeof left, "%s%s%s", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "");
        buffer_format(text, "  %-20s  %s\n", left, options[i].help);
    }
}

static char *help_of(const struct ctl_command_info *info)
{
    struct buffer text = {0};
    char letters[24];
    buffer_format(&text, "usage: orchctl %s%s%s\n\n", info->words, *info->arguments ? " " : "",
                  info->arguments);
    add_command(&text, info);
    buffer_text(&text, "\noptions\n");
    snprintf(letters, sizeof letters, "%scjh", info->options);
    add_options(&text, letters);
    return buffer_take(&text);
}

char *request_help(enum ctl_command topic)
{
    struct buffer text = {0};
    if (topic != CTL_COMMAND_COUNT)
        return help_of(&ctl_commands[topic]);
    buffer_text(&text, "usage: orchctl [-c FILE] [--json] COMMAND [OPTION]...\n\n");
    for (int i = 0; i < CTL_COMMAND_COUNT; i++)
        add_command(&text, &ctl_commands[i]);
    buffer_text(&text, "\noptions (orchctl help COMMAND shows which it takes)\n");
    add_options(&text, "");
    buffer_text(&text, "\nThe instance is found by -c, ORCH_CONFIG or the installed configuration, "
                       "or by\nORCH_URL with ORCH_OPERATOR_TOKEN.\n"
                       "Exit code: 0 done, 1 refused, 2 usage, 3 not reachable, 4 not found.\n");
    return buffer_take(&text);
}
