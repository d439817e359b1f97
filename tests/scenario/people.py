"""People who use the whole pipeline while something is done to the instance: each of their tasks has a way
of its own. Nobody is patient and nobody is told: what they see in /tasks is what they act on."""

import json
import os
import random
import re
from collections import Counter

IN_FLIGHT = 4
WAYS = ["operator", "silent", "labels", "stopped", "depends"]
ANSWERS = {"approve": ("Awaiting Approval", "Approved"),
           "confirm-deploy": ("Awaiting Deploy", "Confirm Deploy")}


class People:
    """operator: approves and confirms over HTTP. silent: in the tracker, every webhook lost. labels: waived.
    stopped: STOPped at some moment. depends: on the task before it."""

    def __init__(self, instance, seed):
        self.instance, self.source = instance, random.Random(seed)
        self.number, self.live, self.ended = 0, {}, {}
        self.blocked, self.ways, self.were_blocked = Counter(), Counter(), set()
        self.waited_for_ci = set()

    def _begin(self):
        self.number += 1
        way = WAYS[self.number % len(WAYS)]
        fields = {}
        if way == "silent":
            fields = {"announce": False}
        elif way == "labels":
            fields = {"labels": ["autoApprove", "autoDeploy"]}
        elif way == "depends" and self.number > 1:
            fields = {"body": f"Better.\n\nDepends-On: DEMO-{self.number - 1}"}
        key = self.instance.new_issue(self.number, **fields)
        self.live[key] = {"way": way, "steps": self.source.randrange(2, 60), "said": 0}

    def _say(self, key, plan, what):
        """What the task waits for is given, each in its way."""
        if plan["way"] == "labels":
            return
        if plan["way"] == "silent":
            self._say_in_the_tracker(key, plan, *ANSWERS[what])
            return
        self.instance.http("POST", f"/tasks/{key}/{what}", {"actor": "ada"}, timeout=5)

    def _say_in_the_tracker(self, key, plan, asked, answer):
        """As a person does who sees the issue alone; what comes too early is not remembered, so once more."""
        shown = self.instance.http("GET", f"/local/issues/{key}", timeout=5)[1] or {}
        if shown.get("status") == asked:
            plan["said"] += 1
            self.instance.http("POST", "/webhook/local", {
                "delivery": f"{key}-{plan['said']}", "kind": "status", "issue": key, "status": answer,
                "actor": "ada", "announce": False}, timeout=5)

    def _step(self, key, plan):
        task = self.instance.task(key)
        stage = task.get("stage")
        if stage in ("done", "cancelled"):
            self.ended[key] = plan["way"]
            self.ways[plan["way"]] += 1
            del self.live[key]
            return
        plan["steps"] -= 1
        if plan["way"] == "stopped" and plan["steps"] <= 0:
            self.stop(key)
            return
        parked = (task.get("parked") or {}).get("for")
        blocked = (task.get("blocked") or {}).get("reason")
        if blocked:
            assert re.match(r"[a-z-]+: \S", blocked), f"{key} is blocked without a reason: {blocked}"
            self.blocked[blocked.split(":")[0]] += 1
            self.were_blocked.add(key)
            self.instance.http("POST", f"/tasks/{key}/retry", {"actor": "ada"}, timeout=5)
        elif parked == "ci":
            self.waited_for_ci.add(key)
        elif parked in ("approval", "confirm"):
            self._say(key, plan, "approve" if parked == "approval" else "confirm-deploy")

    def stop(self, key):
        self.instance.http("POST", f"/tasks/{key}/stop", {"actor": "ada"}, timeout=5)

    def run_ci(self):
        """What was pushed is pending until somebody looks: then it is green."""
        for path in self.instance.repo.glob("statuses/*/*.json"):
            status = json.loads(path.read_text())
            if status["state"] == "pending":
                path.with_suffix(".tmp").write_text(json.dumps({**status, "state": "success"}))
                os.rename(path.with_suffix(".tmp"), path)

    def step(self, wanted=IN_FLIGHT):
        self.run_ci()
        for key, plan in list(self.live.items()):
            self._step(key, plan)
        while len(self.live) < wanted:
            self._begin()

    def hurry_a_stop(self):
        """For points that only a STOP passes."""
        for plan in self.live.values():
            if plan["way"] == "stopped":
                plan["steps"] = 0

    def state(self):
        """Where they all are, for a look."""
        page = self.instance.http("GET", "/queue")[1] or {}
        jobs = {job["key"]: job["reason"] for job in page.get("queued", [])}
        jobs.update({job["key"]: f"running {job['kind']}" for job in page.get("running", [])})
        found = {}
        for key, plan in self.live.items():
            task = self.instance.task(key)
            found[key] = (plan["way"], task.get("stage"), task.get("parked"), jobs.get(key))
        return found
