"""A board on which everything is as it should be costs nothing: fifty passes of the reconciler over two hundred
issues say nothing and write nothing.

Mutations, each red: findings of tasks that wait for a person (F-4 without the parked row: job restored); the
label's question written anew at each answer; a pass that leaves a row (any)."""

import sqlite3
from contextlib import closing

PASSES = 50
KEYS = {"reconciler": {"interval_s": 1}, "max_concurrency": 8,
        "auto_label": {"enabled": True, "repos": "*"}}


def passes(instance):
    services = instance.http("GET", "/queue")[1]["services"]
    return next(row["counters"] for row in services if row["name"] == "reconciler")


def settled(instance):
    counts = instance.http("GET", "/queue")[1]["counts"]
    return not counts["running"] and not counts["effects"]


def fill(instance):
    """Two hundred issues, of each kind some: blocked, done, cancelled, waiting for a person or for another
    task, and twenty that nobody has started."""
    instance.plan({"analyst": {"exit": 1}})
    blocked = [instance.new_issue(number) for number in range(1, 21)]
    instance.wait_for(lambda: all(instance.task(key).get("blocked") for key in blocked), 120, "blocked")
    instance.plan({})
    finished = [instance.new_issue(number) for number in range(21, 41)]
    parked = [instance.new_issue(number) for number in range(41, 141)]
    for key in finished:
        instance.approve(key, 120)
    for number in range(141, 161):
        instance.new_issue(number, body=f"More.\n\nDepends-On: DEMO-{number - 100}")
    for number in range(161, 181):
        instance.new_issue(number, status="Backlog")
    stopped = [instance.new_issue(number) for number in range(181, 201)]
    for key in stopped:
        instance.wait_for(lambda: instance.task(key), 30, f"{key} is there")
        instance.must("POST", f"/tasks/{key}/stop", {"actor": "ada"})
    for key in finished:
        instance.wait_stage(key, "done", 180)
    instance.wait_for(lambda: all(instance.parked(key) for key in parked), 180, "they wait for approval")
    instance.wait_for(lambda: settled(instance), 60, "everything is said")


def everything(instance):
    """What people and we have, but for the times at which somebody looked."""
    with closing(sqlite3.connect(f"file:{instance.home}/db/main.db?mode=ro", uri=True)) as db:
        tables = [name for name, in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        return {name: sorted(map(str, db.execute(f"SELECT * FROM {name}"))) for name in tables}


def test_a_board_that_is_as_it_should_be(make_instance):
    instance = make_instance(keys=KEYS).start()
    fill(instance)
    start = passes(instance)["passes"]
    instance.wait_for(lambda: passes(instance)["passes"] >= start + 2, 20, "what was under way is over")
    with closing(sqlite3.connect(f"file:{instance.home}/db/main.db?mode=ro", uri=True)) as watch:
        before, commits = everything(instance), watch.execute("PRAGMA data_version").fetchone()
        start = passes(instance)
        instance.wait_for(lambda: passes(instance)["passes"] >= start["passes"] + PASSES, 180, "fifty passes")
        end = passes(instance)
        after = everything(instance)
        changed = {name: (set(after[name]) ^ set(before[name])) for name in before
                   if after[name] != before[name]}
        assert not changed, changed
        assert watch.execute("PRAGMA data_version").fetchone() == commits, "something was written"
    assert end["found"] == start["found"], "nothing is found"
    assert end["compared"] - start["compared"] >= PASSES * 140, (start, end)
