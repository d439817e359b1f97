"""docs/http-api.md against the program: every path of the table of routes stands there and no other,
and every real answer holds to its schema, in which no undocumented field has room.

Mutations tried, each turns a test of this file red: a column renamed in store_read_state.c; a field left out
of the document; a route added to the table; an open route that the document guards."""

import json
import re
import threading
import time

import pytest
import yaml
from harness import ROOT
from ingress_kit import TOKEN, WEBHOOKS, signed_headers
from jsonschema import Draft202012Validator

TEXT = (ROOT / "docs/http-api.md").read_text()
DOCUMENT = yaml.safe_load(re.search(r"```yaml\n(.*?)```", TEXT, re.S).group(1))


def resolved(node):
    while "$ref" in node:
        target = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def hold(schema, value):
    """Every fault at once, with its place."""
    Draft202012Validator.check_schema(schema)
    whole = {**schema, "components": DOCUMENT["components"]}
    faults = [f"{'.'.join(map(str, fault.absolute_path))}: {fault.message}"
              for fault in Draft202012Validator(whole).iter_errors(value)]
    assert not faults, "\n".join(faults)


def check(method, path, status, body, headers=None):
    """path: as in the document."""
    operation = DOCUMENT["paths"][path][method.lower()]
    responses = operation["responses"]
    assert str(status) in responses, f"{method} {path}: {status} is not documented: {body}"
    response = resolved(responses[str(status)])
    content = response["content"]
    if headers is not None:
        kind = headers["content-type"].split(";")[0]
        assert kind in content, f"{method} {path}: {kind}"
        for name in response.get("headers", {}):
            assert name.lower() in headers, f"{method} {path}: no {name}"
    if "application/json" in content:
        hold(content["application/json"]["schema"], body)
    return body


def asked(ingress, method, path, body=None, **more):
    """A request whose answer is checked; path may have a key after '='."""
    template, _, key = path.partition("=")
    answer = ingress.request(method, template.replace("{key}", key) if key else template, body, **more)
    check(method, template, answer.status, answer.json, answer.headers)
    return answer


def test_the_document_has_the_program_s_routes():
    rows = re.findall(r'\{\s*"([A-Z]+)",\s*"([^"]+)",\s*(ROUTE_[A-Z]+),\s*(true|false)',
                      (ROOT / "services/ingress/route.c").read_text())
    assert len(rows) == int(re.search(r"ROUTE_COUNT = (\d+)",
                                      (ROOT / "services/ingress/route.h").read_text()).group(1))
    documented = {(method.upper(), path): operation.get("security") == []
                  for path, operations in DOCUMENT["paths"].items()
                  for method, operation in operations.items()}
    assert documented == {(method, path): is_open == "true" for method, path, _, is_open in rows}


def test_every_schema_is_one_and_is_used():
    for name, schema in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        uses = TEXT.count(f'"#/components/schemas/{name}"')
        assert uses > 0, name


def test_answers_without_a_store(ingress):
    asked(ingress, "GET", "/health", token=None)
    for path in ("/queue", "/tasks", "/tasks/{key}=A-1", "/local/issues", "/local/issues/{key}=A-1"):
        assert asked(ingress, "GET", path).status == 503
        assert asked(ingress, "GET", path, token="wrong").status == 401
    body = (WEBHOOKS / "gitea.webhook.push.body.json").read_bytes()
    for headers, status in ((signed_headers("gitea", body), 202), ({}, 401),
                            (signed_headers("gitea", body) | {"Content-Type": "text/html"}, 415)):
        assert asked(ingress, "POST", "/webhook/gitea", body, headers=headers,
                     token=None).status == status
    large = b"x" * 1_100_000
    assert asked(ingress, "POST", "/webhook/plane", large, token=None).status == 413
    event = {"delivery": "d", "kind": "issue", "issue": "DEMO-1", "title": "T"}
    hold({"$ref": "#/components/schemas/LocalEvent"}, event)
    assert asked(ingress, "POST", "/webhook/local", event).status == 202
    assert asked(ingress, "POST", "/webhook/local", {}).status == 400
    assert asked(ingress, "POST", "/pause", b"[").status == 400
    assert asked(ingress, "POST", "/pause").status == 202
    assert asked(ingress, "POST", "/tasks/{key}/stop=A-1").status == 503
    metrics = ingress.request("GET", "/metrics", token=None)
    check("GET", "/metrics", 200, None, metrics.headers)
    assert re.fullmatch(r'(# (HELP|TYPE) [^\n]+\n|orch_[a-z_]+(\{[a-z]+="[^"]*"\})? -?[0-9.e+-]+\n)+',
                        metrics.body.decode())


