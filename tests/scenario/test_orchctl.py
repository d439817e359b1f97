"""orchctl as people and scripts meet it: answers, exit codes, what is refused and how that is said."""

import json
import os
import pty
import re
import subprocess
import threading
import time

import pytest

from harness import BIN, Instance, git
from orchctl_kit import DONE, NOT_FOUND, NOT_REACHABLE, REFUSED, USAGE, orchctl, parsed, text

# title, label and comment that would take over a terminal
EVIL = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202eevil"
ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u0080-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def lived():
    """An instance with a task that is done, one that waits, an issue nobody started, and one whose
    texts are hostile."""
    instance = Instance(plan={"reviewer": {"reject": 1}}).start()
    try:
        for title in ("Say hello", "Wait for me"):
            assert text(instance, "task", "new", "DEMO", "--title", title)
        instance.approve("DEMO-1")
        instance.wait_stage("DEMO-1", "done")
        instance.wait_for(lambda: instance.parked("DEMO-2"), 30, "DEMO-2 waits")
        assert text(instance, "task", "new", "DEMO", "--title", "Later", "--no-start") == "DEMO-3\n"
        instance.new_issue(4, title=EVIL, labels=[EVIL], body=EVIL)
        instance.wait_for(lambda: instance.parked("DEMO-4"), 30, "DEMO-4 waits")
        yield instance
    finally:
        instance.close()


# ---- exit codes and what is said ----

@pytest.mark.parametrize("code, words, arguments", [
    (USAGE, "unknown command nonsense", ["nonsense"]),
    (USAGE, "task new", ["task"]),
    (USAGE, "usage: orchctl why KEY", ["why"]),
    (USAGE, "does not take", ["status", "more"]),
    (USAGE, "--nonsense", ["status", "--nonsense"]),
    (USAGE, "--title means nothing", ["status", "--title", "x"]),
    (USAGE, "needs --title", ["task", "new", "DEMO"]),
    (USAGE, "empty", ["why", ""]),
    (USAGE, "--title: a control character at byte 3", ["task", "new", "DEMO", "--title", "ab\x1b[m"]),
    (USAGE, "--title: a control character at byte 3", ["task", "new", "DEMO", "--title", "ab\u009bm"]),
    (USAGE, "--title: not UTF-8 at byte 2", ["task", "new", "DEMO", "--title", b"a\xff"]),
    (USAGE, "--title: 256 characters, 255 at most", ["task", "new", "DEMO", "--title", "ü" * 256]),
    (USAGE, "--label: a control", ["task", "new", "DEMO", "--title", "x", "--label", "a\nb"]),
    (USAGE, "--actor: a control", ["approve", "DEMO-2", "--actor", "a\nb"]),
    (USAGE, "--text: 16001 characters", ["stop", "DEMO-2", "--text", "x" * 16001]),
    (USAGE, "KEY: a control", ["approve", "D\x1b[31m"]),
    (USAGE, "--body-file: cannot read /nonexistent", ["task", "new", "DEMO", "--title", "x",
                                                      "--body-file", "/nonexistent"]),
    (USAGE, "NAME: letters", ["repo", "create", "../x"]),
    (NOT_FOUND, "no project NOPE", ["task", "new", "NOPE", "--title", "x"]),
    (NOT_FOUND, "no project NOPE", ["task", "list", "NOPE"]),
    (NOT_FOUND, "no task NOPE-1", ["task", "show", "NOPE-1"]),
    (NOT_FOUND, "no task NOPE-1", ["why", "NOPE-1"]),
    (NOT_FOUND, "no task or service NOPE-1", ["tail", "NOPE-1"]),
    (NOT_FOUND, "no task NOPE-1", ["task", "start", "NOPE-1"]),
    (NOT_FOUND, "no task NOPE-1", ["approve", "NOPE-1"]),
    (NOT_FOUND, "no task NOPE-1", ["stop", "NOPE-1"]),
    (NOT_FOUND, "no task NOPE-1", ["comment", "NOPE-1", "x"]),
    (NOT_FOUND, "no service nope", ["restart", "nope"]),
    (NOT_FOUND, "orchctl upgrade", ["restart", "supervisor"]),
    (NOT_FOUND, "has repo: nope", ["freeze", "nope", "because"]),
    (NOT_FOUND, "no such project", ["pause", "NOPE"]),
    (NOT_FOUND, "--from", ["repo", "create", "x", "--from", "/nonexistent"]),
    (NOT_FOUND, "Not a directory", ["repo", "create", "x", "--from", "/etc/hostname"]),
    (REFUSED, "DEMO-1: refused", ["approve", "DEMO-1"]),
    (REFUSED, "DEMO-1: refused", ["retry", "DEMO-1"]),
    (REFUSED, "DEMO-1: refused", ["stop", "DEMO-1"]),
    (REFUSED, "DEMO-2: refused", ["confirm-deploy", "DEMO-2"]),
    (REFUSED, "is a task already", ["task", "start", "DEMO-2"]),
    (REFUSED, "actor", ["approve", "DEMO-2", "--actor", "analyst"]),
    (REFUSED, "there already", ["repo", "create", "sample"]),
    (REFUSED, "not frozen", ["unfreeze", "sample"]),
])
def test_what_is_refused_says_why(lived, code, words, arguments):
    """Mutation: exchanging two exit codes, or an answer's own JSON shown to people, turns this red."""
    said = text(lived, *arguments, code=code)
    assert words in said and said.startswith("orchctl: ") and "{" not in said
    assert not ACTIVE.search(said.rstrip("\n")), repr(said)
    assert lived.parked("DEMO-2") == "approval"
    answer = parsed(lived, *arguments, code=code)
    if answer.get("result") == "refused":
        assert code in (REFUSED, NOT_FOUND)
        return
    assert answer["error"]["code"] == {USAGE: "usage", NOT_FOUND: "not-found",
                                       REFUSED: "refused"}[code]
    assert words in answer["error"]["message"]


