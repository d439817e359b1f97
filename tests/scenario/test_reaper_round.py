"""The reaper alone: what it proposes of a run and a lease, and what it does with a hung service."""

import fcntl
import json
import os
import signal
import struct
import time

import pytest

from fake_peer import Bench, wait_for

F_OFD_SETLK = 37
QUICK = {"reaper": {"interval_s": 1, "ping_s": 1, "finalize_grace_s": 2, "max_running_s": 3600}}


@pytest.fixture
def bench():
    made = []

    def make(*arguments, **named):
        made.append(Bench(*arguments, **named))
        return made[-1]
    yield make
    for one in made:
        one.close()


def now_ms():
    return int(time.time() * 1000)


def running(*jobs, leases=()):
    return {"running": None, "running_get": {"kind": "running", "jobs": list(jobs),
                                             "leases": list(leases)}}


def job(number, run, since_ms=None):
    return {"job": number, "run": run, "kind": "agent", "task": number, "key": f"DEMO-{number}",
            "repo": "sample", "accepted": True, "since_ms": since_ms or now_ms()}


def make_run(bench, name, started=True, status=None):
    folder = bench.home / "runs" / name
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    if started:
        (folder / "started").touch()
    if status is not None:
        (folder / "status").write_text(json.dumps(status))
    return folder


def hold(path):
    """An open file description lock, as the keeper's."""
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
    return fd


def test_only_what_is_dead_or_ended_is_proposed(bench):
    bench = bench(keys=QUICK)
    jobs = [job(1, "dead"), job(2, "alive"), job(3, "preparing"), job(4, "ended"),
            job(5, "finishing"), job(6, "old", now_ms() - 3601_000), job(7, "unreadable"),
            job(8, "../dead"), job(9, "vanished")]
    make_run(bench, "dead")
    held = hold(make_run(bench, "alive") / "lock")
    (make_run(bench, "preparing", started=False) / "spec.json").write_text("{}")
    make_run(bench, "ended", status={"exit_code": 3, "ended_ms": now_ms() - 5000})
    make_run(bench, "finishing", status={"exit_code": 0, "ended_ms": now_ms() + 60_000})
    old = hold(make_run(bench, "old") / "lock")
    (make_run(bench, "unreadable") / "status").write_text("{half")
    bench.script({**running(*jobs), "reap": {"kind": "ack", "won": True}})
    bench.start("reaper")
    wait_for(lambda: {one["run"] for one in bench.heard("reap")} >= {"dead", "ended", "old"}, 10,
             f"three proposals: {bench.log()}")
    time.sleep(0.5)
    proposals = {one["run"]: one for one in bench.heard("reap")}
    assert proposals["dead"]["tier"] == 1 and proposals["dead"]["exit_code"] is None
    assert proposals["ended"]["tier"] == 2 and proposals["ended"]["exit_code"] == 3
    assert proposals["old"]["tier"] == 3
    # accepted, so its directory has been there: red when a run without one is waited for
    assert proposals["vanished"]["tier"] == 1
    # mutations: without `started`, preparing is here; a half status taken for none, unreadable is
    assert not {"alive", "preparing", "unreadable", "../dead"} & set(proposals)
    status = bench.ask("reaper")
    assert status["counters"]["won"] >= 3 and status["counters"]["cannot_tell"] >= 1
    os.close(held)
    os.close(old)


def test_the_probe_never_takes_the_lock(bench):
    """mutation: lock_take in place of lock_ask; a keeper that starts meanwhile is kept out"""
    bench = bench(keys={"reaper": {"interval_s": 1, "ping_s": 1}})
    folder = make_run(bench, "fresh", started=False)
    bench.script(running(job(1, "fresh")))
    bench.start("reaper")
    bench.wait_heard("running_get", 2)
    end = time.monotonic() + 2.2
    while time.monotonic() < end:
        os.close(hold(folder / "lock"))


def test_leases_without_a_right_are_reclaimed(bench):
    lease = {"task": 4, "key": "DEMO-4", "stage": "deploy", "terminal": False,
             "since_ms": now_ms(), "used_by_run": None, "wanted": False}
    bench = bench(keys=QUICK)
    bench.script({**running(leases=[
        {**lease, "repo": "ended", "terminal": True}, {**lease, "repo": "kept"},
        {**lease, "repo": "lost", "used_by_run": "nobody"},
        {**lease, "repo": "elsewhere", "stage": "development"}]),
        "lease_reclaim": {"kind": "ack", "won": True}})
    bench.start("reaper")
    wait_for(lambda: {one["repo"] for one in bench.heard("lease_reclaim")} ==
             {"ended", "lost", "elsewhere"}, 10, "three reclaims")


