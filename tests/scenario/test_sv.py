"""Who knows runit finds their way: Debian's own sv on our tree, and runsvdir on the same sv/.

The commands are tried on both supervisors with the same expectations."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from harness import BIN, ROOT, SERVICES, alive
from supervisor_kit import SLEEP, make_tree, tree  # noqa: F401

pytestmark = pytest.mark.skipif(not shutil.which("sv") or not shutil.which("runsvdir"),
                                reason="sv and runsvdir (runit) are not installed")

BEGUN = 'echo "a begun" >>"$NOTES"\n'


class Ours:
    def __init__(self, tree):
        self.tree = tree
        tree.start()
        self.folder = tree.run_dir / "sv"

    def end(self):
        self.tree.stop()


class Runits:
    def __init__(self, tree):
        self.tree = tree
        self.folder = tree.sv
        self.process = subprocess.Popen(
            ["runsvdir", tree.sv], stderr=subprocess.DEVNULL,
            env=tree.environment({"ORCH_CONFIG": str(tree.config),
                                  "PATH": f"{BIN}:{os.environ['PATH']}"}))
        names = [path.name for path in tree.sv.iterdir() if path.is_dir()]
        try:
            for name in names:
                tree.wait_for(lambda: (tree.sv / name / "supervise/ok").exists(), 8,
                              f"{name} is seen")
        except AssertionError:
            self.end()
            raise

    def end(self):
        self.process.send_signal(signal.SIGHUP)  # TERM to every runsv
        self.process.wait(20)


@pytest.fixture(params=[Ours, Runits])
def supervised(tree, request):
    tree.service("a", BEGUN + SLEEP, "")
    tree.service("idle", SLEEP, "", down="")
    box = request.param(tree)
    yield box
    box.end()


def sv(box, *arguments, wait=5):
    done = subprocess.run(["sv", "-w", str(wait), *arguments], capture_output=True, text=True,
                          env={**os.environ, "SVDIR": str(box.folder)}, timeout=30, check=False)
    return done.returncode, done.stdout.strip()


def pid_of(box, name="a"):
    text = (box.folder / name / "supervise/pid").read_text().strip()
    return int(text) if text else 0


def wait_state(box, pattern, name="a"):
    box.tree.wait_for(lambda: re.match(pattern, sv(box, "status", name)[1]), 5, f"{name}: {pattern}")


def test_status(supervised):
    wait_state(supervised, r"run: a: \(pid \d+\) \d+s$")
    assert f"(pid {pid_of(supervised)})" in sv(supervised, "status", "a")[1]
    assert re.match(r"down: idle: \d+s$", sv(supervised, "status", "idle")[1])
    code, text = sv(supervised, "status", "nobody")
    assert code and "nobody" in text


def test_restart(supervised):
    wait_state(supervised, "run: a")
    pid = pid_of(supervised)
    time.sleep(1.1)  # sv compares seconds: what started within this one counts as restarted
    code, text = sv(supervised, "restart", "a")
    assert code == 0 and text.startswith("ok: run: a: (pid ")
    assert pid_of(supervised) not in (0, pid) and not alive(pid)


def test_down_and_up(supervised):
    wait_state(supervised, "run: a")
    pid = pid_of(supervised)
    code, text = sv(supervised, "down", "a")
    assert code == 0 and re.match(r"ok: down: a: \d+s, normally up", text), text
    assert not alive(pid) and pid_of(supervised) == 0
    time.sleep(0.5)
    assert sv(supervised, "status", "a")[1].startswith("down: a"), "it stays down"
    code, text = sv(supervised, "up", "a")
    assert code == 0 and text.startswith("ok: run: a")
    assert alive(pid_of(supervised))
    assert sv(supervised, "up", "idle")[0] == 0
    assert sv(supervised, "status", "idle")[1].endswith("normally down")


def test_once(supervised):
    """Started, and not again when it ends."""
    assert sv(supervised, "once", "idle")[0] == 0
    wait_state(supervised, r"run: idle: \(pid \d+\) \d+s, normally down, want down", "idle")
    os.kill(pid_of(supervised, "idle"), signal.SIGKILL)
    wait_state(supervised, "down: idle", "idle")
    time.sleep(0.3)
    assert pid_of(supervised, "idle") == 0


def test_term_starts_anew(supervised):
    wait_state(supervised, "run: a")
    pid = pid_of(supervised)
    assert sv(supervised, "term", "a")[0] == 0
    supervised.tree.wait_for(lambda: pid_of(supervised) not in (0, pid), 5, "another process")
    assert not alive(pid)


@pytest.mark.parametrize("kind", [Ours, Runits])
def test_term_can_be_handled_and_kill_can_not(tree, kind):
    """Mutation: the letters t and k exchanged."""
    tree.service("a", "trap 'echo \"a term\" >>\"$NOTES\"; exit' TERM\n" + BEGUN +
                 "while :; do sleep 0.05; done\n", "")
    box = kind(tree)
    try:
        for word, heard in (("term", 1), ("kill", 1), ("term", 2)):
            begun = tree.wait_for(lambda: tree.notes_of("a").count("begun"), 5, "it runs")
            assert sv(box, word, "a")[0] == 0
            tree.wait_for(lambda: tree.notes_of("a").count("begun") > begun, 5, "another process")
            assert tree.notes_of("a").count("term") == heard
    finally:
        box.end()


def test_kill_of_a_stopped_one(supervised):
    """What the reaper does to a hung service: k is heard where t is not."""
    wait_state(supervised, "run: a")
    pid = pid_of(supervised)
    os.kill(pid, signal.SIGSTOP)
    assert sv(supervised, "kill", "a")[0] == 0
    supervised.tree.wait_for(lambda: pid_of(supervised) not in (0, pid), 5, "another process")


def test_pause_and_continue(supervised):
    wait_state(supervised, "run: a")
    pid = pid_of(supervised)
    sv(supervised, "pause", "a")
    wait_state(supervised, r"run: a: \(pid \d+\) \d+s, paused")
    sv(supervised, "cont", "a")
    wait_state(supervised, r"run: a: \(pid \d+\) \d+s$")
    assert pid_of(supervised) == pid


@pytest.mark.parametrize("word", ["hup", "alarm", "interrupt", "quit", "1", "2"])
def test_signals_by_name(supervised, word):
    """Each ends a program that does not handle it; it is started again."""
    wait_state(supervised, "run: a")
    pid = pid_of(supervised)
    assert sv(supervised, word, "a")[0] == 0
    supervised.tree.wait_for(lambda: pid_of(supervised) not in (0, pid), 5, "another process")


def test_start_waits_for_check(supervised):
    """./check in the folder is readiness for sv."""
    checked = supervised.tree.sv / "a/check"
    supervised.tree.put(checked, '#!/bin/sh\n[ -e "$NOTES.good" ]\n', True)
    if isinstance(supervised, Ours):
        supervised.tree.process.send_signal(signal.SIGHUP)
        supervised.tree.wait_for(lambda: (supervised.folder / "a/check").exists(), 5, "check is there")
    os.environ["NOTES"] = str(supervised.tree.notes)
    try:
        code, text = sv(supervised, "start", "a", wait=1)
        assert code and text.startswith("timeout: run: a")
        (supervised.tree.dir / "notes.good").touch()
        assert sv(supervised, "start", "a")[0] == 0
    finally:
        del os.environ["NOTES"]


def test_stat_file(supervised):
    wait_state(supervised, "run: a")
    stat = supervised.folder / "a/supervise/stat"
    assert stat.read_text() == "run\n"
    sv(supervised, "down", "a")
    assert stat.read_text() == "down\n"


def test_asked_restarts_count_for_nothing(make_tree):
    """However often: no back-off, no label. Mutation: intensity counts every death."""
    tree = make_tree({"supervisor": {"intensity": 3, "backoff_ms": 2000,
                                     "backoff_max_ms": 2000}})
    tree.service("a", BEGUN + SLEEP, "")
    box = Ours(tree)
    begun = time.monotonic()
    for word in ["restart", "term", "kill", "hup", "interrupt", "restart", "restart"]:
        pid = pid_of(box)
        assert sv(box, word, "a")[0] == 0
        tree.wait_for(lambda: pid_of(box) not in (0, pid), 5, "another process")
    assert time.monotonic() - begun < 3
    tree.wait_for(lambda: tree.find("a")["restarts"] == 7, 2, "all are counted")
    service = tree.find("a")
    assert not service["failed"] and service["last_obituary"]["asked"]


def test_exit_is_taken_on_anew(tree):
    """sv exit: its runsv is gone, and runsvdir starts another within 5 s; so do we."""
    tree.service("a", SLEEP, "")
    box = Ours(tree)
    pid = pid_of(box)
    code, text = sv(box, "exit", "a")
    assert code == 0, text
    assert not alive(pid)
    tree.wait_for(lambda: tree.pid("a") not in (None, pid), 5, "it is taken on anew")
    wait_state(box, "run: a")


def test_an_unknown_letter_is_nothing(tree):
    tree.service("a", SLEEP, "")
    box = Ours(tree)
    pid = pid_of(box)
    with open(box.folder / "a/supervise/control", "w") as control:
        control.write("zZ!\n?" * 50)
    time.sleep(0.2)
    assert pid_of(box) == pid


def test_not_supervised_is_told(tree):
    """sv finds nobody behind ok once we are gone. Mutation: an inherited read end of ok."""
    tree.service("a", "setsid sleep 1000 &\n" + SLEEP, "")
    box = Ours(tree)
    box.end()
    code, text = sv(box, "status", "a")
    assert code and "runsv not running" in text


# ---- the seven ----

def seven(tree):
    shutil.copytree(ROOT / "sv", tree.sv, dirs_exist_ok=True, symlinks=True)
    tree.write_config({"http": {"listen": "127.0.0.1:0"}})


def ours(tree):
    """Programs of ours that live on."""
    found = []
    for pid in tree.processes():
        try:
            found += [pid] if "orch-" in os.readlink(f"/proc/{pid}/exe") else []
        except OSError:
            continue
    return found


@pytest.mark.parametrize("kind", [Ours, Runits])
def test_the_same_seven_services(tree, kind):
    """The tree in sv/ under both: without a readiness descriptor under runsvdir, every service answers
    its ping. Mutation: a path in any of sv/*/run."""
    seven(tree)
    box = kind(tree)
    try:
        for name in SERVICES:
            tree.wait_for(lambda: ping(tree, name), 10, f"{name} answers")
        if kind is Ours:
            assert all(os.readlink(box.folder / name / "run") == str(BIN / f"orch-{name}")
                       for name in SERVICES), "no shell on the way to any of them"
        for name in SERVICES:
            log = tree.home / f"log/{name}/current"
            tree.wait_for(lambda: log.exists() and '"event":"ready"' in log.read_text(), 5,
                          f"{name} says so where it is looked for")
        for name in ("runner", "scheduler"):
            pid = pid_of(box, name)
            assert sv(box, "restart", name)[0] == 0
            tree.wait_for(lambda: ping(tree, name) and pid_of(box, name) != pid, 10,
                          f"{name} answers again")
    finally:
        box.end()
    # runsvdir tells its runsvs and does not wait for them
    tree.wait_for(lambda: not ours(tree), 30, "nothing of it is left")


def ping(tree, name):
    done = subprocess.run(["nngcat", "--req", "--dial", f"ipc://{tree.run_dir}/{name}.ipc", "--raw",
                           "--recv-timeout", "1", "--data", '{"v":1,"kind":"ping","id":"x"}'],
                          capture_output=True, check=False)
    return b'"pong"' in done.stdout


def test_definitions_name_what_the_code_reads():
    """SIGHUP restarts whose sections changed: each section that a service's own code reads is in its
    service.yaml. Mutation: http taken out of sv/ingress/service.yaml."""
    import yaml
    keys = (ROOT / "lib/config_keys.def").read_text()
    sections = sorted(set(re.findall(r"^KEY\((\w+),", keys, re.MULTILINE)), key=len, reverse=True)
    top = set(re.findall(r"^TOP_KEY\((\w+),", keys, re.MULTILINE))
    for name in SERVICES:
        listed = yaml.safe_load((ROOT / f"sv/{name}/service.yaml").read_text())["config"]
        assert set(listed) <= {"", "projects", *sections}, name
        for path in (ROOT / "services" / name).glob("*.[ch]"):
            for field in re.findall(r"config->(\w+)", path.read_text()):
                section = "" if field in top else "projects" if field.startswith("project") else \
                    next((word for word in sections if field.startswith(f"{word}_")), None)
                assert section is None or section in listed, f"{name}: {section} ({path.name}: {field})"
