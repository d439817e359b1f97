"""What people do past the tracker's commands, in the forge and to the issue: found by the reconciler, told
once, and nothing more is spent until a person acts.

Mutations, each red: the forge not looked at; the agent left at work; a merge of other code taken as the
end; the same told at every pass; what was known of the forge kept by the resuming (blocked again at once);
a merge of other code remembered as the task's own (it is then not merged, and rolled back)."""

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
    said = [comment["body"] for comment in instance.issue(key)["comments"]]
    assert sum("nothing was deployed by us" in body and head in body for body in said) == 1
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
