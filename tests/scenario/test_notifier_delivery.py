"""The notifier alone: effects reach the tracker in order, once each in the scheduler's eyes, and what
became of them is said until it is heard."""

import time

import pytest

from fake_peer import Bench, wait_for


def effect(number, kind="comment", key="DEMO-1", **fields):
    return {"kind": "effect", "effect": number, "effect_kind": kind, "external_id": f"t1-{number}",
            "project": "DEMO", "issue": "local-1", "key": key, "author": "developer",
            "status": None, "body": "hello", **fields}


@pytest.fixture
def bench():
    made = []

    def make(*arguments, **named):
        made.append(Bench(*arguments, **named))
        return made[-1]
    yield make
    for one in made:
        one.close()


def outcomes(bench):
    return {one["effect"]: one["outcome"] for one in bench.heard("effect_result")}


def test_effects_are_delivered_in_order_and_reported(bench):
    bench = bench({"work": [[effect(1, "status", status="analysis"), effect(2),
                             effect(3, "alert", body="look"), effect(4, "label"),
                             effect(5, "status", status="nonsense")]]})
    bench.start("notifier")
    bench.wait_heard("effect_result", 5)
    assert outcomes(bench) == {1: "delivered", 2: "delivered", 3: "delivered", 4: "dropped",
                               5: "dropped"}
    writes = [one for one in bench.heard() if one["kind"].startswith("local_")]
    assert [one["kind"] for one in writes] == ["local_status_put", "local_comment_put",
                                               "local_comment_put"]
    assert [one["external_id"] for one in writes] == ["t1-1", "t1-2", "t1-3"]
    assert writes[1]["author"] == "developer" and writes[2]["author"] == "stream"
    reply = wait_for(lambda: bench.ask("notifier"), 5, "a status")
    assert reply["counters"]["delivered"] == 3 and reply["counters"]["dropped"] == 2
    assert reply["doing"] == "idle" and reply["state"] == "ready"


def test_a_passing_fault_is_retried_and_keeps_the_order_of_its_task(bench):
    busy = {"kind": "error", "code": "busy", "field": None, "message": "later"}
    bench = bench({"local_comment_put": [busy, {"kind": "ack"}],
                   "work": [[effect(1), effect(2), effect(3, key="DEMO-2")]]})
    bench.start("notifier")
    bench.wait_heard("effect_result", 3)
    # mutation: without the parking, effect 2 is delivered before effect 1
    assert outcomes(bench) == {1: "retry", 2: "retry", 3: "delivered"}
    assert [one["external_id"] for one in bench.heard("local_comment_put")] == ["t1-1", "t1-3"]


def test_an_unknown_issue_is_dropped_with_the_reason(bench):
    gone = {"kind": "error", "code": "unknown-issue", "field": None, "message": "no such issue"}
    bench = bench({"local_comment_put": gone, "work": [[effect(1)]]})
    bench.start("notifier")
    result = bench.wait_heard("effect_result")[0]
    assert result["outcome"] == "dropped" and "no such issue" in result["reason"]


def test_the_outcome_is_repeated_until_the_scheduler_hears_it(bench):
    bench = bench({"effect_result": [{"silent": True}, {"kind": "ack"}], "work": [[effect(1)]]})
    bench.start("notifier")
    results = bench.wait_heard("effect_result", 2)
    assert results[0]["effect"] == results[1]["effect"] == 1
    # mutation: delivering again instead of only saying it again makes two comments here
    assert len(bench.heard("local_comment_put")) == 1


def test_a_scheduler_that_dies_is_asked_again_with_the_same_boot(bench):
    bench = bench()
    bench.start("notifier")
    first = bench.wait_heard("work_request")[0]
    bench.scheduler.kill()
    bench.scheduler.wait()
    bench.script({"work": [[effect(1)]]})
    bench.start_scheduler()
    bench.wait_heard("effect_result", seconds=10)
    assert {one["boot"] for one in bench.heard("work_request")} == {first["boot"]}


@pytest.mark.parametrize("point", ["effect-before-delivery", "effect-after-delivery"])
def test_killed_between_steps_the_next_boot_takes_it_up(bench, point):
    bench = bench({"work": [[effect(1)], [effect(1)]]})
    (bench.dir / "crash" / point).touch()
    first = bench.start("notifier")
    assert first.wait(10) == -9
    assert bench.heard("effect_result") == []
    bench.start("notifier")
    bench.wait_heard("effect_result")
    requests = bench.heard("work_request")
    assert requests[0]["boot"] != requests[1]["boot"]
    ids = [one["external_id"] for one in bench.heard("local_comment_put")]
    assert ids == ["t1-1"] * (1 if "before" in point else 2)  # the same id: one comment


def test_it_stops_at_once_when_told(bench):
    bench = bench()
    process = bench.start("notifier")
    bench.wait_heard("work_request")
    process.terminate()
    before = time.monotonic()
    assert process.wait(5) == 0
    assert time.monotonic() - before < 1
