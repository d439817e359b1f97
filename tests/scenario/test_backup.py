"""A backup made under load and restored elsewhere: everything acknowledged before it is in it, it starts
paused, nothing is said twice, and everything comes to its end."""

import json
import re
import shutil
import sqlite3
import subprocess
import tarfile
import threading
import time

import pytest

from harness import BIN, ROOT, alive

SCHEMAS = ROOT / "tests/fixtures/schema"


def orchctl(instance, *arguments, code=0):
    done = subprocess.run([BIN / "orchctl", "-c", instance.config, *map(str, arguments)],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


def elsewhere(make_instance, instance):
    """Another installation: the same repositories, nothing else."""
    other = make_instance()
    shutil.rmtree(other.home / "forge")
    shutil.copytree(instance.home / "forge", other.home / "forge")
    return other


def rows(path, sql):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return db.execute(sql).fetchall()


class Load:
    """Comments, one after another, until it is told to end; `kept` grows with every answer 202."""

    def __init__(self, instance, key):
        self.instance, self.key, self.kept, self.ending = instance, key, [], False
        self.thread = threading.Thread(target=self.work)

    def work(self):
        for number in range(100000):
            if self.ending:
                return
            status, answer = self.instance.http("POST", "/webhook/local", {
                "delivery": f"load-{number}", "kind": "comment", "issue": self.key, "actor": "ada",
                "body": f"word {number}"})
            if status == 202:
                self.kept.append((f"load-{number}", answer["event_id"]))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join()


def comments(instance, key):
    return [comment["id"] for comment in instance.issue(key).get("comments", [])]


# Red when inbox.db is copied before main.db (what came between is acted on and in no inbox: its
# position lies behind the end), when the restored system is not paused, or hands out effects.
def test_made_under_load_and_restored_elsewhere(make_instance):
    instance = make_instance(plan={"developer": {"until": "go"}}).start()
    done = instance.new_issue(1)
    instance.approve(done)
    working = instance.new_issue(2)
    instance.approve(working)
    waiting = instance.new_issue(3)
    instance.wait_for(lambda: instance.parked(waiting), 60, "the third waits")
    instance.wait_for(lambda: len(instance.agents()) == 2, 60, "both developers work")
    file = instance.dir / "backup.tar"
    with Load(instance, waiting) as load:
        instance.wait_for(lambda: len(load.kept) > 100, 60, "events come")
        before = len(load.kept)
        orchctl(instance, "backup", file)
        assert len(load.kept) > before, "nobody waited for the copy"
    assert file.stat().st_mode & 0o777 == 0o600
    instance.kill("supervisor")
    other = elsewhere(make_instance, instance)
    (other.agent_dir / "go").touch()
    orchctl(other, "restore", file)
    main, inbox = other.home / "db/main.db", other.home / "db/inbox.db"
    for path in (main, inbox):
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(main, "PRAGMA foreign_key_check") == []
    kept = {delivery: seq for seq, delivery in rows(inbox, "SELECT seq, delivery FROM events")}
    for delivery, event in load.kept[:before]:
        assert kept[delivery] == event
    effects = rows(main, "SELECT count(*) FROM effects WHERE state = 'delivered'")
    other.start()
    time.sleep(3)
    assert other.agents() == {} and other.starts() == []
    assert rows(main, "SELECT count(*) FROM effects WHERE state = 'delivered'") == effects
    assert "nothing is begun or sent" in orchctl(other, "doctor")
    orchctl(other, "resume")
    instance.close()
    other.approve(waiting, 60)
    for key in (done, working, waiting):
        other.wait_stage(key, "done", 120)
        said = comments(other, key)
        assert len(said) == len(set(said)), "a comment twice"
        starts = [line[0] for line in other.starts() if line[4] == "start"]
        assert len(starts) == len(set(starts)), "an agent twice"
    bodies = [comment["body"] for comment in other.issue(waiting)["comments"]]
    for delivery, _ in load.kept[:before]:
        assert bodies.count(f"word {delivery.split('-')[1]}") == 1, delivery


def with_effects(make_instance):
    """A backup in which effects wait, since nobody has delivered them; the instance is stopped."""
    instance = make_instance().start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.parked(key), 60, "it waits for approval")
    subprocess.run(["sv", "down", instance.run_dir / "sv/notifier"], check=True,
                   stdout=subprocess.DEVNULL)
    orchctl(instance, "approve", key)
    instance.wait_for(lambda: len(json.loads(orchctl(instance, "effects", "list", "--json"))) > 2,
                      60, "effects wait")
    file = instance.dir / "backup.tar"
    orchctl(instance, "backup", file)
    assert instance.stop() == 0
    return instance, key, file