@pytest.mark.parametrize("content, words", [
    (b"fine\n\xff\n", "not UTF-8 at byte 6"), (b"a\0b", "a NUL at byte 2"),
    (b"x" * (512 * 1024 + 1), "longer than 524288 bytes")], ids=["latin", "nul", "long"])
def test_a_body_that_cannot_be_sent_is_named(lived, tmp_path, content, words):
    path = tmp_path / "body.md"
    path.write_bytes(content)
    new = ["task", "new", "DEMO", "--title", "x", "--no-start", "--body-file"]
    said = text(lived, *new, path, code=USAGE)
    assert "--body-file: " in said and words in said and str(path) in said
    said = text(lived, *new, "-", code=USAGE, data=content)
    assert "--body-file: " in said and words in said


def test_who_asks_with_a_wrong_token_is_told(lived):
    for arguments in (["task", "list"], ["queue"], ["approve", "DEMO-2"], ["events"]):
        said = text(lived, *arguments, code=REFUSED, env={"ORCH_OPERATOR_TOKEN": "wrong"})
        assert "operator token" in said
    assert lived.parked("DEMO-2") == "approval"


def test_an_instance_found_by_its_address(lived):
    remote = {"ORCH_URL": f"http://127.0.0.1:{lived.port}/", "ORCH_OPERATOR_TOKEN": lived.token,
              "ORCH_CONFIG": ""}
    assert "DEMO-1" in text(lived, "task", "list", env=remote)
    assert "name its configuration" in text(lived, "tail", "scheduler", env=remote,
                                            code=NOT_REACHABLE)


def test_nobody_there():
    instance = Instance()
    try:
        for arguments in (["status"], ["queue"], ["task", "list"], ["task", "new", "DEMO", "--title", "x"],
                          ["approve", "DEMO-1"], ["why", "DEMO-1"], ["events"], ["restart", "runner"],
                          ["upgrade"], ["pause"]):
            said = text(instance, *arguments, code=NOT_REACHABLE)
            assert said.startswith("orchctl: ")
        assert parsed(instance, "queue", code=NOT_REACHABLE)["error"]["code"] == "not-reachable"
        assert "cannot be read" in text(instance, "-c", "/nonexistent", "status", code=NOT_REACHABLE)
        assert "not now" in text(instance, "doctor")
        assert text(instance, "-c", "/nonexistent", "check-config", code=REFUSED)
        assert "mend the file" in orchctl(instance, "-c", "/nonexistent", "doctor").stdout.decode()
    finally:
        instance.close()


