/* agent: codex — the codex command line, exec mode. What it says and means: contracts/claude-cli.md
 * 2. Its sandbox is off, as ours is around it and the two do not nest; nobody is there to be asked.
 * The prompt comes on standard input. */
#include "services/runner/agent.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/file.h"

/* ---- the command line ---- */

bool agent_codex_model_ok(const char *model)
{
    size_t size = strlen(model);
    return size > 0 && size < 128 && isalnum((unsigned char)model[0]) &&
           strncmp(model, "claude", 6) != 0 && !agent_claude_model_ok(model) &&
           strspn(model, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/-") ==
               size;
}

/* Stands among the arguments: it must not be an option, nor the "last" of anything. */
static bool thread_ok(const char *id)
{
    size_t size = strlen(id);
    return size >= 8 && size < 80 && isxdigit((unsigned char)id[0]) &&
           strspn(id, "0123456789abcdefABCDEF-") == size;
}

/* The program by itself takes ~/.codex, and an agent with a user of its own has a HOME for each
 * project. Else the folder is made here: it would be ours, with what all projects say in it. */
static int set_home(const struct agent_request *request, json_t *env, char **fault)
{
    size_t index;
    const json_t *name;
    json_array_foreach(request->config->agent_env_allow, index, name)
    {
        if (strcmp(json_string_value(name), "CODEX_HOME") == 0 && getenv("CODEX_HOME"))
            return 0; /* a person's choice */
    }
    if (request->user)
        return 0;
    char *own = xformat("%s/agents/%s/.codex", request->config->home, request->project->key);
    int result = file_make_dirs(own, 0700);
    if (result < 0)
        *fault = xformat("%s: %s", own, strerror(errno));
    else
        agent_environment_set(env, "CODEX_HOME", own);
    free(own);
    return result;
}

/* agent.command is one key for all projects, and its default is another agent's program. */
static const char *program(const struct config *config)
{
    return strcmp(config->agent_command, "claude") == 0 ? "codex" : config->agent_command;
}

static int build(const struct agent_request *request, struct agent_command *command, char **fault)
{
    if (request->resume && !thread_ok(request->session)) {
        *fault = xformat("\"%.80s\" is no thread of codex", request->session);
        return -1;
    }
    json_t *argv = json_array();
    *command = (struct agent_command){.argv = argv, .env = agent_environment(request)};
    agent_choose_model(request, "codex", agent_codex_model_ok, command);
    agent_argument(argv, program(request->config), NULL);
    agent_argument(argv, "exec", NULL);
    if (request->resume)
        agent_argument(argv, "resume", NULL);
    agent_argument(argv, "--json", NULL);
    agent_argument(argv, "--dangerously-bypass-approvals-and-sandbox", NULL);
    if (command->model)
        agent_argument(argv, "-m", command->model);
    if (request->resume)
        agent_argument(argv, request->session, NULL);
    agent_argument(argv, "-", NULL);
    return set_home(request, command->env, fault);
}

/* ---- what it says ---- */

static void take_item(struct agent_output *output, const json_t *item, bool completed)
{
    const char *type = output_text_of(item, "type");
    if (strcmp(type, "agent_message") == 0 && completed) {
        free(output->final_text);
        output->final_text = xstrdup(output_text_of(item, "text"));
        output_say(output, output->final_text, false);
        output->turns++;
    } else if (strcmp(type, "error") == 0) {
        output_say(output, output_text_of(item, "message"),
                   false); /* a warning, whatever its name */
    } else if (strcmp(type, "reasoning") != 0 && strcmp(type, "todo_list") != 0) {
        const char *tool = output_text_of(item, "tool"); /* of an MCP server */
        output_keep(output->last_tool, sizeof output->last_tool, *tool ? tool : type);
        output->turns += completed && strcmp(type, "agent_message") != 0;
    }
}

/* "unexpected status 401 Unauthorized", "last status: 429 Too Many Requests": the number stands
 * nowhere else. 0 where none does. */
static int64_t status_in(const char *text)
{
    for (const char *at = text; (at = strstr(at, "status")); at++) {
        const char *number = at + strlen("status");
        number += strspn(number, ": ");
        if (strspn(number, "0123456789") == 3 && number[0] >= '4' && number[0] <= '5')
            return strtol(number, NULL, 10);
    }
    return 0;
}

static int64_t count_of(const json_t *usage, const char *name)
{
    int64_t count = json_integer_value(json_object_get(usage, name));
    return count > 0 ? count : 0;
}

/* In the words of a result record. Here the input holds what was cached, there it does not. */
static json_t *usage_of(const json_t *usage)
{
    if (!json_is_integer(json_object_get(usage, "input_tokens")) ||
        !json_is_integer(json_object_get(usage, "output_tokens")))
        return json_null();
    int64_t read = count_of(usage, "cached_input_tokens"),
            created = count_of(usage, "cache_write_input_tokens");
    int64_t input = count_of(usage, "input_tokens") - read - created;
    return json_pack("{sI sI sI sI}", "input_tokens", (json_int_t)(input > 0 ? input : 0),
                     "output_tokens", (json_int_t)count_of(usage, "output_tokens"),
                     "cache_read_input_tokens", (json_int_t)read, "cache_creation_input_tokens",
                     (json_int_t)created);
}

static void set_result(struct agent_output *output, bool failed, const char *text,
                       const json_t *usage)
{
    int64_t status = failed ? status_in(text) : 0;
    if (json_is_true(json_object_get(output->result, "is_error")))
        return; /* no later turn makes that good */
    json_decref(output->result);
    output->result = json_pack(
        "{ss sb ss* so so}", "type", "result", "is_error", (int)failed, "result", text,
        "api_error_status", status ? json_integer(status) : json_null(), "usage", usage_of(usage));
}

/* "Reconnecting... 1/5 (why)" is said while it still tries. */
static void take_error(struct agent_output *output, const char *text)
{
    output_say(output, text, strncmp(text, "Reconnecting", strlen("Reconnecting")) != 0);
}

static void take(struct agent_output *output, json_t *record)
{
    const char *type = output_text_of(record, "type");
    const char *thread = output_text_of(record, "thread_id");
    if (strcmp(type, "thread.started") == 0 && thread_ok(thread))
        output_keep(output->session, sizeof output->session, thread);
    else if (strcmp(type, "item.started") == 0)
        take_item(output, json_object_get(record, "item"), false);
    else if (strcmp(type, "item.completed") == 0)
        take_item(output, json_object_get(record, "item"), true);
    else if (strcmp(type, "error") == 0)
        take_error(output, output_text_of(record, "message"));
    else if (strcmp(type, "turn.failed") == 0)
        set_result(output, true, output_text_of(json_object_get(record, "error"), "message"), NULL);
    else if (strcmp(type, "turn.completed") == 0)
        set_result(output, false, output->final_text, json_object_get(record, "usage"));
}

const struct agent_driver agent_codex = {.name = "codex",
                                         .needs_result = true,
                                         .names_session = true,
                                         .usage_is_cumulative = true,
                                         .take = take,
                                         .build = build};
