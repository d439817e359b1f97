"""What an agent was given to keep is not said by us: an agent that prints its key and fails. Mutations
tried, each turns it red: build_result without mask_json; log lines not masked."""
from runner_kit import World

KEY = "sk-ant-0123456789-very-secret"
PRINTS = """
echo "my key is $ANTHROPIC_API_KEY"
echo "on stderr: $ANTHROPIC_API_KEY" >&2
"""


class SecretWorld(World):
    def __init__(self, agent):
        super().__init__(agent)
        self.env = {"ANTHROPIC_API_KEY": KEY}
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