def test_doctor_says_what_to_do(tmp_path):
    """Each failure has its cure; what a project's gates are is said, also those that are not built."""
    instance = Instance()
    try:
        config = json.loads(instance.config.read_text())
        config["projects"] += [
            {"key": "GONE", "repo": "gone", "tracker": "local", "forge": "local", "ci": "none",
             "agent": "command", "agent_command": ["/nonexistent"], "deploy_hook": "/no/such/hook",
             "staging_check": "scripts/check"},
            {"key": "HOOK", "repo": "sample", "tracker": "local", "forge": "local", "ci": "none",
             "agent": "command", "agent_command": ["true"], "deploy_hook": "true"},
            {"key": "SELF", "repo": "sample", "tracker": "local", "forge": "local", "ci": "none",
             "agent": "claude", "self_hosting": True}]
        config["agent"] = {"command": str(tmp_path / "claude")}
        config["disk"] = {"low_water_mb": 900_000_000}
        instance.config.write_text(json.dumps(config))
        checks = {}
        for check in parsed(instance, "doctor", code=REFUSED)["checks"]:
            checks.setdefault(check["name"], []).append(check)
        for name in ("GONE: agent", "GONE: repository", "SELF: agent", "disk"):
            assert checks[name][0]["state"] == "failed" and checks[name][0]["cure"], name
        for name, words in (("deploy_hook", "not there"), ("staging_check", "no absolute path")):
            check = checks[f"GONE: {name}"][0]
            assert check["state"] == "failed" and words in check["detail"] and check["cure"]
        assert checks["HOOK: deploy_hook"][0]["state"] == "ok" and "HOOK: staging_check" not in checks
        assert checks["DEMO: deploy_hook"][0]["detail"] == "no deploy_hook: delivered by its merge"
        assert checks["DEMO: agent"][0]["state"] == checks["DEMO: repository"][0]["state"] == "ok"
        assert "serial_gate" in checks["SELF: gates"][0]["detail"]
        assert checks["DEMO: gates"][0]["detail"].startswith("none")
        (tmp_path / "claude").write_text("#!/bin/sh\n[ $1 = --version ] && echo 9.9\n")
        (tmp_path / "claude").chmod(0o755)
        page = orchctl(instance, "doctor").stdout.decode()
        assert f"{tmp_path}/claude: 9.9" in page
        assert "→ orchctl repo create gone" in page and "5 of " in page
    finally:
        instance.close()


# ---- answers ----

def test_json_everywhere(lived):
    assert parsed(lived, "status")["health"]["status"] in ("ok", "degraded")
    assert {"counts", "running", "queued", "services"} <= set(parsed(lived, "queue"))
    assert {"DEMO-1", "DEMO-2", "DEMO-4"} <= {task["key"] for task in parsed(lived, "task", "list")}
    assert [task["key"] for task in parsed(lived, "task", "list", "DEMO")]
    assert parsed(lived, "task", "show", "DEMO-1")["stage"] == "done"
    assert parsed(lived, "task", "show", "DEMO-3")["status"] == "Backlog"
    assert parsed(lived, "why", "DEMO-2")["next"].endswith("orchctl approve DEMO-2")
    assert parsed(lived, "doctor")["well"] is True
    assert parsed(lived, "check-config")["valid"] is True
    assert parsed(lived, "version")["version"]
    assert len(parsed(lived, "help")) > 20
    assert parsed(lived, "comment", "DEMO-2", "be brief")["result"] == "applied"
    pid = parsed(lived, "restart", "monitor")["pid"]
    lived.wait_for(lambda: lived.pid("monitor") == pid, 10, "the page knows the new process")
    assert parsed(lived, "repo", "create", "json-one")["branch"] == "main"
    for arguments in (["tail", "scheduler"], ["tail", "DEMO-1"]):
        for line in text(lived, *arguments, "--json").splitlines():
            json.loads(line)


def test_pages_are_aligned(lived):
    """Each column begins at one place in every row."""
    lines = text(lived, "status").splitlines()
    assert lines[0] == "orchestrator ok"
    heads = re.split(r"  +", lines[1].strip())
    assert heads == ["SERVICE", "STATE", "PID", "UP", "RESTARTS", "DOING"][:len(heads)]
    at = lines[1].index("STATE")
    assert [line[at:].split()[0] for line in lines[2:9]] == ["ready"] * 7
    rows = text(lived, "task", "list").splitlines()
    at = rows[0].index("TITLE")
    assert "Say hello" in [row[at:at + 9] for row in rows]
    assert max(len(row) for row in rows) < 160


def test_a_task_as_people_read_it(lived):
    page = text(lived, "task", "show", "DEMO-1")
    assert page.startswith("DEMO-1  Say hello\n")
    for words in ("done", "feature/DEMO-1-say-hello", "pull request  #", "1 rollback", "← development",
                  "merge-gate", "succeeded"):
        assert words in page, page
    assert "Z  " not in page and ".000" not in page  # times are short and local
    said = text(lived, "why", "DEMO-3")
    assert "orchctl task start DEMO-3" in said
    assert "orchctl approve DEMO-2" in text(lived, "why", "DEMO-2")
    assert "it has ended" in text(lived, "why", "DEMO-1")


