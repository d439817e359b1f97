"""Who may do what at the real orch-ingress: the operator's token, the built-in tracker's events,
the operator's commands. An agent shares the loopback, so an address proves nothing.

Mutations tried, each turns a test of this file red: a route of the table made open; the token
compared by its length; a request from 127.0.0.1 let through; the reserved actor let through; a
command answered before its event is kept."""

import json
import sqlite3
import stat
import threading
import time

import pytest
from ingress_kit import TOKEN, wait_for

GUARDED = [("POST", "/webhook/local"), ("GET", "/queue"), ("GET", "/tasks"), ("GET", "/tasks/DEMO-1"),
           ("GET", "/events"), ("GET", "/local/issues"), ("GET", "/local/issues/DEMO-1"),
           ("POST", "/tasks/DEMO-1/approve"), ("POST", "/tasks/DEMO-1/confirm-deploy"),
           ("POST", "/tasks/DEMO-1/stop"), ("POST", "/tasks/DEMO-1/retry"),
           ("POST", "/tasks/DEMO-1/comment"), ("POST", "/serial-gate/freeze"),
           ("POST", "/serial-gate/unfreeze"), ("POST", "/pause"), ("POST", "/resume"),
           ("POST", "/drain"), ("HEAD", "/queue")]


def add_task(store, key="DEMO-1"):
    store.execute(
        "INSERT INTO tasks (project, repo, issue, key, branch, natural_key, title, description,"
        " stage, entry, parked_for, parked_since, created_at)"
        " VALUES ('DEMO', 'sample', ?1, ?1, 'feature/' || ?1, ?1, 'A title', '', 'analysis', 1,"
        " 'approval', 1, 1)", (key,))


def local(ingress, **fields):
    event = {"delivery": "d1", "kind": "issue", "issue": "DEMO-1", "title": "A title", **fields}
    return ingress.request("POST", "/webhook/local",
                           {name: value for name, value in event.items() if value is not None})


@pytest.mark.parametrize("token", [None, "", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "Bearer"])
def test_an_agent_on_the_loopback_cannot_approve_itself(ingress, token):
    """All but the open pages and the signed webhooks, whoever asks and from where."""
    ingress.make_store()
    for method, path in GUARDED:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        body = b"{}" if method == "POST" else None
        answer = ingress.request(method, path, body, headers, token=None)
        assert answer.status == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert ingress.rows() == []


def test_other_ways_to_name_a_token_do_not_count(ingress):
    for headers in ({"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"},
                    {"Authorization": f"Bearer\t{TOKEN}"}, {"Cookie": f"token={TOKEN}"},
                    {"X-Forwarded-For": "127.0.0.1"}, {"Proxy-Authorization": f"Bearer {TOKEN}"}):
        assert ingress.request("POST", "/pause", b"", headers, token=None).status == 401, headers
    assert ingress.request("POST", f"/pause?token={TOKEN}", b"", token=None).status == 401
    assert ingress.rows() == []


def test_the_open_pages_need_none(ingress):
    assert ingress.request("GET", "/health", token=None).status == 503
    assert ingress.request("GET", "/metrics", token=None).status == 200


def test_a_token_is_made_at_the_first_start(make_ingress):
    ingress = make_ingress({"http": {"operator_token": ""}}, start=False)
    ingress.start()
    path = ingress.home / "operator_token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = path.read_text().strip()
    assert len(token) >= 32
    assert ingress.request("POST", "/pause", b"", token="").status == 401
    ingress.kill()
    ingress.start()
    assert path.read_text().strip() == token
    assert ingress.request("GET", "/tasks", token=token).status == 503  # no main.db: past the token


def test_a_token_that_others_can_read_is_closed_to_them(make_ingress):
    ingress = make_ingress({"http": {"operator_token": ""}}, start=False)
    ingress.home.mkdir()
    path = ingress.home / "operator_token"
    path.write_text("chosen-by-a-person\n")
    path.chmod(0o644)
    ingress.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ingress.request("GET", "/tasks", token="chosen-by-a-person").status == 503


def test_local_events(ingress):
    answer = local(ingress, labels=["a"], actor="ada", extra={"kept": True})
    assert answer.status == 202 and answer.json == {"event_id": 1, "duplicate": False}
    assert local(ingress, title="Another").json == {"event_id": 1, "duplicate": True}
    seq, source, delivery, body, _ = ingress.rows()[0]
    assert (source, delivery, json.loads(body)["extra"]) == ("local", "d1", {"kept": True})


@pytest.mark.parametrize("fields, field", [
    ({"delivery": None}, "delivery"), ({"delivery": ""}, "delivery"), ({"delivery": 7}, "delivery"),
    ({"delivery": "x" * 201}, "delivery"), ({"kind": "merge"}, "kind"), ({"kind": None}, "kind"),
    ({"issue": None}, "issue"), ({"issue": "../../etc"}, "issue"), ({"issue": "A-1\n"}, "issue"),
    ({"title": None}, "title"), ({"labels": "a"}, "labels"), ({"labels": [1]}, "labels"),
    ({"announce": "no"}, "announce"), ({"actor": "developer"}, "actor"),
    ({"actor": "Reviewer"}, "actor"), ({"actor": "stream"}, "actor"),
    ({"kind": "comment", "body": None}, "body"), ({"kind": "status", "status": ""}, "status"),
    ({"kind": "label", "labels": None}, "labels"),
])
def test_a_faulty_local_event_names_its_field(ingress, fields, field):
    answer = local(ingress, **fields)
    assert answer.status == 400
    assert answer.json["error"]["field"] == field
    assert answer.json["error"]["message"]
    assert ingress.rows() == []


