"""What an agent was given to keep is not said by us: an agent that prints its key and fails. Mutations
tried, each turns it red: build_result without mask_json; log lines not masked."""
from orchctl_kit import text
from runner_kit import World

KEY = "sk-ant-0123456789-very-secret"
PRINTS = """
echo "my key is $ANTHROPIC_API_KEY"
echo "on stderr: $ANTHROPIC_API_KEY" >&2
"""


class SecretWorld(World):
    def __init__(self, agent):
        super().__init__(agent)
        self.env = {"ORCH_AGENT_SANDBOX": "none", "ANTHROPIC_API_KEY": KEY}
        self.start_scheduler()
        self.start_runner()


def test_a_failed_run_does_not_tell_its_key():
    with SecretWorld(PRINTS + "exit 3") as world:
        result = world.run("r1")
        assert result["outcome"] == "failed"
        assert "***" in result["reason"] and "my key is ***" in result["log_tail"]
        assert KEY not in str(world.messages) and KEY not in world.log()
        assert KEY not in (world.dir("r1") / "result.json").read_text()
        assert KEY in (world.dir("r1") / "log").read_text(), "the agent did have it"


def test_a_run_that_succeeds_does_not_either():
    with SecretWorld(PRINTS + "echo x > x") as world:
        world.tell(world.command("r1", title=f"A thing {KEY}"))
        result = world.result("r1")
        assert result["outcome"] == "succeeded", world.log()
        assert KEY not in str(result) and KEY not in world.log()
        [pull] = world.pulls()
        assert KEY not in str(pull) and "***" in str(pull)


# Red without mask_text in print_line of tools/tail.c, and where its launch is not read.
def test_nobody_is_shown_it(make_instance, tmp_path):
    """The whole way of a failure: issue, comments, what orchctl shows, all logs of ours."""
    agent = tmp_path / "agent"
    agent.write_text("#!/bin/sh\ncat >/dev/null\n" + PRINTS + "exit 3\n")
    agent.chmod(0o755)
    instance = make_instance(project={"agent_command": [str(agent)]}, keys={"max_attempts": 1})
    instance.start(environment={"ANTHROPIC_API_KEY": KEY})
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.task(key).get("blocked"), 60, "blocked")
    shown = text(instance, "tail", key) + text(instance, "tail", key, "--json")
    assert "my key is ***" in shown and "on stderr: ***" in shown
    shown += text(instance, "why", key) + text(instance, "task", "show", key)
    instance.wait_for(lambda: "***" in str(instance.issue(key)["comments"]), 20, "a comment that quotes it")
    shown += str(instance.issue(key)["comments"]) + str(instance.task(key))
    assert KEY not in shown
    logs = [path for path in (instance.home / "log").rglob("*") if path.is_file()]
    assert len(logs) > 5 and not [path for path in logs if KEY in path.read_text(errors="replace")]
    for name in instance.home.glob("db/*"):
        assert KEY.encode() not in name.read_bytes(), name
