"""The slice everything grew from: one issue from To Analyse to done, with a kill on the way."""

import time

from invariants import check_all


def test_created_to_done_with_the_runner_killed(make_instance):
    """Mutation: without adoption at the runner's start (runs read back) this never reaches done."""
    instance = make_instance(plan={"developer": {"sleep_s": 2}, "reviewer": {"reject": 1}}).start()
    key = instance.new_issue(1)
    assert instance.approve(key)[0] == 200
    instance.wait_for(lambda: any("j" in run and instance.stage(key) == "development"
                                  for run in instance.agents()), 30, "the developer runs")
    before = instance.agents()
    instance.kill("runner")
    time.sleep(0.3)
    assert set(before) & set(instance.agents()) == set(before), "the agent outlives the runner"
    instance.wait_stage(key, "done")
    check_all(instance, key, rejections=1)
    findings = [path.read_text() for path in (instance.agent_dir / "prompts").iterdir()
                if "Role: developer" in path.read_text()]
    assert sum("the greeting has no full stop." in text for text in findings) == 1


def test_only_a_person_approves(make_instance):
    """An agent shares the loopback: without the token nothing is approved.
    Mutation: answering commands without the token check turns this red."""
    instance = make_instance().start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.parked(key) == "approval", 30, "approval is asked for")
    for token in (False, "wrong", ""):
        status, _ = instance.http("POST", f"/tasks/{key}/approve", {"actor": "ada"}, token=token)
        assert status == 401
        status, _ = instance.http("POST", "/webhook/local", {
            "delivery": f"forged-{token}", "kind": "status", "issue": key, "status": "Approved",
            "actor": "ada"}, token=token)
        assert status == 401
    time.sleep(0.5)
    assert instance.stage(key) == "analysis"
    status, answer = instance.must("POST", "/webhook/local", {
        "delivery": "as-a-role", "kind": "status", "issue": key, "status": "Approved",
        "actor": "analyst"})
    assert status == 400 and "actor" in str(answer)
    assert instance.stage(key) == "analysis"


def test_approved_in_the_tracker(make_instance):
    instance = make_instance().start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.issue(key).get("status") == "Awaiting Approval", 30, "is shown")
    instance.must("POST", "/webhook/local", {"delivery": "approved-1", "kind": "status",
                                             "issue": key, "status": "Approved", "actor": "ada"})
    instance.wait_stage(key, "done")
    check_all(instance, key)


def test_a_lost_webhook_costs_an_interval(make_instance):
    """announce: false changes the tracker and tells nobody; the reconciler finds it."""
    instance = make_instance(keys={"reconciler": {"interval_s": 1}}).start()
    key = instance.new_issue(1, announce=False)
    instance.wait_for(lambda: instance.issue(key).get("status") == "Awaiting Approval", 30, "started")
    instance.must("POST", "/webhook/local", {
        "delivery": "approved-1", "kind": "status", "issue": key, "status": "Approved",
        "actor": "ada", "announce": False})
    instance.wait_stage(key, "done")
    check_all(instance, key)