@pytest.mark.parametrize("body, status", [
    (b"", 400), (b"[]", 400), (b'"x"', 400), (b"{", 400), (b'{"a":1,"a":2}', 400),
    (b"{" + b'"a":{' * 5000, 400), (b'{"delivery":"\xff"}', 400),
])
def test_what_is_no_json_object(ingress, body, status):
    headers = {"Content-Type": "application/json"}
    answer = ingress.request("POST", "/webhook/local", body, headers)
    assert answer.status == status
    assert answer.json["error"]["message"]


def test_a_command_that_nobody_decides_is_pending(ingress):
    add_task(ingress.make_store())
    began = time.monotonic()
    answer = ingress.request("POST", "/tasks/DEMO-1/approve", {"actor": "ada", "text": "fine"})
    assert answer.status == 202
    assert 1.8 < time.monotonic() - began < 4
    assert answer.json["result"] == "pending" and answer.json["reason"]
    seq, source, delivery, body, _ = ingress.rows()[0]
    assert (seq, source) == (answer.json["event_id"], "operator")
    assert json.loads(body) == {"command": "approve", "task": "DEMO-1", "actor": "ada",
                                "text": "fine", "repo": None, "project": None}


@pytest.mark.parametrize("result, status, said", [("applied", 200, "applied"),
                                                  ("refused", 409, "refused"),
                                                  ("ignored", 409, "refused")])
def test_a_decision_is_the_answer(ingress, result, status, said):
    """The test is the scheduler: it reads the inbox and writes the decision."""
    store = ingress.make_store()
    add_task(store)

    def decide():
        row = wait_for(ingress.rows, 5, "the command's event")[0]
        database = sqlite3.connect(ingress.home / "db/main.db", isolation_level=None, timeout=5)
        database.execute("INSERT INTO decisions VALUES (?, ?, 'a-code: a text', 1, 1)",
                         (row[0], result))
        database.close()
    scheduler = threading.Thread(target=decide)
    scheduler.start()
    began = time.monotonic()
    answer = ingress.request("POST", "/tasks/DEMO-1/approve")
    scheduler.join()
    assert answer.status == status
    assert answer.json == {"result": said, "reason": "a-code: a text", "event_id": 1}
    assert time.monotonic() - began < 1.5, "it is told at once, not at the end of the wait"


def test_unknown_keys_and_faulty_commands(ingress):
    add_task(ingress.make_store())
    for key in ("DEMO-2", "..", "%2e%2e%2fmain.db", "DEMO-1%00x", "x" * 81, "'; DROP TABLE tasks; --"):
        path = f"/tasks/{key.replace(' ', '%20')}"
        assert ingress.request("GET", path).status == 404, key
        assert ingress.request("POST", f"{path}/approve").status == 404, key
        assert ingress.request("GET", path.replace("tasks", "local/issues")).status == 404, key
    for path, body, field in (
            ("/serial-gate/freeze", {}, "repo"), ("/serial-gate/freeze", {"repo": "r"}, "reason"),
            ("/serial-gate/unfreeze", {"repo": ""}, "repo"), ("/tasks/DEMO-1/comment", {}, "text"),
            ("/tasks/DEMO-1/approve", {"actor": "architect"}, "actor"),
            ("/tasks/DEMO-1/approve", {"actor": 1}, "actor"),
            ("/tasks/DEMO-1/approve", [], None), ("/pause", {"project": []}, "project")):
        answer = ingress.request("POST", path, body)
        assert (answer.status, answer.json["error"]["field"]) == (400, field), path
    assert ingress.rows() == []


def test_methods_and_paths_that_do_not_exist(ingress):
    for method, path, status in (
            ("GET", "/webhook/plane", 405), ("POST", "/health", 405), ("DELETE", "/tasks/DEMO-1", 405),
            ("PUT", "/queue", 405), ("GET", "/", 404), ("GET", "/tasks/", 404),
            ("GET", "/tasks/a/b", 404), ("GET", "//tasks", 404), ("GET", "/queue/", 404),
            ("GET", "/../home/operator_token", 404), ("GET", "/%2e%2e/operator_token", 404)):
        answer = ingress.request(method, path)
        assert answer.status == status, (method, path, answer)
        assert answer.json["error"]["code"]


def test_a_stop_answers_what_waits(ingress):
    """A command whose event is kept, and no decision in sight: the answer is "pending", not a reset."""
    answers = []
    asked = threading.Thread(target=lambda: answers.append(ingress.request("POST", "/pause", b"")))
    asked.start()
    wait_for(ingress.rows, 5, "the command's event")
    assert ingress.stop() == 0
    asked.join()
    assert answers[0].status == 202
    assert answers[0].json["result"] == "pending"


def test_reads_what_is_in_the_store(ingress):
    store = ingress.make_store()
    add_task(store, "DEMO-1")
    add_task(store, "DEMO-2~7")
    assert [task["key"] for task in ingress.request("GET", "/tasks").json] == ["DEMO-2~7", "DEMO-1"]
    assert ingress.request("GET", "/tasks?project=NONE").json == []
    task = ingress.request("GET", "/tasks/DEMO-2~7").json
    assert task["parked"] == {"for": "approval", "since": "1970-01-01T00:00:00.001Z"}
    assert ingress.request("HEAD", "/tasks/DEMO-1").body == b""
