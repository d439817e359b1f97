"""SIGHUP: read and checked as a whole, then taken, and those concerned are restarted one by one."""

import signal
import time

from supervisor_kit import READY, SLEEP, make_tree, note, tree  # noqa: F401

HTTP = "notification-fd: 3\nconfig: [http]\n"


def reload(tree):
    before = len(tree.said("reload"))
    tree.process.send_signal(signal.SIGHUP)
    tree.wait_for(lambda: len(tree.said("reload")) > before and
                  ("stay" in tree.said("reload")[-1] or tree.said("reload", "to be restarted")),
                  5, "it was heard")


def pids(tree, *names):
    return {name: tree.pid(name) for name in names}


def test_only_those_whose_keys_changed(tree):
    """Mutation: uses_changed() always true, or never."""
    tree.service("a", yaml=HTTP)
    tree.service("b", yaml="notification-fd: 3\nconfig: [reaper]\n")
    tree.service("top", yaml='notification-fd: 3\nconfig: [""]\n')
    tree.start()
    before = pids(tree, "a", "b", "top")
    tree.write_config({"http": {"listen": "127.0.0.1:1"}})
    reload(tree)
    tree.wait_ready("a", other_than=before["a"])
    assert pids(tree, "b", "top") == {"b": before["b"], "top": before["top"]}
    assert tree.find("a")["last_obituary"]["asked"]
    tree.write_config({"http": {"listen": "127.0.0.1:1"}, "max_concurrency": 3})
    reload(tree)
    tree.wait_ready("top", other_than=before["top"])
    assert tree.pid("b") == before["b"]


def test_nothing_changed(tree):
    tree.service("a", yaml=HTTP)
    tree.start()
    before = pids(tree, "a")
    reload(tree)
    assert tree.said("reload", "to be restarted: nobody")
    time.sleep(0.2)
    assert pids(tree, "a") == before


def test_one_by_one(tree):
    """The next one only when the one before is ready again. Mutation: all at once."""
    slow = note("all", "start") + "sleep 0.3\n" + note("all", "ready") + READY + SLEEP
    for name in "abc":
        tree.service(name, slow, HTTP)
    tree.start()
    before = pids(tree, *"abc")
    tree.write_config({"http": {"listen": "127.0.0.1:1"}})
    reload(tree)
    for name in "abc":
        tree.wait_ready(name, other_than=before[name])
    later = [line.split()[0] for line in tree.notes_of("all")][6:]
    assert later == ["start", "ready"] * 3


def test_an_invalid_configuration_changes_nothing(tree):
    """The old stays, and it is said with file, line and key."""
    tree.service("a", yaml=HTTP)
    tree.start()
    before = pids(tree, "a")
    tree.config.write_text("http: {listen: 7}\nbogus: 1\n")
    tree.service("a", yaml=HTTP + "limits: {nofile: 99}\n")
    reload(tree)
    assert tree.said("reload", f"{tree.config}:2: bogus")
    assert tree.said("reload", "the old configuration stays in force")
    time.sleep(0.2)
    assert pids(tree, "a") == before


def test_invalid_definitions_change_nothing(tree):
    """Mutation: the configuration taken before the definitions are read."""
    tree.service("a", yaml=HTTP)
    tree.start()
    before = pids(tree, "a")
    tree.write_config({"http": {"listen": "127.0.0.1:1"}})
    tree.service("b", yaml="after: [nobody]\n")
    reload(tree)
    assert tree.said("reload", "after: nobody: no such service")
    assert tree.said("reload", "stay in force")
    time.sleep(0.2)
    assert pids(tree, "a") == before and not tree.find("b")
    # what was refused is not forgotten: the change is still one when sv/ is mended
    tree.service("b")
    reload(tree)
    tree.wait_ready("a", other_than=before["a"])
    tree.wait_ready("b")


def test_home_cannot_move(tree):
    tree.service("a", yaml='notification-fd: 3\nconfig: [""]\n')
    tree.start()
    before = pids(tree, "a")
    tree.write_config({"home": str(tree.dir / "elsewhere")})
    reload(tree)
    assert tree.said("reload", "home and run_dir take effect at the next start only")
    time.sleep(0.2)
    assert pids(tree, "a") == before


def test_services_come_change_and_go(tree):
    tree.service("a")
    tree.service("b")
    tree.service("c")
    tree.start()
    before = pids(tree, *"abc")
    tree.service("d", yaml="after: [a]\nnotification-fd: 3\n")
    tree.service("b", "echo other\n" + READY + SLEEP)
    (tree.sv / "c").rename(tree.dir / "c-aside")
    reload(tree)
    tree.wait_ready("d")
    tree.wait_ready("b", other_than=before["b"])
    tree.wait_for(lambda: not tree.find("c"), 5, "c is forgotten")
    assert not (tree.run_dir / "sv/c").exists()
    assert tree.pid("a") == before["a"]
    # and back
    (tree.dir / "c-aside").rename(tree.sv / "c")
    reload(tree)
    tree.wait_ready("c")


def test_the_supervisors_own_keys(make_tree):
    tree = make_tree({"supervisor": {"backoff_ms": 60000, "backoff_max_ms": 60000}})
    tree.service("a", "exit 1\n", "")
    tree.service("b")
    tree.start(wait=False)
    tree.wait_for(lambda: tree.find("a").get("state") == "backoff", 5, "it backs off")
    tree.write_config({"supervisor": {"backoff_ms": 10, "backoff_max_ms": 20},
                       "log": {"format": "text"}})
    reload_pid = tree.pid("b")
    tree.process.send_signal(signal.SIGHUP)
    log = tree.home / "log/supervisor/current"
    tree.wait_for(lambda: " info  supervisor[" in log.read_text(), 5, "the log's format is taken")
    tree.write_config({"supervisor": {"backoff_ms": 10, "backoff_max_ms": 20}})
    tree.process.send_signal(signal.SIGHUP)
    tree.wait_for(lambda: log.read_text().splitlines()[-1].startswith("{"), 5, "and back")
    (tree.run_dir / "sv/a/supervise/control").open("w").write("u")
    tree.wait_for(lambda: tree.find("a")["restarts"] > 5, 5, "the pauses are short now")
    assert tree.pid("b") == reload_pid


def test_what_is_down_stays_down(tree):
    tree.service("a", yaml=HTTP)
    tree.service("b", yaml=HTTP, down="")
    tree.service("c", yaml=HTTP)
    tree.start()
    before = pids(tree, "a", "c")
    tree.write_config({"http": {"listen": "127.0.0.1:1"}})
    reload(tree)
    tree.wait_ready("a", other_than=before["a"])
    tree.wait_ready("c", other_than=before["c"])
    assert tree.find("b")["state"] == "down"
