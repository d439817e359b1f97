"""Upgrade in place (SIGUSR2): the new program takes over every child, or the old one goes on."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from harness import BIN, alive
from supervisor_kit import READY, SLEEP, make_tree, tree  # noqa: F401


@pytest.fixture
def own(tree):
    """A tree whose supervisor is a file of its own, that can be replaced."""
    (tree.dir / "bin").mkdir()
    tree.program = tree.dir / "bin/orchestrator"
    shutil.copy(BIN / "orchestrator", tree.program)
    return tree


def replace(tree, text=None):
    """By rename, as an installation does; a script where text is given, else a good program."""
    beside = tree.dir / "bin/new"
    if text is None:
        shutil.copy(BIN / "orchestrator", beside)
        with open(beside, "ab") as file:
            file.write(b"another")  # behind everything that is loaded
    else:
        beside.write_text(text)
        beside.chmod(0o755)
    beside.rename(tree.program)


def upgrade(tree):
    count = tree.state()["upgrades"]
    tree.process.send_signal(signal.SIGUSR2)
    tree.wait_for(lambda: tree.state()["upgrades"] == count + 1, 5, "it is upgraded")


def refused(tree, seconds=5):
    count = tree.state()["upgrades_refused"]
    tree.process.send_signal(signal.SIGUSR2)
    tree.wait_for(lambda: tree.state()["upgrades_refused"] == count + 1, seconds, "it is refused")
    return tree.state()["upgrade_error"]


def test_every_child_is_kept(own):
    """Mutation: close-on-exec left on any descriptor of handover.def."""
    own.service("a")
    own.service("b", "echo \"begun $$\" >>\"$NOTES\"\n" + READY + SLEEP, "notification-fd: 3\nafter: [a]\n")
    own.start()
    own.kill("a")
    own.wait_for(lambda: own.find("a").get("restarts") == 1 and own.find("a")["ready"], 5, "a is back")
    before = own.state()
    replace(own)
    upgrade(own)
    after = own.state()
    assert os.readlink(f"/proc/{own.process.pid}/exe") == str(own.program)
    assert after["pid"] == before["pid"] and after["started_at"] == before["started_at"]
    keep = ("name", "pid", "state", "restarts", "started_at", "ready_at", "last_obituary")
    assert [[service[key] for key in keep] for service in after["services"]] == \
        [[service[key] for key in keep] for service in before["services"]]
    assert own.notes_of("begun") == [str(own.pid("b"))]
    # and they are its children in every respect: doors, deaths, order of stop
    sv = {**os.environ, "SVDIR": str(own.run_dir / "sv")}
    done = subprocess.run(["sv", "status", "a", "b"], env=sv, capture_output=True, text=True)
    assert done.returncode == 0 and f"(pid {own.pid('b')})" in done.stdout
    pid = own.kill("b")
    own.wait_ready("b", other_than=pid)
    assert own.stop() == 0
    own.wait_for(lambda: not list(own.processes()), 2, "nobody is left")


def test_many_times(own):
    """The same children, the same descriptors, after twenty upgrades in a row."""
    own.service("a")
    own.start()
    upgrade(own)
    fds, pid = len(os.listdir(f"/proc/{own.process.pid}/fd")), own.pid("a")
    for _ in range(20):
        upgrade(own)
    assert len(os.listdir(f"/proc/{own.process.pid}/fd")) == fds
    assert own.pid("a") == pid
    own.kill("a")
    own.wait_ready("a", other_than=pid)
    assert b"ORCH_STATE" not in open(f"/proc/{own.pid('a')}/environ", "rb").read()


def test_still_one_copy_after_it(own):
    """PDEATHSIG outlives the exec of the parent; so does the lock."""
    own.service("a")
    own.start()
    upgrade(own)
    pid, first = own.pid("a"), own.process
    assert own.start(wait=False).process.wait(10) == 111
    first.kill()
    first.wait()
    own.wait_for(lambda: not alive(pid), 5, "it dies with its supervisor")


def test_what_is_said_meanwhile_is_kept(own):
    """Lines, and the half of one, that are in the pipe or with the old program."""
    own.service("a", READY + """
    n=0
    while [ $n -lt 3000 ]; do n=$((n + 1)); printf "line "; echo $n; done
    """ + SLEEP)
    own.start()
    own.wait_for(lambda: own.log("a"), 5, "it speaks")
    for _ in range(5):
        upgrade(own)
    own.wait_for(lambda: own.log("a") and own.log("a")[-1]["msg"] == "line 3000", 10, "all is said")
    assert [line["msg"] for line in own.log("a")] == [f"line {n}" for n in range(1, 3001)]


def test_a_death_in_between_is_seen(own):
    """Killed while the new program is being tried, or replaces us."""
    own.service("a")
    own.start()
    for delay in (0, 0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.01):
        pid, count = own.pid("a"), own.state()["upgrades"]
        own.process.send_signal(signal.SIGUSR2)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        own.wait_for(lambda: own.state()["upgrades"] == count + 1, 5, "it is upgraded")
        own.wait_ready("a", other_than=pid)


def test_a_death_told_by_the_same_signal(own):
    """The check and a service end while the supervisor stands still: one SIGCHLD for both, the check is
    reaped first, and the old program is gone before it comes to the other. Mutation: no reap before the
    loop of the new one."""
    own.service("a")
    own.start()
    replace(own, f'#!/bin/sh\n[ "$1" != --check ] || sleep 0.5\nexec {BIN}/orchestrator "$@"\n')
    own.process.send_signal(signal.SIGUSR2)
    own.wait_said("upgrade", "--check")
    pid = own.kill("a")  # the next one is younger than the check: reaped after it
    pid = own.wait_ready("a", other_than=pid)
    own.process.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    time.sleep(1)
    own.process.send_signal(signal.SIGCONT)
    own.wait_for(lambda: own.state()["upgrades"] == 1, 5, "it is upgraded")
    own.wait_ready("a", other_than=pid)


def test_a_start_under_way_goes_on(own):
    """The readiness of one that was starting reaches the new program; who waits for it goes on."""
    own.service("slow", "sleep 1\n" + READY + SLEEP)
    own.service("b", yaml="after: [slow]\nnotification-fd: 3\n")
    own.start(wait=False)
    own.wait_for(lambda: own.find("slow").get("state") == "starting", 5, "it starts")
    pid = own.pid("slow")
    upgrade(own)
    assert own.wait_ready("slow") == pid
    own.wait_ready("b")


def test_back_off_goes_on(own):
    own.write_config({"supervisor": {"backoff_ms": 2000, "backoff_max_ms": 2000}})
    own.service("a", "echo \"a start\" >>\"$NOTES\"\nexit 1\n", "")
    own.start(wait=False)
    own.wait_for(lambda: own.find("a").get("state") == "backoff", 5, "it backs off")
    begun = time.monotonic()
    upgrade(own)
    assert own.find("a")["state"] == "backoff"
    own.wait_for(lambda: len(own.notes_of("a")) == 3, 5, "the next start")
    assert time.monotonic() - begun > 1


def test_new_definitions_are_taken(own):
    own.service("a")
    own.service("gone")
    own.start()
    pid = own.pid("a")
    shutil.rmtree(own.sv / "gone")
    own.service("new")
    upgrade(own)
    own.wait_ready("new")
    own.wait_for(lambda: not own.find("gone"), 5, "gone is stopped and forgotten")
    assert own.pid("a") == pid


BROKEN = {
    "does not start": ("#!/bin/sh\necho 'libmissing.so: cannot open' >&2\nexit 127\n", "libmissing.so"),
    "another program": ("#!/bin/sh\nexit 0\n", "did not say that it takes over"),
    "another state": ("#!/bin/sh\necho takes over state 999\n", "did not say that it takes over"),
    "no program": ("words\n", "exec"),
    "killed": ("#!/bin/sh\nkill -9 $$\n", "died of a signal"),
    "empty": ("", "exec"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_program_is_refused(own, kind):
    """The old one goes on, and says so in its log and in supervisor.json. Mutation: no --check."""
    text, word = BROKEN[kind]
    own.service("a")
    own.start()
    pid = own.pid("a")
    replace(own, text)
    assert word in refused(own)
    assert own.said("upgrade", "the old program goes on")
    assert own.process.poll() is None and own.pid("a") == pid
    os.kill(pid, signal.SIGKILL)  # and it does its work
    own.wait_ready("a", other_than=pid)
    replace(own)
    upgrade(own)
    assert own.state()["upgrade_error"] == ""


def test_a_missing_program_is_refused(own):
    own.service("a")
    own.start()
    own.program.unlink()
    assert "exec: No such file" in refused(own)


def test_one_that_rejects_what_is_there_is_refused(own):
    """The new program could not start with this configuration or sv/: it would end everything."""
    own.service("a")
    own.start()
    pid = own.pid("a")
    good = own.config.read_text()
    own.config.write_text("bogus: 1\n")
    assert "bogus" in refused(own) or "home" in own.state()["upgrade_error"]
    own.config.write_text(good)
    own.service("b", yaml="bogus: 1\n")
    assert "bogus: unknown key" in refused(own)
    assert own.pid("a") == pid


def test_one_that_hangs_is_refused(own):
    """After ten seconds; meanwhile everything else goes on. Mutation: waiting for it."""
    own.service("a")
    own.start()
    pid = own.pid("a")
    replace(own, "#!/bin/sh\nexec sleep 1000\n")
    count = own.state()["upgrades_refused"]
    own.process.send_signal(signal.SIGUSR2)
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    own.wait_ready("a", other_than=pid, seconds=2)
    own.wait_for(lambda: own.state()["upgrades_refused"] == count + 1, 15, "it is refused")
    assert "no answer within 10 s" in own.state()["upgrade_error"]
    assert len(list(own.processes())) == 2, "the hanging check is gone"


def orchctl(tree, *arguments):
    return subprocess.run([BIN / "orchctl", "-c", tree.config, *arguments], capture_output=True,
                          text=True, timeout=60, env=tree.environment())


def test_orchctl_upgrade_and_restart(own):
    """Supervisor first, then each service, one by one; each answers before the next."""
    for name in ("monitor", "reaper"):
        own.service(name, f"exec orch-{name}\n")
    for name in ("orch-monitor", "orch-reaper"):
        shutil.copy(BIN / name, own.dir / "bin" / name)
    own.start()
    before = {name: own.pid(name) for name in ("monitor", "reaper")}
    done = orchctl(own, "restart", "monitor")
    assert done.returncode == 0, done.stderr
    assert f"(pid {before['monitor']} → {own.pid('monitor')})" in done.stdout
    assert own.pid("reaper") == before["reaper"]
    before["monitor"] = own.pid("monitor")
    done = orchctl(own, "upgrade")
    assert done.returncode == 0, done.stderr
    assert f"supervisor upgraded (pid {own.process.pid})" in done.stdout
    assert own.state()["upgrades"] == 1
    for name, pid in before.items():
        assert f"(pid {pid} → {own.pid(name)})" in done.stdout
        assert own.find(name)["last_obituary"]["asked"]
    replace(own, "#!/bin/sh\nexit 3\n")
    before = own.pid("monitor")
    done = orchctl(own, "upgrade")
    assert done.returncode == 1
    assert "the supervisor goes on with the old program" in done.stderr and "exit 3" in done.stderr
    assert own.pid("monitor") == before
