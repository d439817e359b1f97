"""With every webhook lost, the same as with every one delivered, an interval later: each thing that people do in
the tracker is done twice, announced and not, and what they see of it is compared.

Mutations, each red: the reconciler blind for one of the four commands (missed_command: a way does not come to
its end); a command that is found acted on twice (said more often); the comments since not read at the claim
(with_a_word: the prompt lacks it); labels not asked for (by_label)."""

import re

import pytest

from invariants import check_jobs

KEYS = {"reconciler": {"interval_s": 1}, "auto_label": {"enabled": True, "repos": "*"}}


class Person:
    """Who does everything in the tracker, and waits for what is shown there."""

    def __init__(self, instance, announce):
        self.instance, self.announce, self.said, self.key = instance, announce, 0, None

    def _send(self, kind, **fields):
        self.said += 1
        code, _ = self.instance.must("POST", "/webhook/local", {
            "delivery": f"d-{self.said}", "kind": kind, "issue": self.key, "actor": "ada",
            "announce": self.announce, **fields})
        assert code == 202

    def creates(self, status="To Analyse", labels=()):
        self.key = self.instance.new_issue(1, status=status, labels=list(labels), announce=self.announce)

    def sets(self, status):
        self._send("status", status=status)

    def comments(self, text):
        self._send("comment", body=text)

    def labels(self, *labels):
        self._send("label", labels=list(labels))

    def sees(self, status, seconds=60):
        self.instance.wait_for(lambda: self.instance.issue(self.key).get("status") == status, seconds,
                               f"{self.key} shows {status}")

    def waits_for(self, stage):
        self.instance.wait_stage(self.key, stage, 60)


def by_status(person):
    person.creates(status="Backlog")
    person.sets("To Analyse")
    person.sees("Awaiting Approval")
    person.sets("Approved")
    person.sees("Awaiting Deploy")
    person.sets("Confirm Deploy")
    person.waits_for("done")


def by_comment(person):
    person.creates()
    person.sees("Awaiting Approval")
    person.comments("Read it all. :approved:")
    person.sees("Awaiting Deploy")
    person.sets("Confirm Deploy")
    person.waits_for("done")


def by_label(person):
    person.creates()
    person.sees("Awaiting Approval")
    person.labels("autoApprove")
    person.sees("Awaiting Deploy")
    person.labels("autoApprove", "autoDeploy")
    person.waits_for("done")


def with_a_word(person):
    """Asks for another analysis, which is told what was written since."""
    person.creates()
    person.sees("Awaiting Approval")
    person.comments("In Latin, please.")
    person.sets("To Analyse")
    person.instance.wait_for(lambda: sum(line[2] == "analyst" and line[4] == "end" for line
                                         in person.instance.starts()) == 2, 60, "the analyst once more")
    prompts = [path.read_text() for path in (person.instance.agent_dir / "prompts").iterdir()]
    assert sum("In Latin, please." in text for text in prompts) == 1
    person.sees("Awaiting Approval")
    person.sets("STOP")
    person.waits_for("cancelled")


def stopped_before_the_deploy(person):
    person.creates(labels=["autoApprove"])
    person.sees("Awaiting Deploy")
    person.sets("STOP")
    person.waits_for("cancelled")


def blocked_and_resumed(person):
    person.instance.plan({"architect": {"exit": 1}})
    person.creates()
    person.sees("Awaiting Approval")
    person.sets("Approved")
    person.sees("Blocked")
    person.instance.plan({})
    person.sets("To Analyse")
    person.sees("Awaiting Deploy")
    person.sets("Confirm Deploy")
    person.waits_for("done")


def plain(text):
    """Without what no two runs have in common: times, commits, costs."""
    text = re.sub(r"\b[0-9a-f]{7,40}\b", "<commit>", text)
    return re.sub(r"\d+(\.\d+)?", "<n>", text)


def seen(instance, key):
    """What is left of it for people: the comments, how they were told of it, where it is."""
    instance.wait_for(lambda: not instance.http("GET", "/queue")[1]["counts"]["effects"], 30, "all is said")
    instance.wait_for(lambda: all(job["state"] not in ("queued", "running")
                                  for job in instance.task(key)["jobs"]), 30, "nothing is left to do")
    task, issue = instance.task(key), instance.issue(key)
    check_jobs(task)
    # the start of a run that was over when it was to be told may be dropped with the end of its task
    comments = sorted((comment["author"], plain(comment["body"])) for comment in issue["comments"]
                      if " started \u00b7 attempt " not in comment["body"][:60])
    return {"comments": comments, "status": issue["status"], "labels": issue["labels"],
            "stages": [(row["from"], row["to"], plain(row["why"])) for row in task["transitions"]],
            "blocked": task["blocked"], "parked": task["parked"],
            "runs": sorted((run["role"] or "", run["outcome"]) for run in task["runs"]),
            "done": [(row["actor"], row["status"]) for row in issue["status_history"]
                     if row["actor"] != "stream"]}


@pytest.mark.parametrize("way", [by_status, by_comment, by_label, with_a_word, stopped_before_the_deploy,
                                 blocked_and_resumed])
def test_the_same_as_announced(make_instance, way):
    found = []
    for announce in (True, False):
        instance = make_instance(project={"confirm_deploy": True}, keys={**KEYS, "max_attempts": 1}).start()
        person = Person(instance, announce)
        way(person)
        found.append(seen(instance, person.key))
        instance.stop()
    announced, lost = found
    for what, value in announced.items():
        assert lost[what] == value, what