def test_off_ends_reaping_and_never_the_pings(bench):
    bench = bench(keys={"reaper": {**QUICK["reaper"], "enabled": False}})
    make_run(bench, "dead")
    bench.script(running(job(1, "dead")))
    service = Supervised(bench, "monitor")
    service.process.send_signal(signal.SIGSTOP)
    bench.start("reaper")
    service.wait_killed()
    assert bench.heard("running_get") == [] and bench.heard("reap") == []


class Supervised:
    """A service with a supervise/ folder in runit's format, and us as its supervisor."""

    def __init__(self, bench, name, age_s=60):
        self.bench, self.name = bench, name
        self.folder = bench.run_dir / "sv" / name / "supervise"
        self.folder.mkdir(parents=True)
        os.mkfifo(self.folder / "control")
        self.control = os.open(self.folder / "control", os.O_RDWR | os.O_NONBLOCK)
        self.process = bench.start(name)
        wait_for(lambda: bench.ask(name), 10, f"{name} answers")
        self.write(self.process.pid, 1, age_s)

    def write(self, pid, state, age_s=60):
        seconds = int(time.time()) - age_s + 4611686018427387914
        record = struct.pack(">QI", seconds, 0) + struct.pack("<I", pid) + bytes([0, ord("u"), 0,
                                                                                 state])
        beside = self.folder / "status.new"
        beside.write_bytes(record)
        beside.rename(self.folder / "status")

    def restart(self, age_s=60):
        """What a supervisor does on k."""
        self.process.kill()
        self.process.wait(10)
        self.process = self.bench.start(self.name)
        self.write(self.process.pid, 1, age_s)

    def letters(self):
        try:
            return os.read(self.control, 100)
        except BlockingIOError:
            return b""

    def wait_killed(self, seconds=15):
        seen = b""

        def look():
            nonlocal seen
            seen += self.letters()
            return b"k" in seen
        wait_for(look, seconds, f"a k for {self.name}: {self.bench.log()}")
        return seen


def test_a_hung_service_is_killed_by_way_of_its_supervisor_and_announced(bench):
    bench = bench(running(), keys=QUICK)
    service = Supervised(bench, "monitor")
    bench.start("reaper")
    wait_for(lambda: bench.ask("reaper") and bench.ask("reaper")["counters"]["pings"] > 1, 10,
             "pings")
    assert service.letters() == b""
    service.process.send_signal(signal.SIGSTOP)
    assert set(service.wait_killed()) == {ord("k")}
    alert = bench.wait_heard("service_alert")[0]
    assert alert["service"] == "monitor" and alert["fault"] == "hung"
    service.restart()
    wait_for(lambda: [one["fault"] for one in bench.heard("service_alert")][-1] == "recovered", 10,
             "it is said to answer again")


def test_pings_go_on_while_the_scheduler_hangs(bench):
    """mutation: pinging in the thread that waits for the scheduler"""
    bench = bench(running(), keys=QUICK)
    service = Supervised(bench, "monitor")
    bench.start("reaper")
    bench.wait_heard("running_get")
    bench.scheduler.send_signal(signal.SIGSTOP)
    service.process.send_signal(signal.SIGSTOP)
    service.wait_killed()
    bench.scheduler.send_signal(signal.SIGCONT)
    assert bench.wait_heard("service_alert", seconds=15)[0]["service"] == "monitor"


def test_what_is_down_or_starting_is_left_alone(bench):
    """mutation: liveness_may_ping always true"""
    bench = bench(running(), keys=QUICK)
    down = Supervised(bench, "monitor")
    down.process.send_signal(signal.SIGSTOP)
    down.write(0, 0)
    young = Supervised(bench, "notifier")
    young.process.send_signal(signal.SIGSTOP)
    bench.start("reaper")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        young.write(young.process.pid, 1, 0)
        time.sleep(0.2)
    assert down.letters() == b"" and young.letters() == b""


def test_the_reconciler_watches_the_reaper(bench):
    bench = bench(keys={**QUICK, "reconciler": {"interval_s": 60}})
    bench.script({"local_issues_get": {"kind": "local_issues", "issues": [], "more": False},
                  "tasks_get": {"kind": "tasks", "tasks": [], "more": False}, **running()})
    service = Supervised(bench, "reaper")
    bench.start("reconciler")
    bench.wait_heard("reconcile_done")
    service.process.send_signal(signal.SIGSTOP)
    service.wait_killed()
    assert bench.wait_heard("service_alert")[0]["service"] == "reaper"
