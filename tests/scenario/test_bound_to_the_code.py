"""A verdict counts for the code that it was given on. Somebody pushes to the branch afterwards: back to
review, not counted as a rollback, and the reviewer is told which commits nobody has seen.

Mutations, each red: the diff left out (merged unreviewed); artefacts counted as code; the return counted
as a rollback; the findings not given to the reviewer; a review bound to the commit that it leaves."""

import pytest

from harness import git
from invariants import check_jobs


def push_by_hand(instance, branch, path, text):
    """As a person with a clone of the forge; the commit."""
    clone = instance.dir / f"hand-{len(list(instance.dir.glob('hand-*')))}"
    git(instance.dir, "clone", "-q", "-b", branch, str(instance.repo), str(clone))
    (clone / path).parent.mkdir(parents=True, exist_ok=True)
    (clone / path).write_text(text)
    git(clone, "add", "-A")
    git(clone, "-c", "user.name=mallory", "-c", "user.email=m@example.org", "commit", "-qm",
        f"Sneak in {path}")
    git(clone, "push", "-q", "origin", branch)
    return git(clone, "rev-parse", "HEAD")


def at_work(instance, key, stage):
    instance.wait_for(lambda: instance.stage(key) == stage and instance.agents(), 60, f"{stage} runs")


def stages(instance, key):
    return [row["to"] for row in instance.task(key)["transitions"]]


def reviewers_prompts(instance):
    runs = [line[0] for line in instance.starts() if line[2] == "reviewer" and line[4] == "start"]
    return [(instance.agent_dir / "prompts" / run).read_text() for run in runs]


def check_returned(instance, key, commit):
    instance.wait_stage(key, "done", 60)
    task = instance.task(key)
    check_jobs(task)
    assert stages(instance, key).count("review") == 2, task["transitions"]
    assert stages(instance, key).count("development") == 1
    why = [row["why"] for row in task["transitions"] if row["to"] == "review"][1]
    assert why.startswith("moved: ")
    first, second = reviewers_prompts(instance)
    assert "Nobody has reviewed" not in first
    assert commit[:7] in second and "mallory: Sneak in sneaked.txt" in second
    said = [comment["body"] for comment in instance.issue(key)["comments"]]
    assert sum("not counted as a rollback" in body for body in said) == 1
    # what is merged is what was reviewed last
    assert git(instance.repo, "show", "main:sneaked.txt") == "unreviewed"


def test_pushed_while_the_tests_run(make_instance):
    instance = make_instance(plan={"tester": {"until": "go"}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    at_work(instance, key, "testing")
    commit = push_by_hand(instance, instance.task(key)["branch"], "sneaked.txt", "unreviewed\n")
    (instance.agent_dir / "go").touch()
    check_returned(instance, key, commit)


def test_pushed_between_the_tests_and_the_merge(make_instance):
    instance = make_instance(plan={"tester": {"until": "go"}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    at_work(instance, key, "testing")
    assert instance.http("POST", "/pause", {"actor": "ada"})[0] in (200, 202)
    (instance.agent_dir / "go").touch()
    instance.wait_stage(key, "deploy-staging", 60)
    commit = push_by_hand(instance, instance.task(key)["branch"], "sneaked.txt", "unreviewed\n")
    assert instance.http("POST", "/resume", {"actor": "ada"})[0] in (200, 202)
    check_returned(instance, key, commit)


def test_artefacts_are_no_code(make_instance):
    instance = make_instance(plan={"tester": {"until": "go"}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    at_work(instance, key, "testing")
    push_by_hand(instance, instance.task(key)["branch"], f"docs/work-items/{key}/notes.md", "A note.\n")
    (instance.agent_dir / "go").touch()
    instance.wait_stage(key, "done", 60)
    assert stages(instance, key).count("review") == 1
    assert git(instance.repo, "show", f"main:docs/work-items/{key}/notes.md") == "A note."


@pytest.mark.parametrize("name", ["sneaked.txt", "docs/work-items/DEMO-10/notes.md"])
def test_what_stands_beside_the_artefacts_is_code(make_instance, name):
    """Another task's artefacts too, whose key begins like this one's."""
    instance = make_instance(plan={"tester": {"until": "go"}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    at_work(instance, key, "testing")
    push_by_hand(instance, instance.task(key)["branch"], name, "unreviewed\n")
    (instance.agent_dir / "go").touch()
    instance.wait_stage(key, "done", 60)
    assert stages(instance, key).count("review") == 2


def test_a_reviewer_who_changes_the_code(make_instance):
    """Its verdict is not about what it leaves; sent back five times, then a person is asked."""
    instance = make_instance(plan={"reviewer": {"edit": True}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    instance.wait_for(lambda: instance.task(key)["blocked"], 60, "it is blocked")
    assert instance.task(key)["blocked"]["reason"].startswith("moved: ")
    assert stages(instance, key).count("review") == 6
    assert "testing" not in stages(instance, key)
    instance.plan({})
    instance.http("POST", f"/tasks/{key}/retry", {"actor": "ada"})
    instance.wait_stage(key, "done", 60)
