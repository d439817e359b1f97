"""kill -9 of ingress under load, at its crash points and anywhere: what was answered with 202 is in
the inbox, under the number that was told, and nothing is there twice.

Mutation tried: answering before the commit (the events of the last batch are missing)."""

import itertools
import json
import os
import random
import re
import sqlite3
import threading
import time

import pytest
from ingress_kit import TOKEN, read_answer, signed_request, wait_for

SENDERS = 12
INGRESS_POINTS = ["inbox-before-commit", "inbox-after-commit"]


def sent_by(source, body):
    if source == "local":
        return signed_request("plane", body, {"Authorization": f"Bearer {TOKEN}"}).replace(
            b"/webhook/plane", b"/webhook/local", 1)
    return signed_request(source, body)


class Load:
    """Senders as trackers are: what was not acknowledged is sent again, byte for byte."""

    def __init__(self, ingress):
        self.ingress = ingress
        self.acknowledged = {}  # body: number
        self.sent_again = 0
        self.faults = []
        self.stopping = False
        self.lock = threading.Lock()
        self.numbers = itertools.count()
        self.threads = [threading.Thread(target=self._send, args=(i,)) for i in range(SENDERS)]

    def request(self, sender, number):
        """(source, body)"""
        return (("plane", "gitea")[sender % 2],
                json.dumps({"n": number, "pad": "x" * 1500}).encode())

    def _send(self, sender):
        connection, body = None, None
        while not (self.stopping and body is None):
            if body is None:
                with self.lock:
                    number = next(self.numbers)
                source, body = self.request(sender, number)
            try:
                connection = connection or self.ingress.connect(5)
                connection.sendall(sent_by(source, body))
                answer = read_answer(connection, 5)
            except OSError:
                answer = None
            if answer and answer.status == 202:
                with self.lock:
                    self.acknowledged[body] = answer.json["event_id"]
                body = None
                continue
            if answer and answer.status != 503:
                self.faults.append(answer)
            if connection:
                connection.close()
            connection = None
            with self.lock:
                self.sent_again += 1
            time.sleep(0.01)
        if connection:
            connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        for thread in self.threads:
            thread.join(30)

    def progress(self, more):
        goal = len(self.acknowledged) + more
        wait_for(lambda: len(self.acknowledged) >= goal, 20, f"{more} more acknowledged events")


def check(ingress, load):
    assert not load.faults
    rows = ingress.rows()
    kept = {row[3]: row[0] for row in rows}
    assert len(kept) == len(rows), "an event is there twice"
    assert kept == load.acknowledged, "every sender ended with an acknowledgement, of what is there"
    assert load.sent_again > 0, "nothing was interrupted: this run shows nothing"


def test_the_points_are_the_ones_of_the_table():
    from harness import ROOT
    table = (ROOT / "lib/crash_points.def").read_text()
    assert re.findall(r'"([a-z-]+)", "ingress:', table) == INGRESS_POINTS


@pytest.mark.parametrize("point", INGRESS_POINTS)
def test_killed_at_its_crash_points(ingress, point):
    with Load(ingress) as load:
        for _ in range(8):
            load.progress(100)
            (ingress.crash_dir / point).touch()
            ingress.process.wait(10)
            assert ingress.process.returncode == -9
            assert not (ingress.crash_dir / point).exists()
            ingress.start()
        load.progress(100)
    check(ingress, load)


def test_killed_anywhere(ingress):
    seed = int(os.environ.get("ORCH_SEED", random.randrange(1 << 30)))
    print("seed", seed)
    dice = random.Random(seed)
    with Load(ingress) as load:
        for _ in range(20):
            time.sleep(dice.uniform(0, 0.15))
            ingress.kill()
            ingress.start(wait=dice.random() < 0.5)
        load.progress(100)
    check(ingress, load)


class LocalLoad(Load):
    """Comments in the built-in tracker: whether one was acted on can be counted there."""

    def request(self, sender, number):
        return "local", json.dumps({"delivery": f"d{number}", "kind": "comment", "issue": "DEMO-1",
                                    "actor": "ada", "body": f"remark {number}"}).encode()


def test_acted_on_once(ingress):
    """The real scheduler drains the inbox; both are killed at random, also at the points around the
    commit of what was done. Mutations tried, each red: the scheduler's position not written in that
    transaction (twice), rows read from one too far (never)."""
    seed = int(os.environ.get("ORCH_SEED", random.randrange(1 << 30)))
    print("seed", seed)
    dice = random.Random(seed)
    points = [*INGRESS_POINTS, "event-before-commit", "event-after-commit"]
    scheduler = ingress.launch("scheduler")
    issue = {"delivery": "new", "kind": "issue", "issue": "DEMO-1", "title": "T", "status": "Backlog"}
    assert ingress.request("POST", "/webhook/local", issue).status == 202
    with LocalLoad(ingress) as load:
        for turn in range(16):
            load.progress(dice.randrange(5, 60))
            who = dice.choice(["ingress", "scheduler", *points])
            if who in points:
                (ingress.crash_dir / who).touch()
            elif who == "ingress":
                ingress.kill()
            else:
                scheduler.kill()
            wait_for(lambda: scheduler.poll() is not None or ingress.process.poll() is not None, 10,
                     f"{who} has an effect")
            if ingress.process.poll() is not None:
                ingress.start(wait=dice.random() < 0.5)
            if scheduler.poll() is not None:
                scheduler = ingress.launch("scheduler")
        load.progress(50)
    wait_for(lambda: ingress.request("GET", "/queue").json["inbox"]["acted_on"] ==
             ingress.rows()[-1][0], 20, "the inbox is drained")
    comments = [comment["body"] for comment in
                ingress.request("GET", "/local/issues/DEMO-1").json["comments"]]
    sent = [json.loads(body)["body"] for body in load.acknowledged]
    assert sorted(comments) == sorted(sent)
    store = sqlite3.connect(f"file:{ingress.home}/db/main.db?mode=ro", uri=True)
    decided = [row[0] for row in store.execute("SELECT event FROM decisions ORDER BY event")]
    store.close()
    assert decided == [row[0] for row in ingress.rows()]


def test_stopped_gently(ingress):
    """SIGTERM under load: what was taken is committed and answered."""
    with Load(ingress) as load:
        for _ in range(3):
            load.progress(100)
            assert ingress.stop() == 0
            ingress.start()
    check(ingress, load)