def fill(store):
    """One row of each kind with everything known, and one with all that may be unknown."""
    store.executescript("""
      INSERT INTO tasks (id, project, repo, issue, key, branch, natural_key, title, description, labels,
        stage, entry, blocked_reason, blocked_since, parked_for, parked_since, display, pr_number, pr_url,
        pr_head, head, merged_commit, created_at, ended_at) VALUES
        (1, 'DEMO', 'r', 'i1~1', 'DEMO-1~1', 'b1', 'DEMO-1', 't', 'd', '["a"]', 'cancelled', 1, NULL, NULL,
         NULL, NULL, 'cancelled', NULL, NULL, NULL, NULL, NULL, 1, 2),
        (2, 'DEMO', 'r', 'i1', 'DEMO-1', 'b2', 'DEMO-1', 't', 'd', '[]', 'deploy', 3, 'a-code: text', 5,
         'ci', 6, 'deploy', 7, 'file:///x', 'abc', 'def', 'fed', 3, NULL),
        (3, 'DEMO', 'r', 'i2', 'DEMO-2', 'b3', 'DEMO-2', 't', '', '[]', 'created', 4, NULL, NULL, NULL,
         NULL, NULL, 8, NULL, NULL, NULL, NULL, 3, NULL);
      UPDATE tasks SET terminal = 1 WHERE id = 1;
      INSERT INTO transitions VALUES (1, 1, NULL, 'created', 'a: b', 'ada', '{}', 1),
        (2, 2, NULL, 'created', 'a: b', 'ada', '{}', 2), (3, 2, 'created', 'deploy', 'a: b', 'x', '{"y":1}', 3);
      INSERT INTO jobs (id, task, project, repo, entry, stage, stage_rank, kind, role, state, not_before,
        reason, run, created_at, claimed_at, ended_at) VALUES
        (1, 2, 'DEMO', 'r', 3, 'deploy', 1, 'agent', 'developer', 'running', 0, '', 'run-1', 1, 2, NULL),
        (2, 2, 'DEMO', 'r', 3, 'deploy', 1, 'merge', NULL, 'queued', 9999999999999, 'a-code: why', NULL, 1,
         NULL, NULL),
        (3, 3, 'DEMO', 'r', 4, 'created', 1, 'query', NULL, 'failed', 0, 'a-code: x', NULL, 1, 2, 3),
        (4, 3, 'DEMO', 'r', 4, 'created', 1, 'agent', 'tester', 'running', 0, '', NULL, 1, 2, NULL);
      INSERT INTO agent_runs (id, job, task, entry, role, attempt, state, command, commanded_at, started_at,
        ended_at, progress, outcome, class, reason, exit_code, session, input_tokens, output_tokens,
        cache_read_tokens, cache_creation_tokens, cost_usd, gate) VALUES
        ('run-1', 1, 2, 3, 'developer', 1, 'ended', '{}', 1, 2, 3,
         '{"turns":1,"last_tool":"Edit","output_tokens":5}', 'succeeded', 'none', 'ok: done', 0, 's', 1, 2, 3,
         4, 0.5, '{"gate":"g"}'),
        ('run-2', 3, 3, 4, 'tester', 1, 'commanded', '{}', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         NULL, NULL, NULL, NULL, NULL, NULL);
      INSERT INTO leases (repo, task, since, used_by_run) VALUES ('r', 2, 1, NULL), ('s', 3, 1, 'run-1');
      INSERT INTO repo_freeze VALUES ('r', 'a reason', 'ada', 1);
      INSERT INTO breakers (provider, state, failures, until, reason, hold)
        VALUES ('claude', 'open', 3, 99, 'x', 'breaker'), ('other', 'closed', 0, NULL, '', NULL);
      INSERT INTO alerts VALUES ('k', 2, 'text', 1, NULL), ('l', NULL, 'text', 1, NULL);
      INSERT INTO effects (task, ordinal, external_id, kind, author, state, created_at)
        VALUES (2, 1, 't2-1', 'comment', 'stream', 'pending', 1), (2, 2, 't2-2', 'status', 'stream', 'handed', 1);
      INSERT INTO meta VALUES ('paused', '1'), ('paused:DEMO', '1');
      INSERT INTO journal (at, event, task, stage, job, run, service, detail) VALUES
        (1, 'claimed', 'DEMO-1', 'deploy', 1, 'run-1', 'scheduler', '{"x":[1]}'),
        (2, 'started', NULL, NULL, NULL, NULL, NULL, '{}');
      INSERT INTO local_issues (id, project, key, title, body, status, labels, created_at, updated_at)
        VALUES (1, 'DEMO', 'DEMO-1', 't', 'b', 'Backlog', '["a"]', 1, 2), (2, 'DEMO', 'DEMO-2', 't', '', 'Done',
        '[]', 1, 2);
      INSERT INTO local_comments (issue, author, body, at) VALUES (1, 'ada', 'hello', 1);
      INSERT INTO local_status_history (issue, status, actor, at) VALUES (1, 'Backlog', 'ada', 1);
    """)