def test_colours_are_for_terminals(lived):
    def on_terminal(**extra):
        main, other = pty.openpty()
        env = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
        env.update({"ORCH_CONFIG": str(lived.config), "TERM": "xterm", **extra})
        env = {key: value for key, value in env.items() if value is not None}
        process = subprocess.Popen([BIN / "orchctl", "status"], stdout=other, env=env,
                                   stdin=subprocess.DEVNULL)
        os.close(other)
        out = b""
        try:
            while chunk := os.read(main, 65536):
                out += chunk
        except OSError:
            pass
        os.close(main)
        assert process.wait(20) == 0
        return out
    assert b"\x1b[32mok" in on_terminal(NO_COLOR=None)
    assert b"\x1b" not in on_terminal(NO_COLOR="1")
    assert b"\x1b" not in on_terminal(TERM="dumb", NO_COLOR=None)
    assert "\x1b" not in text(lived, "status")


def test_hostile_texts_stay_texts(lived):
    """Mutation: any page that prints a title as it came turns this red."""
    for arguments in (["task", "list"], ["task", "show", "DEMO-4"], ["why", "DEMO-4"], ["queue"],
                      ["status"], ["tail", "DEMO-4"], ["tail", "scheduler", "-n", "1000"]):
        for json_flag in ([], ["--json"]):
            out = text(lived, *arguments, *json_flag)
            assert not ACTIVE.search(out), (arguments, ACTIVE.search(out))
    assert "\\x1b]0;owned\\x07" in text(lived, "task", "list")
    assert parsed(lived, "task", "show", "DEMO-4")["title"] == EVIL  # data is data
    for flags in (["--all"], ["--json"]):
        done = subprocess.run(["timeout", "2", BIN / "orchctl", "-c", lived.config, "events", "--after",
                               "0", *flags], capture_output=True, check=False)
        out = done.stdout.decode()
        assert "DEMO-4" in out and not ACTIVE.search(out)


def test_an_agents_output_stays_text(make_instance, tmp_path):
    agent = tmp_path / "agent"
    agent.write_text("#!/bin/sh\nprintf 'red \\033[31m \\302\\233 \\377\\n'; printf '\\033[2Jwrong\\n' >&2\n"
                     "exit 1\n")
    agent.chmod(0o755)
    instance = make_instance(project={"agent_command": [str(agent)]}, keys={"max_attempts": 1}).start()
    instance.new_issue(1)
    instance.wait_for(lambda: instance.task("DEMO-1").get("blocked"), 60, "is blocked")
    out = text(instance, "tail", "DEMO-1")
    assert "red \\x1b[31m \\u009b \\xff\n" in out and "\\x1b[2Jwrong" in out
    assert not ACTIVE.search(out)
    for line in text(instance, "tail", "DEMO-1", "--json").splitlines():
        assert "line" in json.loads(line)
    assert "blocked: " in text(instance, "task", "list")
    assert "orchctl retry DEMO-1" in text(instance, "why", "DEMO-1")


# ---- issues and commands ----

def test_two_at_once_take_two_numbers(make_instance):
    """Mutation: without the lock two of these replace each other's title."""
    instance = make_instance().start()
    answers = [None] * 8

    def write(number):
        answers[number] = text(instance, "task", "new", "DEMO", "--no-start", "--title", f"No. {number}",
                               "--label", f"l{number}").strip()
    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [f"DEMO-{number}" for number in range(1, 9)]
    for number, key in enumerate(answers):
        issue = instance.issue(key)
        assert (issue["title"], issue["labels"]) == (f"No. {number}", [f"l{number}"])


def test_issues_written_while_the_scheduler_is_down(make_instance):
    """They are kept, and none takes another's number. Mutation: numbers by the shown issues alone."""
    instance = make_instance().start()
    sv = {**os.environ, "SVDIR": str(instance.run_dir / "sv")}
    subprocess.run(["sv", "down", "scheduler"], env=sv, check=True, capture_output=True)
    instance.wait_for(lambda: not instance.service("scheduler").get("pid"), 20, "scheduler is down")
    keys = []
    for title in ("one", "two"):
        done = orchctl(instance, "task", "new", "DEMO", "--no-start", "--title", title)
        assert done.returncode == DONE and b"accepted and kept" in done.stderr
        keys.append(done.stdout.decode().strip())
    subprocess.run(["sv", "up", "scheduler"], env=sv, check=True, capture_output=True)
    assert keys == ["DEMO-1", "DEMO-2"]
    instance.wait_for(lambda: [instance.issue(key).get("title") for key in keys] == ["one", "two"], 30,
                      "both are shown")


