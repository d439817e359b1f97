"""The keys that every artefact has: a warning, and with frontmatter.validation_strict a failed gate.

Mutations, each red: strict not asked; a warning that changes the verdict; a verdict file looked at that the
stage does not leave."""

import pytest

from runner_kit import World

REPORT = """
mkdir -p docs/work-items/SHOP-1
printf -- '---\\nwork_item: SHOP-1\\nverdict: %s\\n---\\n\\nSeen.\\n' "$VERDICT" \
  > docs/work-items/SHOP-1/13-test-report.md
echo done
"""
RESULT = """echo '{"type":"result","subtype":"success","is_error":false,"result":"done"}'\n"""


def judged(world, verdict):
    world.agent.write_text(world.agent.read_text().replace("$VERDICT", verdict))
    world.start_scheduler()
    world.start_runner()
    return world.run("t1", role="tester", stage="testing")


def test_a_warning_by_default():
    with World(REPORT + RESULT) as world:
        result = judged(world, "PASS")
        assert result["gate"]["verdict"] == "pass", result["gate"]
        assert result["detail"]["schema"] == [
            "docs/work-items/SHOP-1/13-test-report.md: lacks stage, author_agent, status, created_at"]


@pytest.mark.parametrize("verdict, words", [
    ("PASS", "lacks stage, author_agent, status, created_at"), ("FAIL", "Seen.")])
def test_strict_fails_the_gate_with_what_is_missing(verdict, words):
    with World(REPORT + RESULT, config="frontmatter: {validation_strict: true}\n") as world:
        result = judged(world, verdict)
        assert result["gate"]["verdict"] == "fail"
        assert any(words in finding for finding in result["gate"]["findings"]), result["gate"]
