"""What people order, end to end: STOP, retry, pause, drain, freeze; and a scheduler that is killed where
it is most vulnerable."""

import subprocess
import time

import pytest

from harness import BIN, git
from invariants import check_all

CRASH_POINTS = ["event-before-commit", "event-after-commit", "claim-after-commit",
                "result-after-commit", "effect-after-commit"]


def command(instance, path, body=None, status=200):
    """An operator's command; decided at once or a little later."""
    code, answer = instance.must("POST", path, {"actor": "ada", **(body or {})})
    assert code in (status, 202), (path, code, answer)
    return answer


def wait_agent(instance, key, role):
    """Until its agent is at work, not only a process."""
    def runs():
        begun = {line[0] for line in instance.starts()} & set(instance.agents())
        return any(run["role"] == role and run["id"] in begun
                   for run in instance.task(key).get("runs", []))
    instance.wait_for(runs, 60, f"the {role} of {key} runs")


def queued(instance):
    _, page = instance.must("GET", "/queue")
    return {job["key"]: job["reason"] for job in page["queued"]}


# ---- STOP ----

def test_stop_of_a_running_task(make_instance):
    """Mutations: cancel_jobs that tells no run to end, the cleanup's job not made, the gate of the
    successor left out: each turns this red."""
    instance = make_instance(plan={"developer": {"sleep_s": 60}}).start()
    key = instance.new_issue(1)
    instance.approve(key)
    wait_agent(instance, key, "developer")
    branch = instance.task(key)["branch"]
    command(instance, f"/tasks/{key}/stop")
    instance.wait_for(lambda: instance.stage(key) == "cancelled", 20, "it is cancelled")
    # the same issue begins anew at once, under its own key
    instance.plan({})
    instance.must("POST", "/webhook/local", {"delivery": "again", "kind": "status", "issue": key,
                                             "status": "To Analyse", "actor": "ada"})
    instance.wait_for(lambda: instance.task(key).get("predecessors"), 20, "a new task")
    old_key = instance.task(key)["predecessors"][0]["key"]
    instance.wait_for(lambda: all(job["state"] in ("done", "cancelled")
                                  for job in instance.task(old_key)["jobs"]), 60, "it is cleaned up")
    instance.approve(key, 60)
    old, new = instance.task(old_key), instance.task(key)
    assert old["stage"] == "cancelled" and old_key.startswith(f"{key}~")
    # the agent that was at work is gone, and was told so
    stopped = [run for run in old["runs"] if run["role"] == "developer"]
    assert [run["outcome"] for run in stopped] == ["cancelled"], stopped
    ended = [line for line in instance.starts() if line[0] == stopped[0]["id"]]
    assert [line[4] for line in ended] == ["start"], "it was ended, it did not finish"
    # everything is saved, and the transition names where
    assert "preserved" in str(old["transitions"][-1]["detail"]), old["transitions"][-1]
    # nothing of the new task ran before the old one was cleaned up
    cleanup, = [job for job in old["jobs"] if job["kind"] == "cleanup"]
    first = min(run["started_at"] for run in new["runs"] if run["started_at"])
    assert cleanup["state"] == "done" and cleanup["ended_at"] <= first, (cleanup, first)
    instance.wait_stage(key, "done", 120)
    assert instance.task(key)["branch"] == branch


def test_stop_twice_and_of_nothing(make_instance):
    instance = make_instance().start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.parked(key) == "approval", 60, "approval is asked for")
    command(instance, f"/tasks/{key}/stop")
    instance.wait_for(lambda: instance.stage(key) == "cancelled", 20, "it is cancelled")
    code, answer = instance.must("POST", f"/tasks/{key}/stop", {"actor": "ada"})
    assert (code, answer["result"]) == (409, "refused") and answer["reason"].startswith(
        "already-stopped"), (code, answer)
    assert instance.http("POST", "/tasks/DEMO-99/stop", {"actor": "ada"})[0] == 404


# ---- blocked ----

def test_blocked_and_retried(make_instance):
    """Out of attempts: blocked, with the reason and the log's last lines; retry goes on from there.
    Mutations: attempts not counted, the alert without its log tail, retry that keeps the count."""
    instance = make_instance(keys={"max_attempts": 2},
                             plan={"architect": {"exit": 3, "times": 2}}).start()
    key = instance.new_issue(1)
    instance.approve(key)
    instance.wait_for(lambda: instance.task(key).get("blocked"), 60, "it is blocked")
    task = instance.task(key)
    assert task["blocked"]["reason"].startswith("attempts-exhausted: "), task["blocked"]
    assert task["stage"] == "architecture"
    runs = [run for run in task["runs"] if run["role"] == "architect"]
    assert [run["exit_code"] for run in runs] == [3, 3]
    assert [run["attempt"] for run in runs] == [1, 2]
    instance.wait_for(lambda: instance.issue(key)["status"] == "Blocked", 20, "the issue shows it")
    _, page = instance.must("GET", "/queue")
    assert [alert["task"] for alert in page["alerts"]], page["alerts"]
    assert any("attempts" in comment["body"] and comment["author"] == "stream"
               for comment in instance.issue(key)["comments"])
    time.sleep(1)
    assert len([run for run in instance.task(key)["runs"] if run["role"] == "architect"]) == 2
    command(instance, f"/tasks/{key}/retry")
    instance.wait_stage(key, "done", 120)
    assert instance.task(key)["blocked"] is None
    _, page = instance.must("GET", "/queue")
    assert not page["alerts"], page["alerts"]


