"""The storm over the whole pipeline: every way that a task can go, every process killed at random and at
every named crash point; the invariants hold for each task.

ORCH_STORM_ROUNDS (20) rounds from ORCH_STORM_SEED (1), as in test_storm.py. With 500 rounds each point is hit
at least five times, which is asserted; the table is printed.

Mutations, each red with 60 rounds: a comment's external id left out (said twice); a run that is `started` and
has no status begun once more (two agents); the clean-up that takes a branch that is gone for a task that is
cleaned up (a workspace is left)."""

import json
import os
import random
import time
from collections import Counter
from pathlib import Path

from harness import SERVICES, git
from invariants import (check_comments, check_commits, check_deploys, check_jobs, check_runs,
                        check_transitions, dropped_starts)
from people import People
from test_ci import hang_ci
from test_storm import POINT_WAIT_S, crash_points, kill_at_random, left_over
from journeys import runs_under_way

ROUNDS = int(os.environ.get("ORCH_STORM_ROUNDS", "20"))
SEED = int(os.environ.get("ORCH_STORM_SEED", "1"))
ENOUGH = 500  # rounds from which on every point must have been hit so often:
HITS_MIN = 5
REJECTIONS = 1


def kill_below(instance, source):
    """An agent or a keeper at work now, if there is one."""
    runs = runs_under_way(instance)
    if not runs:
        return None
    agent, keeper = source.choice(runs)
    kind = source.choice(["agent", "keeper"])
    try:
        os.kill(agent if kind == "agent" else keeper, 9)
    except ProcessLookupError:
        return None
    return kind


def kill_at_point(instance, people, name):
    path = Path(instance.crash_dir) / name
    path.touch()
    end = time.monotonic() + POINT_WAIT_S
    while path.exists() and time.monotonic() < end:
        if name.startswith("cleanup-"):
            people.hurry_a_stop()
        people.step()
        time.sleep(0.02)
    try:
        path.unlink()
    except FileNotFoundError:
        return True
    print(f"{name} not reached in {POINT_WAIT_S} s: {people.state()}")
    return False


def rejections_of(task):
    """A reviewer that was lost after its rejection approves when it is asked again."""
    lost = any(run["outcome"] == "lost" and run["role"] == "reviewer" for run in task["runs"])
    seen = [transition["to"] for transition in task["transitions"]].count("development") - 1
    return seen if lost and seen < REJECTIONS else REJECTIONS


def check_done(instance, key, task, way):
    """What everybody saw is what a run without faults shows."""
    rejections = rejections_of(task)
    check_commits(instance, task)
    check_transitions(task, rejections)
    # the use of a label is announced beside the transitions; the deployer asked for a confirmation
    check_comments(instance.issue(key), task, rejections, dropped_starts(instance, key),
                   beside=1 if way == "labels" else 0)
    asked = [comment for comment in instance.issue(key)["comments"]
             if comment["author"] == "deployer" and "Ready to deploy" in comment["body"]]
    assert len(asked) == 1, f"{key}: asked for the confirmation {len(asked)} times"


def check_ended(instance, key, way, blocked):
    """done or cancelled: nothing is left at work, everything was done once."""
    task = instance.task(key)
    check_jobs(task)
    check_runs(instance, {**task, "key": key})
    comments = instance.issue(key)["comments"]
    pulls = [json.loads(path.read_text()) for path in (instance.repo / "pull-requests").glob("*.json")]
    own = [pull for pull in pulls if pull["head"] == task["branch"].split("~")[0]]
    assert len([pull for pull in own if pull["merged"]]) <= 1 and len(own) <= 1, own
    assert all(pull["state"] == "closed" for pull in own), own
    if task["stage"] == "done":
        assert own and own[0]["merged"], f"{key} is done without a merge"
        check_deploys(instance, task)
        if not blocked:
            check_done(instance, key, task, way)
    else:
        branch = task["branch"].split("~")[0]
        assert not git(instance.repo, "branch", "--list", branch), f"{branch} of {key} is left"
        assert not list((instance.home / "workspaces").glob(f"{key}_*")), f"{key}: a workspace is left"
        told = [comment for comment in comments
                if comment["author"] == "stream" and comment["body"].startswith("Stopped")]
        assert len(told) == 1, f"{key} was stopped, which was said {len(told)} times"
    shown = instance.issue(key)["status"]
    assert shown == {"done": "Done", "cancelled": "Cancelled"}[task["stage"]], (key, shown)


def settled(instance, key):
    """Its last effects are out, and a stopped one is cleaned up."""
    task, want = instance.task(key), {"done": "Done", "cancelled": "Cancelled"}
    busy = [job for job in task.get("jobs", [{"state": "queued"}]) if job["state"] in ("queued", "running")]
    waiting = instance.rows("SELECT 1 FROM effects WHERE task = CAST(? AS INTEGER)"
                            " AND state IN ('pending', 'handed')", str(task.get("id")))
    return not busy and not waiting and instance.issue(key).get("status") == want[task["stage"]]


def test_storm_pipeline(make_instance):
    source = random.Random(SEED)
    instance = make_instance(
        plan={"reviewer": {"reject": REJECTIONS}, **{role: {"sleep_s": 0.2} for role in ("developer", "tester")}},
        project={"confirm_deploy": True, "ci": "required"},
        keys={"auto_label": {"enabled": True, "repos": "*"}, "reconciler": {"interval_s": 1}}).with_hook()
    hang_ci(instance, "pending")
    instance.start()
    people, hits, missed = People(instance, SEED), Counter(), Counter()
    points = crash_points()
    source.shuffle(points)
    for number in range(ROUNDS):
        people.step()
        if number % 2:
            point = points[(number // 2) % len(points)]
            (hits if kill_at_point(instance, people, point) else missed)[point] += 1
        elif number % 6 == 0:
            hits[kill_below(instance, source) or kill_at_random(instance, source)] += 1
        else:
            hits[kill_at_random(instance, source)] += 1
        instance.wait_up()
    end = time.monotonic() + 300
    while people.live and time.monotonic() < end:
        people.step(wanted=0)
        time.sleep(0.05)
    assert not people.live, f"not ended: {people.live}\n{instance.story()}"
    print(f"\nstorm over the pipeline: seed {SEED}, {ROUNDS} rounds, {len(people.ended)} tasks"
          f" {dict(people.ways)}, {len(people.waited_for_ci)} seen waiting for CI, blocked on the way: {dict(people.blocked)}")
    for name, count in sorted(hits.items()):
        print(f"  {name:28} {count}")
    for name, count in sorted(missed.items()):
        print(f"  {name:28} not reached {count} times")
    for key, way in people.ended.items():
        instance.wait_for(lambda: settled(instance, key), 60, f"{key} is settled")
        check_ended(instance, key, way, key in people.were_blocked)
    instance.wait_for(lambda: not left_over(instance), 20, "no agent is left without a keeper")
    few = {point: hits[point] for point in points if hits[point] < HITS_MIN}
    assert ROUNDS < ENOUGH or not few, f"hit too rarely: {few}"
    assert set(hits) - set(points) <= set(SERVICES) | {"supervisor", "agent", "keeper"}

