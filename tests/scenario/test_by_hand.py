"""What people do past the tracker's commands, in the forge and to the issue: found by the reconciler, told
once, and nothing more is spent until a person acts.

Mutations, each red: the forge not looked at; the agent left at work; a merge of other code taken as the
end; the same told at every pass; what was known of the forge kept by the resuming (blocked again at once);
a merge of other code remembered as the task's own (it is then not merged, and rolled back); deploy left out
although the task waits there (wherever_it_is, awaiting_deploy), parked there again with what was judged before
(the same, blocked again at once); a merge that ends a task in deploy, or whose branch is missed there."""

import json

import pytest

from harness import git
from invariants import check_jobs


def at_work(instance, key, stage):
    instance.wait_for(lambda: instance.stage(key) == stage and instance.agents(), 60, f"{stage} runs")


def edit_pull(instance, key, **fields):
    """As the forge's own page would."""
    number = instance.task(key)["pull_request"]["number"]
    path = instance.repo / f"pull-requests/{number}.json"
    pull = {**json.loads(path.read_text()), **fields}
    path.with_suffix(".new").write_text(json.dumps(pull))
    path.with_suffix(".new").rename(path)
    return pull


def in_testing(make_instance, project=None, **keys):
    instance = make_instance(plan={"tester": {"until": "go"}}, project=project,
                             keys={"reconciler": {"interval_s": 1}, **keys}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    at_work(instance, key, "testing")
    return instance, key


def close_pull(instance, key):
    edit_pull(instance, key, state="closed")


def delete_branch(instance, key):
    git(instance.repo, "branch", "-D", instance.task(key)["branch"])


def rewrite_branch(instance, key):
    git(instance.repo, "update-ref", f"refs/heads/{instance.task(key)['branch']}", "main")


def drag_issue(instance, key):
    instance.must("POST", "/webhook/local", {"delivery": "dragged", "kind": "status", "issue": key,
                                             "status": "Done", "actor": "ada"})


def some_passes(instance):
    """The reconciler looks at everything again, a few times."""
    def passes():
        services = instance.http("GET", "/queue")[1]["services"]
        return next(row for row in services if row["name"] == "reconciler")["counters"]["passes"]
    before = passes()
    instance.wait_for(lambda: passes() > before + 3, 30, "it was looked at again")


def announcements(instance, key):
    return [comment["body"] for comment in instance.issue(key)["comments"] if "**Blocked**" in comment["body"]]


@pytest.mark.parametrize("act, cause", [(close_pull, "pull-closed"), (delete_branch, "branch-gone"),
                                        (rewrite_branch, "branch-rewritten"),
                                        (drag_issue, "issue-closed")])
def test_blocked_with_its_cause_and_resumed(make_instance, act, cause):
    instance, key = in_testing(make_instance)
    agent = list(instance.agents().values())
    act(instance, key)
    instance.wait_for(lambda: instance.task(key)["blocked"], 30, "it is blocked")
    assert instance.task(key)["blocked"]["reason"].startswith(f"{cause}: ")
    instance.wait_for(lambda: not instance.agents(), 20, f"the agent {agent} is ended")
    some_passes(instance)
    instance.wait_for(lambda: instance.issue(key)["status"] == "Blocked", 20, "it is shown")
    assert len(announcements(instance, key)) == 1
    # a person says that it goes on: what is missing is made again
    instance.plan({"tester": {"until": "go on"}})
    instance.must("POST", "/webhook/local", {"delivery": "again", "kind": "status", "issue": key,
                                             "status": "To Analyse", "actor": "ada"})
    at_work(instance, key, "testing")
    some_passes(instance)
    (instance.agent_dir / "go on").touch()
    instance.wait_stage(key, "done", 60)
    task = instance.task(key)
    check_jobs(task)
    assert task["blocked"] is None and len(announcements(instance, key)) == 1
    assert git(instance.repo, "show", f"main:greeting-{key}.txt")


def test_merged_by_another(make_instance):
    """The pull request at the task's code: done, and it is said that nothing was deployed."""
    instance, key = in_testing(make_instance)
    task = instance.task(key)
    head = git(instance.repo, "rev-parse", task["branch"])
    git(instance.repo, "update-ref", "refs/heads/main", head)
    edit_pull(instance, key, state="closed", merged=True, merge_commit=head, head_sha=head)
    instance.wait_stage(key, "done", 30)
    instance.wait_for(lambda: not instance.agents(), 20, "the agent is ended")
    instance.wait_for(lambda: instance.issue(key)["status"] == "Done", 20, "shown as done")

    def said():
        bodies = [comment["body"] for comment in instance.issue(key)["comments"]]
        return sum("nothing was deployed by us" in body and head in body for body in bodies)
    instance.wait_for(said, 20, "it is said")
    assert said() == 1
    instance.wait_for(lambda: all(job["state"] not in ("queued", "running")
                                  for job in instance.task(key)["jobs"]), 20, "no job is left")
    assert [row["why"] for row in instance.task(key)["transitions"]][-1].startswith("merged-outside: ")


def test_merged_by_another_at_other_code(make_instance):
    instance, key = in_testing(make_instance, project={"confirm_deploy": True})
    clone = instance.dir / "hand"
    git(instance.dir, "clone", "-q", "-b", instance.task(key)["branch"], str(instance.repo), str(clone))
    (clone / "more.txt").write_text("more\n")
    git(clone, "add", "-A")
    git(clone, "-c", "user.name=m", "-c", "user.email=m@example.org", "commit", "-qm", "More")
    git(clone, "push", "-q", "origin", "HEAD", "HEAD:main")
    head = git(clone, "rev-parse", "HEAD")
    edit_pull(instance, key, state="closed", merged=True, merge_commit=head, head_sha=head)
    instance.wait_for(lambda: instance.task(key)["blocked"], 30, "it is blocked")
    assert instance.task(key)["blocked"]["reason"].startswith("merged-other: ")
    # that merge is none of the task's: it goes on, and ends by one of its own
    instance.plan({})
    (clone / "later.txt").write_text("later\n")
    git(clone, "add", "-A")
    git(clone, "-c", "user.name=m", "-c", "user.email=m@example.org", "commit", "-qm", "Later")
    git(clone, "push", "-q", "origin", "HEAD")
    instance.must("POST", f"/tasks/{key}/retry", {"actor": "ada"})
    instance.wait_for(lambda: (instance.task(key)["parked"] or {}).get("for") == "confirm", 90, "parked")
    instance.must("POST", f"/tasks/{key}/confirm-deploy", {"actor": "ada"})
    instance.wait_stage(key, "done", 60)
    stages = [row["to"] for row in instance.task(key)["transitions"]]
    assert stages[stages.index("testing"):].count("development") == 0, stages
    assert len(list((instance.repo / "pull-requests").glob("*.json"))) == 2


# ---- where a task waits ----


def say(instance, key, status, delivery, **fields):
    instance.must("POST", "/webhook/local", {"delivery": delivery, "kind": "status", "issue": key,
                                             "status": status, "actor": "ada", **fields})


def cancel_issue(instance, key):
    say(instance, key, "Cancelled", "dragged")


def awaiting_approval(instance):
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.issue(key).get("status") == "Awaiting Approval", 60, "it is asked")
    return key


