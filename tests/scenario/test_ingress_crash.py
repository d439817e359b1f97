"""kill -9 of ingress under load, at its crash points and anywhere: what was answered with 202 is in
the inbox, under the number that was told, and nothing is there twice.

Mutation tried: answering before the commit (the events of the last batch are missing)."""

import itertools
import json
import os
import random
import re
import threading
import time

import pytest
from ingress_kit import read_answer, signed_request, wait_for

SENDERS = 12
INGRESS_POINTS = ["inbox-before-commit", "inbox-after-commit"]


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

    def _send(self, sender):
        source = ("plane", "gitea")[sender % 2]
        connection, body = None, None
        while not (self.stopping and body is None):
            if body is None:
                with self.lock:
                    body = json.dumps({"n": next(self.numbers), "pad": "x" * 1500}).encode()
            try:
                connection = connection or self.ingress.connect(5)
                connection.sendall(signed_request(source, body))
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


def test_stopped_gently(ingress):
    """SIGTERM under load: what was taken is committed and answered."""
    with Load(ingress) as load:
        for _ in range(3):
            load.progress(100)
            assert ingress.stop() == 0
            ingress.start()
    check(ingress, load)
