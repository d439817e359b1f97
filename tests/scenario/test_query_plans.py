"""What a question costs must not grow with history: every statement of the scheduler and of the pages
that read its file is taken out of the sources and explained, over the real schema.

Mutations: jobs_live without its WHERE, or `INDEXED BY jobs_running` left out of the claim's counting,
turns test_no_walk_through_history red; a statement of a new file is found by itself."""

import re
import sqlite3
import subprocess

import pytest

import schema

from harness import ROOT

HISTORY = {"tasks", "transitions", "jobs", "agent_runs", "effects", "decisions", "journal",
           "commands_seen", "local_comments", "local_status_history"}
# indexes that hold live rows only
LIVE = {"tasks_live", "tasks_depend", "tasks_parked", "tasks_cleanup", "jobs_queued", "jobs_running", "jobs_live", "jobs_queries",
        "agent_runs_live", "agent_runs_to_tell", "effects_waiting"}
# Walks that end by themselves, with the reason.
BOUNDED = {
    "ORDER BY id DESC LIMIT ?2": "the newest finished tasks, from the end of the table",
    "FROM journal ORDER BY seq LIMIT": "the oldest rows, from the beginning",
    "FROM decisions ORDER BY event LIMIT": "the oldest rows, from the beginning",
}
STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*')
STATEMENT = re.compile(r"(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH)\s")


def sources():
    folder = ROOT / "services/scheduler"
    # snapshot.c reads a whole copy anyway, in a process of its own
    return sorted(path for path in folder.glob("*.c") if path.name != "snapshot.c")


def statements(path):
    """Neighbouring literals are one text, macros expanded."""
    text = subprocess.run(["gcc", "-E", "-P", "-D_GNU_SOURCE", "-I", ROOT, '-DORCH_VERSION=""', path],
                          check=True, capture_output=True, text=True, cwd=ROOT).stdout
    for match in STRINGS.finditer(text):
        parts = re.findall(r'"((?:[^"\\\n]|\\.)*)"', match.group())
        sql = "".join(part.replace('\\"', '"').replace("\\n", "\n") for part in parts)
        if STATEMENT.match(sql):
            yield sql


def database():
    db = sqlite3.connect(":memory:")
    db.executescript(schema.newest())
    return db


def names(sql):
    """Alias or name -> table."""
    found = {}
    for table, alias in re.findall(r"(?:FROM|JOIN|INTO|UPDATE|,)\s+(\w+)(?:\s+(?:AS\s+)?(\w+))?", sql):
        found[table] = table
        if alias:
            found[alias] = table
    return found


def walks(db, sql):
    """(table, index) of each whole walk through a table of history."""
    tables = names(sql)
    count = len(set(re.findall(r"\?\d+", sql)))
    for *_, detail in db.execute("EXPLAIN QUERY PLAN " + sql, [None] * count):
        match = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", detail)
        if match and tables.get(match[1], match[1]) in HISTORY and match[2] not in LIVE:
            yield f"{detail}   in   {' '.join(sql.split())}"


def all_statements():
    return [(path.name, sql) for path in sources() for sql in statements(path)]


def test_statements_are_found():
    found = all_statements()
    files = {name for name, _ in found}
    assert len(found) > 100, len(found)
    assert {"claim.c", "effects.c", "perform.c", "rows.c", "work.c", "store_read.c"} <= files


def test_no_walk_through_history():
    db = database()
    found = []
    for name, sql in all_statements():
        if any(mark in sql for mark in BOUNDED):
            continue
        try:
            found += [f"{name}: {walk}" for walk in walks(db, sql)]
        except sqlite3.Error as error:
            pytest.fail(f"{name}: {error}: {sql}")
    assert not found, "\n".join(found)


def test_the_check_can_fail():
    db = database()
    assert list(walks(db, "SELECT count(*) FROM jobs j WHERE j.role = 'x'"))
    assert list(walks(db, "UPDATE effects SET state = 'dropped' WHERE kind = 'x'"))
    assert not list(walks(db, "SELECT 1 FROM jobs INDEXED BY jobs_queued WHERE state = 'queued'"))
    assert not list(walks(db, "SELECT 1 FROM jobs WHERE id = ?1"))


def test_foreign_keys_find_their_rows():
    """Deleting an old task looks up its children: without an index each look-up walks all of them.
    Mutation: agent_runs_job dropped."""
    db = database()
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if table not in HISTORY:
            continue
        for key in db.execute(f"PRAGMA foreign_key_list({table})").fetchall():
            column = key[3]
            plan = " ".join(row[3] for row in db.execute(
                f"EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE {column} = ?1", [None]))
            assert f"({column}=?" in plan, f"{table}.{column}: {plan}"
