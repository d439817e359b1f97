"""One service alone, against a scheduler made of a script (tests/tools/fake_peer.c)."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("ORCH_TEST_BIN", ROOT / "build/bin")).resolve()
FAKE = BIN.parent / "test-bin" / "fake_peer"


def wait_for(condition, seconds, what, pause=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {what}")


class Bench:
    """A run directory, the scripted scheduler, and services started by hand."""

    def __init__(self, script=None, keys=None):
        self.dir = Path(tempfile.mkdtemp(prefix="of-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp")))
        self.home, self.run_dir = self.dir / "home", self.dir / "run"
        self.run_dir.mkdir(mode=0o700)
        (self.dir / "crash").mkdir()
        self.config = self.dir / "orchestrator.yaml"
        self.processes = []
        self.script_path = self.dir / "script.json"
        self.script(script or {})
        self.config.write_text(json.dumps({
            "home": str(self.home), "run_dir": str(self.run_dir),
            "projects": [{"key": "DEMO", "repo": "sample", "tracker": "local", "forge": "local",
                          "agent": "command", "agent_command": ["true"], "ci": "none"}],
            **(keys or {})}))
        self.scheduler = self.start_scheduler()

    def script(self, script):
        beside = self.dir / "script.new"
        beside.write_text(json.dumps(script))
        beside.rename(self.script_path)

    def _start(self, command, log, **more):
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith("ORCH_")}
        environment["ORCH_CRASH_DIR"] = str(self.dir / "crash")
        with open(self.dir / log, "ab") as out:
            process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL,
                                       env=environment, **{"stdout": out, "stderr": out, **more})
        self.processes.append(process)
        return process

    def start_scheduler(self):
        with open(self.dir / "scheduler.out", "ab") as out:
            return self._start([FAKE, "scheduler", self.run_dir, self.script_path],
                               "scheduler.log", stdout=out)

    def start(self, name, **more):
        return self._start([BIN / f"orch-{name}", "-c", self.config], f"{name}.log", **more)

    def heard(self, kind=None):
        """What the scheduler was asked, in order."""
        try:
            lines = (self.dir / "scheduler.out").read_text().splitlines()
        except FileNotFoundError:
            return []
        messages = [json.loads(line) for line in lines if line.endswith("}")]
        return [one for one in messages if kind is None or one["kind"] == kind]

    def wait_heard(self, kind, count=1, seconds=10):
        wait_for(lambda: len(self.heard(kind)) >= count, seconds, f"{count} {kind}: {self.log()}")
        return self.heard(kind)

    def ask(self, service, kind="status", seconds=2):
        """nngcat, as people do."""
        done = subprocess.run(
            ["nngcat", "--req", "--dial", f"ipc://{self.run_dir}/{service}.ipc", "--data",
             json.dumps({"v": 1, "kind": kind, "id": "t"}), "--raw", "--recv-timeout",
             str(seconds)], capture_output=True, text=True, timeout=seconds + 5)
        start = done.stdout.find("{")
        return json.loads(done.stdout[start:]) if start >= 0 else None

    def log(self):
        return {path.name: path.read_text(errors="replace")[-2000:]
                for path in self.dir.glob("*.log")}

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
