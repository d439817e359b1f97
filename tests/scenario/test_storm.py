"""The storm: kill -9 of whoever, whenever, while journeys run on; the invariants hold for each.

ORCH_STORM_ROUNDS (20) rounds from ORCH_STORM_SEED (1). A round is one kill and its recovery: at a
random moment of a random service or the supervisor, or at a named crash point. Keepers and agents are
spared there; the second storm takes them too, and then tasks may be blocked, with their reason."""

import json
import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

from harness import ROOT, SERVICES, alive
from invariants import check_all, check_commits, check_forge, check_jobs, check_runs

ROUNDS = int(os.environ.get("ORCH_STORM_ROUNDS", "20"))
SEED = int(os.environ.get("ORCH_STORM_SEED", "1"))
IN_FLIGHT = 3
POINT_WAIT_S = 15


def crash_points():
    text = (ROOT / "lib/crash_points.def").read_text()
    return re.findall(r'^CRASH_POINT\(\w+, "([\w-]+)", "(\w+):', text, re.MULTILINE)


class Journeys:
    """Always so many tasks on their way; approves as the person would. patient: one that is blocked is
    looked at and goes on."""

    def __init__(self, instance, patient=False):
        self.instance, self.next, self.live, self.done = instance, 1, [], []
        self.patient, self.blocked = patient, Counter()

    def step(self):
        for key in list(self.live):
            task = self.instance.task(key)
            if task.get("stage") == "done":
                self.live.remove(key)
                self.done.append(key)
            elif (task.get("parked") or {}).get("for") == "approval":
                self.instance.http("POST", f"/tasks/{key}/approve", {"actor": "ada"}, timeout=5)
            blocked = (task.get("blocked") or {}).get("reason")
            assert not blocked or self.patient, f"{key}: {blocked}\n{self.instance.story()}"
            if blocked:
                assert re.match(r"[a-z-]+: \S", blocked), f"{key} is blocked without a reason: {blocked}"
                self.blocked[blocked.split(":")[0]] += 1
                self.instance.http("POST", f"/tasks/{key}/retry", {"actor": "ada"}, timeout=5)

    def refill(self, wanted=IN_FLIGHT):
        while len(self.live) < wanted:
            # every fourth webhook is lost: the reconciler finds the issue
            self.live.append(self.instance.new_issue(self.next, announce=self.next % 4 != 0))
            self.next += 1


def runs_under_way(instance):
    """(agent, keeper) of each run whose keeper lives, started or not."""
    found = []
    for path in instance.home.glob("runs/*/agent.pid"):
        try:
            pids = json.loads(path.read_text())
        except (OSError, json.JSONDecodeError):
            continue
        if alive(pids["keeper_pid"]):
            found.append((pids["pid"], pids["keeper_pid"]))
    return found


def kill_below(instance, journeys, random_source):
    """The agent or the keeper of a run, at a random moment of it; what was killed."""
    kind = random_source.choice(["agent", "keeper"])
    end = time.monotonic() + POINT_WAIT_S
    while time.monotonic() < end:
        journeys.step()
        journeys.refill()
        runs = runs_under_way(instance)
        if runs:
            agent, keeper = random_source.choice(runs)
            time.sleep(random_source.random() * 0.3)
            try:
                os.kill(agent if kind == "agent" else keeper, signal.SIGKILL)
            except ProcessLookupError:
                continue
            return kind
        time.sleep(0.01)
    return "nothing"


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


def check_end(instance, key):
    """What holds whatever became of its agents on the way."""
    task = instance.task(key)
    check_jobs(task)
    check_runs(instance, task)
    check_forge(instance, task)
    check_commits(instance, task)
    comments = [comment["id"] for comment in instance.issue(key)["comments"]]
    assert len(comments) == len(set(comments)), f"{key}: said twice"
    lost = [run for run in task["runs"] if run["outcome"] == "lost"]
    attempts = Counter((run["job"], run["attempt"]) for run in task["runs"] if run["outcome"] == "lost")
    assert all(count <= 3 for count in attempts.values()), (key, attempts)
    return len(lost)


def left_over(instance):
    """Agents and keepers that live although nothing runs."""
    services = {instance.pid(name) for name in SERVICES + ["supervisor"]}
    return [pid for pid in instance._own_processes() if pid not in services]


def test_storm_below(make_instance):
    """Keepers and agents too. Mutations: PDEATHSIG left out (agents without a keeper), a lost run that
    counts as an attempt or is not swept (two agents in one workspace)."""
    source = random.Random(SEED)
    instance = make_instance(plan={role: {"sleep_s": 0.4} for role in (
        "analyst", "architect", "developer", "reviewer", "tester")}).start()
    journeys, hits = Journeys(instance, patient=True), Counter()
    for number in range(ROUNDS):
        journeys.refill()
        journeys.step()
        if number % 3 == 2:
            hits[kill_at_random(instance, source)] += 1
        else:
            hits[kill_below(instance, journeys, source)] += 1
        instance.wait_up()
        journeys.step()
    end = time.monotonic() + 240
    while journeys.live and time.monotonic() < end:
        journeys.step()
        time.sleep(0.05)
    assert not journeys.live, f"not done: {journeys.live}\n{instance.story()}"
    lost = sum(check_end(instance, key) for key in journeys.done)
    print(f"\nstorm below: seed {SEED}, {ROUNDS} rounds, {len(journeys.done)} journeys, {lost} lost runs,"
          f" blocked on the way: {dict(journeys.blocked)}")
    for name, count in sorted(hits.items()):
        print(f"  {name:28} {count}")
    assert hits["agent"] and hits["keeper"] and lost
    instance.wait_for(lambda: not left_over(instance), 20, "no agent is left without a keeper")
