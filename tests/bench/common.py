"""What the benchmarks share: medians, tables, and an instance of nothing but what is measured."""

import ctypes
import json
import os
import select
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("ORCH_TEST_BIN", ROOT / "build/bin")).resolve()
TOOLS = Path(os.environ.get("ORCH_BENCH_BIN", ROOT / "build/bench")).resolve()


def spread(values, digits=2):
    """min / median / max, as text."""
    picked = (min(values), statistics.median(values), max(values))
    return " / ".join(f"{value:.{digits}f}" for value in picked)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Fifo:
    """A FIFO whose bytes are waited for."""

    def __init__(self, path):
        self.path = str(path)
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def drain(self):
        try:
            while os.read(self.fd, 4096):
                pass
        except BlockingIOError:
            pass

    def wait(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            raise TimeoutError(self.path)
        os.read(self.fd, 4096)


class RenameWatch:
    """Wakes when a name in a directory is replaced by rename (inotify)."""

    IN_MOVED_TO = 0x80

    def __init__(self, directory):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if libc.inotify_add_watch(self.fd, str(directory).encode(), self.IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def wait(self, name, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            select.select([self.fd], [], [], max(0, end - time.monotonic()))
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                continue
            at = 0
            while at < len(data):
                size = struct.unpack_from("iIII", data, at)[3]
                if data[at + 16:at + 16 + size].rstrip(b"\0") == name.encode():
                    return
                at += 16 + size
        raise TimeoutError(name)


class Supervised:
    """The supervisor over a service tree, in a throw-away directory."""

    def __init__(self, sv_dir, environment=None, keys=None):
        self.dir = Path(tempfile.mkdtemp(prefix="ob-"))
        self.run_dir = self.dir / "run"
        self.config = self.dir / "orchestrator.yaml"
        lines = {"home": str(self.dir / "home"), "run_dir": str(self.run_dir),
                 "http": {"listen": f"127.0.0.1:{free_port()}"},
                 "supervisor": {"reset_s": 1, "intensity": 1000},
                 "projects": [{"key": "BENCH", "repo": "bench", "tracker": "local",
                               "forge": "local", "agent": "command", "ci": "none",
                               "agent_command": ["true"]}]}
        lines.update(keys or {})
        self.config.write_text(json.dumps(lines))
        log = open(self.dir / "supervisor.log", "wb")
        self.process = subprocess.Popen(
            [BIN / "orchestrator", "run", "-c", self.config, "--sv", sv_dir],
            stdout=log, stderr=log, env={**os.environ, **(environment or {})})

    def services(self):
        try:
            state = json.loads((self.run_dir / "supervisor.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return {service["name"]: service for service in state["services"]}

    def wait_ready(self, names, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            services = self.services()
            if all(services.get(name, {}).get("state") in ("ready", "run", "up") for name in names):
                return
            time.sleep(0.02)
        raise TimeoutError(f"not ready: {self.services()}; see {self.dir}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
