/* agent: command — any program, started in the workspace with the prompt on standard input. */
#include "services/runner/agent.h"

#include "lib/buffer.h"

static int build(const struct agent_request *request, struct agent_command *command, char **fault)
{
    *command = (struct agent_command){0};
    if (json_array_size(request->project->agent_command) == 0) {
        *fault = xformat("projects: %s: agent_command is empty", request->project->key);
        return -1;
    }
    command->argv = json_deep_copy(request->project->agent_command);
    command->env = agent_environment(request);
    return 0;
}

const struct agent_driver agent_command = {
    .name = "command", .take = output_take_stream_json, .build = build};
