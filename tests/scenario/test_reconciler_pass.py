"""The reconciler alone: it compares whole boards, sends what differs, answers questions."""

import signal
import subprocess

import pytest

from fake_peer import Bench, wait_for

NOBODY = {"tasks_get": {"kind": "tasks", "tasks": [], "more": False}}


@pytest.fixture
def bench():
    made = []

    def make(*arguments, **named):
        made.append(Bench(*arguments, **named))
        return made[-1]
    yield make
    for one in made:
        one.close()


def issue(number, status="Backlog", **fields):
    return {"id": number, "issue": f"local-{number}", "key": f"DEMO-{number}", "title": "T",
            "body": "B", "status": status, "labels": ["big"], "updated_ms": 1000,
            "status_ours": False, "comments": [], **fields}


def page(*issues, more=False):
    return {"kind": "local_issues", "issues": list(issues), "more": more}


def task(number, **fields):
    return {"id": number, "key": f"DEMO-{number}", "issue": f"local-{number}",
            "stage": "development", "entry": 30 + number, "blocked": None, "parked": None,
            "display": "development", "display_confirmed": True, "live_jobs": 1, "head": None,
            "branch": "b", "pull_request": None, "commands_done": [], **fields}


def tasks(*rows):
    return {"tasks_get": {"kind": "tasks", "tasks": list(rows), "more": False}}


def test_a_missed_start_is_found_on_the_second_page_too(bench):
    bench = bench({"local_issues_get": [page(issue(1, "To Analyse"), more=True),
                                        page(issue(2, "to analyse "), issue(3))], **NOBODY})
    bench.start("reconciler")
    done = bench.wait_heard("reconcile_done")[0]
    found = bench.heard("finding")
    assert [(one["finding"], one["key"], one["status"]) for one in found] == [
        ("F-1", "DEMO-1", "to_analyse"), ("F-1", "DEMO-2", "to_analyse")]
    assert found[0]["detail"]["title"] == "T" and found[0]["detail"]["labels"] == ["big"]
    assert done["pass"] is None and done["compared"] == 3 and done["found"] == 2
    assert [one["after"] for one in bench.heard("local_issues_get")] == [0, 1]


def test_a_synchronised_board_is_silent(bench):
    bench = bench({"local_issues_get": page(issue(1, "Development", status_ours=True), issue(2)),
                   **tasks(task(1))}, keys={"reconciler": {"interval_s": 1}})
    bench.start("reconciler")
    bench.wait_heard("reconcile_done", 3)
    assert bench.heard("finding") == []


def test_approval_and_lost_job_are_found(bench):
    bench = bench({"local_issues_get": page(issue(1, "Approved"), issue(2, "Development")),
                   **tasks(task(1, stage="analysis", parked="approval", live_jobs=0),
                           task(2, live_jobs=0))})
    bench.start("reconciler")
    bench.wait_heard("reconcile_done")
    assert [(one["finding"], one["key"], one["entry"]) for one in bench.heard("finding")] == [
        ("F-2", "DEMO-1", 31), ("F-4", "DEMO-2", 32)]


def test_issues_are_read_before_tasks(bench):
    """What comes in between is then a task already, and no finding. mutation: the other order"""
    bench = bench({"local_issues_get": page(), **NOBODY})
    bench.start("reconciler")
    bench.wait_heard("reconcile_done")
    kinds = [one["kind"] for one in bench.heard() if one["kind"].endswith("_get")]
    assert kinds[:2] == ["local_issues_get", "tasks_get"]


def test_a_pass_asked_for_is_answered_with_its_number(bench):
    bench = bench({"local_issues_get": page(), **NOBODY,
                   "work": [[{"kind": "reconcile_now", "pass": 17}]]},
                  keys={"reconciler": {"interval_s": 60}})
    bench.start("reconciler")
    assert [one["pass"] for one in bench.wait_heard("reconcile_done", 2)] == [None, 17]


NO_CI = {"head": "", "verdict": "pass", "reason": "no CI", "findings": [], "merged": False}


