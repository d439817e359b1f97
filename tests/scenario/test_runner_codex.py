"""agent: codex, with a program that says what the real one was recorded to say. Mutations tried, each
turns a test red: a thread's id made up by us; the usage of a resumed thread taken whole; CODEX_HOME
not set."""
import json
import os
from pathlib import Path

import pytest

from runner_kit import World, git

BRANCH = "feature/SHOP-1-a-thing"
RECORDED = Path(__file__).parent.parent / "fixtures/agents/codex-0.163.0"
THREAD = "01a1f934-0ead-7343-a18a-3d34e2713ae1"


class CodexWorld(World):
    """says: lines of the n-th start, or a recorded file's name, and the exit status."""

    def __init__(self, *says, config=""):
        super().__init__("", project={"agent": "codex"}, config=config)
        folder = self.root / "bin"
        folder.mkdir()
        for number, (text, status) in enumerate(says, 1):
            lines = (RECORDED / text).read_text() if text.endswith(".jsonl") else text
            (folder / f"says{number}").write_text(lines)
            (folder / f"status{number}").write_text(str(status))
        (folder / "codex").write_text(f"""#!/bin/bash
n=$(($(cat {folder}/n 2>/dev/null || echo 0) + 1)); echo $n > {folder}/n
printf '%s\\n' "$@" > {folder}/args$n; echo "$CODEX_HOME" > {folder}/home$n
cat > {folder}/prompt$n
echo $n > file$n
cat {folder}/says$n; exit $(cat {folder}/status$n)
""")
        (folder / "codex").chmod(0o755)
        self.bin = folder
        self.env = {"ORCH_AGENT_SANDBOX": "none", "PATH": f"{folder}:{os.environ['PATH']}", "CODEX_HOME": "/of/a/person"}
        self.start_scheduler()
        self.start_runner()

    def args(self, number):
        return (self.bin / f"args{number}").read_text().split()


def again(**usage):
    lines = [{"type": "thread.started", "thread_id": THREAD}, {"type": "turn.started"},
             {"type": "turn.completed", "usage": usage}]
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_one_run_and_its_thread_once_more():
    more = again(input_tokens=3000, cached_input_tokens=2100, cache_write_input_tokens=0,
                 output_tokens=100, reasoning_output_tokens=20)
    with CodexWorld(("exec.success.jsonl", 0), (more, 0)) as world:
        first = world.run("r1")
        assert first["outcome"] == "succeeded", (first, world.log())
        assert first["session"] == THREAD and first["cost_usd"] is None
        assert first["usage"] == {"input": 600, "output": 80, "cache_read": 1800,
                                  "cache_creation": 0}
        assert world.args(1) == ["exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "-"]
        assert "Role: developer" in (world.bin / "prompt1").read_text()
        home = Path((world.bin / "home1").read_text().strip())
        assert home == world.home / "agents/SHOP/.codex" and home.is_dir()
        assert git("show", f"{BRANCH}:file1", cwd=world.forge) == "1"
        assert "All done: wrote hello.txt" in first["log_tail"]
        second = world.run("r2", resume_session=first["session"], first_of_entry=False)
        assert second["outcome"] == "succeeded", (second, world.log())
        assert world.args(2) == ["exec", "resume", "--json",
                                 "--dangerously-bypass-approvals-and-sandbox", THREAD, "-"]
        assert second["usage"] == {"input": 300, "output": 20, "cache_read": 300,
                                   "cache_creation": 0}


@pytest.mark.parametrize("recorded, kind", [("exec.error-401.jsonl", "operator"),
                                            ("exec.error-429.jsonl", "transient"),
                                            ("exec.error-500.jsonl", "transient")])
def test_how_it_fails(recorded, kind):
    with CodexWorld((recorded, 1)) as world:
        result = world.run("r1")
        assert (result["outcome"], result["class"]) == ("failed", kind), result
        assert result["session"].startswith("01a1f934") and result["usage"] is None


def test_one_that_says_nothing_has_no_session():
    with CodexWorld(("\n", 0)) as world:
        result = world.run("r1")
        assert (result["outcome"], result["class"]) == ("failed", "permanent")
        assert result["session"] is None


def test_a_level_of_the_models_is_passed_over():
    config = "agent: {model: {default: gpt-5, developer: gpt-5-codex}}\n"
    with CodexWorld(("exec.success.jsonl", 0), ("exec.success.jsonl", 0), config=config) as world:
        first, second = world.run("r1"), world.run("r2", model_level=1)
        assert "gpt-5-codex" in world.args(1) and "gpt-5" in world.args(2)
        assert first["detail"]["model_levels_left"] == 2
        assert second["detail"]["model_levels_left"] == 1