def test_an_issue_from_backlog_to_done_by_commands_alone(make_instance, tmp_path):
    instance = make_instance().start()
    body = tmp_path / "body.md"
    body.write_text("# Grüße\n\nAs a reader …\n")
    key = text(instance, "task", "new", "DEMO", "--title=Say hello", "--body-file", body, "--label",
               "nice", "--no-start").strip()
    assert instance.issue(key)["body"] == body.read_text()
    assert instance.stage(key) is None
    assert text(instance, "task", "start", key) == f"{key}: started\n"
    instance.wait_for(lambda: instance.parked(key) == "approval", 30, "waits")
    assert text(instance, "approve", key, "--actor", "ada", "--text", "fine") == \
        f"{key}: the analysis is approved\n"
    instance.wait_stage(key, "done")
    assert "ada" in [step["actor"] for step in instance.task(key)["transitions"]]
    assert git(instance.repo, "show", f"main:docs/work-items/{key}/01-brd.md")


def test_claims_and_freezes(lived):
    assert text(lived, "pause") == "claims are paused\n"
    try:
        assert "paused: no job is claimed" in text(lived, "status")
        assert "paused: no job is claimed" in text(lived, "queue")
    finally:
        assert text(lived, "resume") == "claims go on\n"
    assert text(lived, "drain", "DEMO")
    try:
        assert "no job of DEMO is claimed" in text(lived, "queue")
    finally:
        text(lived, "resume", "DEMO")
    assert text(lived, "freeze", "sample", "release day") == "sample: the repository is frozen\n"
    try:
        assert "release day" in text(lived, "queue")
    finally:
        assert text(lived, "unfreeze", "sample") == "sample: the repository is no longer frozen\n"
    assert "is claimed" not in text(lived, "queue") and "frozen" not in text(lived, "queue")


# ---- what goes on ----

def start_reader(instance, *arguments):
    env = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
    env["ORCH_CONFIG"] = str(instance.config)
    return subprocess.Popen([BIN / "orchctl", *arguments], env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def test_events_go_on_over_a_restart_of_ingress(make_instance):
    """Mutation: starting again from now on misses what happened meanwhile."""
    instance = make_instance().start()
    reader = start_reader(instance, "events", "--json", "--after", "0")
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(json.loads(line) for line in reader.stdout))
    thread.start()
    try:
        key = instance.new_issue(1)
        instance.wait_for(lambda: seen, 20, "the first event")
        instance.kill("ingress")
        instance.approve(key)
        instance.kill("ingress")
        instance.wait_stage(key, "done")
        instance.wait_for(lambda: any(event["event"] == "transition" and event["stage"] == "done"
                                      for event in seen), 20, "its last event")
        numbers = [event["seq"] for event in seen]
        assert numbers == list(range(1, len(numbers) + 1))
    finally:
        reader.kill()
        thread.join()
        reader.wait()


def test_tail_follows_a_task_to_its_end(make_instance):
    instance = make_instance(plan={"analyst": {"sleep_s": 1}}).start()
    key = instance.new_issue(1)
    instance.wait_for(instance.agents, 20, "an agent works")
    reader = start_reader(instance, "tail", key, "-f")
    try:
        instance.approve(key)
        instance.wait_stage(key, "done")
        out, errors = reader.communicate(timeout=30)
    finally:
        reader.kill()
    assert reader.returncode == 0 and not errors
    for words in (f"analyst worked on {key}", "success: tester is done"):
        assert words in out, out


def test_tail_shows_the_last_lines(lived):
    everything = text(lived, "tail", "scheduler", "-n", "100000").splitlines()
    assert len(everything) > 5
    assert text(lived, "tail", "scheduler", "-n", "3").splitlines() == everything[-3:]
    assert text(lived, "tail", "scheduler", "-n", "0") == ""
    path = lived.home / "log/scheduler/current"
    reader = start_reader(lived, "tail", "scheduler", "-f", "-n", "0")
    try:
        time.sleep(0.5)
        path.rename(path.with_name("moved"))
        path.write_text('{"ts":"2026-01-01T00:00:00.000Z","level":"info","event":"new","msg":"rotated"}\n')
        assert "rotated" in reader.stdout.readline()
    finally:
        reader.kill()
        reader.communicate()
        path.with_name("moved").rename(path)
