"""A connection that stays up and is never answered again, while the peer answers fresh ones.

Seen with nng 1.5.2 after some hundred failed sends of a peer that was killed each time. Here the old
connection belongs to a listener that greets and says nothing, as a lost one does.

Mutations that turn these red: no new socket; a new one although the fresh ping was not answered; what waits
on the old one left to its time; one long question that was missed is no doubt.
"""
import os
import socket
import tempfile
import threading
import time

import pytest

from bus_tools import NAME, Line, Server

GREETING = b"\0SP\0" + (0x31).to_bytes(2, "big") + b"\0\0"  # what a rep socket says first


class Mute:
    """Listens at the service's path, shakes hands, reads all and answers nothing."""

    def __init__(self, run_dir):
        self.open = set()
        self.seen = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(f"{run_dir}/{NAME}.ipc")
        self.socket.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer = self.socket.accept()[0]
            except OSError:
                return
            self.seen += 1
            self.open.add(peer)
            threading.Thread(target=self.read, args=(peer,), daemon=True).start()

    def read(self, peer):
        peer.sendall(GREETING)
        try:
            while peer.recv(4096):
                pass
        except OSError:
            pass
        self.open.discard(peer)

    def close(self):
        self.socket.close()
        for peer in list(self.open):
            peer.close()


@pytest.fixture
def run_dir():
    return tempfile.mkdtemp(prefix="ob-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp"))


@pytest.fixture
def mute(run_dir):
    mute = Mute(run_dir)
    yield mute
    mute.close()


@pytest.fixture
def line(run_dir, mute):
    line = Line(run_dir)
    yield line
    line.close()


def test_a_silent_connection_is_left_for_a_new_one(run_dir, mute, line):
    assert line.ask()[0] == "ETIMEDOUT"
    server = Server(run_dir=run_dir)  # takes over the path; the old connection stays
    try:
        words = [line.ask()[0] for _ in range(4)]
        assert words[-1] == "ack", words
        assert len(mute.open) == 1, "the old connection was there all the time"
        for _ in range(20):
            assert line.ask()[0] == "ack"
    finally:
        server.close()


def test_a_long_question_does_not_wait_for_the_lost_connection(run_dir, mute, line):
    """Every service has one with the scheduler; it would end only by its own time, with nothing claimed."""
    assert line.ask("post 60000")[0] == "posted"
    assert line.ask()[0] == "ETIMEDOUT"
    server = Server(run_dir=run_dir)
    try:
        assert line.ask("await")[0] == "waits"
        while line.ask()[0] != "ack":
            pass
        assert line.ask("await")[0] == "ECONNRESET"
        assert line.ask()[0] == "ack"
    finally:
        server.close()


def test_who_has_but_one_long_question_finds_it_too(run_dir, mute, line):
    """The runner: all that it asks is work. Its second question must not be as lost as the first."""
    assert line.ask("post 5000")[0] == "posted"
    server = Server(run_dir=run_dir)
    try:
        for _ in range(3):
            ended = line.ask("await")[0]
            if ended != "waits":
                break
        assert ended == "ETIMEDOUT"
        time.sleep(0.5)  # the ping that decides
        assert line.ask()[0] == "ack"
    finally:
        server.close()


def test_a_peer_that_answers_nobody_is_waited_for(mute, line):
    """Silent on fresh connections as well: it is hung, which a new socket does not mend."""
    for _ in range(5):
        assert line.ask()[0] == "ETIMEDOUT"
    deadline = time.monotonic() + 3
    while len(mute.open) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)  # the ping is over
    assert len(mute.open) == 1 and mute.seen > 1, (len(mute.open), mute.seen)