# Red when they are dropped on resume, or sent before.
@pytest.mark.parametrize("way", ["resume", "effects drop"])
def test_the_effects_that_wait_are_a_persons_to_send_or_drop(make_instance, way):
    instance, key, file = with_effects(make_instance)
    other = elsewhere(make_instance, instance)
    orchctl(other, "restore", file)
    other.start()
    listed = json.loads(orchctl(other, "effects", "list", "--json"))
    assert len(listed) > 2 and {effect["key"] for effect in listed} == {key}
    assert re.search(r"restored +from a backup: .* [1-9]\d* effects wait", orchctl(other, "doctor"))
    before = comments(other, key)
    time.sleep(1)
    assert comments(other, key) == before
    orchctl(other, *way.split())
    other.wait_stage(key, "done", 120)
    waited = [effect["effect"] for effect in listed]
    states = {state for (state,) in rows(other.home / "db/main.db",
                                         f"SELECT state FROM effects WHERE id IN"
                                         f" ({','.join(map(str, waited))})")}
    assert states == {"dropped"} if way == "effects drop" else "delivered" in states, states
    assert "refused" in orchctl(other, "effects", "drop", code=1)


# Red when it restores below a living supervisor, over what is there, or what is broken.
def test_what_is_refused_leaves_everything_as_it_was(make_instance):
    instance = make_instance(plan={"analyst": {"until": "go"}}).start()
    instance.new_issue(1)
    instance.wait_for(instance.agents, 30, "the analyst works")
    file = instance.dir / "backup.tar"
    orchctl(instance, "backup", file)
    assert "lives" in orchctl(instance, "restore", "--force", file, code=1)
    assert instance.stop() == 0
    (agent,) = instance.agents().values()
    assert "still at work" in orchctl(instance, "restore", "--force", file, code=1)
    (instance.agent_dir / "go").touch()
    instance.wait_for(lambda: not alive(agent), 20, "the analyst ends")
    instance.wait_for(lambda: "still at work" not in orchctl(instance, "restore", file, code=1), 20,
                      "its keeper too")
    assert "--force" in orchctl(instance, "restore", file, code=1)
    before = (instance.home / "db/main.db").read_bytes()
    broken = instance.dir / "broken.tar"
    broken.write_bytes(file.read_bytes()[:-100000])
    orchctl(instance, "restore", "--force", broken, code=1)
    with tarfile.open(file) as archive:
        archive.extractall(instance.dir / "parts", filter="data") if hasattr(tarfile, "data_filter") \
            else archive.extractall(instance.dir / "parts")
    parts = instance.dir / "parts"
    data = bytearray((parts / "main.db").read_bytes())
    data[8192:40960] = bytes(32768)
    (parts / "main.db").write_bytes(data)
    with tarfile.open(broken, "w") as archive:
        for name in ("manifest.json", "main.db", "inbox.db"):
            archive.add(parts / name, name)
    orchctl(instance, "restore", "--force", broken, code=1)
    assert (instance.home / "db/main.db").read_bytes() == before
    assert not list(instance.home.glob(".restore*"))
    orchctl(instance, "backup", instance.dir / "no/such/folder/file", code=1)
    # and what was there is kept where it is replaced
    orchctl(instance, "restore", "--force", file)
    (aside,) = instance.home.glob("before-restore-*")
    assert (aside / "db/main.db").read_bytes() == before and list((aside / "runs").iterdir())
    instance.start()
    orchctl(instance, "resume")
    instance.wait_for(lambda: instance.parked("DEMO-1"), 60, "the analysis is made anew")


# Every schema that was ever written, with data in it.
@pytest.mark.parametrize("version", sorted(int(path.stem.split("-")[1])
                                           for path in SCHEMAS.glob("main-*.sql")))
def test_a_copy_of_an_older_schema_opens(make_instance, version):
    instance = make_instance().start()
    instance.wait_for(lambda: (instance.home / "db/main.db").exists(), 20, "it is there")
    assert instance.stop() == 0
    file, parts = instance.dir / "old.tar", instance.dir / "parts"
    parts.mkdir()
    with sqlite3.connect(parts / "main.db") as db:
        db.executescript((SCHEMAS / f"main-{version}.sql").read_text())
    position = rows(parts / "main.db", "SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM meta"
                                       " WHERE key = 'inbox_position'")[0][0]
    with sqlite3.connect(instance.home / "db/inbox.db") as db:
        db.execute("VACUUM INTO ?", (str(parts / "inbox.db"),))
    with sqlite3.connect(parts / "inbox.db") as db:
        db.execute("INSERT INTO events (seq, source, delivery, body, received_at)"
                   " VALUES (?, 'local', 'last', x'7b7d', 0)", (max(position, 1),))
    (parts / "manifest.json").write_text("{}")
    with tarfile.open(file, "w") as archive:
        for path in parts.iterdir():
            archive.add(path, path.name)
    tasks = rows(parts / "main.db", "SELECT count(*) FROM tasks")[0][0]
    assert tasks > 0
    orchctl(instance, "restore", "--force", file)
    instance.start()
    assert len(instance.http("GET", "/tasks")[1]) >= tasks
