"""plane.approvers: who else approves, confirms or stops is answered once, and nothing happens; announced or not.

Mutations, each red: the list not asked in events.c (announced), not asked in outside.c (not announced); the comment
found at every pass; the
author of the comment taken for nobody in particular (by comment); an operator held to it as well (the end)."""

import time

import pytest

KEYS = {"reconciler": {"interval_s": 1}, "plane": {"approvers": ["ada@example.org"]}}


class Tracker:
    def __init__(self, instance, announce):
        self.instance, self.announce, self.sent = instance, announce, 0

    def send(self, key, kind, actor, **fields):
        self.sent += 1
        code, _ = self.instance.must("POST", "/webhook/local", {
            "delivery": f"d-{self.sent}", "kind": kind, "issue": key, "actor": actor,
            "announce": self.announce, **fields})
        assert code == 202

    def shows(self, key, status):
        self.instance.wait_for(lambda: self.instance.issue(key).get("status") == status, 60,
                               f"{key} shows {status}")

    def refusals(self, key, command):
        return [text["body"] for text in self.instance.issue(key)["comments"]
                if text["author"] == "stream" and "plane.approvers" in text["body"] and f"**{command}**" in text["body"]]

    def in_vain(self, key, command, back):
        """Twice: the display returns each time, and the answer is given once."""
        for _ in range(2):
            before = len(self.instance.issue(key)["status_history"])
            self.send(key, "status", "eve", status=command)

            def returned():
                rows = [(row["actor"], row["status"]) for row in self.instance.issue(key)["status_history"][before:]]
                return ("eve", command) in rows and ("stream", back) in rows[rows.index(("eve", command)):]
            self.instance.wait_for(returned, 30, f"{command} by eve is answered with {back}")
        self.instance.wait_for(lambda: self.refusals(key, command), 20, "it is said")
        assert len(self.refusals(key, command)) == 1


@pytest.mark.parametrize("announce", [True, False], ids=["announced", "not_announced"])
def test_who_may_not(make_instance, announce):
    instance = make_instance(keys=KEYS, project={"confirm_deploy": True}).start()
    tracker = Tracker(instance, announce)
    key = instance.new_issue(1)
    tracker.shows(key, "Awaiting Approval")
    tracker.in_vain(key, "Approved", "Awaiting Approval")
    tracker.in_vain(key, "STOP", "Awaiting Approval")
    assert instance.parked(key) == "approval"
    tracker.send(key, "status", "Ada@Example.org", status="Approved")
    tracker.shows(key, "Awaiting Deploy")
    tracker.in_vain(key, "Confirm Deploy", "Awaiting Deploy")
    assert instance.parked(key) == "confirm"
    tracker.send(key, "status", "ada@example.org", status="Confirm Deploy")
    instance.wait_stage(key, "done", 60)


@pytest.mark.parametrize("announce", [True, False], ids=["announced", "not_announced"])
def test_by_comment_and_by_an_operator(make_instance, announce):
    instance = make_instance(keys=KEYS).start()
    tracker = Tracker(instance, announce)
    key = instance.new_issue(1)
    tracker.shows(key, "Awaiting Approval")
    tracker.send(key, "comment", "eve", body="Looks good :approved:")
    instance.wait_for(lambda: tracker.refusals(key, "Approved"), 30, "it is said")
    assert instance.parked(key) == "approval"
    tracker.shows(key, "Awaiting Approval")
    said = len(instance.issue(key)["status_history"])
    time.sleep(3)  # passes, each of which finds the comment where it is
    assert len(instance.issue(key)["status_history"]) == said
    instance.approve(key, 60)  # who holds the operator's token needs no place in a tracker's list
    instance.wait_stage(key, "done", 60)
