"""The probe against listeners that lie, dawdle or die: it always ends, in time, with a reason.

Mutations that turn these red: no deadline in a wait; a greeting that is not compared; an id or a
length that is not checked; an end of the stream taken for a wait.
"""
import os
import shutil
import socket
import tempfile
import threading
import time

import pytest

from bus_tools import NAME, echo

REP = b"\0SP\0\0\x31\0\0"
ID = b"\x80\0\0\1"
PING = 300  # ms
PONG = b'{"id":"x","kind":"pong","pid":7,"service":"scheduler","v":1}'


def framed(payload, size=None):
    return b"\1" + (len(payload) if size is None else size).to_bytes(8, "big") + payload


def pong(text):
    return REP + framed(ID + text)


@pytest.fixture
def run_dir():
    path = tempfile.mkdtemp(prefix="ob-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp"))
    yield path
    shutil.rmtree(path)


def listen(run_dir, answer, ends=False):
    """Answers the first connection with these bytes, and then no more, or with its end."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{run_dir}/{NAME}.ipc")
    listener.listen(1)

    def serve():
        with listener:
            peer = listener.accept()[0]
        with peer:
            peer.sendall(answer)
            if ends:
                peer.shutdown(socket.SHUT_WR)
            until = time.monotonic() + 5
            peer.settimeout(0.05)
            while time.monotonic() < until:
                try:
                    if not peer.recv(4096):
                        return
                except TimeoutError:
                    pass
                except ConnectionResetError:
                    return

    threading.Thread(target=serve, daemon=True).start()


def ping(run_dir):
    began = time.monotonic()
    code, said = echo("ping", run_dir, NAME, PING)
    assert time.monotonic() - began < PING / 1000 + 2, "it did not end in its time"
    return code, said


@pytest.mark.parametrize("answer, reason", [
    (b"", "ETIMEDOUT"),
    (REP[:5], "ETIMEDOUT"),
    (REP, "ETIMEDOUT"),
    (b"\0SP\0\0\x30\0\0" + framed(ID + PONG), "EPROTO"),
    (b"HTTP/1.1", "EPROTO"),
    (REP + framed(ID + b"{", 60), "ETIMEDOUT"),
    (REP + framed(b"\x80\0\0\2" + PONG), "EPROTO"),
    (REP + framed(ID), "EPROTO"),
    (REP + framed(ID + PONG, 1 << 62), "EPROTO"),
    (REP + b"\2" + framed(ID + PONG)[1:], "EPROTO"),
    (pong(b"not json"), "EPROTO"),
    (pong(b'{"v":1,"kind":"ack","id":"x"}'), "EPROTO"),
], ids=["silent", "half a greeting", "greeting alone", "another protocol", "no SP at all",
        "half an answer", "answer to another", "empty answer", "endless answer", "no message",
        "no json", "no pong"])
def test_a_bad_answer_ends_with_its_reason(run_dir, answer, reason):
    listen(run_dir, answer)
    assert ping(run_dir) == (1, reason)


@pytest.mark.parametrize("answer", [b"", REP, REP + framed(ID + b"{", 60)])
def test_a_peer_that_goes_away_is_said_at_once(run_dir, answer):
    listen(run_dir, answer, ends=True)
    assert ping(run_dir) == (1, "ECONNRESET")


def test_a_good_answer(run_dir):
    listen(run_dir, pong(PONG))
    assert ping(run_dir) == (0, "7")


def test_nobody_there(run_dir):
    assert ping(run_dir) == (1, "ETIMEDOUT")


def test_a_socket_that_nobody_listens_on(run_dir):
    socket.socket(socket.AF_UNIX).bind(f"{run_dir}/{NAME}.ipc")
    assert ping(run_dir) == (1, "ETIMEDOUT")
