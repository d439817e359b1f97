"""Webhooks at the real orch-ingress: the trackers' exact bytes, the order of refusals, duplicates,
and that 202 follows the commit.

Mutations tried, each turns a test of this file red: the signature not compared; 401 before 413;
400 before 415; the answer sent from inbox_submit instead of after the commit; the delivery id of
the header taken as the key of deduplication."""

import hashlib
import json
import sqlite3
import threading
import time

import pytest
from ingress_kit import (SIGNATURE_HEADER, SIGNATURES, WEBHOOKS, read_answer, sign, signed_headers,
                         signed_request, wait_for)

FIXTURES = [(source, name) for source in SIGNATURES for name in SIGNATURES[source]["expected"]]


def fixture_headers(source, name):
    expected = SIGNATURES[source]["expected"][name]
    if source == "plane":
        return {**SIGNATURES[source]["headers_example"], "X-Plane-Signature": expected}
    return {**SIGNATURES[source]["common_headers"], **expected}


def test_every_fixture_is_kept_byte_for_byte(ingress):
    assert len(FIXTURES) == 18
    for source, name in FIXTURES:
        body = (WEBHOOKS / name).read_bytes()
        answer = ingress.webhook(source, body, fixture_headers(source, name))
        assert answer.status == 202, (name, answer)
        assert answer.json["duplicate"] is False
        seq, kept_source, delivery, kept, headers = ingress.rows()[-1]
        assert (seq, kept_source, kept) == (answer.json["event_id"], source, body), name
        assert delivery == hashlib.sha256(body).hexdigest()
        assert json.loads(headers)["event"] == fixture_headers(source, name).get(
            "X-Plane-Event", fixture_headers(source, name).get("X-Gitea-Event"))


def test_a_bent_byte_or_a_foreign_signature_is_refused(ingress):
    for source, name in FIXTURES:
        body = (WEBHOOKS / name).read_bytes()
        headers = fixture_headers(source, name)
        bent = body[:-2] + bytes([body[-2] ^ 1]) + body[-1:]
        assert ingress.webhook(source, bent, headers).status == 401
        assert ingress.webhook(source, body + b"\n", headers).status == 401
        other = "gitea" if source == "plane" else "plane"
        moved = {**headers, SIGNATURE_HEADER[other]: headers[SIGNATURE_HEADER[source]]}
        assert ingress.webhook(other, body, moved).status == 401
    negative = SIGNATURES["plane"]["negative"]
    assert ingress.webhook("plane", (WEBHOOKS / negative["file"]).read_bytes(),
                           {"X-Plane-Signature": negative["wrong_when_compact_reserialised"]}
                           ).status == 401
    assert ingress.rows() == []


@pytest.mark.parametrize("signature", [None, "", "0", "g" * 64, "sha256={}", "{}0"])
def test_what_is_no_signature(ingress, signature):
    body = b'{"event":"issue"}'
    headers = {"Content-Type": "application/json"}
    if signature is not None:
        headers["X-Plane-Signature"] = signature.replace("{}", sign("plane", body))
    assert ingress.webhook("plane", body, headers).status == 401


def test_no_secret_means_no_signature_is_right(make_ingress):
    ingress = make_ingress({"plane": {"webhook_secret": ""}})
    for secretless in (b"", b"\0"):
        import hmac
        body = b"{}"
        headers = {"X-Plane-Signature": hmac.new(secretless, body, "sha256").hexdigest()}
        assert ingress.webhook("plane", body, headers).status == 401
    assert ingress.rows() == []


