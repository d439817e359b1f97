"""STOP wherever a task can be: the agent is gone within its grace, nothing is lost, nothing is left, and the
issue can begin afresh.

Mutations, each red: the lease kept by the cancelled task (awaiting confirmation); the clean-up's save left out
(blocked); a STOP of what is cancelled that finds no task (all: it is shown); a merge that is not critical
(during a merge). An agent that is not told is ended by the clean-up all the same."""

import os
import shutil

import pytest

from harness import git
from invariants import check_jobs
from test_ci import hang_ci

GRACE_S = 2  # agent.kill_grace_seconds of the harness


def at_work(stage, role):
    """The stage's own agent runs."""
    def come(instance):
        instance.plan({role: {"until": "go"}})
        key = instance.new_issue(1)
        if stage != "analysis":
            instance.approve(key, 60)
        instance.wait_for(lambda: instance.stage(key) == stage and any(
            line[2] == role for line in instance.starts()), 60, f"the {role} is at work")
        return key
    return come


def parked(what, stage):
    def come(instance):
        key = instance.new_issue(1)
        if stage != "analysis":
            instance.approve(key, 60)
        instance.wait_for(lambda: instance.parked(key) == what and instance.stage(key) == stage, 60,
                          f"it waits for {what}")
        return key
    return come


def behind_a_lease(instance):
    """In deploy-staging: its merge gate waits while another task holds the repository's lease."""
    first = parked("confirm", "deploy")(instance)
    key = instance.new_issue(2)
    instance.approve(key, 60)
    instance.wait_for(lambda: "lease-busy" in str([job["reason"] for job in instance.task(key).get(
        "jobs", [])]), 60, f"{key} waits for the lease of {first}")
    return key


def blocked(instance):
    instance.plan({"developer": {"exit": 1}})
    key = instance.new_issue(1)
    instance.approve(key, 60)
    instance.wait_for(lambda: instance.task(key)["blocked"], 60, "it is blocked")
    return key


WAYS = {
    "analysis": at_work("analysis", "analyst"), "awaiting approval": parked("approval", "analysis"),
    "architecture": at_work("architecture", "architect"),
    "development": at_work("development", "developer"), "waiting for CI": parked("ci", "development"),
    "review": at_work("review", "reviewer"), "testing": at_work("testing", "tester"),
    "deploy-staging": behind_a_lease, "awaiting confirmation": parked("confirm", "deploy"),
    "blocked": blocked,
}


def say(instance, key, status, delivery):
    instance.must("POST", "/webhook/local", {"delivery": delivery, "kind": "status", "issue": key,
                                             "status": status, "actor": "ada"})


def said(instance, key, words):
    return sum(comment["body"].startswith(words) for comment in instance.issue(key)["comments"])


def check_gone(instance, key, branch, workspace):
    """From outside: no agent, no job, no workspace, no branch, no open pull request, no lease."""
    instance.wait_for(lambda: not workspace.exists(), 30, "the workspace is removed")
    instance.wait_for(lambda: all(job["state"] in ("done", "cancelled", "failed")
                                  for job in instance.task(key)["jobs"]), 30, "its jobs are over")
    check_jobs(instance.task(key))
    assert not git(instance.repo, "branch", "--list", branch)
    pulls = [path.read_text() for path in (instance.repo / "pull-requests").glob("*.json")]
    assert not [text for text in pulls if branch in text and '"state": "open"' in text], pulls
    leases = instance.http("GET", "/queue")[1]["leases"]
    assert not [lease for lease in leases if lease["key"].split("~")[0] == key], leases
    refs = git(instance.repo, "for-each-ref", "--format=%(refname)", "refs/orchestrator/preserved").split()
    assert any(git(instance.repo, "show", f"{ref}:dirty.txt", check=False) == "not committed"
               for ref in refs), refs


