"""The whole home on a small disk of its own that becomes full, or read-only, at any moment of the journeys:
503, nothing acknowledged is lost, no half file is read, and all goes on by itself.

Rounds: ORCH_DISK_ROUNDS (6) from ORCH_DISK_SEED."""

import json
import os
import random
import signal
import time

import pytest

from disk_kit import SmallDisk, require_mounts
from harness import Instance
from invariants import check_all, check_end
from journeys import Journeys, runs_under_way

DISK_KB = 64 * 1024
ROUNDS = int(os.environ.get("ORCH_DISK_ROUNDS", "6"))
SEED = int(os.environ.get("ORCH_DISK_SEED", "1"))


class SmallHome(Instance):
    def __init__(self, plan):
        super().__init__(plan=plan)
        self.disk = SmallDisk(self.home, DISK_KB)
        self.prefix = self.disk.prefix
        self.home = self.disk.outside
        self.repo = self.home / "forge/sample.git"

    def close(self, keep=False):
        super().close(keep)
        self.disk.close()


@pytest.fixture
def small_home(request):
    require_mounts()
    made = []

    def make(**plan):
        made.append(SmallHome(plan))
        return made[-1]
    yield make
    for instance in made:
        instance.close(keep=getattr(request.node, "failed", False))


class Sender:
    """Comments on an issue that nobody works on; what was acknowledged has to be there in the end."""

    def __init__(self, instance):
        self.instance, self.number, self.kept, self.refused = instance, 0, [], 0
        self.key = instance.new_issue(900, status="Backlog")

    def send(self):
        self.number += 1
        word = f"word {self.number}"
        status, _ = self.instance.http("POST", "/webhook/local", {
            "delivery": word, "kind": "comment", "issue": self.key, "actor": "ada", "body": word},
            timeout=5)
        assert status in (0, 202, 503), status
        if status == 202:
            self.kept.append(word)
        self.refused += status == 503

    def check(self):
        self.instance.wait_for(lambda: self.missing() == [], 30, "all that was acknowledged is there")
        bodies = [comment["body"] for comment in self.instance.issue(self.key)["comments"]]
        assert len(bodies) == len(set(bodies)), "acted on twice"

    def missing(self):
        bodies = {comment["body"] for comment in self.instance.issue(self.key)["comments"]}
        return [word for word in self.kept if word not in bodies]


def all_json_is_whole(instance):
    """Files that appear by rename."""
    for path in instance.home.glob("runs/*/*"):
        if path.name in ("spec.json", "launch.json", "status", "result.json", "agent.pid"):
            json.loads(path.read_text())


# Red when an event is answered 202 before its commit, or a file is written in place.
def test_full_at_any_moment(small_home):
    source = random.Random(SEED)
    instance = small_home(developer={"sleep_s": 0.3}).start()
    sender, journeys = Sender(instance), Journeys(instance, patient=True)
    for _ in range(ROUNDS):
        instance.wait_up(60)
        journeys.refill(2)
        journeys.step()
        time.sleep(source.random() * 0.8)
        instance.disk.fill()
        end = time.monotonic() + 1 + source.random()
        while time.monotonic() < end:
            sender.send()
            time.sleep(0.02)
        instance.disk.free()
        all_json_is_whole(instance)
        sender.send()
    journeys.run_out(180)
    sender.check()
    assert sender.kept
    for key in journeys.done:
        check_end(instance, key)
    print(f"\ndisk full: {ROUNDS} rounds, {len(journeys.done)} journeys, {len(sender.kept)} events kept,"
          f" {sender.refused} refused with 503, blocked on the way: {dict(journeys.blocked)}")


# Red when somebody who cannot write ends for good instead of waiting.
def test_read_only_at_any_moment(small_home):
    source = random.Random(SEED)
    instance = small_home(developer={"sleep_s": 0.3}).start()
    sender, journeys = Sender(instance), Journeys(instance, patient=True)
    for _ in range(max(ROUNDS // 2, 2)):
        instance.wait_up(60)
        journeys.refill(2)
        journeys.step()
        time.sleep(source.random() * 1.5)
        # a disk that somebody writes to cannot be made read-only: all end first, by power cut so to say
        instance.kill("supervisor")
        for pids in runs_under_way(instance):
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        end = time.monotonic() + 10
        remount = ["mount", "-o", "remount,ro", instance.disk.folder]
        while instance.disk.run(*remount, check=False).returncode:
            assert time.monotonic() < end, "somebody still writes"
            time.sleep(0.05)
        instance.start(wait=False)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            sender.send()
            time.sleep(0.05)
        assert instance.process.poll() is None, "the supervisor waits with the others"
        instance.disk.run("mount", "-o", "remount,rw", instance.disk.folder)
        all_json_is_whole(instance)
        instance.wait_up(60)
        sender.send()
    instance.wait_up(60)
    journeys.run_out(180)
    sender.check()
    assert sender.kept
    for key in journeys.done:
        check_end(instance, key)
    print(f"\ndisk read-only: {len(journeys.done)} journeys, {len(sender.kept)} events kept,"
          f" {sender.refused} refused, blocked on the way: {dict(journeys.blocked)}")


# Red when the claim does not ask how much is free.
def test_below_the_low_water_mark_nothing_is_claimed_and_it_is_said(small_home):
    instance = small_home()
    config = json.loads(instance.config.read_text())
    config["disk"]["low_water_mb"] = 20
    instance.config.write_text(json.dumps(config))
    instance.disk.run("dd", "if=/dev/zero", f"of={instance.disk.folder}/filler.0", "bs=1M", "count=50")
    instance.start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: [job for job in instance.http("GET", "/queue")[1]["queued"]
                               if job["reason"] and job["reason"].startswith("disk")], 30,
                      "the job says that it waits for the disk")
    assert instance.agents() == {} and instance.starts() == []
    instance.disk.free()
    instance.approve(key, 60)
    instance.wait_stage(key, "done", 60)
    check_all(instance, key)
