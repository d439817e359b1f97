"""A listener of nng 1.5.2 that goes deaf (nanomsg/nng#1518) is found by the ping, and by nothing else.

Three ways to deafen it, each known from measurement. With nng 1.5.2 each test shows that the ping on a
fresh connection finds the deaf server while an old connection goes on working, and that a restart heals
it; with nng 1.6 and later nothing goes deaf and nothing needs healing.

Mutations that turn these red: bus_ping over a connection that is kept (it answers on); bus_ping content
with a connection alone (a blocking dial to a deaf listener succeeds); a server whose restart leaves the
stale path to nng's own probe in front of a living listener.
"""
import socket
import subprocess
import time

import pytest

import bus_tools
from bus_tools import ECHO, NAME, Line, Server

OLD_NNG = bus_tools.nng_version() < (1, 6)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def line(server):
    line = Line(server.run_dir)
    assert line.ask()[0] == "ack"
    yield line
    line.close()


def judge(server, line, deaf_expected):
    """After a provocation: True where it was deaf. Heals it, and proves that."""
    if server.ping():
        return False
    assert deaf_expected, "this nng is not known to go deaf"
    assert line.ask()[0] == "ack", "a deaf server still answers its old connections"
    assert not server.ping(), "deafness does not pass by itself"
    from_then = time.monotonic()
    server.heal()
    assert time.monotonic() - from_then < 2
    # The old client finds the successor by itself; its first question may fall into the gap.
    words = [line.ask()[0] for _ in range(3)]
    assert words[-1] == "ack", words
    return True


def test_connect_and_close(server, line):
    deaf = 0
    for _ in range(20):
        for _ in range(3):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(server.path)
            peer.close()
        deaf += judge(server, line, OLD_NNG)
    print(f"deaf {deaf} of 20")
    assert not OLD_NNG or deaf > 0, "the provocation no longer provokes: the test tests nothing"


def test_client_killed_while_the_server_is_stopped(server, line):
    deaf = 0
    for _ in range(8):
        server.stop_signal()
        client = subprocess.Popen([ECHO, "call", server.run_dir, NAME, "1", "5000"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.1)
        client.kill()
        client.wait()
        server.go_on()
        deaf += judge(server, line, OLD_NNG)
    print(f"deaf {deaf} of 8")
    assert not OLD_NNG or deaf > 0, "the provocation no longer provokes: the test tests nothing"


def test_second_listener_on_the_path(server, line):
    deaf = 0
    for _ in range(3):
        code, said = bus_tools.echo("listen", server.run_dir, NAME)
        assert code == 1, f"two listeners on one path: {said}"
        deaf += judge(server, line, OLD_NNG)
    print(f"deaf {deaf} of 3")
    assert not OLD_NNG or deaf > 0, "the provocation no longer provokes: the test tests nothing"


def test_a_second_instance_never_reaches_the_listener(server, line):
    """The lock comes before the listening: a second copy of a service cannot deafen the first.

    Mutation: bus_open before lock_take."""
    for _ in range(5):
        second = subprocess.run([ECHO, "serve", server.run_dir, NAME], timeout=10,
                                stderr=subprocess.DEVNULL)
        assert second.returncode == 1
    assert server.ping()
    assert line.ask()[0] == "ack"


def test_a_stopped_server_is_found(server):
    """Mutation: bus_ping that waits for ever, or that takes an accepted connection for an answer."""
    server.stop_signal()
    from_then = time.monotonic()
    assert not server.ping(300)
    assert time.monotonic() - from_then < 1.5
    server.heal()
    assert server.ping()