def awaiting_deploy(instance):
    key = awaiting_approval(instance)
    instance.approve(key, 60)
    instance.wait_for(lambda: instance.issue(key).get("status") == "Awaiting Deploy", 60, "it is asked")
    return key


def at_work_in(stage, role, shown):
    def come(instance):
        instance.plan({role: {"until": "never"}})
        key = instance.new_issue(1)
        if stage != "analysis":
            instance.approve(key, 60)
        at_work(instance, key, stage)
        instance.wait_for(lambda: instance.issue(key)["status"] == shown, 20, "it is shown")
        return key
    return come


@pytest.mark.parametrize("come, act, cause", [
    (at_work_in("analysis", "analyst", "Analysis"), cancel_issue, "issue-closed"),
    (at_work_in("architecture", "architect", "Architecture"), delete_branch, "branch-gone"),
    (at_work_in("development", "developer", "Development"), rewrite_branch, "branch-rewritten"),
    (at_work_in("review", "reviewer", "Code Review"), close_pull, "pull-closed"),
    (awaiting_approval, drag_issue, "issue-closed"), (awaiting_approval, cancel_issue, "issue-closed"),
    (awaiting_approval, delete_branch, "branch-gone"),
    (awaiting_deploy, cancel_issue, "issue-closed"), (awaiting_deploy, close_pull, "pull-closed"),
    (awaiting_deploy, delete_branch, "branch-gone"),
    (awaiting_deploy, rewrite_branch, "branch-rewritten")])
