"""scripts/demo as a newcomer sees it: its whole output, and the commands that it says to type next."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness import AGENT, BIN, ROOT, alive

pytestmark = pytest.mark.skipif(BIN != ROOT / "build/bin", reason="the demo shows build/bin only")


def environment(path=""):
    env = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
    return {**env, "PATH": path + env["PATH"]}


def demo(*arguments, env=None):
    """(exit code, output, the throw-away directory)"""
    done = subprocess.run([ROOT / "scripts/demo", *arguments], capture_output=True, timeout=180,
                          text=True, env=env or environment(), stdin=subprocess.DEVNULL)
    found = re.search(r"^  rm -r (/tmp/orch-demo-\w+)$", done.stdout, re.MULTILINE)
    return done.returncode, done.stdout, found and Path(found.group(1)), done.stderr


def next_commands(output):
    return [line.split("#")[0].strip()
            for line in output.split("What to type next\n")[1].splitlines()]


def run_commands(commands):
    """Typed one after another into one shell; what a person waits for is waited for here."""
    script = ["set -e"]
    for command in commands:
        if command.startswith("orchctl events"):
            command = f"timeout 1 {command} || [ $? = 124 ]"
        if command.startswith("kill"):
            script.append("until orchctl task show DEMO-2 --json | grep -q approval; do sleep 0.1; done")
        script.append(command)
        if command.startswith("orchestrator run"):
            script.append("until orchctl status --json 2>/dev/null | grep -q '\"status\": \"ok\"';"
                          " do sleep 0.1; done")
        if command == "kill $!":
            script.append("wait $! || true")
        elif command.startswith("kill"):
            script.append(f"while {command.replace('kill', 'kill -0')} 2>/dev/null; do sleep 0.1; done")
    return subprocess.run(["bash", "-c", "\n".join(script)], capture_output=True, text=True,
                          timeout=90, env=environment(), stdin=subprocess.DEVNULL)


def check_story(output):
    """One rollback, one kill, done: in this order, and no JSON on the way."""
    assert re.search(r"^ok +DEMO: gates +none beside CI and verdicts$", output, re.MULTILINE)
    story = output.split("4. One issue")[1].split("5. Done")[0]
    parts = ["DEMO-1   → analysis", "waits for approval: orchctl approve DEMO-1", "→ development",
             "$ kill -9", "has taken over", "→ review", "← development     rolled back:", "→ review",
             "→ testing", "→ deploy-staging", "→ deploy ", "→ done"]
    at = 0
    for part in parts:
        assert part in story[at:], f"{part} is not where it should be:\n{story}"
        at = story.index(part, at) + len(part)
    assert "{" not in story
    assert max(len(line) for line in story.splitlines()) < 120
    took = int(re.search(r"5\. Done, (\d+) s after the build", output).group(1))
    assert took < 60


def test_the_demo_and_what_to_type_next():
    code, output, folder, errors = demo()
    try:
        assert code == 0, output + errors
        assert not errors
        check_story(output)
        assert "greeting-DEMO-1.txt: the greeting has no full stop." in output
        assert "7 runs of agents, none started more than once." in output
        assert "Merge pull request: DEMO-1: Say hello" in output
        for path in re.findall(r"(/tmp/orch-demo-[^ )\n]+)", output.split("Where it is")[1]):
            assert Path(path).exists() or path.endswith("supervisor.out"), path
        done = run_commands(next_commands(output))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "DEMO-2" in done.stdout
        assert not folder.exists()
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stage_claude():
    """A `claude` in PATH that plays the scripted agent; the real CLI needs an account."""
    folder = Path(tempfile.mkdtemp(prefix="ot-claude-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp")))
    (folder / "agent").mkdir()
    (folder / "agent/plan.json").write_text('{"developer": {"sleep_s": 1}, "reviewer": {"reject": 1}}')
    shutil.copy(AGENT, folder)  # beside the program: an agent's own folder is open to it
    (folder / "claude").write_text(f"#!/bin/sh\nexec /usr/bin/python3 {folder}/{AGENT.name} {folder}/agent\n")
    (folder / "claude").chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_kept_services_run_on_and_the_claude_driver(stage_claude):
    code, output, folder, errors = demo("--keep", "--agent", "claude",
                                        env={**environment(f"{stage_claude}:"),
                                             "CLAUDE_CONFIG_DIR": str(stage_claude / "agent")})
    try:
        assert code == 0, output + errors
        check_story(output)
        commands = next_commands(output)
        pid = int(next(command for command in commands if command.startswith("kill ")).split()[1])
        assert alive(pid)
        assert not [command for command in commands if command.startswith("orchestrator run")]
        done = run_commands(commands)
        assert done.returncode == 0, done.stdout + done.stderr
        end = time.monotonic() + 20
        while alive(pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not alive(pid)
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def test_wrong_arguments():
    assert demo("--nonsense")[0] == 2
    assert demo("--agent", "nobody")[0] == 2
    assert demo("--agent")[0] == 2


def test_an_interrupted_demo_leaves_nobody():
    """Mutation: without the trap the services run on."""
    process = subprocess.Popen([ROOT / "scripts/demo"], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.STDOUT, env=environment(), start_new_session=True,
                               stdin=subprocess.DEVNULL)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "analyst works" in line:
            break
    folder = re.search(r"/tmp/orch-demo-\w+", "".join(lines)).group(0)
    try:
        supervisor = int(re.search(r'"pid": ?(\d+)', Path(folder, "run/supervisor.json").read_text()).group(1))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 130
        assert not alive(supervisor)
    finally:
        process.kill()
        shutil.rmtree(folder, ignore_errors=True)
