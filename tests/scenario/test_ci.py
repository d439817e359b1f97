"""CI of the branch's head is waited for: after the developer's run and before the merge.

Mutations, each red: a red context is not quoted (red_goes_back); empty is a pass at once (no_ci_after_the_grace,
required_and_never_a_status); the statuses of any commit counted (an_older_head); the merge does not ask
(before_the_merge, red_before_the_merge, stopped_before_the_merge); what was merged by hand asked about
(merged_by_hand)."""

import json
import os
import subprocess
import time

import pytest

from harness import alive, git
from invariants import check_all, check_jobs

FAST = {"reconciler": {"interval_s": 1}, "ci": {"grace_s": 1, "timeout_s": 600}}


def head_of(instance, key):
    return git(instance.repo, "rev-parse", instance.task(key)["branch"])


def status(instance, commit, state, context="ci/test", description="", target_url=None):
    """As a CI would: a whole file by rename, its name percent-encoded."""
    folder = instance.repo / "statuses" / commit
    folder.mkdir(parents=True, exist_ok=True)
    name = context.replace("%", "%25").replace("/", "%2F")
    (folder / f"{name}.tmp").write_text(json.dumps(
        {"context": context, "state": state, "description": description, "target_url": target_url}))
    os.rename(folder / f"{name}.tmp", folder / f"{name}.json")


def hang_ci(instance, state="success"):
    """A CI in the repository's own post-receive: it knows this state of every commit that is pushed."""
    hook = instance.repo / "hooks" / "post-receive"
    hook.write_text('#!/bin/sh\nwhile read old new ref; do\n'
                    '  case $new in 0000000*) continue;; esac\n'
                    '  mkdir -p statuses/$new\n'
                    '  echo \'{"context": "ci/test", "state": "%s", "description": "by the hook",'
                    ' "target_url": null}\' >statuses/$new/ci.tmp\n'
                    '  mv statuses/$new/ci.tmp statuses/$new/ci%%2Ftest.json\ndone\n' % state)
    hook.chmod(0o755)


def parked_for_ci(instance, key, stage="development", seconds=60):
    instance.wait_for(lambda: instance.parked(key) == "ci" and instance.stage(key) == stage, seconds,
                      f"{key} waits for CI in {stage}")


def begun(make_instance, ci="required", keys=FAST, plan=None, **project):
    instance = make_instance(keys=keys, project={"ci": ci, **project}, plan=plan)
    return instance


def at_ci(make_instance, **named):
    """An instance with a task parked for CI after its developer."""
    instance = begun(make_instance, **named).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    parked_for_ci(instance, key)
    return instance, key


def reasons(instance, key, stage):
    return [row["why"] for row in instance.task(key)["transitions"] if row["to"] == stage]


def kill(instance, *names):
    for name in names:
        instance.wait_for(lambda: alive(instance.pid(name) or 0), 20, f"{name} runs")
        instance.kill(name)
    instance.wait_up()


def why(instance, key):
    return subprocess.run([instance.bin / "orchctl", "-c", instance.config, "why", key], text=True,
                          capture_output=True, check=True).stdout


def asked_again(instance, times=2):
    """The reconciler has answered so many questions more."""
    def queries():
        services = instance.http("GET", "/queue")[1]["services"]
        return next(row for row in services if row["name"] == "reconciler")["counters"].get("queries", 0)
    before = queries()
    instance.wait_for(lambda: queries() >= before + times, 30, "it was asked again")


def test_green_at_once(make_instance):
    instance = begun(make_instance)
    hang_ci(instance)
    instance.start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    instance.wait_stage(key, "done", 60)
    check_all(instance, key)
    assert instance.rows("SELECT count(*) FROM journal WHERE detail LIKE '%\"parked\"%\"ci\"%'") == [[0]]


def test_pending_then_green(make_instance):
    """And nothing is said or written while it waits."""
    instance, key = at_ci(make_instance)
    hang_ci(instance)
    status(instance, head_of(instance, key), "pending")
    asked_again(instance)
    before = instance.rows("SELECT (SELECT max(seq) FROM journal), (SELECT max(id) FROM effects),"
                           " (SELECT max(id) FROM jobs), (SELECT group_concat(reason) FROM jobs)")
    asked_again(instance, 3)
    assert instance.rows("SELECT (SELECT max(seq) FROM journal), (SELECT max(id) FROM effects),"
                         " (SELECT max(id) FROM jobs), (SELECT group_concat(reason) FROM jobs)") == before
    assert instance.parked(key) == "ci" and not instance.task(key)["blocked"]
    assert instance.issue(key)["status"] == "Development"
    words = why(instance, key)
    assert "CI of the branch's head" in words and "is pending: ci/test" in words, words
    assert "who can act" in words and "green: review; red: back to development" in words, words
    queued = instance.http("GET", "/queue")[1]["queued"]
    assert any(row["reason"].startswith("waiting-ci: CI of ") for row in queued), queued
    status(instance, head_of(instance, key), "success")
    instance.wait_stage(key, "done", 60)
    check_all(instance, key)
    log = (instance.home / "log/scheduler/current").read_text()
    assert f'"event":"ci","task":"{key}"' in log, "the log names the task"