def test_off_compares_nothing_and_still_answers(bench):
    bench = bench({"local_issues_get": page(issue(1, "To Analyse")), **NOBODY,
                   "work": [[{"kind": "reconcile_now", "pass": 17},
                             {"kind": "query", "job": 5, "what": "ci", "project": "DEMO",
                              "issue": "local-1", "key": "DEMO-1", "pull_request": None,
                              "head": None}]]},
                  keys={"reconciler": {"enabled": False, "interval_s": 1}})
    bench.start("reconciler")
    done = bench.wait_heard("reconcile_done")[0]
    assert done["pass"] == 17 and done["compared"] == 0
    assert bench.wait_heard("query_result")[0]["answer"] == NO_CI
    assert bench.heard("finding") == [] and bench.heard("local_issues_get") == []


def test_a_tracker_that_cannot_be_read_is_no_empty_board(bench):
    """mutation: a failed page taken for the last one; the task then looks like one without issue"""
    busy = {"kind": "error", "code": "busy", "field": None, "message": "later"}
    bench = bench({"local_issues_get": [page(issue(1, "Development"), more=True), busy],
                   **tasks(task(1), task(2, live_jobs=0))})
    bench.start("reconciler")
    done = bench.wait_heard("reconcile_done")[0]
    assert done["failed"] == 1 and done["compared"] == 0 and bench.heard("finding") == []


def query(what, **fields):
    return {"kind": "query", "job": 5, "what": what, "project": "DEMO", "issue": "local-3",
            "key": "DEMO-3", "pull_request": None, "head": None, **fields}


def test_questions_are_answered_and_unknown_is_null(bench):
    bench = bench({"local_issues_get": page(issue(3, comments=[{"author": "ada", "body": "x",
                                                                "at_ms": 7}])), **NOBODY,
                   "work": [[query("issue"), query("labels"), query("comments"), query("ci"),
                             query("pr"), query("pr", pull_request=4),
                             query("issue", issue="local-9"), query("issue", issue="other"),
                             query("labels", project="NONE")]]},
                  keys={"reconciler": {"enabled": False}})
    bench.start("reconciler")
    answers = [one["answer"] for one in bench.wait_heard("query_result", 9)]
    assert answers[0]["id"] == "local-3" and answers[0]["status_key"] == ""
    assert answers[1] == {"labels": ["big"]}
    assert answers[2] == {"comments": [{"author": "ada", "body": "x", "at_ms": 7}]}
    assert answers[3] == NO_CI
    assert answers[4:] == [None] * 5


def test_a_pull_request_is_read_from_the_forge(bench):
    bench = bench({"local_issues_get": page(), **NOBODY}, keys={"reconciler": {"enabled": False}})
    repository = bench.home / "forge" / "sample.git"
    repository.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", repository], check=True)
    (repository / "pull-requests").mkdir()
    (repository / "pull-requests" / "4.json").write_text(
        '{"number": 4, "title": "t", "body": "b", "head": "feature/x", "base": "main",'
        ' "head_sha": "' + "a" * 40 + '", "state": "closed", "merged": true,'
        ' "merge_commit": "' + "b" * 40 + '", "comments": []}')
    bench.script({"work": [[query("pr", pull_request=4)]]})
    bench.start("reconciler")
    answer = bench.wait_heard("query_result")[0]["answer"]
    assert answer["state"] == "closed" and answer["merged"] is True
    assert answer["merge_commit"] == "b" * 40


def test_killed_after_a_finding_the_next_pass_is_whole(bench):
    bench = bench({"local_issues_get": page(issue(1, "To Analyse"), issue(2, "To Analyse")),
                   **NOBODY})
    (bench.dir / "crash" / "finding-after-send").touch()
    assert bench.start("reconciler").wait(10) == -signal.SIGKILL
    bench.start("reconciler")
    bench.wait_heard("reconcile_done")
    assert [one["key"] for one in bench.heard("finding")] == ["DEMO-1", "DEMO-1", "DEMO-2"]


def test_without_a_scheduler_it_waits_and_answers_status(bench):
    bench = bench({"local_issues_get": page(), **NOBODY})
    bench.scheduler.kill()
    bench.scheduler.wait()
    bench.start("reconciler")
    status = wait_for(lambda: bench.ask("reconciler"), 10, "a status")
    assert status["service"] == "reconciler" and status["state"] == "ready"
    bench.start_scheduler()
    bench.wait_heard("reconcile_done", seconds=20)
