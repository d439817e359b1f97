"""The real orch-ingress alone in a throw-away directory: no supervisor, no scheduler, and main.db
only where a test makes one. Looked at from outside: HTTP, inbox.db, /proc."""

import hashlib
import hmac
import http.client
import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import schema
from harness import BIN, ROOT, free_port, merged

WEBHOOKS = ROOT / "tests/fixtures/webhooks"
SIGNATURES = {source: json.loads((WEBHOOKS / f"{source}.webhook.signatures.json").read_text())
              for source in ("plane", "gitea")}
SECRETS = {source: SIGNATURES[source]["secret"] for source in SIGNATURES}
SIGNATURE_HEADER = {"plane": "X-Plane-Signature", "gitea": "X-Gitea-Signature"}
# A sanitizer keeps freed memory back: bounds on memory hold for a plain build only.
PLAIN = not any(mark in (BIN / "orch-ingress").read_bytes() for mark in (b"__asan_init", b"__tsan_init"))
TOKEN = "the-operators-token-of-these-tests"


def sign(source, body):
    return hmac.new(SECRETS[source].encode(), body, hashlib.sha256).hexdigest()


def signed_headers(source, body, **extra):
    return {"Content-Type": "application/json", SIGNATURE_HEADER[source]: sign(source, body),
            **extra}


def signed_request(source, body, headers=None):
    """The bytes of a whole signed request."""
    lines = {"Host": "localhost", "Content-Length": str(len(body)),
             **signed_headers(source, body), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST /webhook/{source} HTTP/1.1\r\n{head}\r\n".encode() + body


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


def read_answer(connection, seconds=10):
    """One answer from a socket; None where the peer ended without one."""
    connection.settimeout(seconds)
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in
                   (line.partition(":") for line in lines[1:])}
        while len(body) < int(headers.get("content-length", 0)):
            more = connection.recv(65536)
            if not more:
                return None
            body += more
    except (ConnectionError, socket.timeout):
        return None
    return Answer(int(lines[0].split()[1]), headers, body)


class Ingress:
    def __init__(self, keys=None):
        self.dir = Path(tempfile.mkdtemp(prefix="oi-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp")))
        self.home, self.run_dir = self.dir / "home", self.dir / "run"
        self.crash_dir = self.dir / "crash"
        self.crash_dir.mkdir()
        self.log = self.dir / "log"
        self.config = self.dir / "orchestrator.yaml"
        self.port = free_port()
        self.process = None
        self.launched = []
        self.prefix = []
        self.config.write_text(json.dumps(merged({
            "home": str(self.home), "run_dir": str(self.run_dir), "lock_wait_s": 5,
            "http": {"listen": f"127.0.0.1:{self.port}", "operator_token": TOKEN},
            "plane": {"webhook_secret": SECRETS["plane"]},
            "gitea": {"webhook_secret": SECRETS["gitea"]},
            "projects": [{"key": "DEMO", "repo": "sample", "tracker": "local", "forge": "local",
                          "agent": "command", "ci": "none", "agent_command": ["true"]}],
        }, keys or {})))

    # ---- the process ----

    def start(self, environment=None, wait=True):
        self.process = self.launch("ingress", environment, wait)
        return self

    def launch(self, service, environment=None, wait=True):
        """A service's process; it has said that it is ready."""
        mine, its = os.pipe()
        names = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
        names.update({"ORCH_NOTIFY_FD": str(its), "ORCH_CRASH_DIR": str(self.crash_dir),
                      **(environment or {})})
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                [*self.prefix, BIN / f"orch-{service}", "-c", self.config], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env=names, pass_fds=[its])
        self.launched.append(process)
        os.close(its)
        try:
            if wait:
                poll = select.poll()  # select() knows no descriptor above 1023
                poll.register(mine, select.POLLIN)
                assert poll.poll(20_000) and os.read(mine, 1) == b"\n", f"not ready:\n{self.story()}"
        finally:
            os.close(mine)
        return process

    def wait_listening(self):
        """It may answer before it is ready."""
        def listens():
            try:
                self.connect(1).close()
                return True
            except OSError:
                return False
        wait_for(listens, 5, "it listens")
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def story(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])

    def rss_kb(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def close(self, keep=False):
        for process in self.launched:
            process.kill()
            process.wait(10)
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    # ---- HTTP ----

    def connect(self, seconds=10):
        return socket.create_connection(("127.0.0.1", self.port), seconds)

    def send(self, data, seconds=10):
        """Raw bytes on a connection of their own; the answer or None."""
        with self.connect(seconds) as connection:
            try:
                connection.sendall(data)
            except ConnectionError:
                pass
            return read_answer(connection, seconds)

    def request(self, method, path, body=None, headers=None, token=TOKEN, seconds=10):
        """body: bytes as they are, or an object that goes as JSON."""
        lines = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            lines.setdefault("Content-Type", "application/json")
        if token:
            lines.setdefault("Authorization", f"Bearer {token}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body, lines)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()},
                          answer.read())
        finally:
            connection.close()

    def webhook(self, source, body, headers=None):
        return self.request("POST", f"/webhook/{source}", body,
                            signed_headers(source, body) if headers is None else headers,
                            token=None)

    def metrics(self):
        text = self.request("GET", "/metrics", token=None).body.decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in text.splitlines() if line and line[0] != "#"}

    # ---- databases ----

    def rows(self):
        """(seq, source, delivery, body, headers) of everything that was kept."""
        path = self.home / "db/inbox.db"
        if not path.exists():
            return []
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return database.execute(
                "SELECT seq, source, delivery, body, headers FROM events ORDER BY seq").fetchall()
        finally:
            database.close()

    def make_store(self):
        """main.db as the scheduler makes it, for the test to write into."""
        (self.home / "db").mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.home / "db/main.db", isolation_level=None, timeout=5)
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(schema.newest())
        database.execute("PRAGMA user_version = 1")
        return database


def wait_for(condition, seconds, what, pause=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {what}")