def stream_events(ingress, count):
    request = (f"GET /events?after=0 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
    with ingress.connect() as connection:
        connection.sendall(request.encode())
        connection.settimeout(5)
        data = b""
        while data.count(b"\ndata: ") < count or not data.endswith(b"\n\n\r\n"):
            data += connection.recv(65536)
    head = data.split(b"\r\n\r\n")[0].decode().lower()
    assert "content-type: text/event-stream" in head
    return [json.loads(line) for line in re.findall(rb"\ndata: (.*)\n", data)]


def test_answers_of_a_full_store(ingress):
    store = ingress.make_store()
    fill(store)
    queue = asked(ingress, "GET", "/queue").json
    for block in ("running", "queued", "leases", "frozen", "alerts"):
        assert queue[block], f"{block} is empty: this shows nothing"
    assert queue["breaker"]["providers"] and queue["jobs"]["paused_projects"]
    assert queue["effects"]["oldest"]
    assert len(asked(ingress, "GET", "/tasks").json) == 3
    assert len(ingress.request("GET", "/tasks?project=DEMO").json) == 3
    task = asked(ingress, "GET", "/tasks/{key}=DEMO-1").json
    assert task["blocked"] and task["parked"] and task["pull_request"] and task["predecessors"]
    assert asked(ingress, "GET", "/tasks/{key}=DEMO-2").json["runs"][0]["tokens"] is None
    assert asked(ingress, "GET", "/tasks/{key}=DEMO-3").status == 404
    assert len(asked(ingress, "GET", "/local/issues").json) == 2
    issue = asked(ingress, "GET", "/local/issues/{key}=DEMO-1").json
    assert issue["comments"] and issue["status_history"]
    assert asked(ingress, "GET", "/local/issues/{key}=DEMO-3").status == 404
    events = stream_events(ingress, 2)
    assert len(events) == 2
    for event in events:
        hold({"$ref": "#/components/schemas/Event"}, event)
    store.close()


def test_answers_of_a_whole_instance(make_instance):
    """From To Analyse to done, looked at all the while."""
    instance = make_instance(plan={"reviewer": {"reject": 1}}).start()
    stopping = threading.Event()
    faults, looks = [], [0]
    key = instance.new_issue(1)

    def look():
        while not stopping.is_set():
            for path in ("/queue", "/health", "/tasks", "/tasks/{key}", "/local/issues",
                         "/local/issues/{key}"):
                status, body = instance.http("GET", path.replace("{key}", key))
                try:
                    if status != 404 or "{key}" not in path:
                        check("GET", path, status, body)
                except AssertionError as fault:
                    faults.append(f"{path}: {fault}")
                looks[0] += 1
            time.sleep(0.05)
    looker = threading.Thread(target=look)
    looker.start()
    try:
        instance.wait_for(lambda: instance.parked(key) == "approval", 30, "it asks for approval")
        for path, body, expected in (
                ("/tasks/{key}/confirm-deploy", None, (409,)), ("/pause", None, (200,)),
                ("/resume", None, (200,)), ("/serial-gate/freeze", {"repo": "sample", "reason": "x"}, (200,)),
                ("/serial-gate/unfreeze", {"repo": "sample"}, (200,)),
                ("/tasks/{key}/comment", {"text": "a remark"}, (200,)),
                ("/tasks/{key}/approve", {"actor": "ada"}, (200,))):
            status, answer = instance.must("POST", path.replace("{key}", key), body)
            check("POST", path, status, answer)
            assert status in (*expected, 202), (path, status, answer)
        instance.wait_stage(key, "done")
    finally:
        stopping.set()
        looker.join()
    assert not faults, "\n".join(faults[:5])
    assert looks[0] > 20
    task = instance.task(key)
    assert len(task["transitions"]) > 9 and task["runs"][0]["tokens"]["input"]


@pytest.mark.parametrize("path, change", [
    ("/queue", lambda body: body["counts"].pop("queued")),
    ("/queue", lambda body: body.update(extra=1)),
    ("/queue", lambda body: body["queued"][0].update(since=5)),
    ("/tasks/{key}", lambda body: body.pop("parked")),
    ("/tasks/{key}", lambda body: body.update(extra=1)),
    ("/tasks/{key}", lambda body: body["transitions"][0].update(why="no code")),
])
def test_the_check_itself_finds_faults(ingress, path, change):
    store = ingress.make_store()
    fill(store)
    body = ingress.request("GET", path.replace("{key}", "DEMO-1")).json
    check("GET", path, 200, body)
    change(body)
    with pytest.raises(AssertionError):
        check("GET", path, 200, body)
    store.close()