def test_red_goes_back_with_its_words(make_instance):
    instance, key = at_ci(make_instance)
    words = "exit 2: `assert total == 41` in tests/test_cart.py, ünïcode and ```fences```"
    status(instance, head_of(instance, key), "success", "lint")
    status(instance, head_of(instance, key), "failure", "ci/unit tests", words, "http://ci.example/7")
    hang_ci(instance)
    instance.wait_stage(key, "done", 60)
    check_jobs(instance.task(key))
    runs = [line[0] for line in instance.starts() if line[2] == "developer" and line[4] == "start"]
    assert len(runs) == 2
    prompt = (instance.agent_dir / "prompts" / runs[1]).read_text()
    assert words in prompt and "ci/unit tests" in prompt and "http://ci.example/7" in prompt
    assert "lint" not in prompt
    assert len(reasons(instance, key, "development")) == 2
    assert "CI of" in reasons(instance, key, "development")[1]
    said = [comment["body"] for comment in instance.issue(key)["comments"]]
    assert sum("rollback 1 of 3" in body and words in body for body in said) == 1


def test_no_ci_after_the_grace(make_instance):
    """auto, and the repository never had one."""
    instance = begun(make_instance, ci="auto", keys={**FAST, "ci": {"grace_s": 3, "timeout_s": 600}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    parked_for_ci(instance, key)
    since = time.monotonic()
    instance.wait_stage(key, "done", 60)
    assert time.monotonic() - since >= 2
    check_all(instance, key)
    assert reasons(instance, key, "review")[0] == "gate-passed: no CI: this repository never had a status"


def test_auto_where_there_was_one(make_instance):
    """Empty is then no pass, however long it lasts."""
    instance = begun(make_instance, ci="auto")
    status(instance, git(instance.repo, "rev-parse", "main"), "success")
    instance.start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    parked_for_ci(instance, key)
    time.sleep(2)
    asked_again(instance)
    assert instance.parked(key) == "ci"
    hang_ci(instance)
    status(instance, head_of(instance, key), "warning")
    instance.wait_stage(key, "done", 60)


def test_required_and_never_a_status(make_instance):
    """Blocked after ci.timeout_s, not counted; then retry, and green."""
    instance, key = at_ci(make_instance, keys={**FAST, "ci": {"grace_s": 1, "timeout_s": 4}})
    instance.wait_for(lambda: instance.task(key)["blocked"], 30, "it is blocked")
    task = instance.task(key)
    assert task["blocked"]["reason"].startswith("ci-timeout: no green CI within 4 s: CI has said nothing of ")
    assert task["stage"] == "development" and task["rollbacks"] == 0
    instance.wait_for(lambda: instance.issue(key)["status"] == "Blocked", 20, "Blocked is shown")
    hang_ci(instance)
    status(instance, head_of(instance, key), "success")
    assert instance.must("POST", f"/tasks/{key}/retry", {"actor": "ada"})[0] in (200, 202)
    instance.wait_stage(key, "done", 60)
    check_jobs(instance.task(key))
    assert len([line for line in instance.starts() if line[2] == "developer" and line[4] == "start"]) == 1


def test_killed_while_it_waits(make_instance):
    instance, key = at_ci(make_instance)
    for _ in range(2):
        kill(instance, "runner", "scheduler", "reconciler")
        instance.wait_for(lambda: instance.parked(key) == "ci", 30, "it still waits")
    assert instance.rows("SELECT count(*) FROM jobs WHERE kind = 'query' AND state = 'queued'"
                         " AND input LIKE '%ci%'") == [[1]]
    hang_ci(instance)
    status(instance, head_of(instance, key), "success")
    kill(instance, "scheduler")
    instance.wait_stage(key, "done", 60)
    check_all(instance, key)


def test_an_older_head_does_not_count(make_instance):
    instance, key = at_ci(make_instance)
    head = head_of(instance, key)
    older = git(instance.repo, "rev-parse", f"{head}~1")
    status(instance, older, "success")
    status(instance, older, "failure", "ci/other")
    asked_again(instance, 3)
    assert instance.parked(key) == "ci" and instance.task(key)["head"] == head
    hang_ci(instance)
    status(instance, head, "success")
    instance.wait_stage(key, "done", 60)
    check_all(instance, key)


# ---- before the merge ----

def at_merge(make_instance, **named):
    """Green after the developer; nothing is known of what the tester pushed."""
    instance, key = at_ci(make_instance, **named)
    status(instance, head_of(instance, key), "success")
    parked_for_ci(instance, key, "deploy")
    return instance, key


def leases(instance):
    return instance.http("GET", "/queue")[1]["leases"]


def test_before_the_merge(make_instance):
    instance, key = at_merge(make_instance)
    main = git(instance.repo, "rev-parse", "main")
    asked_again(instance)
    assert [lease["key"] for lease in leases(instance)] == [key]
    assert leases(instance)[0]["used_by_run"] is None
    assert "green: the merge" in why(instance, key)
    kill(instance, "runner", "scheduler")
    assert git(instance.repo, "rev-parse", "main") == main and instance.parked(key) == "ci"
    status(instance, head_of(instance, key), "success")
    instance.wait_stage(key, "done", 60)
    check_all(instance, key)
    instance.wait_for(lambda: not leases(instance), 10, "the lease is free")


def test_red_before_the_merge(make_instance):
    instance, key = at_merge(make_instance)
    main = git(instance.repo, "rev-parse", "main")
    hang_ci(instance)
    status(instance, head_of(instance, key), "error", "ci/late", "the artefacts broke the link check")
    instance.wait_for(lambda: len(reasons(instance, key, "development")) == 2, 60, "it goes back")
    assert git(instance.repo, "rev-parse", "main") == main
    instance.wait_stage(key, "done", 60)
    check_jobs(instance.task(key))
    runs = [line[0] for line in instance.starts() if line[2] == "developer" and line[4] == "start"]
    prompt = (instance.agent_dir / "prompts" / runs[1]).read_text()
    assert "ci/late" in prompt and "the artefacts broke the link check" in prompt


def test_stopped_before_the_merge(make_instance):
    """At once, and the lease is free for the next."""
    instance, key = at_merge(make_instance)
    main = git(instance.repo, "rev-parse", "main")
    assert instance.must("POST", f"/tasks/{key}/stop", {"actor": "ada"})[0] in (200, 202)
    instance.wait_for(lambda: instance.stage(key) in ("cancelled", None), 20, "it is stopped")
    assert leases(instance) == []
    live = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')"
    instance.wait_for(lambda: instance.rows(live) == [[0]], 30, "the cleanup ends")
    assert git(instance.repo, "rev-parse", "main") == main


def test_merged_by_hand_while_it_waits(make_instance):
    """What is merged is never undone: red does not send it back."""
    instance, key = at_merge(make_instance)
    clone = instance.dir / "hand"
    git(instance.dir, "clone", "-q", str(instance.repo), str(clone))
    head = head_of(instance, key)
    git(clone, "-c", "user.name=ada", "-c", "user.email=ada@example.org", "merge", "-q", "--no-ff", "-m",
        "By hand", head)
    git(clone, "push", "-q", "origin", "main")
    main = git(instance.repo, "rev-parse", "main")
    status(instance, head, "failure")
    instance.wait_stage(key, "done", 60)
    assert len(reasons(instance, key, "development")) == 1
    assert git(instance.repo, "rev-parse", "main") == main


@pytest.mark.parametrize("bad", ["link", "pipe", "large", "no JSON"])
def test_a_strange_status_is_pending(make_instance, bad):
    instance, key = at_ci(make_instance)
    head = head_of(instance, key)
    path = instance.repo / "statuses" / head / "bad.json"
    path.parent.mkdir(parents=True)
    if bad == "link":
        path.symlink_to("good.json")
    elif bad == "pipe":
        os.mkfifo(path)
    else:
        path.write_text('{"state": "success"' + (" " * (10 << 20) + "}" if bad == "large" else ""))
    status(instance, head, "success", "good")
    asked_again(instance, 3)
    assert instance.parked(key) == "ci" and instance.stage(key) == "development"
    reason = next(row["reason"] for row in instance.http("GET", "/queue")[1]["queued"])
    assert "bad (" in reason, reason
    hang_ci(instance)
    path.unlink()
    instance.wait_stage(key, "done", 60)
