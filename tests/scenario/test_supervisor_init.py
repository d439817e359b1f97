"""As PID 1 of a container: everything ends with it, within one budget."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from supervisor_kit import READY, SLEEP, make_tree, note, tree  # noqa: F401

UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def why_not():
    if not shutil.which("unshare"):
        return "unshare (util-linux) is not installed"
    done = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no PID namespace here: {why_not()}")


class Container:
    """The tree with its supervisor as PID 1. Signals go to the supervisor, seen from outside."""

    def __init__(self, tree):
        self.tree = tree

    def start(self):
        self.tree.start(prefix=UNSHARE)
        children = f"/proc/{self.tree.process.pid}/task/{self.tree.process.pid}/children"
        self.pid = int(open(children).read())
        assert self.tree.state()["pid"] == 1
        return self

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self, seconds=20):
        begun = time.monotonic()
        self.signal(signal.SIGTERM)
        code = self.tree.process.wait(seconds)
        return code, time.monotonic() - begun

    def output(self):
        return (self.tree.dir / "output").read_text()


def test_ends_cleanly(tree):
    tree.service("a")
    tree.service("b", yaml="after: [a]\nnotification-fd: 3\n")
    box = Container(tree).start()
    code, took = box.stop()
    assert code == 0 and took < 2


def test_services_know(tree):
    """The runner ends its agents where the container ends: ORCH_PID1."""
    tree.service("a", 'echo "a $ORCH_PID1" >>"$NOTES"\n' + READY + SLEEP)
    Container(tree).start()
    assert tree.notes_of("a") == ["1"]


def test_output_is_copied_to_stdout(tree):
    """docker logs shows every service and the supervisor; the files are there as well."""
    tree.service("a", "echo hello\n" + READY + SLEEP)
    box = Container(tree).start()
    tree.wait_for(lambda: '"service":"a","event":"stderr","msg":"hello"' in box.output(), 5, "a's line")
    assert '"service":"supervisor"' in box.output()
    box.stop()
    assert '"event":"stopped"' in box.output()
    assert tree.log("a")[0]["msg"] == "hello"


def test_a_stdout_that_nobody_reads_stops_nothing(tree):
    """Lines are dropped and counted. Mutation: a blocking write."""
    tree.service("a", "seq 1 30000\necho \"a done\" >>\"$NOTES\"\n" + READY + SLEEP)
    reader, writer = os.pipe()
    process = subprocess.Popen([*UNSHARE, tree.program, "run", "-c", tree.config, "--sv", tree.sv],
                               stdout=writer, stderr=subprocess.DEVNULL, env=tree.environment())
    tree.started.append(process)
    os.close(writer)
    tree.wait_for(lambda: tree.notes_of("a"), 20, "the service is not held up")
    tree.wait_for(lambda: tree.log("a") and tree.log("a")[-1]["msg"] == "30000", 20, "its log is whole")
    init = int(open(f"/proc/{process.pid}/task/{process.pid}/children").read())
    os.set_blocking(reader, False)
    text = b""

    def told():
        nonlocal text
        os.kill(init, signal.SIGHUP)  # says something
        try:
            text += os.read(reader, 1 << 20)
        except BlockingIOError:
            pass
        return b"lines dropped" in text
    tree.wait_for(told, 10, "the loss is told", pause=0.05)
    os.close(reader)


def test_orphans_are_reaped(tree):
    """Double forks end as children of PID 1."""
    tree.service("a", "for n in 1 2 3; do (sleep 0.$n & ) ; done\n" + READY + SLEEP)
    Container(tree).start()
    tree.wait_for(lambda: tree.state()["orphans_reaped"] >= 3, 5, "they are reaped")


def test_the_budget(make_tree):
    """Three deaf services in a row and a deaf agent: each would take its 10 s, all of it takes 3.
    Mutation: policy_stop_allowance() without the budget."""
    tree = make_tree({"supervisor": {"stop_budget_s": 3}})
    deaf = "trap '' TERM\n" + READY + "while :; do sleep 1; done\n"
    last = "a"
    tree.service("a", "(trap '' TERM; exec setsid sleep 1000) &\n" + deaf,
                 "notification-fd: 3\nshutdown-timeout-s: 10\n")
    for name in "bc":
        tree.service(name, deaf, f"notification-fd: 3\nshutdown-timeout-s: 10\nafter: [{last}]\n")
        last = name
    box = Container(tree).start()
    code, took = box.stop()
    assert code == 1 and took < 3.5, took


def test_what_is_left_is_ended_gracefully(tree):
    """An agent that nobody ended gets SIGTERM and a moment. Mutation: SIGKILL at once."""
    agent = (f"trap 'sleep 0.2; {note('agent', 'end').strip()}; exit' TERM\n"
             f"{note('agent', 'start')}while :; do sleep 0.1; done\n")
    (tree.dir / "agent").write_text(f"#!/bin/sh\n{agent}")
    (tree.dir / "agent").chmod(0o755)
    tree.service("a", f"setsid {tree.dir}/agent &\n" + READY + SLEEP)
    box = Container(tree).start()
    tree.wait_for(lambda: tree.notes_of("agent"), 5, "the agent runs")
    code, took = box.stop()
    assert [line.split()[0] for line in tree.notes_of("agent")] == ["start", "end"]
    assert took < 6


def test_signals_are_forwarded_to_those_who_handle_them(tree):
    """Mutation: forwarded to everybody: b dies of it."""
    tree.service("a", "trap 'echo \"a heard\" >>\"$NOTES\"' USR1\n" + READY +
                 "while :; do sleep 0.1; done\n")
    tree.service("b")
    box = Container(tree).start()
    pid = tree.pid("b")
    box.signal(signal.SIGUSR1)
    tree.wait_for(lambda: tree.notes_of("a") == ["heard"], 5, "a heard it")
    assert tree.pid("b") == pid and tree.find("b")["restarts"] == 0


def test_reload_and_upgrade_work_there(tree):
    tree.service("a")
    box = Container(tree).start()
    pid = tree.pid("a")
    box.signal(signal.SIGUSR2)
    tree.wait_for(lambda: tree.state()["upgrades"] == 1, 5, "it is upgraded")
    tree.service("b")
    box.signal(signal.SIGHUP)
    tree.wait_ready("b")
    assert tree.pid("a") == pid
    assert box.stop()[0] == 0
