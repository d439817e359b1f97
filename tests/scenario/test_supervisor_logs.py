"""Logs: one folder per service, JSON lines whatever was said, bounded, nothing lost on the way."""

import json
import os
import signal
import time

from supervisor_kit import READY, SLEEP, make_tree, tree  # noqa: F401


def test_lines_are_wrapped_or_pass(tree):
    """Mutation: everything passes as it is: a line that is no JSON."""
    own = '{"ts":"2026-01-01T00:00:00.000Z","level":"info","service":"a","event":"x","msg":"mine"}'
    tree.service("a", f"""
    echo '{own}'
    echo 'plain "words"'
    echo '{{"half": '
    printf 'bad \\377 byte\\n' >&2
    echo
    printf 'with return\\r\\n'
    """ + READY + SLEEP)
    tree.start()
    tree.wait_for(lambda: len(tree.log("a")) == 5, 5, "all of it is there")
    lines = tree.log("a")
    assert lines[0] == json.loads(own)
    assert [line["msg"] for line in lines[1:]] == \
        ['plain "words"', '{"half": ', "bad ? byte", "with return"]
    for line in lines[1:]:
        assert (line["service"], line["event"], line["level"]) == ("a", "stderr", "info")
        assert line["ts"].endswith("Z")


def test_long_lines_are_cut_not_joined(tree):
    tree.service("a", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo next\n" + READY + SLEEP)
    tree.start()
    tree.wait_for(lambda: len(tree.log("a")) == 2, 5, "both lines")
    long, after = tree.log("a")
    assert long["msg"] == "x" * 16384 and long["cut_bytes"] == 100000 - 16384
    assert after["msg"] == "next"


def test_rotation_is_bounded_and_loses_nothing_recent(make_tree):
    tree = make_tree({"log": {"max_bytes": 20000, "keep": 3}})
    tree.service("a", "seq 1 3000\n" + READY + SLEEP)
    tree.start()
    tree.wait_for(lambda: tree.log("a") and tree.log("a")[-1]["msg"] == "3000", 5, "all is said")
    folder = tree.home / "log/a"
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 4 and "current" in files
    assert all(path.stat().st_size <= 20000 for path in folder.iterdir())
    numbers = [int(line["msg"]) for line in tree.log("a")]
    assert numbers == list(range(numbers[0], 3001)), "in order, without a gap"


def test_the_supervisors_own_log_rotates(make_tree):
    tree = make_tree({"log": {"max_bytes": 4096, "keep": 2},
                      "supervisor": {"backoff_ms": 1, "backoff_max_ms": 1}})
    tree.service("a", "exit 1\n", "")
    tree.start(wait=False)
    tree.wait_for(lambda: tree.find("a").get("restarts", 0) > 60, 20, "much is said")
    files = list((tree.home / "log/supervisor").iterdir())
    assert len(files) == 3
    # it looks after each of its rounds: a little more than the limit can stand in one
    assert all(path.stat().st_size < 4096 + 2000 for path in files)
    assert all(line["service"] == "supervisor" for line in tree.log())


def test_rotation_goes_on_where_it_was(make_tree):
    """A new supervisor neither overwrites the rotated files nor forgets to remove them."""
    tree = make_tree({"log": {"max_bytes": 4096, "keep": 2}})
    tree.service("a", 'seq 1 200; echo "a said" >>"$NOTES"\n' + READY + SLEEP)
    for number in range(3):
        tree.start()
        tree.wait_for(lambda: len(tree.notes_of("a")) > number and
                      tree.log("a")[-1]["msg"] == "200", 5, "all is said")
        tree.stop()
        assert len(list((tree.home / "log/a").iterdir())) == 3
    names = sorted(path.name for path in (tree.home / "log/a").glob("current.*"))
    assert names[0] > "current.00000005"


def test_a_burst_arrives_whole(tree):
    tree.service("a", "seq 1 50000\n" + READY + SLEEP)
    tree.start()
    tree.wait_for(lambda: tree.log("a") and tree.log("a")[-1]["msg"] == "50000", 10, "all of it")
    assert [int(line["msg"]) for line in tree.log("a")] == list(range(1, 50001))


def test_what_a_killed_one_said_is_kept(tree):
    """Even while the supervisor stands still: the pipe is its, at both ends."""
    tree.service("a", "echo first\nprintf half\n" + READY + SLEEP)
    tree.start()
    tree.process.send_signal(signal.SIGSTOP)
    tree.kill("a")
    time.sleep(0.1)
    tree.process.send_signal(signal.SIGCONT)
    tree.wait_for(lambda: len(tree.log("a")) >= 3, 5, "the next one speaks")
    assert [line["msg"] for line in tree.log("a")][:3] == ["first", "half", "first"]


def test_text_for_people(make_tree):
    tree = make_tree({"log": {"format": "text"}})
    tree.service("a", "echo plain words\n" + READY + SLEEP)
    tree.start()
    current = tree.home / "log/a/current"
    tree.wait_for(lambda: current.read_text() == "plain words\n", 5, "as it was said")
    assert " info  supervisor[" in (tree.home / "log/supervisor/current").read_text()


def test_a_log_that_cannot_be_written(tree):
    """The folder is gone: the service does not notice, the loss is counted and said."""
    tree.service("a", 'echo before\n' + READY +
                 'while [ ! -e "$NOTES" ]; do sleep 0.05; done\necho after\n' + SLEEP)
    tree.start()
    folder = tree.home / "log/a"
    os.rename(folder, tree.dir / "aside")
    tree.notes.touch()
    time.sleep(0.3)
    assert tree.find("a")["state"] == "ready"
    # an open file goes on being written, wherever its folder is
    assert '"after"' in (tree.dir / "aside/current").read_text()
