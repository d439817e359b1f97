"""The supervisor over a tree of tiny services: shell scripts, no bus, no database."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness import BIN, alive

TINY = {"supervisor": {"backoff_ms": 50, "backoff_max_ms": 400, "reset_s": 1, "intensity": 1000},
        "lock_wait_s": 1}
READY = "printf '\\n' >&$ORCH_NOTIFY_FD\n"
SLEEP = "exec sleep 1000\n"


class Tree:
    """sv/, configuration, home and run directory under one folder."""

    def __init__(self, keys=None):
        self.dir = Path(tempfile.mkdtemp(prefix="ov-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp")))
        self.sv, self.home, self.run_dir = self.dir / "sv", self.dir / "h", self.dir / "r"
        self.notes = self.dir / "notes"  # what the services write about themselves
        self.sv.mkdir()
        self.config = self.dir / "o.yaml"
        self.program = BIN / "orchestrator"
        self.write_config(keys or {})
        self.started, self.process = [], None

    def write_config(self, keys=None):
        values = {"home": str(self.home), "run_dir": str(self.run_dir), **TINY}
        for key, value in (keys or {}).items():
            known = values.get(key)
            values[key] = {**known, **value} if isinstance(known, dict) else value
        self.config.write_text(json.dumps(values))

    def service(self, name, script=READY + SLEEP, yaml=None, **files):
        """run is a shell script; yaml is service.yaml, by default ready by a newline on 3. Files are
        named with _ for /."""
        folder = self.sv / name
        folder.mkdir(exist_ok=True)
        self.put(folder / "run", script if script.startswith("#!") else f"#!/bin/sh\n{script}", True)
        (folder / "service.yaml").write_text("notification-fd: 3\n" if yaml is None else yaml)
        for file, text in files.items():
            self.put(folder / file, text, text.startswith("#!"))
        return folder

    @staticmethod
    def put(path, text, executable=False):
        beside = path.with_name(path.name + ".new")
        beside.write_text(text)
        beside.chmod(0o755 if executable else 0o644)
        beside.rename(path)

    # ---- processes ----

    def environment(self, more=None):
        names = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
        return {**names, "NOTES": str(self.notes), **(more or {})}

    def start(self, wait=True, environment=None, prefix=(), **popen):
        with open(self.dir / "output", "ab") as out:
            self.process = subprocess.Popen(
                [*prefix, self.program, "run", "-c", self.config, "--sv", self.sv], stdout=out,
                stderr=out, stdin=subprocess.DEVNULL, env=self.environment(environment), **popen)
        self.started.append(self.process)
        if wait:
            self.wait_for(lambda: self.settled(), 10, "everything is ready")
        return self

    def settled(self):
        """All of this supervisor's, not of a file that the one before has left."""
        state = self.state()
        services = state["services"]
        return state.get("pid") in (self.process.pid, 1) and services and all(service["ready"] or service["wanted"] != "up"
            for service in services)

    def stop(self, seconds=20):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self, name, how=signal.SIGKILL):
        pid = self.pid(name)
        os.kill(pid, how)
        return pid

    def close(self, keep=False):
        for process in self.started:
            if process.poll() is None:
                # unshare itself hears no SIGTERM; its death takes the namespace along
                process.kill() if process.args[0] == "unshare" else process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def processes(self):
        """Whoever has our folder in the environment and lives."""
        own = f"NOTES={self.notes}".encode()
        for proc in Path("/proc").iterdir():
            if proc.name.isdigit() and int(proc.name) != os.getpid() and alive(int(proc.name)):
                try:
                    if own in (proc / "environ").read_bytes().split(b"\0"):
                        yield int(proc.name)
                except OSError:
                    continue

    # ---- what there is to see ----

    def state(self):
        try:
            return json.loads((self.run_dir / "supervisor.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {"services": []}

    def find(self, name):
        for service in self.state()["services"]:
            if service["name"] == name:
                return service
        return {}

    def pid(self, name):
        return self.find(name).get("pid")

    def notes_of(self, name):
        """Lines "name ..." that a service wrote to $NOTES, without the name."""
        try:
            lines = self.notes.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line.split(" ", 1)[1] for line in lines if line.split(" ", 1)[0] == name]

    def log(self, name="supervisor"):
        """Lines of a log, the rotated ones first, parsed."""
        lines = []
        folder = self.home / "log" / name
        for path in sorted(folder.glob("current.*")) + [folder / "current"]:
            try:
                lines += path.read_text().splitlines(keepends=True)
            except FileNotFoundError:
                pass  # rotated away meanwhile
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def said(self, event, word=""):
        return [line["msg"] for line in self.log()
                if line["event"] == event and word in line["msg"]]

    def wait_for(self, condition, seconds, what, pause=0.01):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(pause)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.story()}")

    def wait_ready(self, name, other_than=None, seconds=10):
        def look():
            service = self.find(name)
            return service.get("ready") and service["pid"] != other_than and service["pid"]
        return self.wait_for(look, seconds, f"{name} is ready")

    def wait_said(self, event, word="", seconds=10):
        return self.wait_for(lambda: self.said(event, word), seconds, f"{event}: {word}")

    def story(self):
        lines = [f"in {self.dir}"]
        for path in [self.dir / "output", *sorted((self.home / "log").glob("*/current"))]:
            if path.exists():
                lines += [f"--- {path}", *path.read_text(errors="replace").splitlines()[-15:]]
        return "\n".join(lines + [json.dumps(self.state(), indent=1)])


@pytest.fixture
def make_tree(request):
    made = []

    def make(keys=None):
        made.append(Tree(keys))
        return made[-1]
    yield make
    for tree in made:
        tree.close(keep=getattr(request.node, "failed", False))


@pytest.fixture
def tree(make_tree):
    return make_tree()


def now():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


# A line "name EVENT seconds-since-boot" in $NOTES; /proc/uptime has hundredths.
def note(name, event):
    return f'read up rest </proc/uptime; echo "{name} {event} $up $$" >>"$NOTES"\n'
