"""What is over goes from the disk: workspace and merged branch of a task that is done, refs that had been
preserved, run directories. Time is moved by moving what is written."""

import os
import sqlite3
import subprocess
import time

from harness import git

DAY_S = 24 * 3600


def restart(instance, name):
    pid = instance.pid(name)
    instance.kill(name)
    instance.wait_for(lambda: instance.pid(name) not in (None, pid), 20, f"{name} is another")
    instance.wait_up()


# Red when the cleanup is not ordered, or the branch or the workspace stays.
def test_a_month_after_done_workspace_and_branch_are_gone_and_everything_else_stays(make_instance):
    instance = make_instance().start()
    key = instance.new_issue(1)
    instance.approve(key)
    instance.wait_stage(key, "done")
    task = instance.task(key)
    (workspace,) = (instance.home / "workspaces").iterdir()
    (workspace / "left.txt").write_text("not committed\n")
    head = git(instance.repo, "rev-parse", task["branch"])
    assert instance.stop() == 0
    with sqlite3.connect(instance.home / "db/main.db") as db:
        db.execute("UPDATE tasks SET ended_at = ended_at - ?", (31 * DAY_S * 1000,))
    instance.start()
    instance.wait_for(lambda: not workspace.exists(), 60, "the workspace is gone")
    instance.wait_for(lambda: not git(instance.repo, "branch", "--list", task["branch"]), 20,
                      "the merged branch is gone")
    assert git(instance.repo, "merge-base", "--is-ancestor", head, "main", check=False) == ""
    after = instance.task(key)
    assert after["stage"] == "done" and len(after["transitions"]) == len(task["transitions"])
    instance.wait_for(lambda: [job["state"] for job in instance.task(key)["jobs"]
                               if job["kind"] == "cleanup"] == ["done"], 20, "once")
    saved = git(next((instance.home / "repos").iterdir()), "for-each-ref", "--format=%(refname)",
                "refs/orchestrator/preserved/").split()
    assert any("not committed" in git(next((instance.home / "repos").iterdir()), "show",
                                      f"{ref}:left.txt", check=False) for ref in saved), saved


# Red when the age is not asked, or those at the forge stay.
def test_preserved_refs_go_by_their_age(make_instance):
    instance = make_instance().start()
    key = instance.new_issue(1)
    instance.approve(key)
    instance.wait_stage(key, "done")
    own = next((instance.home / "repos").iterdir())
    names = {}
    for name, days in (("a-old", 91), ("m-young", 89), ("z-old", 91)):  # first and last of the listing
        date = f"{int(time.time()) - days * DAY_S} +0000"
        commit = subprocess.run(
            ["git", "-C", own, "commit-tree", "-m", name, f"{git(own, 'rev-parse', 'refs/remotes/origin/main')}^{{tree}}"],
            check=True, capture_output=True, text=True,
            env={**os.environ, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date,
                 "GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@example.org",
                 "GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x@example.org"}).stdout.strip()
        names[name] = f"refs/orchestrator/preserved/9/{name}"
        git(own, "update-ref", names[name], commit)
        git(own, "push", "-q", str(instance.repo), f"{names[name]}:{names[name]}")
    restart(instance, "runner")

    def there(repository):
        return set(git(repository, "for-each-ref", "--format=%(refname)",
                       "refs/orchestrator/preserved/9/").split())
    instance.wait_for(lambda: there(own) == {names["m-young"]}, 30, "the old ones are gone")
    assert there(instance.repo) == {names["m-young"]}


# Red when one that nobody has acknowledged goes.
def test_run_directories_go_once_they_are_acknowledged_and_old(make_instance):
    instance = make_instance().start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.parked(key), 60, "the analysis is there")
    (run,) = (instance.home / "runs").iterdir()
    instance.wait_for((run / "acked").exists, 20, "acknowledged")
    assert instance.stop() == 0
    kept = run.with_name("DEMO-9-j1-r1")
    kept.mkdir()
    (kept / "result.json").write_text("{}")
    before = time.time() - 31 * DAY_S
    for path in (run / "acked", kept / "result.json", kept):
        os.utime(path, (before, before))
    instance.start()
    instance.wait_for(lambda: not run.exists(), 30, "the run's directory is gone")
    assert kept.exists()
