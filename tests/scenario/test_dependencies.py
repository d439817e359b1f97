"""`Depends-On:` in the description: the analysis waits for its tasks; a circle and an unknown key are said
once, and hold nobody else up.

Mutations, each red: the claim not asking; a dependent counted as earlier by the serial gate; said at every
walk; cancelled not taken for finished."""

import time

from invariants import check_all


def queued_reason(instance, key):
    queued = instance.http("GET", "/queue")[1]["queued"]
    return next((job["reason"] for job in queued if job["key"] == key), None)


def new_issue(instance, number, depends):
    return instance.new_issue(number, body=f"As a reader I want a greeting.\n\nDepends-On: {depends}\n")


def waits(instance, key, reason):
    instance.wait_for(lambda: (queued_reason(instance, key) or "").startswith(reason), 30,
                      f"{key} waits: {reason}")


def said(instance, key, word):
    return sum(word in comment["body"] for comment in instance.issue(key)["comments"])


def test_it_waits_until_the_other_is_finished(make_instance):
    instance = make_instance().start()
    first = instance.new_issue(1)
    second = new_issue(instance, 2, "DEMO-1")
    third = new_issue(instance, 3, "DEMO-1, DEMO-4")
    fourth = instance.new_issue(4, status="Backlog")
    waits(instance, second, "depends-on: DEMO-1 is unfinished (analysis)")
    instance.approve(first, 60)
    instance.wait_stage(first, "done", 60)
    instance.approve(second, 60)
    instance.wait_stage(second, "done", 60)
    check_all(instance, second)
    waits(instance, third, "depends-on: DEMO-4 is unfinished (not started)")
    instance.must("POST", "/webhook/local", {"delivery": "go", "kind": "status", "issue": fourth,
                                             "status": "To Analyse", "actor": "ada"})
    waits(instance, third, "depends-on: DEMO-4 is unfinished (analysis)")
    instance.http("POST", f"/tasks/{fourth}/stop", {"actor": "ada"})  # cancelled is finished too
    instance.approve(third, 60)
    instance.wait_stage(third, "done", 60)
    assert said(instance, third, "It does not begin") == 0


def test_circles_and_unknown_keys_are_said_once_and_hold_nobody_up(make_instance):
    instance = make_instance().start()
    one, two = new_issue(instance, 1, "DEMO-2"), new_issue(instance, 2, "DEMO-1")
    lost = new_issue(instance, 3, "NOPE-7")
    behind = new_issue(instance, 4, "DEMO-1")
    waits(instance, one, "dependency-cycle: DEMO-1 → DEMO-2 → DEMO-1")
    waits(instance, two, "dependency-cycle: DEMO-2 → DEMO-1 → DEMO-2")
    waits(instance, lost, "dependency-unknown: nobody knows NOPE-7")
    waits(instance, behind, "depends-on: DEMO-1 is unfinished")
    other = instance.new_issue(5)
    instance.approve(other, 60)
    instance.wait_stage(other, "done", 60)
    instance.wait_for(lambda: said(instance, lost, "It does not begin") == 1, 20, "it is said")
    instance.kill("scheduler")
    instance.wait_up()
    time.sleep(1)
    assert [said(instance, key, "It does not begin") for key in (one, two, lost, behind)] == [1, 1, 1, 0]
    # corrected, it goes on by itself
    instance.must("POST", "/webhook/local", {
        "delivery": "mend", "kind": "issue", "issue": two, "title": "Say hello", "body": "Alone.",
        "status": "Analysis", "labels": [], "actor": "ada"})
    for key in (two, one, behind):
        instance.approve(key, 60)
        instance.wait_stage(key, "done", 60)


def test_the_serial_gate_does_not_lock_it_out(make_instance):
    """The first depends on the second of the same repository, where one goes after the other."""
    instance = make_instance(keys={"serial_gate": {"enabled": True, "repos": "*"}}).start()
    first, second = new_issue(instance, 1, "DEMO-2"), instance.new_issue(2)
    third = instance.new_issue(3)
    waits(instance, first, "depends-on: DEMO-2")
    waits(instance, third, "serial-gate: DEMO-2")
    for key in (second, first, third):
        instance.approve(key, 60)
        instance.wait_stage(key, "done", 60)
