"""A database that cannot be written: nothing is acknowledged that was not written, everybody says so, and
it goes on by itself."""

import subprocess

import pytest

from disk_kit import SmallDisk, require_mounts
from harness import Instance
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


class SmallDatabase(Instance):
    """home/db lies on a disk of its own."""

    def __init__(self, plan):
        super().__init__(plan=plan)
        (self.home / "db").mkdir()
        self.disk = SmallDisk(self.home / "db", DISK_KB)
        self.prefix = self.disk.prefix

    def fill_disk(self):
        """Room that SQLite has in its log stays unused: with somebody who reads, it is not begun anew."""
        self.reader = subprocess.Popen(
            [*self.prefix, "/usr/bin/python3", "-c", READER, self.home / "db/main.db"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.reader.stdout.readline() == b"reads\n"
        self.disk.fill()

    def free_disk(self):
        self.reader.communicate(timeout=20)
        self.disk.free()

    def close(self, keep=False):
        super().close(keep)
        self.disk.close()


@pytest.fixture
def small_disk(request):
    require_mounts()
    instance = SmallDatabase({"developer": {"until": "full"}})
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
    (instance.agent_dir / "full").touch()
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
