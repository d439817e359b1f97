"""How many agents work at once, and who is next: over all, by project, by role; the later stage first, then the
older task. Every job that waits says why.

Mutations, each red: a limit of claim_rules.c that is not asked, or asked with > (limits); an agent that was claimed
not counted at once (limits); the queue without stage_rank or task in its order (order); a priority that is not taken over
at the creation, from a finding, or into jobs that wait (priority)."""

import json

import pytest

from invariants import check_all
from orchctl_kit import parsed


def two_projects(make_instance, demo=9, shop=9, roles=None, **keys):
    """DEMO and SHOP, both in the one repository."""
    instance = make_instance(plan={"analyst": {"until": "go"}},
                             keys={"max_concurrency": 9, "agent": {"max_concurrency": roles or {}}, **keys})
    config = json.loads(instance.config.read_text())
    project = config["projects"][0]
    config["projects"] = [{**project, "max_concurrency": demo},
                          {**project, "key": "SHOP", "max_concurrency": shop}]
    instance.config.write_text(json.dumps(config))
    return instance.start()


def begin(instance, *keys, delivery="", **fields):
    for key in keys:
        code, _ = instance.must("POST", "/webhook/local", {
            "delivery": f"{key}{delivery}", "kind": "issue", "issue": key, "title": "Say hello", "body": "A greeting.",
            "status": "To Analyse", "labels": [], "actor": "ada", **fields})
        assert code == 202


def reasons(instance):
    return {job["key"]: job["reason"].split(":")[0] for job in instance.http("GET", "/queue")[1]["queued"]}


def started(instance):
    return [(line[0].rsplit("-j", 1)[0], line[2]) for line in instance.starts() if line[4] == "start"]


def most_at_once(instance, wanted):
    """Of the agents that wanted(key, role) is true of, by their own record."""
    now = most = 0
    for run, _, role, _, what in sorted(instance.starts(), key=lambda line: float(line[3])):
        if wanted(run.rsplit("-j", 1)[0], role):
            now += 1 if what == "start" else -1
            most = max(most, now)
    return most


ISSUES = ["DEMO-1", "DEMO-2", "DEMO-3", "SHOP-1", "SHOP-2"]


@pytest.mark.parametrize("limits, run, wait, counted", [
    ({"max_concurrency": 2}, ["DEMO-1", "DEMO-2"],
     {"DEMO-3": "limit-global", "SHOP-1": "limit-global", "SHOP-2": "limit-global"}, lambda key, role: True),
    ({"demo": 1}, ["DEMO-1", "SHOP-1", "SHOP-2"], {"DEMO-2": "limit-project", "DEMO-3": "limit-project"},
     lambda key, role: key.startswith("DEMO")),
    ({"roles": {"analyst": 4}}, ["DEMO-1", "DEMO-2", "DEMO-3", "SHOP-1"], {"SHOP-2": "limit-role"},
     lambda key, role: role == "analyst"),
], ids=["all", "project", "role"])
def test_limits(make_instance, limits, run, wait, counted):
    instance = two_projects(make_instance, **limits)
    allowed = sum(counted(key, "analyst") for key in run)
    begin(instance, *ISSUES)
    instance.wait_for(lambda: sorted(key for key, _ in started(instance)) == sorted(run), 30, "those run")
    instance.wait_for(lambda: reasons(instance) == wait, 20, f"{wait}: {reasons(instance)}")
    for key, reason in wait.items():
        words = parsed(instance, "why", key)
        assert words["reason"].startswith(f"{reason}: ") and words["since"] and words["next"], words
        assert words["who"] == "nobody has to: it goes on by itself", words
    (instance.agent_dir / "go").touch()
    for key in ISSUES:
        instance.wait_for(lambda: instance.parked(key) == "approval", 60, f"{key} had its turn")
    assert most_at_once(instance, counted) == allowed


def test_order(make_instance):
    """One agent at a time: who is nearest to its end comes first, then who is older."""
    instance = make_instance(keys={"max_concurrency": 1}).start()
    begin(instance, "DEMO-1", "DEMO-2")
    for key in ("DEMO-1", "DEMO-2"):
        instance.wait_for(lambda: instance.issue(key).get("status") == "Awaiting Approval", 60, "analysed")
    instance.plan({"analyst": {"until": "go"}})
    begin(instance, "DEMO-3")
    instance.wait_for(lambda: ("DEMO-3", "analyst") in started(instance), 30, "the one agent works")
    begin(instance, "DEMO-4")
    instance.must("POST", "/webhook/local", {"delivery": "once more", "kind": "status", "issue": "DEMO-1",
                                             "status": "To Analyse", "actor": "ada"})
    instance.approve("DEMO-2")
    instance.wait_for(lambda: [job["key"] for job in instance.http("GET", "/queue")[1]["queued"]] ==
                      ["DEMO-2", "DEMO-1", "DEMO-4"], 20, "/queue has them in their order")
    before = len(started(instance))
    instance.plan({})
    (instance.agent_dir / "go").touch()
    instance.wait_stage("DEMO-2", "done", 60)
    for key in ("DEMO-1", "DEMO-4"):
        instance.wait_for(lambda: instance.parked(key) == "approval", 60, f"{key} had its turn")
    # what is nearest to its end wins each time that there is room
    assert started(instance)[before:] == [
        ("DEMO-2", "architect"), ("DEMO-2", "developer"), ("DEMO-2", "reviewer"), ("DEMO-2", "tester"),
        ("DEMO-1", "analyst"), ("DEMO-4", "analyst")]
    assert most_at_once(instance, lambda key, role: True) == 1
    check_all(instance, "DEMO-2")


def test_priority(make_instance):
    """The more urgent issue first, whether its webhook came or not, and also where it became so meanwhile."""
    instance = make_instance(plan={"analyst": {"until": "go"}},
                             keys={"max_concurrency": 1, "reconciler": {"interval_s": 1}}).start()
    begin(instance, "DEMO-1")
    instance.wait_for(lambda: started(instance) == [("DEMO-1", "analyst")], 30, "the one agent works")
    begin(instance, "DEMO-2", "DEMO-3")
    begin(instance, "DEMO-4", priority="low")
    begin(instance, "DEMO-5", priority="urgent", announce=False)

    def order():
        return [job["key"] for job in instance.http("GET", "/queue")[1]["queued"]]
    instance.wait_for(lambda: order() == ["DEMO-5", "DEMO-4", "DEMO-2", "DEMO-3"], 30, f"by urgency: {order()}")
    instance.must("POST", "/webhook/local", {"delivery": "more", "kind": "issue", "issue": "DEMO-3", "actor": "ada",
                                             "title": "Say hello", "body": "A greeting.", "priority": "high"})
    wanted = ["DEMO-5", "DEMO-3", "DEMO-4", "DEMO-2"]
    instance.wait_for(lambda: order() == wanted, 20, f"by urgency: {order()}")
    assert instance.issue("DEMO-3")["priority"] == "high" and instance.issue("DEMO-2")["priority"] == "none"
    (instance.agent_dir / "go").touch()
    for key in wanted:
        instance.wait_for(lambda: instance.parked(key) == "approval", 60, f"{key} had its turn")
    assert [key for key, _ in started(instance)] == ["DEMO-1", *wanted]