@pytest.mark.parametrize("where", WAYS)
def test_stop(make_instance, where):
    ci = where == "waiting for CI"
    instance = make_instance(project={"ci": "required" if ci else "none", "confirm_deploy": True}).start()
    if ci:
        hang_ci(instance, "pending")
    key = WAYS[where](instance)
    task = instance.task(key)
    workspace = next((instance.home / "workspaces").glob(f"{key}_*"))
    (workspace / "dirty.txt").write_text("not committed\n")
    agents = instance.agents()
    say(instance, key, "STOP", "stop-1")
    instance.wait_for(lambda: instance.stage(key) == "cancelled", 20, "it is cancelled")
    instance.wait_for(lambda: not set(instance.agents()) & set(agents), GRACE_S + 2, "the agent is gone")
    say(instance, key, "STOP", "stop-2")  # once more: nothing is done or said again
    check_gone(instance, key, task["branch"], workspace)
    instance.wait_for(lambda: said(instance, key, "Stopped") == 1, 20, "it is said")
    instance.wait_for(lambda: instance.issue(key)["status"] == "Cancelled", 20, "it is shown")
    # afresh: another task of the same name, which knows of the one before
    instance.plan({})
    say(instance, key, "To Analyse", "again")
    instance.wait_for(lambda: instance.task(key).get("predecessors"), 20, "a new task")
    instance.wait_for(lambda: instance.parked(key) == "approval", 60, "its analysis is ready")
    again = instance.task(key)
    assert again["id"] != task["id"] and [old["id"] for old in again["predecessors"]] == [task["id"]]
    assert said(instance, key, "Stopped") == 1, "the second STOP is not announced"


@pytest.mark.parametrize("where", ["development", "awaiting confirmation"])
def test_stop_whose_webhook_was_lost(make_instance, where):
    """The same end, an interval later."""
    instance = make_instance(project={"confirm_deploy": True}, keys={"reconciler": {"interval_s": 1}}).start()
    key = WAYS[where](instance)
    task = instance.task(key)
    workspace = next((instance.home / "workspaces").glob(f"{key}_*"))
    (workspace / "dirty.txt").write_text("not committed\n")
    instance.must("POST", "/webhook/local", {"delivery": "stop", "kind": "status", "issue": key,
                                             "status": "STOP", "actor": "ada", "announce": False})
    instance.wait_for(lambda: instance.stage(key) == "cancelled", 20, "it is cancelled")
    check_gone(instance, key, task["branch"], workspace)
    instance.wait_for(lambda: instance.issue(key)["status"] == "Cancelled", 20, "it is shown")
    assert said(instance, key, "Stopped") == 1


def test_done_is_done(make_instance):
    """Nothing is undone, and it is shown as what it is."""
    instance = make_instance().start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    instance.wait_stage(key, "done")
    instance.wait_for(lambda: instance.issue(key)["status"] == "Done", 20, "it is shown")
    say(instance, key, "STOP", "stop")
    instance.wait_for(lambda: instance.issue(key)["status"] == "Done" and instance.issue(key)[
        "status_history"][-2]["status"] == "STOP", 20, "the display returns")
    assert instance.stage(key) == "done" and not said(instance, key, "Stopped")


def slow_git(instance, word):
    """An environment in which git waits before `word` for as long as the file that is returned is there."""
    folder, hold, held = (instance.dir / name for name in ("slow", "hold", "held"))
    folder.mkdir()
    (folder / "git").write_text(f"""#!/bin/sh
case " $* " in *" {word} "*)
    [ -e {hold} ] && touch {held}
    while [ -e {hold} ]; do sleep 0.05; done;;
esac
exec {shutil.which("git")} "$@"
""")
    (folder / "git").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}, hold, held


# Red when a running merge is not critical, when the second STOP is announced, or when the recorded STOP wins
# over what was delivered meanwhile.
def test_during_a_merge(make_instance):
    """It is recorded, said once, and applied when the merge has ended honestly: without a hook the merge
    delivers, so the task is done, and that is said."""
    instance = make_instance(project={"confirm_deploy": True})
    environment, hold, held = slow_git(instance, "commit-tree")
    instance.start(environment=environment)
    key = parked("confirm", "deploy")(instance)
    hold.touch()
    instance.must("POST", f"/tasks/{key}/confirm-deploy", {"actor": "ada"})
    instance.wait_for(held.exists, 30, "it is merging")
    say(instance, key, "STOP", "stop-1")
    say(instance, key, "STOP", "stop-2")
    instance.wait_for(lambda: said(instance, key, "STOP is noted") == 1, 20, "it is said that it waits")
    assert instance.stage(key) == "deploy"
    hold.unlink()
    instance.wait_stage(key, "done")
    instance.wait_for(lambda: instance.issue(key)["status"] == "Done", 20, "it is shown")
    instance.wait_for(lambda: said(instance, key, "STOP came too late"), 20, "that it came too late is said")
    assert said(instance, key, "STOP came too late") == 1 and said(instance, key, "STOP is noted") == 1
    assert not said(instance, key, "Stopped")
    check_jobs(instance.task(key))
