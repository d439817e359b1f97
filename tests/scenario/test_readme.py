"""The README's promises: its commands work as printed, its configuration is valid, its links lead
somewhere, and its screen of the demo is what the demo shows."""

import os
import re
import shutil
import subprocess

import pytest

from harness import AGENT, BIN, ROOT, free_port, git

README = (ROOT / "README.md").read_text()


def section(title):
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(text):
    """Indented lines; a continued one is one command."""
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def test_links_lead_somewhere():
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_documents_name_what_there_is():
    """Commands of orchctl and codes of reasons, as the tables have them."""
    known = re.findall(r'^COMMAND\(\w+, "([^"]+)"', (ROOT / "tools/commands.def").read_text(), re.MULTILINE)
    codes = re.findall(r'^REASON\(\w+, "([^"]+)"',
                       (ROOT / "services/scheduler/reasons.def").read_text(), re.MULTILINE)
    operations = (ROOT / "docs/operations.md").read_text()
    for words in re.findall(r"(?:`|    )orchctl ((?:task |repo |effects )?[a-z-]+)", README + operations):
        assert words in known, words
    rows = re.findall(r"^\| (?:queued|`blocked)[^|]*", operations, re.MULTILINE)
    named = [code for row in rows for code in re.findall(r"[a-z]+(?:-[a-z]+)*", row)
             if code not in ("queued", "blocked", "or")]
    assert len(named) > 8 and not set(named) - set(codes), set(named) - set(codes)


def test_by_hand_as_printed(tmp_path):
    """Every command of the section in its order; what is replaced: the agent (no account here), the
    paths, and waiting, which a person does by looking."""
    shop, work, home = tmp_path / "shop", tmp_path / "orchestrator", tmp_path / "home"
    (shop / "src").mkdir(parents=True)
    (shop / "README.md").write_text("A shop.\n")
    work.mkdir()
    port = free_port()
    agent = tmp_path / "bin"
    agent.mkdir()
    (agent / "claude").write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 9.9.9 && exit\n"
                                  f"exec /usr/bin/python3 {agent}/{AGENT.name} {tmp_path}/claude\n")
    shutil.copy(AGENT, agent)  # beside the program: an agent's own folder is open to it
    (tmp_path / "claude").mkdir()
    (agent / "claude").chmod(0o755)
    text = section("By hand")
    yaml = re.search(r"```yaml\n(.*?)```", text, re.DOTALL).group(1)
    (work / "orchestrator.yaml").write_text(
        yaml.replace("/home/you", str(home)).replace("8500", str(port)))
    waits = {"why": "until orchctl task show SHOP-1 --json >/dev/null 2>&1; do sleep 0.1; done",
             "tail": "until orchctl why SHOP-1 | grep -q 'orchctl approve'; do sleep 0.1; done",
             "task new": "until orchctl status >/dev/null 2>&1; do sleep 0.1; done",
             "task show": "until orchctl task show SHOP-1 | grep -q 'stage *done'; do sleep 0.1; done"}
    script = ["set -e"]
    for command in commands(text):
        if command == "make":
            continue  # the programs under test are built
        for words, wait in waits.items():
            if command.startswith(f"orchctl {words}"):
                script.append(wait)
        if command.startswith("orchctl tail"):
            command = command.replace(" -f", "")
        script.append(command.replace("$PWD/build/bin", str(BIN)).replace("$PWD/sv", str(ROOT / "sv")))
        if command.startswith("orchestrator run"):
            script.append("trap 'kill $!; wait' EXIT")
    env = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
    env.update(HOME=str(home), PATH=f"{agent}:{env['PATH']}", CLAUDE_CONFIG_DIR=str(tmp_path / "claude"))
    done = subprocess.run(["bash", "-c", "\n".join(script)], cwd=work, env=env, capture_output=True,
                          text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SHOP-1\n" in done.stdout and "nothing is missing" in done.stdout
    assert "SHOP-1: the analysis is approved" in done.stdout
    assert "greeting" in git(home / "orchestrator/forge/shop.git", "ls-tree", "--name-only", "main")


@pytest.mark.skipif(not shutil.which("sv"), reason="sv (runit) is not installed")
def test_sv_commands_as_printed(make_instance):
    instance = make_instance().start()
    wanted = [line for line in commands(section("Look inside")) if not line.startswith("nngcat")]
    assert wanted[0].startswith("export SVDIR=") and len(wanted) >= 4
    instance.wait_for(lambda: all(map(instance.pid, ("scheduler", "runner", "monitor"))), 20, "all run")
    before = {name: instance.pid(name) for name in ("scheduler", "runner", "monitor")}
    env = {**os.environ, "ORCH_RUN_DIR": str(instance.run_dir)}
    done = subprocess.run(["bash", "-ec", "\n".join(wanted)], env=env, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"run: scheduler: (pid {before['scheduler']})" in done.stdout
    assert "ok: run: runner:" in done.stdout
    instance.wait_for(lambda: all(instance.pid(name) not in (None, before[name])
                                  for name in ("runner", "monitor")), 20, "both are others now")


def test_the_screen_is_the_demos():
    """Each line of the screen, numbers and times aside, is one that the demo's text can make."""
    source = "\n".join(path.read_text() for path in [ROOT / "scripts/demo", AGENT,
                                                     *(ROOT / "tools").glob("*.c"),
                                                     ROOT / "services/scheduler/reasons.def"])
    screen = section("What the demo shows").split("```")[1]
    for words in ("From here everything goes by itself, but for one approval", "waits for %s", " works (%s)",
                  "the analysis is approved", "the stage's gate passed", "rolled back: ", "has taken over",
                  "the greeting has no full stop.", "Nothing was lost and nothing happened twice.",
                  "runs of agents"):
        assert words in source, words
        assert words.split("%s")[0].strip() in screen, words