# ---- the queue ----

def test_pause_drain_and_resume(make_instance):
    instance = make_instance(plan={"analyst": {"sleep_s": 3}}).start()
    first = instance.new_issue(1)
    wait_agent(instance, first, "analyst")
    command(instance, "/drain")
    second = instance.new_issue(2)
    instance.wait_for(lambda: queued(instance).get(second, "").startswith("draining"), 20, "it waits")
    # what runs goes on to its end
    instance.wait_for(lambda: instance.parked(first) == "approval", 60, "the running one ends")
    command(instance, "/resume")
    wait_agent(instance, second, "analyst")
    command(instance, "/pause", {"project": "DEMO"})
    third = instance.new_issue(3)
    instance.wait_for(lambda: queued(instance).get(third, "").startswith("paused"), 20, "it waits")
    _, page = instance.must("GET", "/queue")
    assert [row["project"] for row in page["jobs"]["paused_projects"]] == ["DEMO"]
    # a pause outlives the scheduler
    instance.kill("scheduler")
    instance.wait_up()
    time.sleep(2)
    assert third in queued(instance)
    command(instance, "/resume", {"project": "DEMO"})
    instance.wait_for(lambda: instance.parked(third) == "approval", 60, "and goes on")
    assert instance.http("POST", "/pause", {"actor": "ada", "project": "NONE"})[0] in (404, 409)


def test_freeze_and_unfreeze(make_instance):
    """A freeze stops new tasks of one repository; what has begun goes on."""
    instance = make_instance(plan={"architect": {"sleep_s": 2}}).start()
    first = instance.new_issue(1)
    instance.approve(first)
    wait_agent(instance, first, "architect")
    command(instance, "/serial-gate/freeze", {"repo": "sample", "reason": "production is red"})
    second = instance.new_issue(2)
    instance.wait_for(lambda: queued(instance).get(second, "").startswith("frozen"), 20, "it waits")
    _, page = instance.must("GET", "/queue")
    assert [row["repo"] for row in page["frozen"]] == ["sample"]
    assert any("frozen" in alert["text"] for alert in page["alerts"]), page["alerts"]
    instance.wait_stage(first, "done", 120)
    assert second in queued(instance)
    command(instance, "/serial-gate/unfreeze", {"repo": "sample"})
    instance.wait_for(lambda: instance.parked(second) == "approval", 60, "it goes on")
    code, answer = instance.must("POST", "/serial-gate/unfreeze", {"repo": "sample", "actor": "ada"})
    assert (code, answer["result"]) == (409, "refused"), answer
    _, page = instance.must("GET", "/queue")
    assert not page["frozen"] and not page["alerts"]


# ---- one scheduler, and its death ----

def test_a_second_scheduler_names_the_first(make_instance):
    """Mutation: without the lock both would listen, and the first be deaf."""
    instance = make_instance(keys={"lock_wait_s": 1}).start()
    pid = instance.pid("scheduler")
    second = subprocess.run([BIN / "orch-scheduler", "-c", instance.config], capture_output=True,
                            text=True, timeout=30, check=False)
    assert second.returncode == 111, (second.returncode, second.stderr)
    assert f"held by scheduler pid {pid}" in second.stderr, second.stderr
    assert instance.pid("scheduler") == pid
    key = instance.new_issue(1)
    instance.approve(key)
    instance.wait_stage(key, "done", 120)
    check_all(instance, key)


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_at_a_crash_point(make_instance, point):
    """kill -9 exactly there, twice in one journey; everything happens once all the same."""
    instance = make_instance(plan={"reviewer": {"reject": 1}}).start()
    path = instance.crash_dir / point
    path.touch()
    key = instance.new_issue(1)
    instance.wait_for(lambda: not path.exists(), 60, f"{point} is reached")
    path.touch()  # the approval is an event too
    instance.approve(key, 60)
    instance.wait_for(lambda: not path.exists(), 60, f"{point} is reached again")
    instance.wait_stage(key, "done", 180)
    check_all(instance, key, rejections=1)
    assert git(instance.repo, "branch", "--list", instance.task(key)["branch"])
