"""A database that cannot be written: nothing is acknowledged that was not written, everybody says so, and
it goes on by itself. The disk is a small tmpfs in a mount namespace of the instance's own; without the
right to make one the test is skipped."""

import os
import subprocess
from pathlib import Path

import pytest

from harness import BIN, ROOT, Instance
from invariants import check_all

DISK_KB = 8192

READER = """
import sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
db.execute("BEGIN")
db.execute("SELECT count(*) FROM meta").fetchone()
print("reads", flush=True)
sys.stdin.read()
"""


def may_mount():
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"],
                           capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else tried.stderr.strip() or "unshare -m failed"


class SmallDisk(Instance):
    """home/db lies on a disk of its own, seen by the instance alone."""

    def start(self, wait=True, environment=None):
        (self.home / "db").mkdir(exist_ok=True)
        env = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
        script = (f'mount -t tmpfs -o size={DISK_KB}k none "$0/db" && exec "$1" run -c "$2" --sv "$3"')
        with open(self.dir / "supervisor.log", "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", script, self.home, BIN / "orchestrator", self.config,
                 ROOT / "sv"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**env, "ORCH_CRASH_DIR": str(self.crash_dir)}, start_new_session=True)
        self.supervisors.append(self.process)
        if wait:
            self.wait_up()
        return self

    @property
    def filler(self):
        return Path(f"/proc/{self.process.pid}/root{self.home}/db/filler")

    def fill_disk(self):
        """Room that SQLite has in its log stays unused: with somebody who reads, it is not begun anew."""
        self.reader = subprocess.Popen(
            ["nsenter", "-t", str(self.process.pid), "--mount", "--root", "/usr/bin/python3", "-c", READER,
             self.home / "db/main.db"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.reader.stdout.readline() == b"reads\n"
        with open(self.filler, "wb", buffering=0) as file:
            for size in (65536, 4096, 512, 1):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError:
                    continue

    def free_disk(self):
        self.reader.communicate(timeout=20)
        self.filler.unlink()


@pytest.fixture
def small_disk(request):
    reason = may_mount()
    if reason:
        pytest.skip(f"no mount namespace of our own: {reason}")
    instance = SmallDisk(plan={"developer": {"sleep_s": 2}})
    yield instance
    instance.close(keep=getattr(request.node, "failed", False))


def scheduler_of(instance):
    _, page = instance.http("GET", "/health", token=False)
    for service in (page or {}).get("services", []):
        if service["name"] == "scheduler":
            return service
    return {}


def test_a_full_disk(small_disk):
    """Mutations: a turn acknowledged although its commit failed loses the developer's result; without
    the pause being said, /health stays 200."""
    instance = small_disk.start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    instance.wait_for(lambda: instance.stage(key) == "development" and instance.agents(), 60,
                      "the developer runs")
    instance.fill_disk()
    # its result cannot be written: the scheduler pauses, and says what it waits for
    instance.wait_for(lambda: scheduler_of(instance).get("state") == "degraded", 60, "it says so")
    said = scheduler_of(instance)
    assert said["doing"] == "waiting until main.db can be written", said
    assert said["last_error"], said
    status, page = instance.http("GET", "/health", token=False)
    assert status == 503 and page["status"] == "unavailable", page
    assert any("main.db" in reason for reason in page["reasons"]), page["reasons"]
    # and ingress takes nothing that it cannot keep
    status, _ = instance.http("POST", "/webhook/local", {
        "delivery": "refused", "kind": "issue", "issue": "DEMO-2", "title": "Too much",
        "body": "x" * 200000, "status": "To Analyse", "actor": "ada"})
    assert status == 503
    pid = instance.pid("scheduler")
    instance.free_disk()
    instance.wait_up(60)
    instance.wait_stage(key, "done", 120)
    assert instance.pid("scheduler") == pid, "it went on by itself, nobody restarted it"
    check_all(instance, key)
    assert instance.http("GET", "/tasks/DEMO-2")[0] == 404, "what was refused was not kept"
    other = instance.new_issue(2)
    instance.approve(other, 60)
    instance.wait_stage(other, "done", 120)
    check_all(instance, other)
