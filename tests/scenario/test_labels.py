"""autoApprove and autoDeploy: the person is skipped and nothing else, the use is announced, doubt is no.

Mutations, each red: the feature's repositories not asked; case and blanks heeded; two of one name taken for
one; the label of the other person taken; asked once and never again."""

import json
import signal

import pytest

from invariants import check_jobs

ON = {"auto_label": {"enabled": True, "repos": "*"}, "reconciler": {"interval_s": 1}}


def said(instance, key, words):
    return sum(words in comment["body"] for comment in instance.issue(key)["comments"])


def statuses(instance, key):
    return [row["status"] for row in instance.issue(key)["status_history"] if row["actor"] == "stream"]


def queries(instance):
    services = instance.http("GET", "/queue")[1]["services"]
    return next(row for row in services if row["name"] == "reconciler")["counters"]["queries"]


def parked(instance, key, what):
    instance.wait_for(lambda: instance.parked(key) == what, 60, f"it waits for {what}")


@pytest.mark.parametrize("label", ["autoApprove", "  AUTOAPPROVE "])
def test_the_label_approves(make_instance, label):
    instance = make_instance(keys=ON).start()
    key = instance.new_issue(1, labels=["bug", label])
    instance.wait_stage(key, "done", 60)
    check_jobs(instance.task(key))
    assert said(instance, key, "The analysis is approved without a person") == 1
    shown = statuses(instance, key)
    assert shown.count("Approved") == 1
    why = [row["why"] for row in instance.task(key)["transitions"] if row["to"] == "architecture"]
    assert why[0].startswith("auto-approved: ")


@pytest.mark.parametrize("keys, labels", [
    ({**ON, "auto_label": {"enabled": True, "repos": "other"}}, ["autoApprove"]),
    ({**ON, "auto_label": {"enabled": False, "repos": "*"}}, ["autoApprove"]),
    (ON, ["autoApprove", "AutoApprove"]), (ON, ["autoDeploy"]), (ON, ["autoApproved"]), (ON, [])])
def test_in_doubt_a_person(make_instance, keys, labels):
    instance = make_instance(keys=keys).start()
    key = instance.new_issue(1, labels=labels)
    parked(instance, key, "approval")
    some_passes(instance)
    assert instance.parked(key) == "approval" and instance.stage(key) == "analysis"


def some_passes(instance):
    def passes():
        services = instance.http("GET", "/queue")[1]["services"]
        return next(row for row in services if row["name"] == "reconciler")["counters"]["passes"]
    before = passes()
    instance.wait_for(lambda: passes() > before + 3, 30, "it was looked at again")


def test_a_label_that_comes_later_and_is_not_announced(make_instance):
    instance = make_instance(keys=ON).start()
    key = instance.new_issue(1)
    parked(instance, key, "approval")
    instance.must("POST", "/webhook/local", {"delivery": "quiet", "kind": "label", "issue": key,
                                             "labels": ["autoApprove"], "actor": "ada",
                                             "announce": False})
    instance.wait_stage(key, "done", 60)


def test_the_label_deploys(make_instance):
    instance = make_instance(keys=ON, project={"confirm_deploy": True}).start()
    key = instance.new_issue(1, labels=["autoApprove"])
    parked(instance, key, "confirm")
    instance.must("POST", "/webhook/local", {"delivery": "ship", "kind": "label", "issue": key,
                                             "labels": ["autoApprove", "autoDeploy"], "actor": "ada"})
    instance.wait_stage(key, "done", 60)
    check_jobs(instance.task(key))
    assert said(instance, key, "The deploy goes on without a person") == 1


def test_the_agent_that_failed_is_not_waived(make_instance):
    """It skips the person; the gate has to have passed."""
    instance = make_instance(keys={**ON, "max_attempts": 1}, plan={"analyst": {"exit": 1}}).start()
    key = instance.new_issue(1, labels=["autoApprove"])
    instance.wait_for(lambda: instance.task(key).get("blocked"), 60, "it is blocked")
    some_passes(instance)
    assert instance.stage(key) == "analysis" and json.dumps(instance.task(key)).count("auto-approved") == 0


def test_switched_off_nobody_asks_any_more(make_instance):
    """Red when the question stands on although the feature has gone."""
    instance = make_instance(keys=ON).start()
    key = instance.new_issue(1)
    parked(instance, key, "approval")
    asked = queries(instance)
    instance.wait_for(lambda: queries(instance) >= asked + 2, 20, "it is asked at the reconciler's pace")
    config = json.loads(instance.config.read_text())
    config["auto_label"]["enabled"] = False
    instance.config.write_text(json.dumps(config))
    before = instance.pid("scheduler")
    instance.process.send_signal(signal.SIGHUP)
    instance.wait_for(lambda: instance.pid("scheduler") not in (None, before), 30, "another scheduler")
    instance.wait_up()
    some_passes(instance)
    asked = queries(instance)
    some_passes(instance)
    assert queries(instance) == asked and instance.parked(key) == "approval"
