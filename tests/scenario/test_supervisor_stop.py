"""How everything ends: in reverse order, each with its time, hurried when asked again."""

import signal
import time

from harness import alive
from supervisor_kit import READY, SLEEP, make_tree, note, tree  # noqa: F401


def polite(name, seconds="0"):
    """Notes its end; takes its time over it."""
    # the sleep in the background, so that the shell hears the signal at once
    return (f"trap 'kill $!; sleep {seconds}; {note(name, 'end').strip()}; exit 0' TERM\n"
            "sleep 1000 &\n" + READY + "wait\n")


DEAF = "trap '' TERM\n" + READY + "while :; do sleep 1; done\n"


def end(tree, name):
    return next(float(line.split()[1]) for line in tree.notes_of(name) if line.startswith("end"))


def test_reverse_order(tree):
    """Whoever was started after it and lives goes first. Mutation: all at once."""
    tree.service("a", polite("a"))
    tree.service("b", polite("b", "0.3"), "after: [a]\nnotification-fd: 3\n")
    tree.service("c", polite("c", "0.3"), "after: [b]\nnotification-fd: 3\n")
    tree.service("d", polite("d", "0.1"), "after: [a]\nnotification-fd: 3\n")
    tree.start()
    assert tree.stop() == 0
    assert end(tree, "a") >= end(tree, "b") >= end(tree, "c") + 0.25
    assert end(tree, "c") >= end(tree, "d"), "those of one wave stop together"
    assert tree.state()["state"] == "stopped"
    assert tree.said("stopped", "all services ended")
    tree.wait_for(lambda: not list(tree.processes()), 2, "nobody is left")


def test_the_deaf_are_killed_and_it_is_told(tree):
    """Exit code 1: not everybody ended cleanly. Mutation: no SIGKILL after the timeout."""
    tree.service("a", DEAF, "notification-fd: 3\nshutdown-timeout-s: 1\n")
    tree.start()
    pid, begun = tree.pid("a"), time.monotonic()
    assert tree.stop() == 1
    assert 0.9 < time.monotonic() - begun < 3
    assert not alive(pid)
    assert tree.said("stopped", "not all of them cleanly")


def test_a_bad_exit_is_told(tree):
    tree.service("a", "trap 'kill $!; exit 7' TERM\nsleep 1000 &\n" + READY + "wait\n")
    tree.start()
    assert tree.stop() == 1


def test_a_stopped_service_hears_term(tree):
    """Mutation: no SIGCONT after SIGTERM: only the kill reaches it."""
    tree.service("a", polite("a"), "notification-fd: 3\nshutdown-timeout-s: 8\n")
    tree.start()
    tree.kill("a", signal.SIGSTOP)
    begun = time.monotonic()
    assert tree.stop() == 0
    assert time.monotonic() - begun < 4


def test_a_second_signal_hurries_a_third_kills(tree):
    tree.service("a", DEAF, "notification-fd: 3\nshutdown-timeout-s: 600\n")
    tree.start()
    begun = time.monotonic()
    tree.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert tree.process.poll() is None
    tree.process.send_signal(signal.SIGTERM)
    assert tree.process.wait(10) == 1
    assert 1 < time.monotonic() - begun < 3, "one second for what is left"
    tree.start()
    begun = time.monotonic()
    for _ in range(3):
        tree.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    assert tree.process.wait(10) == 1
    assert time.monotonic() - begun < 1


def test_interrupt_stops_as_well(tree):
    tree.service("a", polite("a"))
    tree.start()
    tree.process.send_signal(signal.SIGINT)
    assert tree.process.wait(10) == 0


def test_stop_in_the_middle_of_starting_and_backing_off(make_tree):
    tree = make_tree({"supervisor": {"backoff_ms": 60000, "backoff_max_ms": 60000}})
    tree.service("crashes", "exit 1\n", "")
    tree.service("slow", SLEEP)
    tree.service("waits", yaml="after: [slow]\nnotification-fd: 3\n")
    tree.start(wait=False)
    tree.wait_for(lambda: tree.find("crashes").get("state") == "backoff", 5, "it backs off")
    begun = time.monotonic()
    assert tree.stop() == 0
    assert time.monotonic() - begun < 2


def test_nobody_is_started_again_meanwhile(tree):
    """A host's shutdown signals everybody: who ends by himself then stays down."""
    tree.service("a", polite("a"))
    tree.service("slow", polite("slow", "0.5"), "after: [a]\nnotification-fd: 3\n")
    tree.start()
    tree.process.send_signal(signal.SIGTERM)
    tree.wait_said("stop")
    tree.kill("a", signal.SIGTERM)
    assert tree.process.wait(10) == 0
    assert tree.find("a")["restarts"] == 0
    assert len(tree.notes_of("a")) == 1


def test_finish_hears_how_it_ended(tree):
    """runsv's arguments: the exit code (-1 of a signal) and the signal."""
    tree.service("a", READY + "[ -e $NOTES ] || exit 5\n" + SLEEP,
                 finish='#!/bin/sh\necho "finish $1 $2" >>"$NOTES"\n')
    tree.start(wait=False)
    tree.wait_for(lambda: tree.notes_of("finish") == ["5 0"], 5, "exit 5")
    pid = tree.wait_ready("a")
    tree.kill("a")
    tree.wait_ready("a", other_than=pid)
    assert tree.notes_of("finish") == ["5 0", "-1 9"]
    assert tree.stop() == 0
    assert tree.notes_of("finish")[2] == "-1 15"


def test_a_finish_that_hangs_is_killed(tree):
    tree.service("a", yaml="notification-fd: 3\nshutdown-timeout-s: 1\n",
                 finish="#!/bin/sh\nexec sleep 1000\n")
    tree.start()
    begun = time.monotonic()
    tree.stop()
    assert time.monotonic() - begun < 5
    tree.wait_for(lambda: not list(tree.processes()), 2, "nobody is left")


def test_agents_run_on(tree):
    """Outside of a container, what a service left in a session of its own is not ours to signal."""
    tree.service("a", "setsid sleep 1000 &\necho \"agent $!\" >>\"$NOTES\"\n" + READY + SLEEP)
    tree.start()
    assert tree.stop() == 0
    assert alive(int(tree.notes_of("agent")[0]))
