"""Tasks on their way while something is done to the instance."""

import json
import re
import time
from collections import Counter

from harness import alive

IN_FLIGHT = 3


class Journeys:
    """Always so many tasks on their way; approves as the person would. patient: one that is blocked is
    looked at and goes on."""

    def __init__(self, instance, patient=False):
        self.instance, self.next, self.live, self.done = instance, 1, [], []
        self.patient, self.blocked = patient, Counter()

    def step(self):
        for key in list(self.live):
            task = self.instance.task(key)
            if task.get("stage") == "done":
                self.live.remove(key)
                self.done.append(key)
            elif (task.get("parked") or {}).get("for") == "approval":
                self.instance.http("POST", f"/tasks/{key}/approve", {"actor": "ada"}, timeout=5)
            blocked = (task.get("blocked") or {}).get("reason")
            assert not blocked or self.patient, f"{key}: {blocked}\n{self.instance.story()}"
            if blocked:
                assert re.match(r"[a-z-]+: \S", blocked), f"{key} is blocked without a reason: {blocked}"
                self.blocked[blocked.split(":")[0]] += 1
                self.instance.http("POST", f"/tasks/{key}/retry", {"actor": "ada"}, timeout=5)

    def refill(self, wanted=IN_FLIGHT):
        while len(self.live) < wanted:
            # every fourth webhook is lost: the reconciler finds the issue
            self.live.append(self.instance.new_issue(self.next, announce=self.next % 4 != 0))
            self.next += 1

    def run_out(self, seconds):
        """Until all are done; nothing new is begun."""
        end = time.monotonic() + seconds
        while self.live and time.monotonic() < end:
            self.step()
            time.sleep(0.05)
        assert not self.live, f"not done: {self.live}\n{self.instance.story()}"


def runs_under_way(instance):
    """(agent, keeper) of each run whose keeper lives, started or not."""
    found = []
    for path in instance.home.glob("runs/*/agent.pid"):
        try:
            pids = json.loads(path.read_text())
        except (OSError, json.JSONDecodeError):
            continue
        if alive(pids["keeper_pid"]):
            found.append((pids["pid"], pids["keeper_pid"]))
    return found
