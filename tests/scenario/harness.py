"""A whole instance in a throw-away directory: the real programs, the built-in tracker and forge, and
the scripted agent. Everything is looked at from outside: HTTP, files, git, process ids."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("ORCH_TEST_BIN", ROOT / "build/bin")).resolve()
AGENT = ROOT / "tests/agents/scripted_agent.py"
SERVICES = ["scheduler", "ingress", "runner", "notifier", "reconciler", "reaper", "monitor"]
PROJECT = "DEMO"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def alive(pid):
    """True while pid is a process that has not ended (a zombie has)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def git(repository, *arguments, check=True):
    done = subprocess.run(["git", "-c", "safe.directory=*", "-C", str(repository), *arguments], check=False,
                          capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"git {arguments}: {done.stderr}")
    return done.stdout.strip()


def merged(base, extra):
    """base with extra laid over it, section by section."""
    out = dict(base)
    for key, value in extra.items():
        out[key] = {**out[key], **value} if isinstance(value, dict) and key in out else value
    return out


class Instance:
    def __init__(self, keys=None, project=None, plan=None):
        self.dir = Path(tempfile.mkdtemp(prefix="ot-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp")))
        self.home, self.run_dir = self.dir / "home", self.dir / "run"
        self.agent_dir, self.crash_dir = self.dir / "agent", self.dir / "crash"
        for path in (self.agent_dir, self.crash_dir, self.home / "forge"):
            path.mkdir(parents=True)
        self.port = free_port()
        self.repo = self.home / "forge" / "sample.git"
        self.config = self.dir / "orchestrator.yaml"
        self.bin, self.sv = BIN, ROOT / "sv"
        self.process = None
        self.prefix = []  # of the supervisor's command: nsenter ...
        self.supervisors = []
        self._token = None
        self.plan(plan or {})
        self._make_repository()
        # JSON is YAML: no other writer needed
        self.config.write_text(json.dumps(merged({
            "home": str(self.home), "run_dir": str(self.run_dir),
            "http": {"listen": f"127.0.0.1:{self.port}"},
            "reaper": {"interval_s": 1, "ping_s": 1}, "reconciler": {"interval_s": 2},
            "supervisor": {"intensity": 10000, "backoff_max_ms": 400, "reset_s": 1},
            "retry": {"base_s": 1, "max_s": 2}, "disk": {"low_water_mb": 1},
            "agent": {"kill_grace_seconds": 2, "sandbox_write": [str(self.agent_dir)]}, "max_concurrency": 4,
            "projects": [{"key": PROJECT, "repo": "sample", "tracker": "local", "forge": "local",
                          "agent": "command", "ci": "none", "max_concurrency": 4,
                          "agent_command": [str(AGENT), str(self.agent_dir)],
                          **(project or {})}],
        }, keys or {})))

    def _make_repository(self):
        work = self.dir / "work"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.repo], check=True)
        subprocess.run(["git", "init", "-q", "-b", "main", work], check=True)
        (work / "README.md").write_text("A sample.\n")
        git(work, "add", ".")
        git(work, "-c", "user.name=owner", "-c", "user.email=owner@example.org", "commit", "-qm",
            "Start")
        git(work, "push", "-q", str(self.repo), "main")

    def with_hook(self):
        """Before the start: a deploy hook that takes down what it deploys, a commit a line, and calls healthy
        what stands there."""
        hook = self.dir / "deploy-hook"
        hook.write_text(f"#!/bin/sh\ncase $1 in\n--deploy) echo $GIT_SHA >>{self.dir}/deployed ;;\n"
                        f"*) grep -qx $GIT_SHA {self.dir}/deployed ;;\nesac\n")
        hook.chmod(0o755)
        config = json.loads(self.config.read_text())
        config["projects"][0]["deploy_hook"] = str(hook)
        self.config.write_text(json.dumps(config))
        return self

    def deployed(self):
        """Commits, in order, as often as they were deployed."""
        path = self.dir / "deployed"
        return path.read_text().split() if path.exists() else []

    def plan(self, plan):
        """What the scripted agent does, by role."""
        (self.agent_dir / "plan.json").write_text(json.dumps(plan))

    # ---- processes ----

    def start(self, wait=True, environment=None):
        log = open(self.dir / "supervisor.log", "ab")
        env = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
        env.update({"ORCH_CRASH_DIR": str(self.crash_dir), **(environment or {})})
        self.process = subprocess.Popen(
            [*self.prefix, self.bin / "orchestrator", "run", "-c", self.config, "--sv", self.sv],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, start_new_session=True)
        self.supervisors.append(self.process)
        log.close()
        if wait:
            self.wait_up()
        return self

    def wait_up(self, seconds=30):
        self.wait_for(lambda: self.health() == 200, seconds, "/health is 200")

    def stop(self, seconds=30):
        """In order; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def state(self):
        try:
            return json.loads((self.run_dir / "supervisor.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {"services": []}

    def service(self, name):
        for service in self.state()["services"]:
            if service["name"] == name:
                return service
        return {}

    def pid(self, name):
        return self.process.pid if name == "supervisor" else self.service(name).get("pid")

    def kill(self, name, how=signal.SIGKILL):
        pid = self.pid(name)
        if pid:
            os.kill(pid, how)
            if name == "supervisor" and how == signal.SIGKILL:
                self.process.wait(10)
        return pid

    def rows(self, query, *values):
        """Of main.db, read where the instance sees it."""
        script = ("import json, sqlite3, sys; path, query, *values = sys.argv[1:]\n"
                  "db = sqlite3.connect('file:' + path + '?mode=ro', uri=True, timeout=5)\n"
                  "print(json.dumps(db.execute(query, values).fetchall()))")
        done = subprocess.run([*self.prefix, "/usr/bin/python3", "-c", script,
                               f"{self.dir}/home/db/main.db", query, *values],
                              check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    def agents(self):
        """Living agents: run id -> pid."""
        found = {}
        for path in self.home.glob("runs/*/agent.pid"):
            try:
                pid = json.loads(path.read_text())["pid"]
            except (OSError, json.JSONDecodeError):
                continue
            if (path.parent / "started").exists() and not (path.parent / "status").exists() \
                    and alive(pid):
                found[path.parent.name] = pid
        return found

    # ---- HTTP ----

    @property
    def token(self):
        if not self._token:
            self._token = (self.home / "operator_token").read_text().strip()
        return self._token

    def http(self, method, path, body=None, token=True, headers=None, timeout=10):
        """(status, parsed body); status 0 where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            if token:
                request.add_header("Authorization",
                                   f"Bearer {self.token if token is True else token}")
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        except (OSError, ValueError):
            return 0, None
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode(errors="replace")

    def must(self, method, path, body=None, seconds=20):
        """The same, repeated until somebody answers without 5xx; the body."""
        answer = []

        def ask():
            answer[:] = self.http(method, path, body)
            return answer[0] and answer[0] < 500
        self.wait_for(ask, seconds, f"{method} {path}", 0.05)
        return answer

    def health(self):
        return self.http("GET", "/health", token=False)[0]

    # ---- the tracker's people ----

    def new_issue(self, number, title="Say hello", status="To Analyse", **fields):
        key = f"{PROJECT}-{number}"
        body = {"delivery": f"new-{key}-{status}", "kind": "issue", "issue": key, "title": title,
                "body": "As a reader I want a greeting.", "status": status, "labels": [],
                "actor": "ada", **fields}
        status, answer = self.must("POST", "/webhook/local", body)
        assert status == 202, (status, answer)
        return key

    def approve(self, key, seconds=30):
        self.wait_for(lambda: self.parked(key), seconds, f"{key} waits for approval")
        while True:
            status, answer = self.must("POST", f"/tasks/{key}/approve", {"actor": "ada"})
            if status != 202:
                return status, answer
            if not self.parked(key):
                return 200, answer
            time.sleep(0.05)

    def task(self, key):
        status, answer = self.http("GET", f"/tasks/{key}")
        return answer if status == 200 else {}

    def parked(self, key):
        return (self.task(key).get("parked") or {}).get("for")

    def stage(self, key):
        return self.task(key).get("stage")

    def issue(self, key):
        """{} while the scheduler has not read of it yet."""
        status, answer = self.must("GET", f"/local/issues/{key}")
        return answer if status == 200 else {}

    # ---- waiting and ending ----

    def wait_for(self, condition, seconds, what, pause=0.02):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(pause)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.story()}")

    def wait_stage(self, key, stage, seconds=60):
        self.wait_for(lambda: self.stage(key) == stage, seconds, f"{key} reaches {stage}")

    def story(self):
        """For a failure: what everybody said last."""
        lines = [f"in {self.dir}"]
        for path in sorted((self.home / "log").glob("*/current")):
            lines += [f"--- {path.parent.name}"] + path.read_text(errors="replace").splitlines()[-8:]
        if (self.dir / "supervisor.log").exists():
            lines += ["--- supervisor's own output"]
            lines += (self.dir / "supervisor.log").read_text(errors="replace").splitlines()[-8:]
        status, queue = self.http("GET", "/queue")
        lines += ["--- /queue", f"{status} {json.dumps(queue)[:3000]}"]
        return "\n".join(lines)

    def starts(self):
        """(run, pid, role, clock, what) of each start and end of the scripted agent."""
        try:
            lines = (self.agent_dir / "starts").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [tuple(line.split()) for line in lines]

    def close(self, keep=False):
        for process in self.supervisors:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for pid in self._own_processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def _own_processes(self):
        """Whatever still works in our directory: keepers and agents that outlive a stop."""
        own = str(self.dir).encode()
        for proc in Path("/proc").iterdir():
            if not proc.name.isdigit() or int(proc.name) == os.getpid():
                continue
            try:
                if own in (proc / "cmdline").read_bytes():
                    yield int(proc.name)
            except OSError:
                continue