def test_wherever_it_is(make_instance, come, act, cause):
    """Blocked, told once, nothing runs; To Analyse resumes to where it was, and what people did by hand is
    not found a second time."""
    instance = make_instance(project={"confirm_deploy": True}, keys={"reconciler": {"interval_s": 1}}).start()
    key = come(instance)
    before = instance.task(key)
    act(instance, key)
    instance.wait_for(lambda: instance.task(key)["blocked"], 30, "it is blocked")
    assert instance.task(key)["blocked"]["reason"].startswith(f"{cause}: ")
    instance.wait_for(lambda: not instance.agents(), 20, "nothing runs")
    instance.wait_for(lambda: instance.issue(key)["status"] == "Blocked", 20, "it is shown")
    some_passes(instance)
    assert len(announcements(instance, key)) == 1 and instance.stage(key) == before["stage"]
    check_jobs(instance.task(key))
    instance.plan({})
    say(instance, key, "To Analyse", "again")
    if before["stage"] == "analysis":
        instance.approve(key, 60)
    instance.wait_for(lambda: instance.issue(key)["status"] == "Awaiting Deploy", 60, "it is to be deployed")
    some_passes(instance)
    assert not instance.task(key)["blocked"], instance.task(key)["blocked"]
    say(instance, key, "Confirm Deploy", "ship")
    instance.wait_stage(key, "done", 60)
    assert len(announcements(instance, key)) == 1
    assert git(instance.repo, "show", f"main:greeting-{key}.txt")


def test_blocked_already(make_instance):
    """It is blocked for one thing: nothing else is said. STOP ends it."""
    instance = make_instance(plan={"developer": {"exit": 1}}, project={"confirm_deploy": True},
                             keys={"reconciler": {"interval_s": 1}, "max_attempts": 1}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    instance.wait_for(lambda: instance.issue(key).get("status") == "Blocked", 60, "it is blocked")
    reason = instance.task(key)["blocked"]["reason"]
    delete_branch(instance, key)
    cancel_issue(instance, key)
    some_passes(instance)
    task = instance.task(key)
    assert task["blocked"]["reason"] == reason and len(announcements(instance, key)) == 1
    check_jobs(task)
    say(instance, key, "STOP", "stop", announce=False)
    instance.wait_stage(key, "cancelled", 30)
    instance.wait_for(lambda: instance.issue(key)["status"] == "Cancelled", 20, "it is shown")


@pytest.mark.parametrize("come", [at_work_in("review", "reviewer", "Code Review"), awaiting_deploy])
def test_stop_ends_what_was_closed_by_hand(make_instance, come):
    instance = make_instance(project={"confirm_deploy": True}, keys={"reconciler": {"interval_s": 1}}).start()
    key = come(instance)
    close_pull(instance, key)
    instance.wait_for(lambda: instance.issue(key)["status"] == "Blocked", 30, "it is blocked")
    say(instance, key, "STOP", "stop", announce=False)
    instance.wait_stage(key, "cancelled", 30)
    instance.wait_for(lambda: all(job["state"] not in ("queued", "running")
                                  for job in instance.task(key)["jobs"]), 30, "it is cleaned up")
    assert not instance.http("GET", "/queue")[1]["leases"]


def test_merged_by_another_while_it_waits_to_be_deployed(make_instance):
    """A merge is not a deployment: in deploy it ends nothing, and the confirmation still counts."""
    instance = make_instance(project={"confirm_deploy": True},
                             keys={"reconciler": {"interval_s": 1}}).with_hook().start()
    key = awaiting_deploy(instance)
    head = git(instance.repo, "rev-parse", instance.task(key)["branch"])
    git(instance.repo, "update-ref", "refs/heads/main", head)
    edit_pull(instance, key, state="closed", merged=True, merge_commit=head, head_sha=head)
    delete_branch(instance, key)  # as forges do for whoever merges
    some_passes(instance)
    assert instance.parked(key) == "confirm" and not instance.task(key)["blocked"]
    say(instance, key, "Confirm Deploy", "ship")
    instance.wait_stage(key, "done", 60)
    assert instance.deployed() == [head]
