/* orch-runner: workspaces, agents, reserved jobs; the only one that writes to the forge. This file
 * only wires. Agents run on when it ends, but where the container ends with it (ORCH_PID1). */
#include "services/runner/loop.h"

int main(int argc, char **argv)
{
    struct runner runner = {0};
    identity_keep(); /* before the bus has threads, which start programs too */
    service_begin(&runner.service, "runner", argc, argv);
    runner_init(&runner);
    runner_adopt(&runner);
    service_ready(&runner.service);
    runner_loop(&runner);
    service_end(&runner.service, 0);
}