def test_the_order_of_refusals(make_ingress):
    """413 by the length alone, 401, 415, 400; each request has every fault of the later ones too."""
    ingress = make_ingress({"http": {"max_body_bytes": 2048}})
    large, array = b"[" + b" " * 4000, b"[1]"
    wrong, right = {"Content-Type": "text/plain", "X-Plane-Signature": "0" * 64}, {}
    assert ingress.webhook("plane", large, wrong).status == 413
    assert ingress.webhook("plane", large, {"Content-Type": "text/plain"}).status == 413
    assert ingress.webhook("plane", array, wrong).status == 401
    right = {"Content-Type": "text/plain", "X-Plane-Signature": sign("plane", array)}
    assert ingress.webhook("plane", array, right).status == 415
    right["Content-Type"] = "application/json; charset=utf-8"
    assert ingress.webhook("plane", array, right).status == 400
    assert ingress.webhook("plane", b"", signed_headers("plane", b"")).status == 400
    assert ingress.webhook("plane", b" \r\n\t", signed_headers("plane", b" \r\n\t")).status == 400
    assert ingress.rows() == []
    absent = {"X-Plane-Signature": sign("plane", b'\n {"a":1}')}
    assert ingress.webhook("plane", b'\n {"a":1}', absent).status == 202


def test_the_limit_is_exact_also_where_no_length_is_announced(make_ingress):
    ingress = make_ingress({"http": {"max_body_bytes": 2048}})

    def chunked(body):
        head = (f"POST /webhook/plane HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                f"X-Plane-Signature: {sign('plane', body)}\r\n\r\n").encode()
        pieces = b"".join(f"{len(body[i:i + 100]):x}\r\n".encode() + body[i:i + 100] + b"\r\n"
                          for i in range(0, len(body), 100))
        return ingress.send(head + pieces + b"0\r\n\r\n")
    fits, exceeds = b'{"a":"' + b"x" * 2040 + b'"}', b'{"a":"' + b"x" * 2041 + b'"}'
    assert (len(fits), len(exceeds)) == (2048, 2049)
    assert ingress.webhook("plane", fits).status == 202
    assert ingress.webhook("plane", exceeds).status == 413
    assert chunked(fits).json == {"event_id": 1, "duplicate": True}
    assert chunked(exceeds).status == 413
    assert [row[3] for row in ingress.rows()] == [fits]


def test_413_needs_no_body(ingress):
    """The announcement is enough: nobody reads a gigabyte to refuse it."""
    with ingress.connect() as connection:
        connection.sendall(b"POST /webhook/plane HTTP/1.1\r\nHost: h\r\n"
                           b"Content-Length: 1073741824\r\n\r\n")
        assert read_answer(connection, 2).status == 413


def test_a_refused_sender_sees_why_although_it_sends_on(ingress):
    """A refusal before the body, then the body: no reset in the middle of the sending. Mutation
    tried: no lingering (guard_linger)."""
    request = signed_request("plane", b"{" + b"x" * 30_000_000)
    for _ in range(10):
        with ingress.connect() as connection:
            connection.sendall(request)  # raises where the connection is reset
            assert read_answer(connection).status == 413


def test_the_same_body_again_is_one_event(ingress):
    """Plane and Gitea give every attempt a new delivery id."""
    for source in ("plane", "gitea"):
        body = json.dumps({"source": source}).encode()
        ids = set()
        for attempt in range(3):
            headers = signed_headers(source, body, **{
                "X-Plane-Delivery": f"attempt-{attempt}", "X-Gitea-Delivery": f"attempt-{attempt}"})
            answer = ingress.webhook(source, body, headers)
            assert answer.status == 202
            assert answer.json["duplicate"] is (attempt > 0)
            ids.add(answer.json["event_id"])
        assert len(ids) == 1
    assert len(ingress.rows()) == 2


def test_the_same_body_from_two_sources_is_two_events(ingress):
    body = b'{"same":true}'
    assert not ingress.webhook("plane", body).json["duplicate"]
    assert not ingress.webhook("gitea", body).json["duplicate"]


def test_many_at_once_with_the_same_body(ingress):
    """One of them is the event, in whatever batch they met."""
    answers = []

    def send():
        answers.append(ingress.webhook("plane", b'{"race":1}').json)
    threads = [threading.Thread(target=send) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer["duplicate"] for answer in answers) == [False] + 39 * [True]
    assert len({answer["event_id"] for answer in answers}) == 1
    assert len(ingress.rows()) == 1


def test_an_answer_follows_the_commit(ingress):
    """While another holds the file's lock nothing can be committed, so nothing is answered."""
    assert ingress.webhook("plane", b'{"n":0}').status == 202
    holder = sqlite3.connect(ingress.home / "db/inbox.db", isolation_level=None, timeout=5)
    holder.execute("BEGIN IMMEDIATE")
    with ingress.connect() as connection:
        connection.sendall(signed_request("plane", b'{"n":1}'))
        connection.settimeout(0.7)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        holder.execute("COMMIT")
        assert read_answer(connection, 5).status == 202
    assert [row[3] for row in ingress.rows()] == [b'{"n":0}', b'{"n":1}']
    holder.close()


def test_what_cannot_be_committed_is_not_accepted(ingress):
    """Locked for longer than it waits: 503 with Retry-After, then all is well by itself."""
    holder = sqlite3.connect(ingress.home / "db/inbox.db", isolation_level=None, timeout=5)
    holder.execute("BEGIN IMMEDIATE")
    answer = ingress.webhook("plane", b'{"n":1}')
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json["error"]["code"] == "not-durable"
    health = ingress.request("GET", "/health", token=None)
    assert health.status == 503
    assert health.json["database"]["writable"] is False
    holder.execute("ROLLBACK")
    holder.close()
    wait_for(lambda: ingress.webhook("plane", b'{"n":2}').status == 202, 5, "it recovers")
    assert ingress.request("GET", "/health", token=None).json["database"]["writable"] is True
    assert [row[3] for row in ingress.rows()] == [b'{"n":2}']


def test_unreadable_json_with_a_right_signature_is_kept(ingress):
    """The parse comes after the acknowledgement: nothing signed is lost."""
    for body in (b'{"broken', b'{"bytes":"\xff\xfe"}', b'{"nul":"\0"}'):
        assert ingress.webhook("plane", body).status == 202
    assert len(ingress.rows()) == 3


def test_a_header_cannot_write_into_the_row(ingress):
    for i, value in enumerate(['x","event_type":"y', "a b", "a" * 200, "\\u0022", "issue"]):
        body = json.dumps({"n": i}).encode()
        assert ingress.webhook("plane", body, signed_headers(
            "plane", body, **{"X-Plane-Event": value})).status == 202
    kept = [json.loads(row[4]) for row in ingress.rows()]
    assert kept == [{}, {}, {}, {}, {"event": "issue"}]


def test_numbers_go_on_where_the_scheduler_is(make_ingress):
    """A new inbox.db beside a main.db that has come further: a row with a number that was passed
    would never be read. Mutation tried: the numbering not continued."""
    ingress = make_ingress(start=False)
    store = ingress.make_store()
    store.execute("INSERT INTO meta (key, value) VALUES ('inbox_position', '500')")
    ingress.start()
    assert ingress.webhook("plane", b'{"n":1}').json["event_id"] == 501
    for path in (ingress.home / "db").glob("inbox.db*"):  # lost while it runs
        path.unlink()
    store.execute("UPDATE meta SET value = '700' WHERE key = 'inbox_position'")
    wait_for(lambda: ingress.webhook("plane", b'{"n":2}').status == 202, 5, "a new file")
    assert [row[0] for row in ingress.rows()] == [701]
    store.close()


def test_keep_alive_and_pipelining(ingress):
    """Several requests sent without waiting are answered in their order."""
    bodies = [json.dumps({"n": n}).encode() for n in range(20)]
    with ingress.connect() as connection:
        connection.sendall(b"".join(signed_request("plane", body) for body in bodies))
        data, end = b"", time.monotonic() + 10
        connection.settimeout(5)
        while data.count(b'"duplicate":false}') < 20 and time.monotonic() < end:
            data += connection.recv(65536)
    assert data.count(b"HTTP/1.1 202") == 20
    assert [row[3] for row in ingress.rows()] == bodies
