"""The real keeper alone, with a run directory of its own."""

import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

from runner_kit import BIN, processes_with, wait_for

KEEPER = BIN / "orch-keeper"


class Run:
    """A run directory with a launch.json; started() counts the agent's executions."""

    def __init__(self, script, prompt="", **limits):
        self.dir = Path(tempfile.mkdtemp(prefix="run-k-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp")))
        self.mark = f"ORCH_RUN={self.dir.name}"
        (self.dir / "prompt").write_text(prompt)
        launch = {"argv": ["/bin/bash", "-c", f"echo $$ >> {self.dir}/starts; {script}"],
                  "env": [self.mark, "PATH=" + os.environ["PATH"]], "cwd": "/tmp",
                  "timeout_ms": 0, "grace_ms": 500, "stall_ms": 0, "log_max_bytes": 1 << 20,
                  **limits}
        (self.dir / "launch.json").write_text(json.dumps(launch))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.left():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        return subprocess.run([KEEPER, self.dir], timeout=10).returncode

    def start_waiting(self):
        """Until its word is given, on the socket's end that is returned."""
        ours, its = socket.socketpair()
        with its:
            done = subprocess.run([KEEPER, "--control", str(its.fileno()), self.dir], timeout=10,
                                  pass_fds=[its.fileno()])
        assert done.returncode == 0
        return ours

    def status(self, seconds=15):
        path = self.dir / "status"
        wait_for(path.exists, seconds)
        return json.loads(path.read_text())

    def left(self):
        return processes_with(self.mark)

    def starts(self):
        path = self.dir / "starts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def pid(self, name):
        path = self.dir / "agent.pid"
        wait_for(lambda: (self.dir / "started").exists())
        return json.loads(path.read_text())[name]


def locked(path):
    """F_OFD_GETLK, as everybody has to ask."""
    with open(path, "r+b") as file:
        ask = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
        return struct.unpack("hhqqi4x", fcntl.fcntl(file, 36, ask))[0] != fcntl.F_UNLCK
