"""The storm: kill -9 of whoever, whenever, while journeys run on; the invariants hold for each.

ORCH_STORM_ROUNDS (20) rounds from ORCH_STORM_SEED (1). A round is one kill and its recovery: at a
random moment of a random service or the supervisor, or at a named crash point. Keepers and agents are
spared here."""

import os
import random
import re
import time
from collections import Counter
from pathlib import Path

from harness import ROOT, SERVICES
from invariants import check_all

ROUNDS = int(os.environ.get("ORCH_STORM_ROUNDS", "20"))
SEED = int(os.environ.get("ORCH_STORM_SEED", "1"))
IN_FLIGHT = 3
POINT_WAIT_S = 15


def crash_points():
    text = (ROOT / "lib/crash_points.def").read_text()
    return re.findall(r'^CRASH_POINT\(\w+, "([\w-]+)", "(\w+):', text, re.MULTILINE)


class Journeys:
    """Always so many tasks on their way; approves as the person would."""

    def __init__(self, instance):
        self.instance, self.next, self.live, self.done = instance, 1, [], []

    def step(self):
        for key in list(self.live):
            task = self.instance.task(key)
            if task.get("stage") == "done":
                self.live.remove(key)
                self.done.append(key)
            elif (task.get("parked") or {}).get("for") == "approval":
                self.instance.http("POST", f"/tasks/{key}/approve", {"actor": "ada"}, timeout=5)
            blocked = (task.get("blocked") or {}).get("reason")
            assert not blocked, f"{key}: {blocked}\n{self.instance.story()}"

    def refill(self, wanted=IN_FLIGHT):
        while len(self.live) < wanted:
            # every fourth webhook is lost: the reconciler finds the issue
            self.live.append(self.instance.new_issue(self.next, announce=self.next % 4 != 0))
            self.next += 1


def kill_at_random(instance, random_source):
    name = random_source.choice(SERVICES + ["supervisor"])
    time.sleep(random_source.random() * 0.6)
    instance.kill(name)
    if name == "supervisor":
        instance.start(wait=False)
    return name


def kill_at_point(instance, journeys, name):
    """True where the point was reached; the file is taken back where it was not."""
    path = Path(instance.crash_dir) / name
    path.touch()
    end = time.monotonic() + POINT_WAIT_S
    while path.exists() and time.monotonic() < end:
        journeys.step()
        journeys.refill()
        time.sleep(0.02)
    try:
        path.unlink()
    except FileNotFoundError:
        return True
    return False


def test_storm(make_instance):
    source = random.Random(SEED)
    instance = make_instance(plan={"reviewer": {"reject": 1}, "developer": {"sleep_s": 0.2}}).start()
    journeys, hits, missed = Journeys(instance), Counter(), Counter()
    points = [name for name, _ in crash_points()]
    source.shuffle(points)
    for number in range(ROUNDS):
        journeys.refill()
        journeys.step()
        if number % 2 == 0:
            hits[kill_at_random(instance, source)] += 1
        else:
            point = points[(number // 2) % len(points)]
            (hits if kill_at_point(instance, journeys, point) else missed)[point] += 1
        instance.wait_up()
        journeys.step()
    end = time.monotonic() + 180
    while journeys.live and time.monotonic() < end:
        journeys.step()
        time.sleep(0.05)
    print(f"\nstorm: seed {SEED}, {ROUNDS} rounds, {len(journeys.done)} journeys")
    for name, count in sorted(hits.items()):
        print(f"  {name:28} {count}")
    for name, count in sorted(missed.items()):
        print(f"  {name:28} not reached {count} times")
    assert not journeys.live, f"not done: {journeys.live}\n{instance.story()}"
    for key in journeys.done:
        check_all(instance, key, rejections=1)
